"""The embedded database: one writer, durable batches, reads of committed state."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hub.refusal import StoreDown
from hub.store.sqlite import SURVEYORS, Database, Locked, applied, migrate, migrations


def table(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")


def put(n: int):
    return lambda connection: connection.execute("INSERT INTO t VALUES (?)", (n,)).lastrowid


def everything(connection: sqlite3.Connection) -> list[int]:
    return [n for (n,) in connection.execute("SELECT n FROM t ORDER BY n")]


async def test_a_second_opener_is_refused_until_the_first_has_closed(tmp_path: Path):
    first, second = Database(tmp_path / "hub.db"), Database(tmp_path / "hub.db")
    first.open()
    with pytest.raises(Locked, match="in use"):
        second.open()
    await first.close()
    second.open()
    await second.close()


async def test_another_process_is_refused_too(database: Database):
    script = "import sys,asyncio,pathlib\nfrom hub.store.sqlite import *\nasync def main(): Database(pathlib.Path(sys.argv[1])).open()\nasyncio.run(main())"
    run = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(database.path), stderr=subprocess.PIPE)
    _, error = await asyncio.wait_for(run.communicate(), 30)
    assert b"Locked" in error


async def test_an_operation_returns_its_value(database: Database):
    await database.write(table)
    assert await database.write(put(7)) == 7
    assert await database.read(everything) == [7]


async def test_operations_run_in_the_order_given(database: Database):
    ran: list[int] = []
    await asyncio.gather(*(database.write(lambda _, n=n: ran.append(n)) for n in range(1500)))
    assert ran == sorted(ran)


async def test_what_arrives_together_is_committed_together(database: Database):
    sizes: list[int] = []
    database.on_commit(lambda count, _: sizes.append(count))
    await database.write(table)
    gate = threading.Event()
    held = database.write(lambda _: gate.wait(10))
    rest = [database.write(put(n)) for n in range(100)]
    gate.set()
    await asyncio.gather(held, *rest)
    assert sum(sizes) == 102
    assert max(sizes) >= 50


async def test_one_that_fails_in_a_batch_fails_alone(database: Database):
    await database.write(table)
    gate = threading.Event()
    held = database.write(lambda _: gate.wait(10))
    batch = [database.write(put(n)) for n in (1, 2, 2, 3)]
    gate.set()
    await held
    outcomes = await asyncio.gather(*batch, return_exceptions=True)
    assert [type(o) for o in outcomes] == [int, int, sqlite3.IntegrityError, int]
    assert await database.read(everything) == [1, 2, 3]


async def test_an_error_of_the_operation_itself_comes_back_as_it_is(database: Database):
    def wrong(_: sqlite3.Connection) -> None:
        raise KeyError("mine")

    for ask in (database.write, database.read):
        with pytest.raises(KeyError, match="mine"):
            await ask(wrong)


async def test_a_fault_of_the_database_is_typed_and_shows_no_statement(database: Database):
    with pytest.raises(StoreDown) as raised:
        await database.write(lambda connection: connection.execute("SELECT secret FROM nowhere"))
    assert "nowhere" not in raised.value.message
    assert "nowhere" in raised.value.detail


async def test_a_read_sees_committed_state_only(database: Database):
    await database.write(table)
    inserted, gate = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> None:
        put(1)(connection)
        inserted.set()
        gate.wait(10)

    writing = database.write(slow)
    await asyncio.to_thread(inserted.wait, 10)
    assert await database.read(everything) == []
    gate.set()
    await writing
    assert await database.read(everything) == [1]


async def test_a_long_read_is_not_in_the_way_of_a_short_one_nor_of_another_long_one(database: Database):
    gates = [threading.Event() for _ in range(SURVEYORS)]
    long = [database.survey(lambda _, gate=gate: gate.wait(30)) for gate in gates]
    try:
        assert await asyncio.wait_for(database.read(lambda connection: connection.execute("SELECT 1").fetchone()), 30) == (1,)
        gates[1].set()
        assert await asyncio.wait_for(long[1], 30) is True
        assert not long[0].done()
        assert await asyncio.wait_for(database.survey(lambda connection: connection.execute("SELECT 2").fetchone()), 30) == (2,)
    finally:
        gates[0].set()
    assert await long[0] is True


async def test_a_long_read_does_not_hold_up_the_end_and_what_waits_behind_it_is_not_begun(tmp_path: Path):
    database, begun = Database(tmp_path / "hub.db"), threading.Semaphore(0)
    database.open()

    def endless(connection: sqlite3.Connection) -> object:
        begun.release()
        query = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"
        return connection.execute(query).fetchall()

    waiting = [database.survey(endless) for _ in range(SURVEYORS + 1)]
    for _ in range(SURVEYORS):
        assert await asyncio.to_thread(begun.acquire, timeout=30)
    await asyncio.wait_for(database.close(), 30)
    assert [type(one) for one in await asyncio.gather(*waiting, return_exceptions=True)] == [StoreDown] * len(waiting)
    assert not begun.acquire(blocking=False)


async def test_the_reading_connection_cannot_write(database: Database):
    await database.write(table)
    with pytest.raises(StoreDown):
        await database.read(put(1))
    with pytest.raises(StoreDown):
        await database.survey(put(1))
    assert await database.read(everything) == []


async def test_close_finishes_what_was_queued(tmp_path: Path):
    database = Database(tmp_path / "hub.db")
    database.open()
    writes = [database.write(table), *(database.write(put(n)) for n in range(1000))]
    await database.close()
    assert all(w.done() and w.exception() is None for w in writes)
    database = Database(tmp_path / "hub.db")
    database.open()
    assert len(await database.read(everything)) == 1000
    await database.close()


async def test_what_was_closed_is_one_file(tmp_path: Path):
    """Connections that are closed at the same time each find the other, and none takes the log away: by chance, hence many times."""
    for n in range(150):
        database = Database(tmp_path / f"{n}.db")
        database.open()
        await database.write(table)
        await database.write(put(n))
        assert await database.read(everything) == [n]
        await database.close()
    assert not [*tmp_path.glob("*-wal"), *tmp_path.glob("*-shm")]


async def test_a_closed_database_refuses_at_once(tmp_path: Path):
    database = Database(tmp_path / "hub.db")
    with pytest.raises(StoreDown):
        database.write(table)
    database.open()
    await database.close()
    with pytest.raises(StoreDown):
        database.write(table)
    with pytest.raises(StoreDown):
        database.read(table)


async def test_a_cancelled_waiter_harms_nobody(database: Database):
    await database.write(table)
    gate = threading.Event()
    held = database.write(lambda _: gate.wait(10))
    left, kept = database.write(put(1)), database.write(put(2))
    left.cancel()
    gate.set()
    await asyncio.gather(held, kept)
    assert await database.read(everything) == [1, 2]


async def test_a_file_that_is_no_database_is_refused_and_its_lock_let_go(tmp_path: Path):
    path = tmp_path / "hub.db"
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 40)
    for _ in range(2):  # the second time would say `Locked` if the first had kept the lock
        with pytest.raises(sqlite3.DatabaseError):
            Database(path).open()
    path.unlink()
    database = Database(path)
    database.open()
    await database.close()


async def test_answered_writes_survive_a_kill(tmp_path: Path):
    script = """
import asyncio, pathlib, sys
from hub.store.sqlite import Database
async def main():
    database = Database(pathlib.Path(sys.argv[1])); database.open()
    await database.write(lambda c: c.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)"))
    n = 0
    while True:
        await asyncio.gather(*(database.write(lambda c, n=n + i: c.execute("INSERT INTO t VALUES (?)", (n,))) for i in range(5)))
        n += 5
        print(n, flush=True)
asyncio.run(main())
"""
    run = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(tmp_path / "hub.db"), stdout=subprocess.PIPE)
    assert run.stdout is not None
    answered = 0
    async with asyncio.timeout(30):
        while answered < 50:
            answered = int(await run.stdout.readline())
        os.kill(run.pid, signal.SIGKILL)
        answered = max([answered, *(int(line) for line in (await run.stdout.read()).splitlines() if line)])
        await run.wait()
    database = Database(tmp_path / "hub.db")
    database.open()
    assert set(range(answered)) <= set(await database.read(everything))
    await database.close()


def test_migrations_are_numbered_without_repeats_and_applied_once():
    numbers = [number for number, _, _ in migrations()]
    assert numbers == sorted(set(numbers))
    connection = sqlite3.connect(":memory:", isolation_level=None)
    assert migrate(connection) == [name for _, name, _ in migrations()]
    assert migrate(connection) == []
    assert applied(connection) == numbers[-1]
    connection.close()


async def test_the_database_file_is_durable_by_its_settings(database: Database):
    assert await database.write(lambda c: [c.execute(f"PRAGMA {p}").fetchone()[0] for p in ("journal_mode", "synchronous")]) == ["wal", 2]
