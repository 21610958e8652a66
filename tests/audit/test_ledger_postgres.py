"""Several processes on one journal: what each may count on when the others die, when the database does, and when nobody hears of a commit."""

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace

import pytest

from hub.audit import export, ledger_postgres, record, rows_postgres, scribe
from hub.audit.checkpoint import Signer
from hub.audit.graves import lock_key
from hub.audit.journal import OPERATOR, Journal, JournalDown
from hub.audit.ledger_postgres import PostgresLedger
from hub.store.postgres import Ambiguous, Postgres
from tests.audit.conftest import SEED
from tests.audit.writing import check_log, run_writer, written
from tests.services.postgres import PostgresServer
from tests.support.wire_cutter import COMMIT, RecordCutter, WireCutter, cutter


@pytest.fixture
def audit(postgres_audit: SimpleNamespace) -> SimpleNamespace:
    return postgres_audit


async def open_intent(audit, log, org="acme"):
    """A call that was sent and has no outcome yet: (call, receipt)."""
    call = audit.call()
    return call, await log.append(org, record.intent(call, audit.caller(org), audit.allow, os.urandom(32)))


def outcome(audit, call, of):
    return record.outcome(call, audit.caller(), audit.allow, status="ok", code="", us=1, reply=b"", salt=os.urandom(32), of=of)


async def sweep(log):
    await log._recover()


LOCKED = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND (classid::bigint << 32) | objid::bigint = $1"


async def cut_off(store, log, beside):
    """Its lock is gone and not taken again: here at once, and at the server, which `beside` is asked about, when it has noticed."""
    await store._locks.close()
    await freed(log, beside)


async def freed(log, beside):
    async with asyncio.timeout(30):
        while await beside.read(lambda connection: connection.fetchval(LOCKED, lock_key(log.boot))):
            await asyncio.sleep(0.005)


@asynccontextmanager
async def killed(audit):
    """The journal of a process that is then no more: its connections end, and nothing is said."""
    store = await audit.store(audit.path)
    log = Journal(PostgresLedger(store), audit.signer, build="x", checkpoint_every=3600.0, sweep_every=3600.0)
    await log.open()
    yield log
    for task in log._tasks:
        task.cancel()
    await store.close()
    beside = await audit.store(audit.path)
    await freed(log, beside)
    await beside.close()


def outcomes(audit, org="acme"):
    return [(r["outcome"]["status"], r["intent"]) for r in written(audit.path, org) if r["kind"].endswith(".outcome")]


def verified(audit):
    check_log(audit.path, audit.signer, [])


async def until(condition, seconds=30.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def read_lines(process, wanted, into):
    """Read until there are `wanted` acknowledged records more."""
    more = 0
    while more < wanted:
        line = (await asyncio.to_thread(process.stdout.readline)).decode().strip()
        assert line
        if line != "down":
            into.append(line)
            more += 1


def rest(process):
    return [line.decode().strip() for line in process.stdout if line.endswith(b"\n") and line != b"down\n"]


async def test_three_processes_write_one_log_and_one_is_killed_under_load(audit):
    acknowledged, at_the_end = [], []
    writers = [await asyncio.to_thread(run_writer, audit.path, "run", "acme", "rival", "acme") for _ in range(3)]
    try:
        await asyncio.gather(*(read_lines(writer, 300, acknowledged) for writer in writers))
        writers[0].send_signal(signal.SIGKILL)
        await asyncio.gather(*(read_lines(writer, 600, acknowledged) for writer in writers[1:]))

        def closed():  # by one of the two that live, while both go on writing
            return any(
                r["kind"] == "log.recover"
                for r in (written(audit.path, OPERATOR) if any(log.org == OPERATOR for log in export.logs(audit.path)) else [])
            )

        acks = [asyncio.ensure_future(read_lines(writer, 1 << 30, acknowledged)) for writer in writers[1:]]
        async with asyncio.timeout(30):
            while not await asyncio.to_thread(closed):
                await asyncio.sleep(0.1)
    finally:
        for writer in writers:
            writer.kill()
    await asyncio.gather(*acks, return_exceptions=True)
    for writer in writers:
        at_the_end += rest(writer)
        writer.wait()
        writer.stdout.close()
    before = [r for r in written(audit.path) if r.get("outcome", {}).get("status") == "unknown"]
    assert len({r["boot"] for r in written(audit.path)}) == 3
    dead = {boot for r in written(audit.path, OPERATOR) for boot in r["boots"]}
    assert len(dead) == 1
    assert not dead & {r["boot"] for r in before}
    async with audit.opened(audit.path):
        pass
    check_log(audit.path, audit.signer, acknowledged + at_the_end)
    everything = [r for org in ("acme", "rival") for r in written(audit.path, org)]
    recovered = [r for r in everything if r.get("outcome", {}).get("status") == "unknown"]
    assert sum(r["count"] for r in written(audit.path, OPERATOR)) == len(recovered) > 0
    assert len({(r["boot"], r["org"]) for r in everything}) >= 6


async def test_a_living_processes_open_intents_are_left_alone_and_a_dead_ones_closed_once(audit):
    async with AsyncExitStack() as stack:
        (_, one), (_, two), (_, three) = [await stack.enter_async_context(audit.opened(audit.path)) for _ in range(3)]
        call, intent = await open_intent(audit, one)
        for log in (two, three, two):
            await sweep(log)
        assert outcomes(audit) == []
        await one.append("acme", outcome(audit, call, intent))

        async with killed(audit) as dying:
            for org in ("acme", "rival", "acme", "acme"):
                await open_intent(audit, dying, org)
        await asyncio.gather(*(sweep(log) for log in (one, two, three, one)))
        assert outcomes(audit) == [("ok", 0), ("unknown", 2), ("unknown", 3), ("unknown", 4)]
        assert outcomes(audit, "rival") == [("unknown", 0)]
        assert [(r["kind"], r["count"]) for r in written(audit.path, OPERATOR)] == [("log.recover", 4)]
    settled = await audit.select(audit.path, "SELECT count(*) FROM journal_boot WHERE settled IS NULL")
    assert settled == [(0,)]
    assert await audit.select(audit.path, "SELECT count(*) FROM journal_writer") == [(0,)]
    verified(audit)


async def test_more_open_intents_than_one_transaction_closes(audit, monkeypatch):
    monkeypatch.setattr(ledger_postgres, "_AT_ONCE", 3)
    async with audit.opened(audit.path) as (_, log):
        for _ in range(8):
            await open_intent(audit, log)
    async with audit.opened(audit.path):
        pass
    assert outcomes(audit) == [("unknown", at) for at in range(8)]
    assert [r["count"] for r in written(audit.path, OPERATOR)] == [3, 3, 2]
    verified(audit)


async def test_a_lock_must_be_free_for_a_while_before_its_process_is_taken_for_dead(audit):
    async with audit.opened(audit.path, grace=0.0), audit.opened(audit.path, grace=30.0) as (_, patient):
        async with killed(audit) as dying:
            await open_intent(audit, dying)
        for _ in range(3):
            await sweep(patient)
        assert outcomes(audit) == []


async def test_a_process_taken_for_dead_can_write_no_second_outcome_and_goes_on_under_a_new_boot(audit):
    async with audit.opened(audit.path) as (store, log), audit.opened(audit.path) as (beside, other):
        call, intent = await open_intent(audit, log)
        first = log.boot
        await cut_off(store, log, beside)  # cut off, and not let in again
        assert not store.holds(lock_key(first))
        await sweep(other)
        assert outcomes(audit) == [("unknown", 0)]
        with pytest.raises(JournalDown) as refused:
            await log.append("acme", outcome(audit, call, intent))
        assert "taken for dead" in refused.value.detail
        with pytest.raises(JournalDown):
            await log.append("acme", outcome(audit, call, intent))
        assert log.boot != first
        receipts = await audit.govern(log)
        assert [receipt.index for receipt in receipts] == [2, 3]
        assert store.holds(lock_key(log.boot))
        await sweep(other)
        assert outcomes(audit) == [("unknown", 0), ("ok", 2)]
    verified(audit)


async def test_an_outcome_that_waits_when_its_process_is_taken_for_dead_is_no_second_one(audit):
    async with audit.opened(audit.path) as (store, log), audit.opened(audit.path) as (beside, other):
        calls = [await open_intent(audit, log) for _ in range(3)]
        await cut_off(store, log, beside)
        await sweep(other)
        first = log.append("acme", outcome(audit, *calls[0]))
        await asyncio.sleep(0)  # its commit is under way: the others wait for the next
        waiting = [log.append("acme", outcome(audit, *each)) for each in calls[1:]]
        for each in (first, *waiting):
            with pytest.raises(JournalDown, match="cannot be written"):
                await each
        await audit.govern(log)
    assert outcomes(audit) == [("unknown", 0), ("unknown", 1), ("unknown", 2), ("ok", 6)]
    verified(audit)


@pytest.mark.parametrize("finds_out", ["sweeping", "writing"])
async def test_a_commit_in_doubt_of_a_process_taken_for_dead_is_left_to_who_took_it_for_dead(audit, finds_out, monkeypatch):
    monkeypatch.setattr(scribe, "_QUICKLY", 0.0)
    async with through(audit.path) as (proxy, store, log), audit.opened(audit.path) as (beside, other):
        await ready_to_cut(audit, log, proxy)
        first = log.boot
        proxy.cut, proxy.then = "after", [("before", COMMIT)]
        with pytest.raises(JournalDown):
            await open_intent(audit, log)
        assert proxy.cuts == 2
        assert log._ledger._scribe.doubt is not None
        async with asyncio.timeout(30):  # a server that is busy may be behind
            while await audit.select(audit.path, "SELECT count(*) FROM journal_record") != [(7,)]:
                await asyncio.sleep(0.01)
        await cut_off(store, log, beside)
        await sweep(other)
        assert sorted(status for status, _ in outcomes(audit)) == ["ok"] * 3 + ["unknown"]
        if finds_out == "sweeping":
            await sweep(log)
        else:
            with pytest.raises(JournalDown):
                await audit.govern(log)
        await audit.govern(log)
        assert log.boot != first
    assert sorted(status for status, _ in outcomes(audit)) == ["ok"] * 4 + ["unknown"]
    verified(audit)


async def test_a_log_that_a_standby_had_not_heard_of_when_it_took_over_is_begun_anew(audit, postgres, monkeypatch):
    monkeypatch.setattr(scribe, "_QUICKLY", 10.0)
    async with audit.opened(audit.path) as (_, log):
        await audit.govern(log, "rival")
        await audit.govern(log)
        postgres.sql("DELETE FROM journal_record WHERE org = 2; DELETE FROM journal_org WHERE number = 2", store_name(audit.path))
        assert [receipt.index for receipt in await audit.govern(log)] == [0, 1]
        assert [receipt.index for receipt in await audit.govern(log, "rival")] == [2, 3]
    verified(audit)


async def test_an_idle_process_taken_for_dead_finds_out(audit):
    async with audit.opened(audit.path) as (store, log), audit.opened(audit.path) as (beside, other):
        call, intent = await open_intent(audit, log)
        first = log.boot
        await cut_off(store, log, beside)
        await sweep(other)
        await sweep(log)
        assert log.boot != first
        with pytest.raises(JournalDown):
            await log.append("acme", outcome(audit, call, intent))
        await audit.govern(log)
    verified(audit)


@asynccontextmanager
async def through(url, patience=2.0, make=WireCutter):
    """A journal that reaches the database by way of a cutter."""
    async with cutter(url, make) as (proxy, address):
        store = Postgres(address, patience=patience)
        await store.open()
        log = Journal(PostgresLedger(store), Signer(SEED), build="x", checkpoint_every=3600.0, sweep_every=3600.0)
        await log.open()
        yield proxy, store, log
        await log.close()
        await store.close()


async def ready_to_cut(audit, log, proxy):
    """Some calls, after which the next batch can be cut: their receipts."""
    receipts = [receipt for _ in range(3) for receipt in await audit.govern(log)]
    proxy.at = b'"kind":"mcp.tools.call'
    return receipts


@pytest.mark.parametrize("cut", ["after", "before", "late", "garbled"])
async def test_a_commit_of_which_nobody_heard_is_looked_up_before_it_is_written_again(audit, cut, monkeypatch):
    monkeypatch.setattr(scribe, "_QUICKLY", 10.0)
    async with through(audit.path, patience=15.0) as (proxy, _, log):
        receipts = await ready_to_cut(audit, log, proxy)
        proxy.cut = cut
        asked = [asyncio.ensure_future(audit.govern(log)) for _ in range(20)]
        if cut == "late":
            await asyncio.wait_for(proxy.holding.wait(), 30)
            asyncio.get_running_loop().call_later(0.3, proxy.let_go.set)
        receipts += [receipt for pair in await asyncio.gather(*asked) for receipt in pair]
        assert proxy.cuts == 1
        receipts += await audit.govern(log)
    assert sorted(receipt.index for receipt in receipts) == list(range(48))
    assert len(written(audit.path)) == 48
    check_log(audit.path, audit.signer, [receipt.header() for receipt in receipts])


async def test_a_commit_whose_look_up_breaks_as_well_is_looked_up_again_not_written_again(audit, monkeypatch):
    monkeypatch.setattr(scribe, "_QUICKLY", 10.0)
    async with through(audit.path) as (proxy, _, log):
        await ready_to_cut(audit, log, proxy)
        proxy.cut, proxy.then = "after", [("before", COMMIT), ("after", COMMIT)]
        await audit.govern(log)
        assert proxy.cuts == 3
    assert len(written(audit.path)) == 8
    assert {status for status, _ in outcomes(audit)} == {"ok"}
    verified(audit)


async def test_a_statement_that_comes_after_it_was_looked_up_does_nothing(audit):
    async with through(audit.path) as (proxy, _, log):
        await ready_to_cut(audit, log, proxy)
        writing = log._ledger._scribe
        proxy.cut = "late"
        built = record.intent(audit.call(), audit.caller(), audit.allow, os.urandom(32))
        salt = built.pop(record.SALT)
        with pytest.raises(Ambiguous):
            await writing._at_once([("acme", built, salt)])
        assert await writing._resolve() is None
        proxy.let_go.set()
        await until(lambda: b"late" in proxy.heard)
        assert len(written(audit.path)) == 6
        await audit.govern(log)
    verified(audit)


@pytest.mark.parametrize("cut", ["after", "before"])
async def test_intents_whose_closing_nobody_heard_of_are_not_closed_again(audit, cut, monkeypatch):
    monkeypatch.setattr(scribe, "_QUICKLY", 10.0)
    async with through(audit.path, make=RecordCutter) as (proxy, _, log):
        async with killed(audit) as dying:
            for org in ("acme", "rival", "acme"):
                await open_intent(audit, dying, org)
        log._ledger._graves._grace = 0.0
        proxy.at, proxy.cut = b'"status":"unknown"', cut
        await sweep(log)
        assert proxy.cuts == 1
        await audit.govern(log)
    assert sorted(outcomes(audit)) == [("ok", 4), ("unknown", 0), ("unknown", 1)]
    assert outcomes(audit, "rival") == [("unknown", 0)]
    assert [(r["kind"], r["count"]) for r in written(audit.path, OPERATOR)] == [("log.recover", 3)]
    verified(audit)


async def test_where_the_database_counts_another_turn_the_writer_takes_it_up(audit, postgres, monkeypatch):
    """As a standby may that took over without having followed to the last."""
    monkeypatch.setattr(scribe, "_QUICKLY", 10.0)
    async with audit.opened(audit.path) as (_, log):
        await audit.govern(log)
        for other in (7, 0):
            postgres.sql(f"UPDATE journal_boot SET turn = {other}", store_name(audit.path))
            await audit.govern(log)
    assert len(written(audit.path)) == 6
    verified(audit)


async def test_what_took_hold_unheard_while_the_database_went_away_is_closed_when_it_is_back(audit, postgres, monkeypatch):
    monkeypatch.setattr(scribe, "_QUICKLY", 0.0)
    async with through(audit.path, patience=15.0) as (proxy, store, log):
        await ready_to_cut(audit, log, proxy)
        proxy.cut, proxy.then = "after", [("before", COMMIT)]  # which is of the look-up, that would find it before the database is gone
        doubtful = asyncio.ensure_future(open_intent(audit, log))
        await until(lambda: proxy.cuts == 2)
        async with asyncio.timeout(30):  # in a thread: the statement may wait for what the look-up locked, until the proxy has closed that
            while await asyncio.to_thread(postgres.sql, "SELECT count(*) FROM journal_record", store_name(audit.path)) != "7":
                await asyncio.sleep(0.01)
        postgres.kill()
        with pytest.raises(JournalDown):
            await doubtful
        monkeypatch.setattr(scribe, "_QUICKLY", 10.0)
        postgres.restart()
        await until(lambda: store.up)
        await audit.govern(log)
    assert sorted(status for status, _ in outcomes(audit)) == ["ok"] * 4 + ["unknown"]
    assert await audit.select(audit.path, "SELECT count(*) FROM journal_boot WHERE settled IS NULL") == [(0,)]
    verified(audit)


async def test_a_call_whose_outcome_could_not_be_written_is_closed_while_its_process_lives(audit, postgres):
    async with audit.opened(audit.path) as (store, log), audit.opened(audit.path) as (_, other):
        (call, intent), going = await open_intent(audit, log), await open_intent(audit, log, "rival")
        unheard = await open_intent(audit, log)
        boot = log.boot
        postgres.kill()
        for of in ((call, intent), unheard):
            with pytest.raises(JournalDown):
                await log.append("acme", outcome(audit, *of))
        postgres.restart()
        await until(lambda: store.up and store.holds(lock_key(boot)))
        await asyncio.gather(*(sweep(each) for each in (log, other, log)))
        assert sorted(outcomes(audit)) == [("unknown", 0), ("unknown", 1)]
        assert outcomes(audit, "rival") == []
        await log.append("rival", outcome(audit, *going))
        assert log.boot == boot
        await sweep(log)
    assert sorted(outcomes(audit)) == [("unknown", 0), ("unknown", 1)]
    assert await audit.select(audit.path, "SELECT count(*) FROM journal_boot WHERE settled IS NULL") == [(0,)]
    verified(audit)


async def test_of_a_call_whose_caller_left_neither_an_outcome_alone_nor_a_second_one_is_written(audit, postgres, monkeypatch):
    async with through(audit.path, patience=0.5) as (proxy, store, log):
        for cut in ("before", "after"):
            await ready_to_cut(audit, log, proxy)
            monkeypatch.setattr(scribe, "_QUICKLY", 0.0)
            proxy.cut, proxy.then, cuts = cut, [("before", COMMIT)], proxy.cuts
            call = audit.call()
            left = log.append("acme", record.intent(call, audit.caller(), audit.allow, os.urandom(32)))
            if cut == "after":  # both in one commit, of which nobody hears
                ended = log.append("acme", outcome(audit, call, None))
            await until(lambda cuts=cuts: proxy.cuts > cuts)
            postgres.kill()
            left.cancel()
            if cut == "before":  # the outcome comes when the intent has failed
                await until(lambda: not log._ledger.waiting)
                ended = log.append("acme", outcome(audit, call, None))
            with pytest.raises(JournalDown):
                await ended
            proxy.cut, proxy.then = "never", []
            monkeypatch.undo()
            postgres.restart()
            await until(lambda: store.up)
            await audit.govern(log)
            await sweep(log)
    verified(audit)


class Counter(WireCutter):
    """Counts what the hub says, but for its looks after its locks."""

    said = 0

    def commits(self):
        def look(data):
            self.said += b"SELECT 1\x00" not in data
            return False

        return look


async def test_a_batch_goes_there_and_back_once_though_two_write_to_the_same_logs(audit):
    commits = []
    async with through(audit.path, make=Counter) as (near, store, one), through(audit.path, make=Counter) as (far, other, two):
        for log in (one, two):
            await asyncio.gather(audit.govern(log), audit.govern(log, "rival"))
        for each in (store, other):
            each.on_commit(lambda _, seconds: commits.append(seconds))
        near.said = far.said = 0
        for _ in range(20):
            await asyncio.gather(*(audit.govern(log, org) for log in (one, two) for org in ("acme", "rival")))
        assert near.said + far.said == len(commits) >= 2 * 2 * 20
    assert len({r["boot"] for r in written(audit.path)}) == 2
    verified(audit)


def store_name(url):
    return url.rpartition("/")[2]


async def test_a_killed_database_loses_nothing_that_was_acknowledged(audit, postgres: PostgresServer):
    acknowledged = []
    writers = [await asyncio.to_thread(run_writer, audit.path, "run", "acme", "rival") for _ in range(2)]
    try:
        for _ in range(2):
            await asyncio.gather(*(read_lines(writer, 200, acknowledged) for writer in writers))
            postgres.kill()
            postgres.restart()
        await asyncio.gather(*(read_lines(writer, 200, acknowledged) for writer in writers))
    finally:
        for writer in writers:
            writer.kill()
    for writer in writers:
        acknowledged += rest(writer)
        writer.wait()
        writer.stdout.close()
    async with audit.opened(audit.path):
        pass
    check_log(audit.path, audit.signer, acknowledged)


async def test_a_hanging_database_refuses_quickly_and_is_written_again_when_it_answers(audit, postgres):
    store = Postgres(audit.path, patience=1.0)
    await store.open()
    log = Journal(PostgresLedger(store), audit.signer, build="x", checkpoint_every=3600.0)
    await log.open()
    await audit.govern(log)
    postgres.stop_answering()
    for patience, longest in ((1.0, 15.0), (1.0, 15.0), (60.0, 30.0), (60.0, 30.0)):  # of the first two some wait, of the others nobody
        store._patience = store._pool._patience = patience
        started = time.monotonic()
        results = await asyncio.gather(*(log.append("acme", record.event("admin.test")) for _ in range(100)), return_exceptions=True)
        assert all(isinstance(result, JournalDown) for result in results)
        assert time.monotonic() - started < longest
    assert log.waiting == 0
    postgres.resume()
    await until(lambda: store.up)
    await audit.govern(log)
    await log.close()
    await store.close()
    verified(audit)


async def test_two_who_write_to_many_logs_in_any_order_do_not_block_each_other(audit):
    orgs = ["acme", *(f"org{n}" for n in range(11))]
    async with audit.opened(audit.path) as (_, one), audit.opened(audit.path) as (_, two):
        for turn in range(10):
            await asyncio.gather(*(audit.govern(log, org) for log, names in ((one, orgs), (two, orgs[::-1])) for org in names[turn:]))
    sizes = {log.org: log.size for log in export.logs(audit.path)}
    assert sum(sizes.values()) == 2 * 2 * sum(12 - turn for turn in range(10))
    verified(audit)


async def test_logs_are_signed_by_one_at_a_time_and_each_head_once(audit):
    async with audit.opened(audit.path) as (_, one), audit.opened(audit.path) as (_, two):
        for _ in range(5):
            await asyncio.gather(audit.govern(one), audit.govern(two, "rival"))
            await asyncio.gather(one.checkpoint(), two.checkpoint())
        while one._ledger.changed or two._ledger.changed:
            await one.checkpoint()
            await two.checkpoint()
    assert all(log.size == log.signed for log in export.logs(audit.path))
    notes = await audit.select(audit.path, "SELECT org, size FROM journal_checkpoint")
    assert len(notes) == len(set(notes))
    verified(audit)


async def test_who_closes_while_another_signs_signs_what_that_one_had_not_seen(audit):
    """The other may be a part of the same process: a checkpoint that was stopped and is not rolled back yet."""
    async with audit.opened(audit.path) as (_, log), audit.opened(audit.path) as (other, _):
        await audit.govern(log)

        async def slow(connection):
            assert await rows_postgres.alone(connection, rows_postgres.SIGNING)
            begun.set()
            await asyncio.sleep(0.3)

        begun = asyncio.Event()
        signing = asyncio.create_task(other.write(slow))
        await begun.wait()
        await log.close()
        assert signing.done()
        assert all(each.size == each.signed for each in export.logs(audit.path))
    verified(audit)


async def test_a_checkpoint_that_is_stopped_is_made_again(audit):
    async with audit.opened(audit.path) as (_, log):
        for turn in range(20):
            await audit.govern(log)
            stopped = asyncio.ensure_future(log.checkpoint())
            for _ in range(turn):
                await asyncio.sleep(0)
            stopped.cancel()
            await asyncio.gather(stopped, return_exceptions=True)
            assert log._ledger.changed or not stopped.cancelled()
    assert all(each.size == each.signed for each in export.logs(audit.path))


async def test_a_record_that_cannot_be_stored_fails_alone(audit):
    async with audit.opened(audit.path) as (_, log):
        bad = {**record.event("admin.test"), "outcome": {"us": 2**70}, record.SALT: os.urandom(32)}
        appended = [log.append("acme", each) for each in (record.event("admin.test"), bad, record.event("admin.test"))]
        results = await asyncio.gather(*appended, return_exceptions=True)
        assert [isinstance(result, JournalDown) for result in results] == [False, True, False]
    assert [r["n"] for r in written(audit.path)] == [1, 2]


async def test_a_sweep_that_is_stopped_in_the_middle_of_a_commit_leaves_counts_right(audit):
    async with audit.opened(audit.path) as (_, log):
        for _ in range(3):
            await open_intent(audit, log)
    async with audit.opened(audit.path, grace=30.0) as (_, log):
        await log.append("acme", record.event("admin.test"))
        log._ledger._graves._grace = 0.0
        for turn in range(40):
            stopped = asyncio.ensure_future(sweep(log))
            for _ in range(turn):
                await asyncio.sleep(0)
            await asyncio.sleep(turn * 0.0005)
            stopped.cancel()
            await asyncio.gather(stopped, return_exceptions=True)
            await log.append("acme", record.event("admin.test"))
        await sweep(log)
    assert len([1 for status, _ in outcomes(audit) if status == "unknown"]) == 3
    verified(audit)
