"""`hub usage`: what was used and what it cost, as a list and in sums."""

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from hub.commands.options import AdminKey, Config, Json, Url
from hub.commands.output import Failed, emit, table

app = typer.Typer(help="What was used and what it cost: single calls, and sums of them.", no_args_is_help=True)

_From = Annotated[str, typer.Option("--from", help="RFC 3339 time or date (UTC) of the first.", show_default=False)]
_To = Annotated[str, typer.Option("--to", help="RFC 3339 time or date (UTC) before which the last one is.", show_default=False)]
_Filter = Annotated[
    list[str] | None,
    typer.Option("--filter", "-f", metavar="NAME=VALUE", help="As `/v1/usage` takes them: model=…, team=…, tag.feature=…; repeatable."),
]
_Csv = Annotated[bool, typer.Option("--csv", help="Print CSV: of a list all there is, of any length.")]

_SHOWN = ("created_at", "org", "subject", "team", "alias", "provider", "model", "status")


@app.command("list")
def listed(
    since: _From = "",
    until: _To = "",
    wanted: _Filter = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many, the newest.")] = 20,
    after: Annotated[str, typer.Option("--after", help="Go on behind a page: its `next`.", show_default=False)] = "",
    url: Url = None,
    admin_key: AdminKey = None,
    config: Config = None,
    as_csv: _Csv = False,
    as_json: Json = False,
) -> None:
    """Show calls with what they cost, the newest first. Works beside a running hub.

    Example: hub usage list --from 2030-03-01 --filter team=core
    """
    from hub.budget import usage_shown as shown
    from hub.commands.usage_read import asked

    query = [
        *_query(since, until, wanted, as_csv, as_json),
        ("limit", str(1000 if as_csv else limit)),
        *([("after", after)] if after else []),
    ]
    found: dict[str, Any] = asked(config, url, admin_key, "/v1/usage", query)
    if not as_csv:
        rows = [(*(row[name] for name in _SHOWN), *_counts(row), _dollars(row)) for row in found["data"]]
        text = table((*(name.upper() for name in _SHOWN), "IN", "OUT", "USD"), rows)
        more = f"\nmore: --after {found['next']}" if found["next"] else ""
        emit(found, text + more, as_json)
        return
    _write([shown.LIST])
    while True:
        _write([shown.line(shown.LIST, row) for row in found["data"]])
        if not found["next"]:
            return
        query = [*((name, value) for name, value in query if name != "after"), ("after", found["next"])]
        found = asked(config, url, admin_key, "/v1/usage", query)


@app.command("summary")
def summary(
    by: Annotated[
        list[str] | None, typer.Option("--by", help="What to add up by: team, model, day, hour, tag.feature, …; up to four times.")
    ] = None,
    since: _From = "",
    until: _To = "",
    wanted: _Filter = None,
    url: Url = None,
    admin_key: AdminKey = None,
    config: Config = None,
    as_csv: _Csv = False,
    as_json: Json = False,
) -> None:
    """Show what calls come to, exact to the nano-dollar. Works beside a running hub.

    Example: hub usage summary --by team --by day --from 2030-03-01 --csv
    """
    from hub.budget import usage_shown as shown
    from hub.commands.usage_read import asked

    groups = by or ["model"]
    query = [*_query(since, until, wanted, as_csv, as_json), ("group_by", ",".join(groups))]
    found: dict[str, Any] = asked(config, url, admin_key, "/v1/usage/summary", query)
    if as_csv:
        names = shown.columns(groups)
        _write([names, *(shown.line(names, one) for one in found["data"])])
        return
    lines = [(*(one[name] for name in groups), str(one["calls"]), *_counts(one), _dollars(one)) for one in found["data"]]
    whole = found["total"]
    last = ("total", *("" for _ in groups[1:]), str(whole["calls"]), *_counts(whole), _dollars(whole))
    text = table((*(name.upper() for name in groups), "CALLS", "IN", "OUT", "USD"), [*lines, last])
    unpriced = f"\n{whole['unpriced_calls']} calls have no known cost and are not in it" if whole["unpriced_calls"] else ""
    emit(found, text + unpriced, as_json)


def _query(since: str, until: str, wanted: list[str] | None, as_csv: bool, as_json: bool) -> list[tuple[str, str]]:
    if as_csv and as_json:
        raise Failed("--csv and --json are two ways to print the same", code=2)
    query = [(name, value) for name, value in (("from", since), ("to", until)) if value]
    for one in wanted or []:
        name, equals, value = one.partition("=")
        if not equals or name in ("limit", "after", "group_by", "format"):
            raise Failed(f"--filter takes NAME=VALUE with the name of a filter, not {one}", code=2)
        query.append((name, value))
    return query


def _counts(shown: dict[str, Any]) -> tuple[str, str]:
    tokens: dict[str, int] = shown["tokens"]
    return str(tokens["input"]), str(tokens["output"])


def _dollars(shown: dict[str, Any]) -> str:
    return "unpriced" if shown["cost_usd"] is None else str(shown["cost_usd"])


def _write(lines: Sequence[Sequence[str]]) -> None:
    from hub.budget.usage_shown import written

    sys.stdout.buffer.write(written(lines))
    sys.stdout.buffer.flush()
