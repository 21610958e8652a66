"""What the journal promises, on each medium."""

import asyncio
import json
import os
import random
import time

import pytest

from hub.audit import export, journal, record
from hub.audit.checkpoint import VerifierKey, open_checkpoint
from hub.audit.entry import MAX_LEAF, ProfileError, canonical
from hub.audit.journal import JournalDown
from hub.audit.tree import leaf_hash, root


def rows(path, org="acme"):
    return export.tail(path, org, 1 << 30)


async def until(condition):
    async with asyncio.timeout(30):
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
        await log.append("acme", record.event("admin.test"))
        commits = []
        database.on_commit(lambda operations, _: commits.append(operations))
        receipts = await asyncio.gather(*(log.append("acme", record.event("admin.test", n=i)) for i in range(300)))
        assert [receipt.index for receipt in receipts] == list(range(1, 301))
        assert len(commits) == 1


async def test_the_head_is_the_root_of_what_is_stored(audit):
    async with audit.opened(audit.path) as (_, log):
        for _ in range(20):
            await asyncio.gather(*(audit.govern(log) for _ in range(random.randint(1, 5))))
    with export.snapshot(audit.path) as reader:
        head = reader.find("acme")
        assert head is not None
        kept = list(reader.leaves(head, 0, head.size))
        assert list(reader.hashes(head, 0, head.size)) == [hash_ for _, hash_, _ in kept] == [leaf_hash(leaf) for *_, leaf in kept]
        checkpoint = open_checkpoint(export.checkpoint(reader, "acme"), VerifierKey.parse(audit.signer.vkey(head.origin)))
        assert (checkpoint.size, checkpoint.root) == (head.size, root(hash_ for _, hash_, _ in kept))


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
    assert await audit.select(audit.path, "SELECT salts FROM journal_salt") == [(salt,)]
    assert rows(audit.path)[1]["record"]["commit"]["req"] == record._commitment(salt, call.payload)
    with export.snapshot(audit.path) as reader:
        log, index, found = reader.decided(call.id)
        assert (log.org, index, found["id"]) == ("acme", 1, call.id)
        assert [reader.salt(log, at) for at in (0, 1, 2)] == [None, salt, None]
        assert reader.decided("nothing") is None


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


async def test_a_closed_journal_refuses_and_so_does_one_that_was_never_open(audit):
    async with audit.opened(audit.path) as (store, log):
        await log.close()
        with pytest.raises(JournalDown):
            await log.append("acme", record.event("admin.test"))
        never = journal.Journal(audit.ledger(store), audit.signer, build="x")
    with pytest.raises(JournalDown):
        never.append("acme", record.event("admin.test"))


async def test_a_full_queue_refuses(audit, monkeypatch):
    monkeypatch.setattr(journal, "MAX_WAITING", 3)
    async with audit.opened(audit.path) as (_, log):
        futures = [log.append("acme", record.event("admin.test")) for _ in range(5)]
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert [isinstance(result, JournalDown) for result in results] == [False] * 3 + [True] * 2
        assert (await log.append("acme", record.event("admin.test"))).index == 3


async def test_refusals_before_a_caller_is_known_become_counts_in_the_operator_log(audit):
    async with audit.opened(audit.path) as (_, log):
        began = int(time.time())
        for _ in range(500):
            log.coalesce("unauthenticated", "203.0.113.7")
        seconds = int(time.time()) - began + 1
    written = [row["record"] for row in rows(audit.path, journal.OPERATOR)]
    assert {(r["kind"], r["code"], r["source"]) for r in written} == {("edge.refused", "unauthenticated", "203.0.113.7")}
    assert sum(r["count"] for r in written) == 500
    assert len(written) <= seconds


async def test_records_are_readable_as_json(audit):
    async with audit.opened(audit.path) as (_, log):
        await audit.govern(log)
    assert json.loads(json.dumps(rows(audit.path)[0]))["record"]["kind"] == "mcp.tools.call.intent"


async def test_nothing_is_lost_or_reordered_when_appends_and_other_writes_race(audit):
    async with audit.opened(audit.path) as (_, log):
        appended = []
        for n in range(3000):
            appended.append(log.append("acme", record.event("admin.test", n=n)))
            if n % 11 == 0:
                await asyncio.sleep(0)
        receipts = await asyncio.wait_for(asyncio.gather(*appended), 30)
        assert [receipt.index for receipt in receipts] == list(range(3000))
        assert log.waiting == 0
    assert [row["record"].get("n") for row in rows(audit.path)] == list(range(1, 3001))


async def test_recovery_and_signing_go_on_after_a_fault_nobody_thought_of(audit, monkeypatch):
    async with audit.opened(audit.path, checkpoint_every=0.01) as (_, log):
        sign, faults = log._ledger.sign, iter([KeyError("odd")] * 3)

        async def faulty():
            for fault in faults:
                raise fault
            await sign()

        monkeypatch.setattr(log._ledger, "sign", faulty)
        await audit.govern(log)
        await until(lambda: export.logs(audit.path)[0].signed == 2)
