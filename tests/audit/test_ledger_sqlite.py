"""What is particular to the journal in SQLite: operations that share the writer thread's transactions, and their order."""

import asyncio
import os
import sqlite3
import sys
import threading
from collections import deque

import pytest

from hub.audit import export, record, rows_sqlite
from hub.audit.ledger import NO_SALT
from hub.audit.ledger_sqlite import Commit
from hub.refusal import JournalDown


@pytest.fixture
def audit(sqlite_audit):
    return sqlite_audit


async def test_a_neighbour_that_fails_does_not_fail_the_records_of_its_transaction(audit):
    async with audit.opened(audit.path) as (database, log):
        first = log.append("acme", record.event("admin.test"))
        await asyncio.sleep(0)
        broken = database.write(lambda connection: connection.execute("SELECT * FROM nowhere"))
        second = log.append("acme", record.event("admin.test"))
        assert [(await first).index, (await second).index] == [0, 1]
        with pytest.raises(Exception, match="database"):
            await broken
    assert [row["record"]["n"] for row in export.tail(audit.path, "acme", 99)] == [1, 2]


async def held_up(database, busy):
    """An operation that holds the store's thread until `busy` is set, once it does."""
    begun = threading.Event()
    held = database.write(lambda _: (begun.set(), busy.wait(10)))
    await asyncio.to_thread(begun.wait, 10)
    return held


def waiting(*records):
    return deque((("acme", each, NO_SALT), asyncio.get_running_loop().create_future()) for each in records)


async def test_what_is_appended_while_the_store_is_busy_shares_one_commit(audit):
    async with audit.opened(audit.path) as (database, log):
        busy, asked = threading.Event(), []
        held = await held_up(database, busy)
        write = database.write
        database.write = lambda operation, **how: asked.append(operation) or write(operation, **how)
        appended = []
        for turn in range(5):
            appended += [log.append("acme", record.event("admin.test", n=turn, m=m)) for m in range(3)]
            await asyncio.sleep(0.01)
        assert len([each for each in asked if isinstance(each, Commit)]) == 1
        busy.set()
        await held
        assert [(await each).index for each in appended] == list(range(15))


async def test_what_a_turn_of_the_loop_stores_and_records_is_synced_once(audit):
    async with audit.opened(audit.path) as (database, log):
        commits, order = [], []
        await log.append("acme", record.event("admin.test"))
        database.on_commit(lambda operations, _: commits.append(operations))
        stored = database.write(lambda connection: order.append("stored"))
        appended = log.append("acme", record.event("admin.test"))
        appended.add_done_callback(lambda _: order.append("record"))
        later = database.write(lambda connection: order.append("stored later"))
        await asyncio.gather(stored, appended, later)
        assert order == ["stored", "stored later", "record"]
        assert commits == [3]


async def test_a_record_is_never_durable_before_what_was_stored_before_it(audit):
    order = []
    async with audit.opened(audit.path) as (database, log):
        commit = rows_sqlite.commit

        def noted(connection, writer, entries):
            order.extend(entry[1]["kind"] for entry in entries)
            return commit(connection, writer, entries)

        busy = threading.Event()
        held = await held_up(database, busy)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rows_sqlite, "commit", noted)
            log.append("acme", record.event("admin.first"))
            await asyncio.sleep(0.01)
            stored = database.write(lambda _: order.append("count"))
            last = log.append("acme", record.event("admin.second"))
            await asyncio.sleep(0.01)
            busy.set()
            await asyncio.gather(held, stored, last)
    assert order[:3] == ["admin.first", "count", "admin.second"]


async def test_what_comes_while_the_file_is_waited_for_has_its_own_time(audit):
    """The store waits two seconds for a locked file; a record that comes in the second is not to fail with the first."""
    async with audit.opened(audit.path) as (_, log):
        await audit.govern(log)
        foreign = sqlite3.connect(audit.path, isolation_level=None)
        foreign.execute("BEGIN IMMEDIATE")
        first = log.append("acme", record.event("admin.test"))
        later: list[asyncio.Future] = []
        for _ in range(18):
            await asyncio.sleep(0.1)
            if first.done():  # on a busy machine: they are to have their time from here on
                break
            later.append(log.append("acme", record.event("admin.test")))
        with pytest.raises(JournalDown):
            await first
        foreign.execute("ROLLBACK")
        receipts = await asyncio.gather(*later)
        foreign.close()
        assert [receipt.index for receipt in receipts] == list(range(2, 2 + len(later)))
        assert log.waiting == 0


async def test_of_a_call_whose_caller_left_no_outcome_is_written_alone(audit):
    """The file is locked for longer than the store waits: the intent fails, and the outcome, which comes later, would not."""
    async with audit.opened(audit.path) as (_, log):
        await audit.govern(log)
        foreign = sqlite3.connect(audit.path, isolation_level=None)
        foreign.execute("BEGIN IMMEDIATE")
        call = audit.call()
        left = log.append("acme", record.intent(call, audit.caller(), audit.allow, os.urandom(32)))
        beside = log.append("acme", record.event("admin.test"))
        other = audit.call()
        await asyncio.sleep(1)
        left.cancel()
        ended = log.append("acme", outcome(audit, call))
        kept = log.append("acme", record.intent(other, audit.caller(), audit.allow, os.urandom(32)))
        kept.cancel()
        closed = log.append("acme", outcome(audit, other))
        with pytest.raises(JournalDown):
            await beside
        foreign.execute("ROLLBACK")
        with pytest.raises(JournalDown):
            await ended
        await closed
        foreign.close()
        assert log.waiting == 0
    phases = [row["record"]["kind"].rpartition(".")[2] for row in export.tail(audit.path, "acme", 99)]
    assert phases == ["intent", "outcome"] * 2


def outcome(audit, call):
    """Of a caller who left before the intent was known to be written."""
    caller = audit.caller()
    return record.outcome(call, caller, audit.allow, status="aborted", code="", us=1, reply=None, salt=os.urandom(32), of=None)


async def test_a_commit_that_never_ran_takes_nothing_from_those_behind_it(audit):
    async with audit.opened(audit.path) as (_, log):
        ledger = log._ledger
        one, two = (waiting(record.event("admin.test"))[0] for _ in range(2))
        ledger._pending.extend([one])
        early = Commit(ledger._writer, ledger._pending)
        ledger._pending.extend([early, two])
        late = Commit(ledger._writer, ledger._pending)
        assert late.take() == [one, two]
        third = waiting(record.event("admin.test"))[0]
        ledger._pending.append(third)
        assert early.take() == []
        assert list(ledger._pending) == [third]
        ledger._pending.clear()


async def test_nothing_is_lost_or_reordered_when_appends_race_the_store_s_thread(audit):
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        async with audit.opened(audit.path) as (database, log):
            appended, order, counts = [], [], []
            for n in range(3000):
                if n % 7 == 0:
                    counts.append(database.write(lambda connection, n=n: order.append((n, connection.total_changes))))
                appended.append(log.append("acme", record.event("admin.test", n=n)))
                if n % 11 == 0:
                    await asyncio.sleep(0)
            receipts = await asyncio.wait_for(asyncio.gather(*appended), 30)
            await asyncio.gather(*counts)
            assert [receipt.index for receipt in receipts] == list(range(3000))
            assert log.waiting == 0
    finally:
        sys.setswitchinterval(switch)


async def test_an_operation_run_twice_records_once(audit):
    async with audit.opened(audit.path) as (database, log):
        operation = Commit(log._ledger._writer, waiting(*(record.event("admin.test", n=i) for i in range(3))))
        first = await database.write(operation)
        assert await database.write(operation) == first
        assert await database.read(operation.look_up) == first
    assert len(export.tail(audit.path, "acme", 99)) == 3


async def test_records_of_one_moment_and_call_are_told_apart_when_looked_up(audit):
    one = record.event("admin.test")
    async with audit.opened(audit.path) as (database, log):
        await log.append("acme", dict(one))
        other = Commit(log._ledger._writer, waiting({**one, "ts": "2026-01-01T00:00:00.000000Z"}))
        assert len(other.take()) == 1
        assert await database.read(other.look_up) is None
