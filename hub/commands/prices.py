"""`hub prices`: what models cost, and changing the price table: staged, read, then confirmed or rejected."""

import asyncio
import base64
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.commands.options import AdminKey, Config, Json, Url
from hub.commands.output import Failed, emit, table

app = typer.Typer(help="Prices of models: show them, and change the table they are in.", no_args_is_help=True)

_From = Annotated[
    Path | None,
    typer.Option("--from", help="Price table, as `python -m scripts.prices` writes it; default: this version's own.", show_default=False),
]
_Hash = Annotated[str, typer.Argument(help="Hash the staged table must have; default: whichever is staged.", show_default=False)]
_MOST_ROWS = 200


@app.command("show")
def show(
    model: Annotated[
        str,
        typer.Argument(help="`provider:model`, `provider/model`, or a model of hub.yaml; any other shows every provider that lists it."),
    ],
    org: Annotated[str, typer.Option("--org", help="Organisation whose own prices count.")] = "default",
    service: Annotated[str, typer.Option("--service", help="Class of service: batch, flex, priority, fast.")] = "",
    at: Annotated[str, typer.Option("--at", help="RFC 3339 time of the call; default: now.", show_default=False)] = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show what a model costs, in US dollars per million tokens, and what is known of it. Exit code 1 where nobody knows its price.

    Example: hub prices show openai:gpt-5-mini
    """
    from hub.budget.price_book import PriceBook
    from hub.commands.prices_read import priced
    from hub.commands.prices_shown import card, names

    found = priced(config)
    prices, book = found.table, PriceBook(found.config.prices, found.table)
    instant = _instant(at)
    cards = [card(book, *name, org=org, service=service, at=instant) for name in names(book, found.config, model)]
    if not any(one["price"] for one in cards):
        raise Failed(f"no price is known of {model}", data={"table": prices.hash, "models": cards})
    rows = [(f"{one['provider']}:{one['model']}", figure, dollars) for one in cards for figure, dollars in one["price"].items()]
    text = table(("MODEL", "FIGURE", "USD PER MILLION"), rows) + f"\nprice table of {prices.date}, {prices.hash}"
    emit({"table": prices.hash, "date": prices.date, "models": cards}, text, as_json)


@app.command("status")
def status(config: Config = None, as_json: Json = False) -> None:
    """Show which price table is in force, where its prices are from, and what is staged. Works beside running hubs.

    Example: hub prices status
    """
    import msgspec

    from hub.commands.prices_read import priced

    found = priced(config)
    confirmed = found.in_force.decided if found.in_force else ""
    present = {"hash": found.table.hash, "date": found.table.date, "confirmed": confirmed}
    sources = [msgspec.to_builtins(source) for source in found.table.sources]
    staged = {"hash": found.staged.hash, "staged": found.staged.staged} if found.staged else None
    lines = [f"in force: {present['hash']} of {present['date']}, " + (f"confirmed {confirmed}" if confirmed else "as it came with the hub")]
    lines += [f"  from {source.name} {source.version} ({source.licence})" for source in found.table.sources]
    lines += [f"staged:   {staged['hash']} at {staged['staged']}"] if staged else []
    emit({"in_force": {**present, "sources": sources}, "staged": staged}, "\n".join(lines), as_json)


@app.command("diff")
def compare(source: _From = None, config: Config = None, as_json: Json = False) -> None:
    """Show what a price table would change. Nothing is staged.

    Example: hub prices diff --from prices.json.gz
    """
    import time

    from hub.budget.price_diff import diff, written
    from hub.budget.price_table import BadTable, Table
    from hub.commands.prices_read import priced

    prices = priced(config).table
    try:
        other = Table(_content(source))
        other.check()
        found = written(diff(prices, other, time.time_ns() // 1_000_000_000))
    except BadTable as error:
        raise Failed(str(error)) from None
    emit(found, _text(found), as_json)


@app.command("refresh")
def refresh(
    source: _From = None,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", help="`provider/model`, or a glob, whose price may fall to nothing or change tenfold; repeatable."),
    ] = None,
    url: Url = None,
    admin_key: AdminKey = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Stage another price table, and show what it changes. It comes into force by `hub prices confirm`.

    Example: hub prices refresh --from prices.json.gz
    """
    from hub.commands import api, direct_prices

    content = _content(source)
    body = {"table": base64.b64encode(content).decode(), "allow": allow or []}
    found = api.attempt("POST", "/admin/v1/prices/staged", admin_key, url, config, body)
    if found is None:
        found = asyncio.run(direct_prices.stage(config, content, allow or []))
    emit(found, f"{_text(found)}\nStaged. To put it in force: hub prices confirm {found['new']}", as_json)


@app.command("confirm")
def confirm(staged: _Hash = "", url: Url = None, admin_key: AdminKey = None, config: Config = None, as_json: Json = False) -> None:
    """Put the staged price table in force, in every process of the hub.

    Example: hub prices confirm
    """
    _decide("confirm", staged, admin_key, url, config, as_json)


@app.command("reject")
def reject(staged: _Hash = "", url: Url = None, admin_key: AdminKey = None, config: Config = None, as_json: Json = False) -> None:
    """Drop the staged price table.

    Example: hub prices reject
    """
    _decide("reject", staged, admin_key, url, config, as_json)


def _decide(what: str, staged: str, admin_key: str | None, url: str | None, config: Path | None, as_json: bool) -> None:
    from hub.commands import api, direct_prices

    done = api.attempt("POST", f"/admin/v1/prices/{what}", admin_key, url, config, {"table": staged})
    if done is None:
        done = asyncio.run(direct_prices.decide(config, staged, confirm=what == "confirm"))
    emit(done, f"{str(done['decision']).capitalize()} {done['table']}.", as_json)


def _content(source: Path | None) -> bytes:
    from hub.budget.price_table import embedded_bytes

    return source.read_bytes() if source else embedded_bytes()


def _instant(text: str) -> int | None:
    from datetime import datetime

    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise Failed("--at is no RFC 3339 time with an offset, such as 2030-01-31T12:00:00Z", code=2)
    return int(instant.timestamp())


def _text(found: dict[str, Any]) -> str:
    from hub.commands.prices_shown import dollars

    changes: list[dict[str, Any]] = found["changes"]
    rows = [
        (f"{one['provider']}/{one['model']}", one["figure"], dollars(one["old"]), dollars(one["new"]), one["percent"]) for one in changes
    ]
    lines = [table(("MODEL", "FIGURE", "OLD", "NEW", "CHANGE"), rows[:_MOST_ROWS])] if rows else []
    if len(rows) > _MOST_ROWS:
        lines.append(f"… and {len(rows) - _MOST_ROWS} more (--json shows all)")
    for title in ("added", "vanished"):
        names: list[str] = found[title]
        lines += [f"{title}: {', '.join(names[:20])}{f' and {len(names) - 20} more' if len(names) > 20 else ''}"] if names else []
    counts = f"{len(changes)} changed figures, {len(found['added'])} new models, {len(found['vanished'])} vanished"
    return "\n".join([*lines, counts])
