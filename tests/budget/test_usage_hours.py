"""The ledger added up by the hour: whatever is asked for, the same answer as from the rows, while rows come, come late, and makers of hours die."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Sequence
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import json
from msgspec.structs import replace

from hub.budget import usage_hours_postgres, usage_hours_sqlite, usage_read, usage_sql
from hub.budget.usage import Facts, Usage
from hub.budget.usage_ask import Question, Statement
from hub.budget.usage_hours import Hour, Hours
from hub.budget.usage_hours_postgres import PostgresHours
from hub.budget.usage_hours_sqlite import SqliteHours
from hub.budget.usage_postgres import PostgresUsage
from hub.budget.usage_read import totals
from hub.budget.usage_roller import Roller
from hub.budget.usage_shown import summed
from hub.budget.usage_sql import BY_HOUR, HOUR
from hub.call import Tokens
from hub.store.postgres import Postgres
from tests.budget.purse import InPostgres, InSqlite

START = 1_900_000_000_000_000 - 1_900_000_000_000_000 % 86_400_000_000
HOURS = 30
"""Of rows: more than are begun at a time."""

Place = InSqlite | InPostgres
names = count()


def row(at: int, seed: int) -> Usage:
    org, key = ("acme", f"k{seed % 3}") if seed % 4 else ("evil", "e1")
    who = (org, key, "user:ann", ("ann", "bob", "")[seed % 3], "shop" if seed % 5 == 0 else "", "core" if seed % 2 else "", "")
    cost = None if seed % 7 == 0 else 10**12 + seed * 7919
    facts = Facts("llm.chat", "fast", "error" if seed % 6 == 0 else "ok", 1000, 1, {"feature": "x"} if seed % 2 else {})
    tokens = Tokens(input=seed, output=seed % 5, cache_read=seed % 11, reasoning=1)
    return Usage(f"{next(names):09d}", at, *who, "openai", f"m{seed % 2}", cost, tokens, facts)


def hours_of(place: Place) -> Hours:
    return SqliteHours(place.database) if isinstance(place, InSqlite) else PostgresHours(place.postgres)


def roller_of(place: Place, until: int = START + HOURS * HOUR) -> Roller:
    return Roller(place.store, hours_of(place), wall=lambda: until + 60_000_000)


async def rolled(place: Place, until: int = START + HOURS * HOUR) -> int:
    """Everything there is to make; how often something was."""
    roller, times = roller_of(place, until), 0
    while await roller.once():
        times += 1
    return times


async def put(place: Place, *rows: Usage) -> None:
    for one in rows:
        place.store.put(one, holds=False)
    await place.store.settled()


async def told(place: Place, what: str) -> list[tuple[int, ...]]:
    return [tuple(map(int, one)) for one in await place.store.select(Statement(what, ()), None)]


@pytest.fixture(params=["sqlite", "postgresql"])
async def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    for store in (usage_hours_sqlite, usage_hours_postgres):
        monkeypatch.setattr(store, "TOGETHER", 3)  # so that hours are half written for a while
    monkeypatch.setattr(usage_sql, "PART", 40)
    monkeypatch.setattr(usage_read, "PART", 40)
    place = InSqlite(tmp_path / "hub.db") if request.param == "sqlite" else InPostgres(request.getfixturevalue("database_url"))
    if isinstance(place, InPostgres):
        await place.open()
    yield place
    await place.close()


MOMENTS = st.one_of(
    st.integers(START - HOUR, START + (HOURS + 2) * HOUR),
    st.builds(lambda hour, by: START + hour * HOUR + by, st.integers(-1, HOURS + 1), st.sampled_from([-1, 0, 1])),
)
QUESTIONS = st.builds(
    Question,
    org=st.sampled_from([None, "acme", "evil", "nobody"]),
    key=st.sampled_from(["", "", "k1"]),
    since=st.one_of(st.just(0), MOMENTS),
    until=st.one_of(st.just(usage_read.Question().until), MOMENTS),
    equal=st.lists(
        st.sampled_from([("model", ("m1",)), ("spender", ("ann", "bob")), ("status", ("error",)), ("team", ("",)), ("app", ("shop", "x"))]),
        unique_by=lambda one: one[0],
        max_size=2,
    ).map(tuple),
    tags=st.sampled_from([(), (), (), (("feature", "x"),)]),
    unpriced=st.sampled_from([None, None, True, False]),
)
GROUPS = st.lists(st.sampled_from([*BY_HOUR[:-1], "hour", "day", "tag.feature"]), unique=True, max_size=4)


async def test_an_answer_from_hours_is_the_answer_from_rows_whatever_is_asked_for(place: Place):
    chance = random.Random(7)
    spread = [START + chance.randrange(HOURS * HOUR) for _ in range(400)]
    edges = [START + hour * HOUR + by for hour in range(HOURS) for by in (0, HOUR - 1)]
    await put(place, *(row(at, n) for n, at in enumerate(at for at in (*spread, *edges) if (at - START) // HOUR % 7 != 3)))
    await rolled(place)
    assert await told(place, "SELECT count(*), sum(calls) FROM usage_hour WHERE hour % 3600000000 = 0") != [(0, 0)]
    late = [row(START + hour * HOUR + 5, 1000 + hour) for hour in (2, 3, 9)]
    await put(place, *late)  # their hours are read row by row until they are made anew
    assert await told(place, "SELECT count(*), sum(dirty) FROM usage_rolled") == [(HOURS, 3)]

    @settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
    @given(question=QUESTIONS, by=GROUPS)
    def same(question: Question, by: list[str]) -> None:
        asked = [totals(place.store, question, by, hours=hours) for hours in (True, False)]
        answers.append((question, by, asked))

    answers: list = []
    same()
    for question, by, asked in answers:
        kept, plain = await asked[0], await asked[1]
        assert kept == plain, (question, by)
    await rolled(place)
    assert await told(place, "SELECT count(*), sum(state), sum(dirty) FROM usage_rolled") == [(HOURS, HOURS, 0)]
    everything = Question()
    assert await totals(place.store, everything, ["model"]) == await totals(place.store, everything, ["model"], hours=False)


async def test_rows_that_come_while_hours_are_made_are_in_each_answer_once(place: Place):
    """By several writers at once, into hours that are being made: an answer has all there was before it was asked, and nothing twice."""
    stores = [place.store]
    others: list[Postgres] = []
    if isinstance(place, InPostgres):
        for _ in range(2):
            others.append(Postgres(place.postgres._url))
            await others[-1].open()
            stores.append(PostgresUsage(others[-1]))
            await stores[-1].open()
    done = asyncio.Event()

    async def writing(number: int) -> None:
        chance = random.Random(number)
        for n in range(150):
            for _ in range(chance.randrange(1, 6)):
                stores[number].put(row(START + chance.randrange(6 * HOUR), n), holds=False)
            await stores[number].settled()

    async def making(number: int) -> None:
        store = others[number - 1] if number else None
        hours = hours_of(place) if store is None else PostgresHours(store)
        roller = Roller(place.store, hours, wall=lambda: START + 7 * HOUR)
        while not done.is_set():
            await roller.once()
            await asyncio.sleep(0)

    async def asking() -> int:
        kept, asked = 0, 0
        while not done.is_set():
            seen = []
            for hours in (False, True, False):
                found = await totals(place.store, Question(), [], hours=hours)
                seen.append((found[0].calls, found[0].cost, found[0].tokens[0]) if found else (0, 0, 0))
            assert seen[0] <= seen[1] <= seen[2]
            kept += bool((await told(place, "SELECT count(*) FROM usage_rolled WHERE state = 1 AND dirty = 0"))[0][0])
            asked += 1
        return asked

    others_at_it = [asyncio.create_task(making(n)) for n in range(len(stores))]
    reader = asyncio.create_task(asking())
    async with asyncio.timeout(120):
        await asyncio.gather(*(writing(n) for n in range(len(stores))))
        done.set()
        assert await reader > 0
        await asyncio.gather(*others_at_it)
    await rolled(place, START + 6 * HOUR)
    assert await told(place, "SELECT count(*), sum(state), sum(dirty) FROM usage_rolled") == [(6, 6, 0)]
    answers = [await totals(place.store, Question(), ["hour", "key", "model"], hours=hours) for hours in (True, False)]
    assert answers[0] == answers[1]
    [(sums,), (rows,)] = [await told(place, f"SELECT sum({one}) FROM {table}") for one, table in (("calls", "usage_hour"), ("1", "usage"))]
    assert sums == rows
    for store in stores[1:]:
        await store.close()
    for other in others:
        await other.close()


async def test_what_a_maker_leaves_behind_counts_for_nothing_and_is_made_again(place: Place):
    await put(place, *(row(START + n * 60_000_000, n) for n in range(120)))
    hours = hours_of(place)
    turns = await hours.begin([START, START + HOUR])  # and dies
    whole = await totals(place.store, Question(), [], hours=False)
    assert await totals(place.store, Question(), []) == whole
    assert await rolled(place) > 0
    assert await totals(place.store, Question(), []) == whole
    assert not await hours.keep(Hour(START, turns[START], []))  # it was not dead, and comes back too late
    again = await hours.begin([START])
    await put(place, row(START + 1, 1))
    assert not await hours.keep(Hour(START, again[START], []))  # a row came after it began
    assert (await totals(place.store, Question(), []))[0].calls == 121


async def test_an_hour_with_too_many_groups_is_read_row_by_row(place: Place, monkeypatch: pytest.MonkeyPatch):
    await put(place, *(row(START + n * 60_000_000, n) for n in range(120)))
    monkeypatch.setattr(usage_read, "GROUPS", 20)
    await rolled(place)
    assert [one for one in await told(place, "SELECT hour, state FROM usage_rolled ORDER BY hour") if one[0] < START + 2 * HOUR] == [
        (START, 2),
        (START + HOUR, 2),
    ]
    assert await told(place, "SELECT count(*) FROM usage_hour") == [(0,)]
    assert (await totals(place.store, Question(), []))[0].calls == 120


async def test_an_hour_whose_sums_are_beyond_64_bits_is_read_row_by_row_and_stops_no_other(place: Place):
    absurd = [row(START + 2 * HOUR + n, 1) for n in range(6)]
    most = (1 << 63) - 1
    absurd = [replace(one, cost=most, tokens=Tokens(input=most, output=n)) for n, one in enumerate(absurd)]
    near = [replace(row(START + hour * HOUR + 7, 1), cost=most - 10**16, tokens=Tokens(input=most - 500)) for hour in (3, 4)]
    await put(place, *(row(START + n * 600_000_000, n) for n in range(36)), *absurd, *near)
    roller = roller_of(place, START + 6 * HOUR)
    await roller.open()
    every = "SELECT hour, state, dirty FROM usage_rolled ORDER BY hour"
    wanted = [(START + hour * HOUR, 2 if hour == 2 else 1, 0) for hour in range(6)]
    async with asyncio.timeout(30):
        while await told(place, every) != wanted:
            await asyncio.sleep(0.02)
    await roller.close()
    for by in ([], ["hour"], ["day", "model"]):
        kept, plain = [await totals(place.store, Question(), by, hours=hours) for hours in (True, False)]
        assert kept == plain
        assert sum(one.cost for one in kept) > 8 * (most - 10**16), "exact, however much it is"
    assert kept[0].calls + kept[-1].calls == 36 + 8
    shown = json.decode(json.encode([summed(one, ["day", "model"]) for one in kept]))
    assert sum(one["tokens"]["input"] for one in shown) > 8 * (most - 500)


async def test_hours_are_apart_by_organisation(database_url: str):
    place = InPostgres(database_url)
    await place.open()
    await put(place, *(row(START + n * 60_000_000, n) for n in range(120)))
    await rolled(place)
    seen = Statement("SELECT org, count(*) FROM usage_hour GROUP BY org ORDER BY org", ())
    assert [one[0] for one in await place.store.select(seen, None)] == ["acme", "evil"]
    assert [one[0] for one in await place.store.select(seen, "evil")] == ["evil"]
    assert [one.group for one in await totals(place.store, Question(org="evil"), ["org"])] == [("evil",)]
    await place.close()


async def test_whatever_goes_wrong_with_an_hour_hours_are_made_later_on(tmp_path: Path):
    place = InSqlite(tmp_path / "hub.db")
    await put(place, *(row(START + n * 60_000_000, n) for n in range(120)))
    hours = hours_of(place)
    begin, wrong = hours.begin, [OverflowError("too large"), sqlite3.IntegrityError("no"), KeyError(1)]

    async def failing(wanted: Sequence[int]) -> dict[int, int]:
        if wrong:
            raise wrong.pop()
        return await begin(wanted)

    hours.begin = failing
    roller = Roller(place.store, hours, wall=lambda: START + 3 * HOUR, again=0.01)
    await roller.open()
    async with asyncio.timeout(30):
        while await told(place, "SELECT count(*) FROM usage_rolled WHERE state = 1") != [(2,)]:
            await asyncio.sleep(0.01)
    await roller.close()
    await place.close()
