"""`hub budgets`: which budgets there are, and raising one for a while, through the running hub or in its database."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Literal
from urllib.parse import quote, urlencode

import typer

from hub.commands.options import AdminKey, Config, Json, Url
from hub.commands.output import emit, table

app = typer.Typer(help="Budgets: what there are, and another amount for a while.", no_args_is_help=True)

_AT = "/admin/v1/budgets"
_Budget = Annotated[str, typer.Argument(help="Name of the budget.")]
_Amount = Annotated[str, typer.Argument(help="US dollars, to the nano-dollar; of other budgets tokens or calls.")]
_Reason = Annotated[str, typer.Option("--reason", help="Why. It stays on record.")]
_Until = Annotated[
    str, typer.Option("--until", help="RFC 3339 time with an offset; `window`, the default, is the end of the calendar window of now.")
]
_Who = Annotated[str, typer.Option("--who", help="For whom of those it counts separately; default: each of them.", show_default=False)]
_Org = Annotated[
    str, typer.Option("--org", help="Organisation of the spender, `*` for all; default: that of the admin key.", show_default=False)
]
_Only = Annotated[str | None, typer.Option("--org", help="Organisation; default: all.", show_default=False)]


@app.command("list")
def list_budgets(org: _Only = None, url: Url = None, admin_key: AdminKey = None, config: Config = None, as_json: Json = False) -> None:
    """List the budgets that are configured, with the overrides of each that hold.

    Example: hub budgets list
    """
    from hub.commands import api, direct_budgets

    found = api.attempt("GET", _AT + (f"?{urlencode({'org': org})}" if org else ""), admin_key, url, config)
    if found is None:
        found = asyncio.run(direct_budgets.budgets(config, org))
    rows = [
        (*(str(one[name]) for name in ("budget", "scope", "match", "org", "window", "unit", "amount")), str(len(one["overrides"])))
        for one in found["budgets"]
    ]
    emit(found, table(("BUDGET", "SCOPE", "MATCH", "ORG", "WINDOW", "UNIT", "AMOUNT", "OVERRIDES"), rows), as_json)


def _giving(mode: Literal["raise", "set"]) -> Callable[..., None]:
    """What gives an override of one mode; both take the same."""

    def give(
        budget: _Budget,
        amount: _Amount,
        reason: _Reason,
        until: _Until = "window",
        who: _Who = "*",
        org: _Org = "",
        url: Url = None,
        admin_key: AdminKey = None,
        config: Config = None,
        as_json: Json = False,
    ) -> None:
        from hub.commands import api, direct_budgets

        wish = {"amount": amount, "reason": reason, "until": until, "who": who, "org": org, "mode": mode}
        made = api.attempt("POST", f"{_AT}/{quote(budget, safe='')}/overrides", admin_key, url, config, wish)
        if made is None:
            made = asyncio.run(direct_budgets.give(config, budget, wish))
        one = made["override"]
        before = f" It replaces {one['replaced']}." if one["replaced"] else ""
        what = "raised by" if mode == "raise" else "set to"
        emit(made, f"{one['budget']} is {what} {one['amount']} {one['unit']} until {one['until']}: {one['id']}.{before}", as_json)

    return give


app.command(
    "raise",
    help="""Add to what a budget may spend, for a while; it holds within a second in every process. One before it for the same is replaced.

    Example: hub budgets raise team-day 25 --who core --reason "release week"
    """,
)(_giving("raise"))

app.command(
    "set",
    help="""Put another amount in place of what a budget may spend, for a while: more, or less.

    Example: hub budgets set everything 500 --until 2030-03-20T18:00:00+01:00 --reason "an agent runs wild"
    """,
)(_giving("set"))


@app.command("overrides")
def list_overrides(
    org: _Only = None,
    ended: Annotated[bool, typer.Option("--ended", help="Those that have ended, or were taken back, too.")] = False,
    url: Url = None,
    admin_key: AdminKey = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """List overrides, the newest first: who gave them, until when, and why.

    Example: hub budgets overrides
    """
    from hub.commands import api, direct_budgets

    query = urlencode({**({"org": org} if org else {}), **({"ended": "true"} if ended else {})})
    found = api.attempt("GET", f"{_AT}/overrides" + (f"?{query}" if query else ""), admin_key, url, config)
    if found is None:
        found = asyncio.run(direct_budgets.overrides(config, org, ended=ended))
    names = ("id", "budget", "org", "who", "mode", "unit", "amount", "until", "subject", "ended", "reason")
    head = ("ID", "BUDGET", "ORG", "WHO", "MODE", "UNIT", "AMOUNT", "UNTIL", "GIVEN BY", "ENDED", "REASON")
    emit(found, table(head, [tuple(str(one[name]) for name in names) for one in found["overrides"]]), as_json)


@app.command("restore")
def restore(
    override: Annotated[str, typer.Argument(help="Id of an override.")],
    url: Url = None,
    admin_key: AdminKey = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Take an override back: what is configured, or a wider override, holds again.

    Example: hub budgets restore 01a1fdfb-c180-75de-a1ea-db20d204fcd0
    """
    from hub.commands import api, direct_budgets

    done = api.attempt("DELETE", f"{_AT}/overrides/{quote(override, safe='')}", admin_key, url, config)
    if done is None:
        done = asyncio.run(direct_budgets.restore(config, override))
    emit(done, f"Took back the override of {done['ended']['budget']}.", as_json)
