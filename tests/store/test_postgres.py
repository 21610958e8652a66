"""PostgreSQL under many processes: tenants, bounds, refusals that come quickly, and commits of which nobody heard."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import ANY

import asyncpg
import pytest

from hub.refusal import StoreDown
from hub.store import postgres as postgres_module
from hub.store import postgres_migrations, postgres_pool
from hub.store.base import LaterVersion
from hub.store.postgres import Ambiguous, Postgres, applied, connect, migrations
from tests.services.postgres import PostgresServer
from tests.support.wire_cutter import cutter

PATIENCE = 20.0
"""Seconds for an answer where the test is of something else: a busy machine may take some."""

QUICK = 1.0
"""Seconds, where it is of the patience itself."""

BUSY = 10.0
"""Seconds that a busy machine may add to what is waited for. Who waits for the wrong thing waits for `PATIENCE`, or for ever."""


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Postgres]:
    async with opened(database_url, PATIENCE) as store:
        yield store


@pytest.fixture
async def hasty(database_url: str) -> AsyncIterator[Postgres]:
    """One that waits for little."""
    async with opened(database_url, QUICK) as store:
        yield store


@asynccontextmanager
async def opened(url: str, patience: float) -> AsyncIterator[Postgres]:
    store = Postgres(url, connections=4, patience=patience)
    await store.open()
    await store.write(lambda c: c.execute("CREATE TABLE t (n int PRIMARY KEY)"))
    yield store
    await store.close()


def put(n: int):
    return lambda c: c.execute("INSERT INTO t VALUES ($1)", n)


def everything(c):
    return c.fetch("SELECT n FROM t ORDER BY n")


async def numbers(store: Postgres) -> list[int]:
    return [row["n"] for row in await store.read(everything)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def until_up(store: Postgres) -> None:
    await until(lambda: store.up)


async def took(call: Awaitable[object]) -> tuple[float, BaseException | None]:
    started, found = time.monotonic(), None
    try:
        await call
    except StoreDown as error:
        found = error
    return time.monotonic() - started, found


def refused_at_once(call: Coroutine[Any, Any, object]) -> StoreDown:
    """What a call comes to that waits for nothing: it ends in the turn in which it begins."""
    with pytest.raises(StoreDown) as raised:
        call.send(None)
    return raised.value


async def ended(postgres: PostgresServer, which: str) -> None:
    """End connections of the server, and wait until they are no more."""
    postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {which}")
    async with asyncio.timeout(30):
        while int(await asyncio.to_thread(postgres.sql, f"SELECT count(*) FROM pg_stat_activity WHERE {which}")):
            await asyncio.sleep(0.01)


async def test_an_operation_returns_its_value_and_its_write_is_seen(store: Postgres):
    assert await store.write(put(7)) == "INSERT 0 1"
    assert await numbers(store) == [7]


async def test_a_read_changes_nothing_and_sees_one_state(store: Postgres):
    with pytest.raises(StoreDown, match="cannot be used"):
        await store.read(put(1))

    async def twice(c):
        first = await everything(c)
        await store.write(put(1))
        return first == await everything(c)

    assert await store.read(twice)
    assert await numbers(store) == [1]


async def test_an_operation_that_fails_leaves_nothing_behind_and_its_error_is_told_apart(store: Postgres):
    async def half(c):
        await put(1)(c)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await store.write(half)
    await store.write(put(2))
    with pytest.raises(asyncpg.UniqueViolationError):
        await store.write(put(2))
    with pytest.raises(StoreDown) as raised:
        await store.write(lambda c: c.execute("SELECT secret FROM nowhere"))
    assert "nowhere" not in raised.value.message
    assert "nowhere" in raised.value.detail
    assert await numbers(store) == [2]


async def test_a_transaction_that_failed_unseen_is_not_taken_for_a_commit(store: Postgres):
    async def swallowed(c):
        await put(1)(c)
        with pytest.raises(asyncpg.PostgresError):
            await c.execute("SELECT 1/0")

    with pytest.raises(StoreDown) as raised:
        await store.write(swallowed)
    assert not isinstance(raised.value, Ambiguous)
    assert await numbers(store) == []


async def test_commits_are_observed(store: Postgres):
    seen = []
    store.on_commit(lambda count, seconds: seen.append((count, seconds > 0)))
    await store.write(put(1))
    await store.read(everything)
    assert seen == [(1, True)]


JOURNAL = ("journal_org", "journal_record", "journal_salt", "journal_checkpoint", "journal_writer")


async def test_a_query_without_a_tenant_sees_nothing_and_one_with_a_tenant_sees_its_own(store: Postgres, database_url: str):
    async def fill(c):
        for name in ("a", "b"):
            made = "INSERT INTO journal_org (name, id, origin, vkey, range) VALUES ($1, $1, $1, '', '') RETURNING number"
            number = await c.fetchval(made, name)
            await c.execute("INSERT INTO journal_record VALUES ($1, 0, 'x', 0, '', '')", number)
            await c.execute("INSERT INTO journal_salt VALUES ($1, 0, '')", number)
            await c.execute("INSERT INTO journal_checkpoint VALUES ($1, 1, '')", number)
            await c.execute("INSERT INTO journal_writer VALUES ('boot', $1, 0)", number)

    def count(table: str):
        return lambda c: c.fetchval(f"SELECT count(*) FROM {table}")

    await store.write(fill)
    bare = await asyncpg.connect(database_url)
    for table in JOURNAL:
        assert await bare.fetchval(f"SELECT count(*) FROM {table}") == 0
        assert await store.read(count(table)) == 2
        assert [await store.read(count(table), org=org) for org in ("a", "b", "c", "' OR true --", "\\' OR true --", "")] == [
            1,
            1,
            0,
            0,
            0,
            0,
        ]
    assert await store.read(lambda c: c.fetchval("SELECT name FROM journal_org"), org="b") == "b"
    assert await store.write(lambda c: c.execute("DELETE FROM journal_checkpoint"), org="a") == "DELETE 1"
    for wrong in ("INSERT INTO journal_record VALUES (1, 5, 'x', 0, '', '')", "INSERT INTO journal_checkpoint VALUES (2, 2, '')"):
        with pytest.raises(StoreDown, match="cannot be used") as raised:
            await store.write(lambda c, wrong=wrong: c.execute(wrong), org="a")
        assert "row-level security" in raised.value.detail
    await bare.close()


async def test_a_record_cannot_be_changed_or_removed_by_the_role_that_wrote_it(store: Postgres):
    async def fill(c):
        await c.execute("INSERT INTO journal_org (name, id, origin, vkey, range) VALUES ('a', 'a', 'a', '', '')")
        await c.execute("INSERT INTO journal_record SELECT number, 0, 'x', 0, '', '' FROM journal_org")
        await c.execute("INSERT INTO journal_salt SELECT number, 0, repeat('s', 32)::bytea FROM journal_org")

    await store.write(fill)
    for org in ("a", "*"):
        for table in ("journal_org", "journal_record", "journal_salt"):
            assert await store.write(lambda c, table=table: c.execute(f"DELETE FROM {table}"), org=org) == "DELETE 0"
        assert await store.write(lambda c: c.execute("UPDATE journal_record SET leaf = 'other'"), org=org) == "UPDATE 0"
    assert await store.write(lambda c: c.execute("UPDATE journal_org SET size = 0"), org="a") == "UPDATE 0"
    assert await store.write(lambda c: c.execute("UPDATE journal_salt SET salts = ''"), org="a") == "UPDATE 0"
    assert await store.write(lambda c: c.execute("UPDATE journal_salt SET salts = decode(repeat('00', 32), 'hex')")) == "UPDATE 1"


async def test_every_table_with_an_organisation_forces_row_level_security(store: Postgres):
    unguarded = """
      SELECT c.relname FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
        AND EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'org')
        AND NOT (c.relrowsecurity AND c.relforcerowsecurity)"""
    assert await store.read(lambda c: c.fetch(unguarded)) == []


async def test_a_role_that_row_level_security_does_not_bind_is_said(
    database_url: str, postgres: PostgresServer, caplog: pytest.LogCaptureFixture
):
    for account, said in (("hub:", False), ("postgres:", True)):
        store = Postgres(database_url.replace("//hub:", f"//{account}"))
        await store.open()
        await store.close()
        assert ("does not bind" in caplog.text) is said


async def test_calls_share_the_connections_and_none_leaks_when_callers_leave(store: Postgres, postgres: PostgresServer, database_name: str):
    async def slow(c):
        await c.execute("SELECT pg_sleep(0.02)")
        return await put(next(counter))(c)

    counter = iter(range(10_000))
    for pause in (0.0, 0.001, 0.005, 0.02, 0.03):
        calls = [asyncio.ensure_future(store.write(slow)) for _ in range(12)]
        await asyncio.sleep(pause)
        for call in calls:
            call.cancel()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError | str) for each in ended)
        await until(lambda: store.in_use == 0)
        await until(lambda: postgres.connections(database_name) <= 4)  # the server may be a little behind
    busy_ones = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database_name}' AND state <> 'idle'"
    await until(lambda: postgres.sql(busy_ones) == "0")
    assert len(await asyncio.gather(*(store.write(put(20_000 + n)) for n in range(50)))) == 50


async def test_a_caller_who_leaves_during_the_commit_does_not_undo_it(store: Postgres):
    async def written(c):
        await put(1)(c)
        asyncio.get_running_loop().call_soon(call.cancel)

    call = asyncio.ensure_future(store.write(written))
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: store.in_use == 0)
    assert await numbers(store) == [1]


async def test_waiters_are_bounded_and_refused_in_time(hasty: Postgres, monkeypatch: pytest.MonkeyPatch):
    store = hasty
    monkeypatch.setattr(postgres_pool, "WAITERS", 2)
    gate = asyncio.Event()

    async def held(c):
        await gate.wait()

    calls = [asyncio.ensure_future(store.read(held)) for _ in range(4)]
    await until(lambda: store.in_use == 4)
    waiting = [asyncio.ensure_future(took(store.read(everything))) for _ in range(8)]
    await asyncio.sleep(0)
    assert "wait" in refused_at_once(store.read(everything)).detail
    for seconds, error in await asyncio.gather(*waiting):
        assert isinstance(error, StoreDown)
        assert QUICK * 0.9 < seconds < QUICK + BUSY
    gate.set()
    await asyncio.gather(*calls)
    assert await numbers(store) == []


async def test_a_hanging_database_refuses_within_the_patience_without_a_pile_up_and_recovers(
    hasty: Postgres, postgres: PostgresServer, database_name: str
):
    store = hasty
    postgres.stop_answering()
    first = await asyncio.gather(*(took(store.read(everything)) for _ in range(40)))
    assert all(isinstance(error, StoreDown) for _, error in first)
    assert max(seconds for seconds, _ in first) < 2 * QUICK + BUSY
    assert not store.up
    assert all(refused_at_once(store.write(put(n))).retry_after for n in range(200))
    postgres.resume()
    await until_up(store)
    assert await numbers(store) == []
    await store.write(put(1))
    await until(lambda: postgres.connections(database_name) <= 5)
    await until(lambda: store.in_use == 0)


async def test_a_killed_database_is_refused_at_once_and_found_again(store: Postgres, postgres: PostgresServer):
    await asyncio.gather(*(store.write(put(n)) for n in range(20)))
    postgres.kill()
    found = await asyncio.gather(*(took(store.write(put(n))) for n in range(20, 60)))
    assert all(isinstance(error, StoreDown) and not isinstance(error, Ambiguous) for _, error in found)
    assert max(seconds for seconds, _ in found) < PATIENCE  # nobody has waited for an answer
    assert refused_at_once(store.write(put(60)))
    postgres.restart()
    await until_up(store)
    assert await numbers(store) == list(range(20))


async def test_a_connection_that_was_ended_while_idle_costs_nobody_an_error(store: Postgres, postgres: PostgresServer, database_name: str):
    for n in range(3):
        await asyncio.gather(*(store.read(everything) for _ in range(4)))
        await ended(postgres, f"datname = '{database_name}'")
        await store.write(put(n))
    assert await numbers(store) == [0, 1, 2]


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When a connection was asked for."""
    found: list[float] = []
    really = postgres_module.connect

    async def noted(*arguments, **more):
        found.append(time.monotonic())
        return await really(*arguments, **more)

    monkeypatch.setattr(postgres_module, "connect", noted)
    return found


async def hammered(store: Postgres, seconds: float, served: int = 0) -> tuple[int, int]:
    """Calls that came through, `served` of them at least, and that were refused, while twenty were always asking."""
    ended = [0, 0]

    async def ask():
        end = time.monotonic() + seconds
        while time.monotonic() < end or ended[0] < served:
            _, error = await took(store.write(lambda c: c.execute("SELECT 1")))
            ended[error is not None] += 1
            await asyncio.sleep(0.005 if error else 0)

    await asyncio.gather(*(ask() for _ in range(20)))
    return ended[0], ended[1]


async def test_where_the_server_lets_no_more_in_those_that_are_in_serve_everybody(
    store: Postgres, postgres: PostgresServer, attempts: list[float]
):
    await asyncio.gather(*(store.read(everything) for _ in range(2)))
    while len(store._pool._idle) > 2:
        store._pool._idle.pop().terminate()
    try:
        for change in ("CONNECTION LIMIT 2", "PASSWORD 'another'"):
            postgres.sql(f"ALTER ROLE hub {change}")
            attempts.clear()
            began = time.monotonic()
            served, refused = await hammered(store, 0.4, 200)
            assert served > 10 * refused
            assert len(attempts) <= 6 + 2 * (time.monotonic() - began) / postgres_pool.LONGEST_PAUSE
            assert store.up
        postgres.sql("ALTER ROLE hub CONNECTION LIMIT 0")
        await ended(postgres, "usename = 'hub'")
        attempts.clear()
        began = time.monotonic()
        served, refused = await hammered(store, 0.5)
        assert (served, store.up) == (0, False)
        assert len(attempts) <= 10 + 2 * (time.monotonic() - began) / postgres_pool.LONGEST_PAUSE
    finally:
        postgres.sql(f"ALTER ROLE hub CONNECTION LIMIT -1 PASSWORD '{postgres.password}'")
    await until_up(store)
    assert (await hammered(store, 0.1))[0]
    await until(lambda: store.in_use == 0)


async def test_a_standby_is_no_server_for_the_hub_until_it_has_taken_over(store: Postgres, postgres: PostgresServer, attempts: list[float]):
    postgres.kill()
    postgres.stand_by()
    began = time.monotonic()
    assert await hammered(store, 0.5) == (0, ANY)
    assert not store.up
    assert len(attempts) < 12 + 2 * (time.monotonic() - began) / postgres_pool.LONGEST_PAUSE
    with pytest.raises(StoreDown):
        await store.hold(1)
    postgres.sql("SELECT pg_promote()")
    await until_up(store)
    await store.write(put(1))


async def test_a_statement_that_waits_for_a_lock_is_given_up_and_the_connection_stays_of_use(store: Postgres):
    async def pid(c):
        found = await c.fetchval("SELECT pg_backend_pid()")
        await together.wait()  # each on a connection of its own
        return found

    async def sooner(c):
        waited.append(await c.fetchval("SELECT pg_backend_pid()"))
        await c.execute("SET LOCAL lock_timeout = 100")
        return await put(1)(c)

    waited, together = [], asyncio.Barrier(3)

    async def blocking(c):
        await c.execute("LOCK TABLE t")
        assert await store.read(lambda c: c.fetchval("SHOW lock_timeout")) == "16s", "sooner than the patience ends"
        with pytest.raises(StoreDown) as raised:
            await store.write(sooner)
        assert "LockNotAvailable" in raised.value.detail
        assert waited[0] in await asyncio.gather(*(store.read(pid) for _ in range(3)))

    await store.write(blocking)
    assert store.up


async def test_a_process_that_stops_in_a_transaction_does_not_keep_its_locks(store: Postgres, database_url: str):
    stopped = await connect(database_url, QUICK)
    await stopped.execute("BEGIN")
    await stopped.execute("LOCK TABLE t")
    await store.write(put(1))
    assert await numbers(store) == [1]
    stopped.terminate()


@pytest.mark.parametrize(("cut", "holds"), [("after", True), ("before", False)])
async def test_a_commit_of_which_nobody_heard_is_said_to_be_ambiguous(store: Postgres, database_url: str, cut: str, holds: bool):
    async with cutter(database_url) as (proxy, url):
        through = Postgres(url, connections=2, patience=PATIENCE)
        await through.open()
        proxy.cut = cut
        with pytest.raises(Ambiguous):
            await through.write(put(1))
        assert proxy.cuts == 1
        async with asyncio.timeout(30):
            while (await numbers(store) == [1]) is not holds:
                await asyncio.sleep(0.01)
        await through.write(put(2))
        assert through.in_use == 0
        await through.close()


async def test_a_commit_that_is_not_answered_in_time_is_ambiguous(store: Postgres, postgres: PostgresServer):
    async def stop(c):
        await put(1)(c)
        postgres.stop_answering()
        store._patience = QUICK

    seconds, error = await took(store.write(stop))
    assert isinstance(error, Ambiguous)
    assert seconds < QUICK + BUSY
    postgres.resume()
    await until_up(store)


async def test_the_address_is_never_shown(postgres: PostgresServer, database_url: str):
    secret = postgres.password
    wrong = database_url.replace(secret, secret[::-1])
    shown = [repr(Postgres(database_url))]
    for url in (
        wrong,
        database_url.replace("127.0.0.1", "%zz"),
        database_url.replace(":" + str(postgres.port), ":1"),
        f"x{database_url}",
        f"{database_url}?sslmode=odd",
    ):
        store = Postgres(url, patience=QUICK)
        with pytest.raises(StoreDown) as raised:
            await store.open()
        error = raised.value
        shown += [str(error), repr(error), error.message, error.detail, str(error.__cause__), str(error.data)]
    assert not [text for text in shown if secret in text or secret[::-1] in text]


async def test_a_closed_store_refuses_at_once(database_url: str, postgres: PostgresServer, database_name: str):
    store = Postgres(database_url)
    with pytest.raises(StoreDown):
        await store.read(everything)
    await store.open()
    await store.close()
    with pytest.raises(StoreDown):
        await store.write(put(1))
    await until(lambda: postgres.connections(database_name) == 0)


async def test_many_processes_migrate_at_once_and_each_step_is_applied_once(database_url: str):
    script = "import asyncio,sys\nfrom hub.store.postgres import Postgres\nasync def main():\n s = Postgres(sys.argv[1]); \n try: await s.open()\n except Exception as e: print(e.detail, file=sys.stderr); raise\n await s.close()\nasyncio.run(main())"
    runs = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", script, database_url, stderr=asyncio.subprocess.PIPE) for _ in range(3)
    ]
    ended = await asyncio.gather(*(run.communicate() for run in runs))
    assert [run.returncode for run in runs] == [0, 0, 0], ended
    connection = await connect(database_url, PATIENCE)
    assert await applied(connection) == migrations()[-1][0]
    rows = await connection.fetch("SELECT number FROM hub_migration ORDER BY number")
    assert [row["number"] for row in rows] == [number for number, _, _ in migrations()]
    await connection.close()


async def test_a_migration_that_waits_for_a_long_reader_does_not_have_writers_wait_behind_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
):
    """As one does for an export of the journal, or a dump, beside hubs that serve."""
    found = migrations()
    with monkeypatch.context() as before:
        before.setattr(postgres_migrations, "migrations", lambda: [one for one in found if one[0] < 21])
        older = Postgres(database_url, connections=4, patience=PATIENCE)
        await older.open()
    reader, other = await connect(database_url, PATIENCE), await connect(database_url, PATIENCE)
    await reader.execute("BEGIN; SELECT size FROM journal_org; SELECT org FROM journal_record")
    newer = Postgres(database_url)
    opening = asyncio.create_task(newer.open())
    waits = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted"
    async with asyncio.timeout(30):
        while not await other.fetchval(waits):
            assert not opening.done()
            await asyncio.sleep(0.01)
    await older.write(lambda c: c.execute("UPDATE journal_org SET size = size"))
    assert not opening.done()
    await reader.execute("COMMIT")
    await opening
    assert await applied(other) == found[-1][0]
    for one in (reader, other, older, newer):
        await one.close()


async def test_a_later_versions_database_is_refused(store: Postgres, database_url: str):
    await store.write(lambda c: c.execute("INSERT INTO hub_migration (number, name) VALUES (9999, 'later')"))
    with pytest.raises(LaterVersion, match="later version"):
        await Postgres(database_url).open()


async def test_a_lock_is_one_processs_until_it_closes(database_url: str):
    first, second = (Postgres(database_url, patience=PATIENCE) for _ in range(2))
    await first.open()
    await second.open()
    assert await first.hold(1)
    assert not await second.hold(1)
    assert not second.lost
    assert await second.hold(2, shared=True)
    assert await first.hold(2, shared=True)
    await first.close()
    async with asyncio.timeout(30):
        while not await second.hold(1):
            await asyncio.sleep(0.01)
    await second.release(1)
    assert not second.holds(1)
    await second.close()


async def test_a_lock_whose_connection_died_is_lost_and_sought_again(
    database_url: str, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("hub.store.postgres_locks.PING", 0.05)
    store = Postgres(database_url, patience=PATIENCE)
    await store.open()
    assert await store.hold(7)
    postgres.kill()
    await until(lambda: store.lost)
    postgres.restart()
    await until(lambda: not store.lost)
    assert store.holds(7)
    await store.close()


async def test_a_lock_that_another_took_meanwhile_is_lost_until_it_is_free(
    database_url: str, postgres: PostgresServer, database_name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("hub.store.postgres_locks.PING", 0.05)
    store, other = Postgres(database_url, patience=PATIENCE), await connect(database_url, 40.0)
    await store.open()
    assert await store.hold(7)
    waiting = asyncio.ensure_future(other.fetchval("SELECT pg_advisory_lock(7)", timeout=30.0))
    queued = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    async with asyncio.timeout(30):
        while await store.read(lambda c: c.fetchval(queued)) == 0:
            await asyncio.sleep(0.01)
    postgres.sql(
        f"SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted AND datname = '{database_name}'"
    )
    await waiting
    await until(lambda: store._locks._connection is not None and not store._locks._connection.is_closed() and store.lost)
    assert not store.holds(7)
    await other.close()
    await until(lambda: not store.lost)
    await store.close()


async def test_nobody_waits_for_a_silent_server_to_let_go_of_a_lock(
    database_url: str, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("hub.store.postgres_locks.PING", 0.01)
    monkeypatch.setattr("hub.store.postgres_locks._RELEASE_PATIENCE", 0.1)
    store, other = Postgres(database_url, patience=60.0), await connect(database_url, 60.0)
    await store.open()
    assert await store.hold(7)
    assert await store.hold(8)
    postgres.stop_answering()
    await until(store._locks._turn.locked)  # it is being asked whether it is there
    async with asyncio.timeout(10):  # who waited for the server would wait for longer
        await store.release(7)
    assert not store.holds(7)
    postgres.resume()
    async with asyncio.timeout(30):
        while not await other.fetchval("SELECT pg_try_advisory_lock(7)"):
            await asyncio.sleep(0.01)
    assert store.holds(8)
    assert not await other.fetchval("SELECT pg_try_advisory_lock(8)")
    await other.close()
    await store.close()
