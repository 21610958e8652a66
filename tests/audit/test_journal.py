import asyncio
import json
import os
import random
import sqlite3
import sys
import threading
from collections import deque

import pytest

from hub.audit import export, journal, ledger, record
from hub.audit.checkpoint import VerifierKey, open_checkpoint
from hub.audit.entry import MAX_LEAF, ProfileError, canonical
from hub.audit.journal import JournalDown
from hub.audit.tree import leaf_hash, root
from hub.store.sqlite import Database


def rows(path, org="acme"):
    return export.tail(path, org, 1 << 30)


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_receipt_names_the_place_and_hash_of_a_durable_record(audit):
    async with audit.opened(audit.path) as (_, log):
        intent, outcome = await audit.govern(log)
        assert (intent.index, outcome.index) == (0, 1)
        stored = rows(audit.path)
        assert [row["hash"] for row in stored] == [intent.leaf.hex(), outcome.leaf.hex()]
        assert leaf_hash(canonical(stored[0]["record"])) == intent.leaf
        assert intent.origin == export.logs(audit.path)[0].origin


async def test_the_journal_adds_its_own_fields(audit):
    async with audit.opened(audit.path) as (_, log):
        await audit.govern(log)
        log.config_hash = "sha256:next"
        await audit.govern(log)
    written = [row["record"] for row in rows(audit.path)]
    assert {(r["v"], r["boot"], r["build"]) for r in written} == {(1, log.boot, "0.1.0")}
    assert [r["cfg"] for r in written] == ["sha256:c"] * 2 + ["sha256:next"] * 2
    assert [r["n"] for r in written] == [1, 2, 3, 4]
    assert not any(record.SALT in r for r in written)


async def test_organisations_have_trees_counters_and_names_of_their_own(audit):
    async with audit.opened(audit.path) as (_, log):
        await asyncio.gather(*(audit.govern(log, org) for org in ["b", "a", "b", "c", "a", "b"] * 5))
    for org, calls in (("a", 10), ("b", 15), ("c", 5)):
        written = rows(audit.path, org)
        assert [row["index"] for row in written] == list(range(2 * calls))
        assert [row["record"]["n"] for row in written] == list(range(1, 2 * calls + 1))
        assert len({row["record"]["org"] for row in written}) == 1
    kept = export.logs(audit.path)
    assert len({log.origin for log in kept}) == 3
    assert all(log.origin.endswith(f"/audit/{log.id}") for log in kept)


async def test_many_at_once_share_commits_and_keep_the_order_of_their_turn(audit):
    async with audit.opened(audit.path) as (database, log):
        commits = []
        database.on_commit(lambda operations, _: commits.append(operations))
        receipts = await asyncio.gather(*(log.append("acme", record.event("admin.test", n=i)) for i in range(300)))
        assert [receipt.index for receipt in receipts] == list(range(300))
        assert len(commits) == 1


async def test_the_head_is_the_root_of_what_is_stored(audit):
    async with audit.opened(audit.path) as (_, log):
        for _ in range(20):
            await asyncio.gather(*(audit.govern(log) for _ in range(random.randint(1, 5))))
    database = sqlite3.connect(audit.path)
    head = ledger.find(database, "acme")
    assert head is not None
    kept = list(ledger.leaves(database, head, 0, head.size))
    assert [hash_ for _, _, hash_, _ in kept] == [leaf_hash(leaf) for *_, leaf in kept]
    checkpoint = open_checkpoint(export.checkpoint(database, "acme"), VerifierKey.parse(audit.signer.vkey(head.origin)))
    assert (checkpoint.size, checkpoint.root) == (head.size, root(hash_ for _, _, hash_, _ in kept))
    database.close()


async def test_the_name_and_the_counter_outlive_and_restart_with_the_process(audit):
    async with audit.opened(audit.path) as (_, log):
        first, _ = await audit.govern(log)
    async with audit.opened(audit.path) as (_, log):
        second, _ = await audit.govern(log)
    assert first.origin == second.origin
    assert second.index == 2
    assert [row["record"]["n"] for row in rows(audit.path)] == [1, 2, 1, 2]


async def test_a_configured_name_is_the_origin_of_new_logs_only(audit):
    async with audit.opened(audit.path, origin="hub.example") as (_, log):
        assert (await audit.govern(log))[0].origin.startswith("hub.example/audit/org_")
    async with audit.opened(audit.path, origin="other.example") as (_, log):
        assert (await audit.govern(log))[0].origin.startswith("hub.example/")
        assert (await audit.govern(log, "new"))[0].origin.startswith("other.example/")


async def test_changed_logs_are_signed_while_the_hub_runs(audit):
    async with audit.opened(audit.path, checkpoint_every=0.02) as (_, log):
        for size in (2, 4):
            await audit.govern(log)
            await until(lambda size=size: export.logs(audit.path)[0].signed == size)


async def test_salts_stand_aside_and_open_the_commitment(audit):
    call, salt = audit.call(), os.urandom(32)
    async with audit.opened(audit.path) as (_, log):
        await log.append("acme", record.event("admin.test"))
        await log.append("acme", record.intent(call, audit.caller(), audit.allow, salt))
    database = sqlite3.connect(audit.path)
    assert [row[0] for row in database.execute("SELECT salts FROM journal_salt")] == [salt]
    assert rows(audit.path)[1]["record"]["commit"]["req"] == record._commitment(salt, call.payload)
    database.close()


@pytest.mark.parametrize("hostile", ["x" * 70_000, "\x01" * 20_000, "\ud800", "é" * 60_000])
async def test_a_record_too_large_or_not_unicode_is_cut_and_never_lost(audit, hostile):
    built = record.intent(audit.call(), audit.caller(), audit.allow, os.urandom(32))
    built["target"] = {"door": hostile, "list": [hostile] * 300}
    async with audit.opened(audit.path) as (_, log):
        receipt = await log.append("acme", built)
    stored = rows(audit.path)[0]
    leaf = canonical(stored["record"])
    assert leaf_hash(leaf) == receipt.leaf
    assert len(leaf) <= MAX_LEAF
    assert stored["record"]["cut"] > 0
    assert stored["record"]["decision"]["effect"] == "allow"


async def test_a_record_beyond_mending_keeps_what_identifies_it(audit):
    built = record.intent(audit.call(), audit.caller(), audit.allow, os.urandom(32))
    built["target"] = {"odd": 2**70}
    async with audit.opened(audit.path) as (_, log):
        await log.append("acme", built)
    stored = rows(audit.path)[0]["record"]
    assert (stored["id"], stored["cut"]) == (built["id"], 0)


async def test_a_float_in_an_event_is_the_callers_error(audit):
    async with audit.opened(audit.path) as (_, log):
        with pytest.raises(ProfileError):
            log.append("acme", {"id": "1", "ts": "", "kind": "admin.x", "age": 1.5})


async def test_a_cancelled_wait_does_not_take_the_record_back(audit):
    async with audit.opened(audit.path) as (_, log):
        future = log.append("acme", record.event("admin.test"))
        future.cancel()
        assert (await log.append("acme", record.event("admin.test"))).index == 1


async def test_closing_commits_and_signs_what_was_appended(audit):
    async with audit.opened(audit.path) as (_, log):
        futures = [log.append("acme", record.event("admin.test")) for _ in range(50)]
        await log.close()
        assert [future.result().index for future in futures] == list(range(50))
    (kept,) = export.logs(audit.path)
    assert (kept.size, kept.signed) == (50, 50)


async def test_a_closed_journal_refuses(audit):
    async with audit.opened(audit.path) as (_, log):
        await log.close()
        with pytest.raises(JournalDown):
            await log.append("acme", record.event("admin.test"))
    with pytest.raises(JournalDown):
        journal.Journal(Database(audit.path), audit.signer, build="x").append("acme", record.event("admin.test"))


async def test_a_full_queue_refuses(audit, monkeypatch):
    monkeypatch.setattr(journal, "MAX_WAITING", 3)
    async with audit.opened(audit.path) as (_, log):
        futures = [log.append("acme", record.event("admin.test")) for _ in range(5)]
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert [isinstance(result, JournalDown) for result in results] == [False] * 3 + [True] * 2
        assert (await log.append("acme", record.event("admin.test"))).index == 3


async def test_refusals_before_a_caller_is_known_become_counts_in_the_operator_log(audit):
    async with audit.opened(audit.path) as (_, log):
        for _ in range(500):
            log.coalesce("unauthenticated", "203.0.113.7")
    written = [row["record"] for row in rows(audit.path, journal.OPERATOR)]
    assert {(r["kind"], r["code"], r["source"]) for r in written} == {("edge.refused", "unauthenticated", "203.0.113.7")}
    assert sum(r["count"] for r in written) == 500
    assert len(written) <= 2


async def test_a_neighbour_that_fails_does_not_fail_the_records_of_its_transaction(audit):
    async with audit.opened(audit.path) as (database, log):
        first = log.append("acme", record.event("admin.test"))
        await asyncio.sleep(0)
        broken = database.write(lambda connection: connection.execute("SELECT * FROM nowhere"))
        second = log.append("acme", record.event("admin.test"))
        assert [(await first).index, (await second).index] == [0, 1]
        with pytest.raises(Exception, match="database"):
            await broken
    assert [row["record"]["n"] for row in rows(audit.path)] == [1, 2]


def waiting(*records):
    return deque((("acme", each, ledger.NO_SALT), asyncio.get_running_loop().create_future()) for each in records)


async def test_what_is_appended_while_the_store_is_busy_shares_one_commit(audit):
    async with audit.opened(audit.path) as (database, log):
        busy, asked = threading.Event(), []
        held = database.write(lambda _: busy.wait(10))
        write = database.write
        database.write = lambda operation: asked.append(operation) or write(operation)
        appended = []
        for turn in range(5):
            appended += [log.append("acme", record.event("admin.test", n=turn, m=m)) for m in range(3)]
            await asyncio.sleep(0.01)
        assert len([each for each in asked if isinstance(each, journal._Commit)]) == 1
        busy.set()
        await held
        assert [(await each).index for each in appended] == list(range(15))


async def test_a_record_is_never_durable_before_what_was_stored_before_it(audit):
    order = []
    async with audit.opened(audit.path) as (database, log):
        commit = ledger.commit

        def noted(connection, writer, entries):
            order.extend(entry[1]["kind"] for entry in entries)
            return commit(connection, writer, entries)

        busy = threading.Event()
        held = database.write(lambda _: busy.wait(10))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ledger, "commit", noted)
            log.append("acme", record.event("admin.first"))
            await asyncio.sleep(0.01)
            stored = database.write(lambda _: order.append("count"))
            last = log.append("acme", record.event("admin.second"))
            await asyncio.sleep(0.01)
            busy.set()
            await asyncio.gather(held, stored, last)
    assert order[:3] == ["admin.first", "count", "admin.second"]


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
        operation = journal._Commit(log._writer, waiting(*(record.event("admin.test", n=i) for i in range(3))))
        first = await database.write(operation)
        assert await database.write(operation) == first
        assert await database.read(operation.look_up) == first
    assert len(rows(audit.path)) == 3


async def test_records_of_one_moment_and_call_are_told_apart_when_looked_up(audit):
    one = record.event("admin.test")
    async with audit.opened(audit.path) as (database, log):
        await log.append("acme", dict(one))
        other = journal._Commit(log._writer, waiting({**one, "ts": "2026-01-01T00:00:00.000000Z"}))
        assert len(other.take()) == 1
        assert await database.read(other.look_up) is None


async def test_records_are_readable_as_json(audit):
    async with audit.opened(audit.path) as (_, log):
        await audit.govern(log)
    assert json.loads(json.dumps(rows(audit.path)[0]))["record"]["kind"] == "mcp.tools.call.intent"
