"""A row that the database cannot hold keeps no other from being written, and is not lost: in either store."""

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from hub.budget.usage import Facts, Ledger, Usage
from hub.call import Tokens
from hub.refusal import StoreDown
from hub.store.redis import Redis
from hub.telemetry.metrics import Metrics
from tests.budget.purse import InPostgres, InRedis, InSqlite
from tests.services.redis import RedisServer

GOOD = Usage(
    "g0", 10, "acme", "k1", "user:ann", "ann", "", "core", "", "openai", "gpt", 7, Tokens(input=3, output=1), Facts("llm.chat", "fast")
)
MISSING: Any = None
BAD = {
    "large": replace(GOOD, id="large", cost=1 << 63),
    "half": replace(GOOD, id="half", model="\ud83d"),
    "missing": replace(GOOD, id="missing", model=MISSING),
    "many": replace(GOOD, id="many", tokens=Tokens(input=1 << 70)),
}
"""What neither holds."""
POSTGRES = {
    "nul": replace(GOOD, id="nul", model="a\0b"),
    "long": replace(GOOD, id="long", org="".join(chr(0x4E00 + n * 7919 % 20000) for n in range(4000))),
}
"""What PostgreSQL does not, and SQLite does: a text with NUL, one that is too long for an index."""


@pytest.fixture(params=["sqlite", "postgresql"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[InSqlite | InPostgres]:
    made = InSqlite(tmp_path / "hub.db") if request.param == "sqlite" else InPostgres(request.getfixturevalue("database_url"))
    if isinstance(made, InPostgres):
        await made.open()
    try:
        yield made
    finally:
        await made.close()


async def texts(place: InSqlite | InPostgres) -> dict[str, str]:
    """The rows aside, by their ids."""
    query = "SELECT id, row FROM usage_open"
    if isinstance(place, InSqlite):
        found = await place.database.read(lambda connection: connection.execute(query).fetchall())
    else:
        found = await place.postgres.read(lambda connection: connection.fetch(query))
    return {str(name): str(row) for name, row in found}


async def kept(place: InSqlite | InPostgres) -> dict[str, list[Any]]:
    return {name: json.loads(row) for name, row in (await texts(place)).items()}


def again(place: InSqlite | InPostgres) -> Ledger:
    """The ledger as the next start finds it."""
    return type(place.store)(place.database if isinstance(place, InSqlite) else place.postgres)  # type: ignore[arg-type]  # each its own


async def test_the_rest_of_its_batch_is_written_and_it_is_kept_aside(
    place: InSqlite | InPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    ledger: Ledger = place.store
    holds = replace(GOOD, id="held", cost=1 << 80)
    noting = ledger.note(replace(holds, cost=1))
    if noting is not None:
        await noting
    bad = BAD | {"held": holds} | (POSTGRES if isinstance(place, InPostgres) else {})
    rows = [replace(GOOD, id="g0"), *BAD.values(), replace(GOOD, id="g1"), *POSTGRES.values(), replace(GOOD, id="g2")]
    with caplog.at_level(logging.ERROR, "hub.budget.usage_aside"):
        for row in rows:
            ledger.put(row, holds=False)
        ledger.put(holds, holds=True)
        await ledger.settled()
    assert {row.id for row in await ledger.find(None)} == {row.id for row in rows} - set(bad)
    aside = await kept(place)
    assert set(aside) == set(bad), "where the call was noted stands what it did cost"
    assert (aside["held"][16], aside["large"][16], aside["half"][12]) == (1 << 80, 1 << 63, "\ud83d")
    assert (ledger.aside, ledger.waiting, len(caplog.records)) == (len(bad), 0, len(bad))
    metrics = Metrics()
    metrics.usage_aside = lambda: ledger.aside
    assert f"hub_usage_aside_total {float(len(bad))}" in metrics.render().decode()
    for n in range(3):  # and nothing is tried again with what comes later
        ledger.put(replace(GOOD, id=f"later{n}"), holds=False)
        await ledger.settled()
    assert ledger.aside == len(bad)


async def test_what_is_aside_keeps_no_hub_from_starting(place: InSqlite | InPostgres) -> None:
    ledger: Ledger = place.store
    for row in BAD.values():
        ledger.put(row, holds=False)
    under_way = replace(GOOD, id="open")
    noting = ledger.note(under_way)
    if noting is not None:
        await noting
    await ledger.settled()
    started = again(place)
    assert [row.id for row in await started.recover()] == ["open"]
    assert (started.aside, set(await kept(place))) == (len(BAD), set(BAD))
    assert [row.id for row in await started.find("acme")] == ["open"]


async def test_a_call_that_cannot_be_noted_is_refused_alone(database_url: str) -> None:
    """In SQLite a note is a text, and whoever makes one is told at once; here it is one of many that are written together."""
    place = InPostgres(database_url)
    await place.open()
    good, bad = place.store.note(GOOD), place.store.note(replace(GOOD, id="nul\0"))
    assert good is not None
    assert bad is not None
    with pytest.raises(StoreDown, match="cannot be kept"):
        await bad
    await good
    assert set(await kept(place)) == {"g0"}
    await place.close()


async def test_a_row_aside_stays_where_its_call_is_forgotten_with_a_later_batch(place: InSqlite | InPostgres) -> None:
    """What a call's end says is many things: they may be written in two goes."""
    ledger: Ledger = place.store
    for before in range(495, 501):  # so that it is at the border of a batch once
        bad = replace(GOOD, id=f"bad{before}", cost=1 << 63)
        noting = ledger.note(replace(bad, cost=1))
        if noting is not None:
            await noting
        for n in range(before):
            ledger.put(replace(GOOD, id=f"{before}.{n}"), holds=False)
        ledger.put(bad, holds=True)
        await ledger.settled()
    assert {name: row[16] for name, row in (await kept(place)).items()} == {f"bad{n}": 1 << 63 for n in range(495, 501)}
    assert ledger.aside == 6


async def test_a_start_tries_again_what_is_aside_where_budgets_are_counted_in_redis_too(
    store: Redis, redis: RedisServer, database_url: str
) -> None:
    place = InRedis(store, redis, database_url)
    await place.open()
    try:
        await place.make()
        for row in (GOOD, BAD["large"], BAD["many"]):
            place.store.put(row, holds=False)
        await place.store.settled()
        mended = "UPDATE usage_open SET row = replace(row, $1, '7')"
        await place.postgres.write(lambda connection: connection.execute(mended, str(1 << 63)))
        await place.make()
        assert {row.id for row in await place.store.find(None)} == {"g0", "large"}
        assert place.stores[1].aside == 1, "said again of what does not fit yet"
    finally:
        await place.close()


async def test_a_row_that_was_mended_wrongly_keeps_no_hub_from_starting(place: InSqlite | InPostgres) -> None:
    """Operators are told to mend rows by hand. What is no row is told of, and stays as it is."""
    for n in range(7):
        place.store.put(replace(GOOD, id=f"b{n}", cost=1 << 63), holds=False)
    await place.store.settled()
    good = [*(await kept(place))["b0"]]
    good[16] = 7
    wrong = ["[7", '{"id": 1}', "5", "null", *(json.dumps([*good[:at], bad, *good[at + 1 :]]) for at, bad in ((12, {"a": 1}), (19, "{no")))]
    wrong.append(json.dumps(good[:-1]))
    for n, text in enumerate(wrong):
        await mend(place, f"b{n}", text)
    started = again(place)
    assert await started.recover() == []
    assert started.aside == len(wrong)
    assert await texts(place) == {f"b{n}": text for n, text in enumerate(wrong)}
    await mend(place, "b0", json.dumps(good))
    started = again(place)
    assert [row.id for row in await started.recover()] == ["b0"]
    assert set(await texts(place)) == {f"b{n}" for n in range(1, len(wrong))}
    assert [row.cost for row in await started.find(None)] == [7]


async def mend(place: InSqlite | InPostgres, name: str, text: str) -> None:
    if isinstance(place, InSqlite):
        await place.database.write(
            lambda connection: connection.execute("UPDATE usage_open SET row = ? WHERE id = ?", (text, name)) and None
        )
    else:
        await place.postgres.write(lambda connection: connection.execute("UPDATE usage_open SET row = $1 WHERE id = $2", text, name))
