import asyncio
import io
import os
import sqlite3
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

from hub.audit import export, record
from hub.audit.checkpoint import VerifierKey
from hub.audit.journal import OPERATOR, Journal, JournalDown
from hub.audit.verify import verify_export
from hub.store.sqlite import Database

WRITER = Path(__file__).with_name("writer.py")


def run_writer(path: Path, mode: str) -> subprocess.Popen[bytes]:
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, str(WRITER), str(path), mode], stdout=subprocess.PIPE, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    )


def written(path, org="acme"):
    return [row["record"] for row in export.tail(path, org, 1 << 30)]


def check_log(path, signer, acknowledged):
    """Everything acknowledged is there, counters are gapless, the tree verifies, no intent is open."""
    stored = {f"{log.origin}/{row['index']};{row['hash']}" for log in export.logs(path) for row in export.tail(path, log.org, 1 << 30)}
    assert set(acknowledged) <= stored
    records = written(path)
    for _, group in groupby(records, key=lambda r: r["boot"]):
        assert [r["n"] for r in group] == [*range(1, 1 + len([r for r in records if r["boot"] == _]))]
    intents = {r["id"] for r in records if r["kind"].endswith(".intent")}
    outcomes = [r["id"] for r in records if r["kind"].endswith(".outcome")]
    assert intents == set(outcomes)
    assert len(outcomes) == len(set(outcomes))
    for log in export.logs(path):
        out = io.BytesIO()
        export.export(path, log.org, out)
        out.seek(0)
        report = verify_export(out, VerifierKey.parse(log.vkey), checkpoint=export.checkpoint(path, log.org))
        assert report.exit_code == 0, report


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


async def test_a_full_disk_refuses_and_room_recovers_without_loss(audit):
    def starve():
        with run_writer(audit.path, "starve") as process:
            assert process.stdout is not None
            return [line.decode().strip() for line in process.stdout]

    lines = await asyncio.to_thread(starve)
    said = [line for line in lines if line in ("down", "up", "done")]
    assert said == ["down", "up", "done"]
    assert lines.index("up") - lines.index("down") == 33
    async with audit.opened(audit.path):
        pass
    check_log(audit.path, audit.signer, [line for line in lines if line not in said])


async def test_a_read_only_database_refuses_and_nothing_is_missing_once_it_is_mended(audit):
    async with audit.opened(audit.path) as (database, log):
        before = await audit.govern(log)
        await database.write(lambda connection: connection.execute("PRAGMA query_only=ON"))
        for _ in range(3):
            with pytest.raises(JournalDown):
                await log.append("acme", record.event("admin.test"))
        with pytest.raises(JournalDown):
            await log.checkpoint()
        assert [receipt.index for receipt in before] == [0, 1]
        assert len(written(audit.path)) == 2
    async with audit.opened(audit.path) as (_, log):
        after = await audit.govern(log)
    assert [receipt.index for receipt in after] == [2, 3]
    check_log(audit.path, audit.signer, [receipt.header() for receipt in (*before, *after)])


async def test_a_journal_at_its_size_limit_refuses_and_goes_on_when_there_is_room(audit):
    async with audit.opened(audit.path) as (database, log):
        acknowledged = [*await audit.govern(log)]
        await database.write(lambda connection: connection.execute("PRAGMA max_page_count=1"))  # SQLite: no fewer than there are
        refused = None
        while refused is None:
            try:
                acknowledged += await audit.govern(log)
            except JournalDown as error:
                refused = error
        assert "disk is full" in refused.detail
        await database.write(lambda connection: connection.execute("PRAGMA max_page_count=1000000"))
        acknowledged += await audit.govern(log)
    async with audit.opened(audit.path):
        pass
    check_log(audit.path, audit.signer, [receipt.header() for receipt in acknowledged])


async def test_refusals_counted_while_the_journal_is_down_are_kept(audit):
    async with audit.opened(audit.path) as (database, log):
        log.coalesce("unauthenticated", "203.0.113.7")
        await database.write(lambda connection: connection.execute("PRAGMA query_only=ON"))
        await log._record_refusals(everything=True)
        assert [count for *_, count in log._refusals.take(1 << 40)] == [1]


async def test_a_journal_cannot_open_on_a_database_it_cannot_write(audit):
    database = Database(audit.path)
    database.open()
    await database.write(lambda connection: connection.execute("PRAGMA query_only=ON"))
    with pytest.raises(JournalDown):
        await Journal(database, audit.signer, build="x").open()
    await database.close()


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


async def test_recovery_looks_no_further_back_than_the_oldest_open_intent(audit):
    def floor(connection):
        return connection.execute("SELECT floor FROM journal_org WHERE name = 'acme'").fetchone()[0]

    async with audit.opened(audit.path) as (database, log):
        for _ in range(5):
            await audit.govern(log)
        await log.checkpoint()
        assert await database.read(floor) == 10
        await log.append("acme", record.intent(audit.call(), audit.caller(), audit.allow, os.urandom(32)))
        for _ in range(5):
            await audit.govern(log)
        await log.checkpoint()
        assert await database.read(floor) == 10
    async with audit.opened(audit.path) as (database, log):
        await log.checkpoint()
        assert await database.read(floor) == 22


async def test_boots_are_noted_with_their_end(audit):
    async with audit.opened(audit.path):
        pass
    connection = sqlite3.connect(audit.path)
    assert [bool(ended) for (ended,) in connection.execute("SELECT ended FROM journal_boot")] == [True]
    connection.close()


async def test_records_that_a_killed_process_left_unsigned_are_signed_by_the_next(audit):
    process = await asyncio.to_thread(run_writer, audit.path, "run")
    assert process.stdout is not None
    await asyncio.to_thread(process.stdout.readline)
    process.kill()
    process.communicate()
    async with audit.opened(audit.path, checkpoint_every=0.02), asyncio.timeout(10):
        while any(log.signed < log.size for log in export.logs(audit.path)):
            await asyncio.sleep(0.01)
