"""The journal's line to PostgreSQL: where all is in order records go by it, where it is lost they go on without it, each exactly once."""

import asyncio
import os
import random
from contextlib import asynccontextmanager

import pytest

from hub.audit import record, scribe
from hub.audit.journal import Journal, JournalDown
from hub.audit.ledger_postgres import PostgresLedger
from hub.store.postgres import Postgres
from tests.audit.writing import check_log, written


@pytest.fixture
def audit(postgres_audit):
    return postgres_audit


@pytest.fixture(autouse=True)
def seeded():
    """Says what a failure is repeated with."""
    seed = random.randrange(1 << 32)
    print("random.seed", seed)
    random.seed(seed)


@asynccontextmanager
async def opened(audit):
    """A journal whose database may take its time: here nothing is away."""
    store = Postgres(audit.path, patience=20.0)
    await store.open()
    log = Journal(PostgresLedger(store, grace=3600.0), audit.signer, build="x", checkpoint_every=3600.0, sweep_every=3600.0)
    await log.open()
    yield store, log
    await log.close()
    await store.close()


def by_other_ways(store, monkeypatch):
    """Counts what goes by a connection of the store: told in the list that is given back."""
    asked: list[None] = []
    at_once = store.at_once

    def counted(*arguments):
        asked.append(None)
        return at_once(*arguments)

    monkeypatch.setattr(store, "at_once", counted)
    return asked


def line_of(log):
    return log._ledger._scribe._lines._line


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def test_where_all_is_in_order_every_record_goes_by_the_line(audit, monkeypatch):
    async with opened(audit) as (store, log):
        commits: list[float] = []
        asked = by_other_ways(store, monkeypatch)
        for org in ("acme", "rival"):
            await log.append(org, record.event("admin.test"))
        assert len(asked) == 2, "which makes the logs"
        store.on_commit(lambda count, seconds: commits.append(seconds))
        receipts = [receipt for _ in range(3) for receipt in await audit.govern(log)]
        many = await asyncio.gather(*(audit.govern(log, random.choice(("acme", "rival"))) for _ in range(40)))
        receipts += [receipt for pair in many for receipt in pair]
        assert len(asked) == 2
        assert 6 < len(commits) < 6 + 80
    check_log(audit.path, audit.signer, [receipt.header() for receipt in receipts])


async def test_a_journal_whose_line_is_lost_goes_on_without_it_and_has_another_soon(audit, postgres, monkeypatch):
    async with opened(audit) as (store, log):
        await audit.govern(log)
        first, asked = line_of(log), by_other_ways(store, monkeypatch)
        postgres.sql(f"SELECT pg_terminate_backend({first._connection.get_server_pid()})")
        await until(lambda: first.lost)
        await audit.govern(log)
        assert asked
        async with asyncio.timeout(30):
            while line_of(log) is first:
                await audit.govern(log)
        asked.clear()
        await audit.govern(log)
        assert not asked
    check_log(audit.path, audit.signer, [])


async def test_a_line_that_breaks_at_any_moment_costs_no_record_and_doubles_none(audit, monkeypatch):
    monkeypatch.setattr(scribe, "_QUICKLY", 30.0)
    async with opened(audit) as (_, log), opened(audit) as (_, other):
        receipts, ended = [], asyncio.Event()

        async def breaks():
            for _ in range(12):
                await asyncio.sleep(random.random() * 0.02)
                for each in (log, other):
                    each._ledger._scribe._lines._not_before = 0.0
                    random.choice((line_of(each).close, line_of(each)._transport.abort))()
            ended.set()

        async def calls(each):
            while not ended.is_set():
                receipts.extend(await audit.govern(each, random.choice(("acme", "rival"))))

        await asyncio.gather(breaks(), *(calls(each) for each in (log, log, log, other, other)))
        assert sum(len(written(audit.path, org)) for org in ("acme", "rival")) == len(receipts)
    check_log(audit.path, audit.signer, [receipt.header() for receipt in receipts])


async def test_a_record_that_cannot_be_sealed_fails_alone_also_among_those_that_go_by_the_line(audit):
    async with opened(audit) as (_, log):
        await audit.govern(log)
        bad = {**record.event("admin.test"), "outcome": {"us": 2**70}, record.SALT: os.urandom(32)}
        appended = [log.append("acme", each) for each in (record.event("admin.test"), bad, record.event("admin.test"))]
        results = await asyncio.gather(*appended, return_exceptions=True)
        assert [isinstance(result, JournalDown) for result in results] == [False, True, False]
    assert [r["n"] for r in written(audit.path)] == [1, 2, 3, 4]


async def test_a_sweep_and_a_sign_beside_calls_on_the_line_do_not_get_in_each_others_way(audit):
    async with opened(audit) as (_, log), opened(audit) as (_, other):
        ended = asyncio.Event()

        async def calls(each):
            while not ended.is_set():
                await audit.govern(each)

        async def work():
            for _ in range(10):
                for each in (log, other):
                    await each._recover()
                    await each.checkpoint()
            ended.set()

        await asyncio.gather(work(), *(calls(each) for each in (log, log, other)))
    check_log(audit.path, audit.signer, [])
