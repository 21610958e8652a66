"""Limits in the memory of one process: what its daily counts survive, and what its memory follows. The rest is in test_limiter.py."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub import seat
from hub.budget import limits as limits_module
from hub.budget.daily_postgres import PostgresDays
from hub.budget.daily_sqlite import SqliteDays
from hub.budget.limiter import Hold
from hub.budget.limits import Limits
from hub.refusal import Limited, StoreDown
from hub.store.postgres import Postgres
from hub.store.sqlite import Database
from tests.budget.conftest import NOON, InMemory, admitted, caller, enter, refusal, rule
from tests.services.postgres import PostgresServer


async def test_counts_of_past_days_leave_the_store(memory: InMemory, database: Database):
    limits = await memory.make(rule(per_day=5))
    await enter(limits, caller())
    memory.pass_(86_400)
    await enter(limits, caller())
    await asyncio.sleep(0)
    assert await database.write(lambda c: c.execute("SELECT count(*) FROM daily_use").fetchone()[0]) == 1


@pytest.mark.parametrize("limit", [20, 1000, 100_000])
async def test_a_count_is_durable_with_whatever_is_written_after_it(memory: InMemory, database: Database, limit: int):
    limits, who = await memory.make(rule(per_day=limit)), caller()
    for calls in range(1, 400):
        try:
            await enter(limits, who)
        except Limited:
            assert calls == limit + 1
            break
        record = database.write(lambda c: c.execute("SELECT used FROM daily_use").fetchone()[0])
        assert calls <= await record <= min(limit, calls + max(0, min(100, limit // 100) - 1))


async def test_a_count_that_could_not_be_stored_is_stored_with_the_next_call(memory: InMemory, database: Database):
    limits, who = await memory.make(rule(per_day=5)), caller()
    await database.write(lambda c: c.execute("ALTER TABLE daily_use RENAME TO away"))
    await enter(limits, who)
    await database.write(lambda c: c.execute("ALTER TABLE away RENAME TO daily_use"))
    await asyncio.sleep(0)
    await enter(limits, who)
    assert await database.write(lambda c: c.execute("SELECT used FROM daily_use").fetchone()[0]) == 2


KILLED = """
import asyncio, pathlib, sys
from hub.budget.daily_sqlite import SqliteDays
from hub.budget.limits import Limits
from hub.call import Caller
from hub.config.callers import LimitSpec
from hub.store.sqlite import Database
async def main():
    database = Database(pathlib.Path(sys.argv[1])); database.open()
    limits = Limits(SqliteDays(database), (LimitSpec(name="r", scope="key", per_day=int(sys.argv[2])),), wall=lambda: float(sys.argv[3]))
    await limits.open()
    who = Caller(org="default", subject="user:ann", key_id="k1", key_name="ci")
    while True:
        limits.enter_caller(who)
        await database.write(lambda c: c.execute("INSERT INTO calls DEFAULT VALUES"))
        print(".", flush=True)
asyncio.run(main())
"""


@pytest.mark.parametrize("limit", [60, 5000])
async def test_a_kill_never_loses_a_recorded_call_and_the_day_stays_within_its_limit(tmp_path: Path, limit: int):
    path = tmp_path / "hub.db"
    database = Database(path)
    database.open()
    await database.write(lambda c: c.execute("CREATE TABLE calls (n INTEGER PRIMARY KEY)"))
    await database.close()
    for _ in range(2):
        run = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, str(path), str(limit), str(NOON), stdout=subprocess.PIPE)
        assert run.stdout is not None
        async with asyncio.timeout(30):
            for _ in range(25):
                assert await run.stdout.readline()
            os.kill(run.pid, signal.SIGKILL)
            await run.stdout.read()
            await run.wait()
    database = Database(path)
    database.open()
    recorded = await database.read(lambda c: c.execute("SELECT count(*) FROM calls").fetchone()[0])
    limits = await InMemory(database).make(rule(per_day=limit))
    left = await admitted(limits, caller(), limit + 1)
    slack = 2 * max(1, limit // 100) + 2  # two crashes, each of at most 1 % and a call that was counted but not yet recorded
    assert limit - recorded - slack <= left <= limit - recorded
    await limits.close()
    await database.close()


async def test_memory_follows_the_active_callers(memory: InMemory, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits_module, "SWEEP_AT", 64)
    limits = await memory.make(rule(per_minute=60, burst=1), rule("busy", "subject", concurrency=1))
    assert isinstance(limits, Limits)
    limits._sweep_at = 64
    held = caller("held", subject="user:held")
    hold = await enter(limits, held)
    for n in range(5000):
        (await enter(limits, caller(f"k{n}", subject=f"user:{n}"))).release()
        memory.pass_(0.1)
        assert len(limits._meters) + len(limits._callers) <= 200
    await refusal(enter(limits, held))
    hold.release()
    await enter(limits, held)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from(["enter", "release", "wait"]), st.integers(0, 3)), max_size=80),
    concurrency=st.integers(1, 3),
    per_day=st.integers(1, 12),
)
def test_whatever_the_order_no_limit_is_exceeded(steps, concurrency, per_day):
    time, holds, calls = InMemory(_Deaf()), [], 0
    specs = (rule(concurrency=concurrency), rule("day", per_day=per_day))
    limits = Limits(SqliteDays(time.database), specs, clock=lambda: time.ns, wall=lambda: time.wall)
    who = caller()
    for step, amount in steps:
        if step == "wait":
            time.pass_(amount)
        elif step == "release" and holds:
            holds.pop(amount % len(holds)).release()
        elif step == "enter":
            fits = len(holds) < concurrency and calls < per_day
            try:
                holds.append(limits.enter_caller(who))
                calls += 1
                assert fits
            except Limited:
                assert not fits


class _Deaf(Database):
    """A database that takes every write and keeps none."""

    def __init__(self) -> None:
        super().__init__(Path("nowhere"))

    def write(self, operation):
        return _Ignored()


class _Ignored:
    def add_done_callback(self, _: object) -> None:
        return


@pytest.fixture
async def postgres_days(emptied_url: str):
    postgres = Postgres(emptied_url)
    await postgres.open()
    yield PostgresDays(postgres)
    await postgres.close()


async def test_in_postgresql_a_call_waits_for_its_count_and_counts_outlive_a_restart(postgres_days: PostgresDays):
    def made() -> Limits:
        return Limits(postgres_days, (rule(per_day=300), rule("few", per_day=40)), clock=lambda: 10**15, wall=lambda: float(NOON))

    limits, who = made(), caller()
    await limits.open()
    entry = limits.enter_caller(who)
    assert not isinstance(entry, Hold)  # must be waited for: its count is on its way
    await entry
    holds = await asyncio.gather(*(enter(limits, who) for _ in range(60)), return_exceptions=True)
    assert sum(isinstance(one, Hold) for one in holds) == 39
    kept = {rule_: used for rule_, _, used in await postgres_days.load(NOON // 86_400)}
    assert kept["few"] == 40
    assert 40 <= kept["r"] <= 42
    await limits.close()
    assert {rule_: used for rule_, _, used in await postgres_days.load(NOON // 86_400)} == {"few": 40, "r": 40}
    again = made()
    await again.open()
    again.configure((rule(per_day=300),))
    assert await admitted(again, who, 400) == 260
    await again.close()


async def test_in_postgresql_what_another_hub_counted_meanwhile_is_taken_up(postgres_days: PostgresDays):
    def made() -> Limits:
        return Limits(postgres_days, (rule(per_day=30), rule("much", per_day=500)), clock=lambda: 10**15, wall=lambda: float(NOON))

    mine, theirs, who = made(), made(), caller()
    await mine.open()
    assert await admitted(mine, who, 10) == 10
    await mine.resume()  # nobody has: what was stored ahead is not taken for counted
    await theirs.open()
    assert await admitted(theirs, who, 5) == 5
    await theirs.close()
    await mine.resume()
    assert await admitted(mine, who, 30) == 15
    await mine.close()


async def test_a_place_that_is_there_again_while_the_counts_cannot_be_read_is_not_taken_yet(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(seat, "LOOK", 0.005)
    held, failing, said = True, True, list[str]()

    async def hold(key: int, *, shared: bool) -> bool:
        return True

    async def back() -> None:
        said.append("back")
        if failing:
            raise StoreDown("away")

    place = seat.Seat(cast("Any", SimpleNamespace(hold=hold, holds=lambda key: held)), alone=True)
    await place.take(lambda: said.append("lost"), back)
    held = False
    await until(lambda: said == ["lost"])
    held = True
    await until(lambda: said[1:5] == ["back", "lost", "back", "lost"])
    failing = False
    await until(lambda: said[-2:] == ["lost", "back"])
    await place.close()


async def until(condition) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def test_in_postgresql_a_count_that_cannot_be_stored_refuses_the_call(postgres_days: PostgresDays, postgres: PostgresServer):
    limits = Limits(postgres_days, (rule(per_day=10, concurrency=1),), clock=lambda: 10**15, wall=lambda: float(NOON))
    await limits.open()
    postgres.kill()
    with pytest.raises(StoreDown):
        await enter(limits, caller())
    postgres.restart()
    async with asyncio.timeout(30):
        while True:
            try:
                (await enter(limits, caller())).release()
                break
            except StoreDown:
                await asyncio.sleep(0.02)
    await limits.close()
