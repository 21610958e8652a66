"""What the journal makes of a process that died, and of a store that cannot be written, on each medium."""

import asyncio
import os

import pytest

from hub.audit import export, record
from hub.audit.journal import OPERATOR, Journal, JournalDown
from tests.audit.writing import check_log, run_writer, written


async def test_nothing_acknowledged_is_lost_when_the_process_is_killed(audit):
    acknowledged = []
    for wanted in (700, 100, 1500):
        with run_writer(audit.path, "run") as process:
            assert process.stdout is not None
            acknowledged += [process.stdout.readline().decode().strip() for _ in range(wanted)]
            process.kill()
            acknowledged += [line.decode().strip() for line in process.stdout if line.endswith(b"\n")]
    async with audit.opened(audit.path):
        pass
    check_log(audit.path, audit.signer, acknowledged)
    unknown = [r for r in written(audit.path) if r.get("outcome", {}).get("status") == "unknown"]
    assert unknown
    assert {r["outcome"]["code"] for r in unknown} == {"recovered"}
    assert all(r["target"]["name"] == "now" and r["actor"]["id"] == "k" for r in unknown)
    recoveries = written(audit.path, OPERATOR)
    assert {r["kind"] for r in recoveries} == {"log.recover"}
    assert sum(r["count"] for r in recoveries) == len(unknown)


async def test_a_read_only_database_refuses_and_nothing_is_missing_once_it_is_mended(audit):
    async with audit.opened(audit.path) as (database, log):
        before = await audit.govern(log)
        await audit.forbid(database)
        for _ in range(3):
            with pytest.raises(JournalDown):
                await log.append("acme", record.event("admin.test"))
        with pytest.raises(JournalDown):
            await log.checkpoint()
        assert [receipt.index for receipt in before] == [0, 1]
        assert len(written(audit.path)) == 2
        await audit.permit(database)
    async with audit.opened(audit.path) as (_, log):
        after = await audit.govern(log)
    assert [receipt.index for receipt in after] == [2, 3]
    check_log(audit.path, audit.signer, [receipt.header() for receipt in (*before, *after)])


async def test_refusals_counted_while_the_journal_is_down_are_kept(audit):
    async with audit.opened(audit.path) as (database, log):
        log.coalesce("unauthenticated", "203.0.113.7")
        await audit.forbid(database)
        await log._record_refusals(everything=True)
        assert [count for *_, count in log._refusals.take(1 << 40)] == [1]


async def test_a_journal_cannot_open_on_a_database_it_cannot_write(audit):
    store = await audit.store(audit.path)
    await audit.forbid(store)
    with pytest.raises(JournalDown):
        await Journal(audit.ledger(store), audit.signer, build="x").open()
    await store.close()


async def test_intents_open_at_a_clean_close_become_unknown_once(audit):
    async with audit.opened(audit.path) as (_, log):
        call = audit.call()
        await audit.govern(log)
        await log.append("acme", record.intent(call, audit.caller(), audit.allow, os.urandom(32)))
        await audit.govern(log)
    for _ in range(3):
        async with audit.opened(audit.path):
            pass
    records = written(audit.path)
    assert len(records) == 6
    assert (records[5]["id"], records[5]["kind"], records[5]["intent"]) == (call.id, "mcp.tools.call.outcome", 2)
    assert records[5]["trace"] == call.trace.trace_id


async def test_boots_are_noted_with_their_end(audit):
    async with audit.opened(audit.path):
        pass
    assert [bool(ended) for (ended,) in await audit.select(audit.path, "SELECT ended FROM journal_boot")] == [True]


async def test_records_that_a_killed_process_left_unsigned_are_signed_by_the_next(audit):
    process = await asyncio.to_thread(run_writer, audit.path, "run")
    assert process.stdout is not None
    await asyncio.to_thread(process.stdout.readline)
    process.kill()
    process.communicate()
    async with audit.opened(audit.path, checkpoint_every=0.02), asyncio.timeout(30):
        while any(log.signed < log.size for log in export.logs(audit.path)):
            await asyncio.sleep(0.01)


async def test_recovery_looks_no_further_back_than_the_oldest_open_intent(audit):
    kept = "SELECT max(floor) FROM journal_writer" if audit.many else "SELECT floor FROM journal_org WHERE name = 'acme'"

    async with audit.opened(audit.path) as (_, log):
        for _ in range(5):
            await audit.govern(log)
        await log.checkpoint()
        assert await audit.select(audit.path, kept) == [(10,)]
        await log.append("acme", record.intent(audit.call(), audit.caller(), audit.allow, os.urandom(32)))
        for _ in range(5):
            await audit.govern(log)
        await log.checkpoint()
        assert await audit.select(audit.path, kept) == [(10,)]
    async with audit.opened(audit.path) as (_, log):
        await log.checkpoint()
        assert await audit.select(audit.path, kept) == [(22,)]
