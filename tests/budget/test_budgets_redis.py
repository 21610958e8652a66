"""Budgets that several processes share: exact whoever asks, given back when one dies, loaded from the ledger when Redis has lost them."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from hub.budget import spend_keeper
from hub.budget.budgets import outliving
from hub.budget.budgets_redis import OUTLIVES, RedisBudgets
from hub.budget.usage_postgres import PostgresUsage
from hub.call import Tokens
from hub.refusal import BudgetExceeded, StoreDown
from hub.store.postgres import Postgres
from hub.store.redis import Redis
from tests.budget.purse import ANN, EVE, GPT, InRedis, end, reserve, spend, usd
from tests.budget.spenders import LEASE, specs
from tests.services.redis import RedisCluster, RedisServer

CAP, COST, PROCESSES, CALLS = 1_000_000, 1000, 4, 750


@pytest.fixture
async def purse(store: Redis, redis: RedisServer, emptied_url: str) -> AsyncIterator[InRedis]:
    purse = InRedis(store, redis, emptied_url)
    await purse.open()
    yield purse
    await purse.close()


@contextlib.asynccontextmanager
async def spenders(redis_url: str, emptied_url: str) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """Processes that are ready to spend."""
    pipe = asyncio.subprocess.PIPE
    made: list[asyncio.subprocess.Process] = []
    try:
        for n in range(PROCESSES):
            arguments = ("-m", "tests.budget.spenders", redis_url, emptied_url, str(CAP), str(CALLS), str(COST), f"p{n}")
            made.append(await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=pipe, stdout=pipe))
        for one in made:
            assert await line(one) == "ready"
        yield made
    finally:
        for one in made:
            if one.returncode is None:
                one.kill()
            await one.communicate()


async def line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        return (await process.stdout.readline()).decode().strip()


async def go(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    await process.stdin.drain()


async def until(condition: Callable[[], Awaitable[bool]], patience: float = 30.0) -> None:
    async with asyncio.timeout(patience):
        while not await condition():
            await asyncio.sleep(0.05)


async def test_three_thousand_calls_of_four_processes_against_room_for_a_thousand_and_one_process_is_killed(
    redis_url: str, redis: RedisServer, emptied_url: str, purse: InRedis
):
    async with spenders(redis_url, emptied_url) as processes:
        for one in processes:
            await go(one)
        admitted = [int((await line(one)).split()[1]) for one in processes]
        assert sum(admitted) == CAP // COST
        assert sum(map(bool, admitted)) > 1
        victim = max(range(PROCESSES), key=lambda n: admitted[n])
        for one in processes:
            await go(one)
        assert (await line(processes[victim])).startswith("sent")
        processes[victim].send_signal(signal.SIGKILL)  # in the middle of settling
        for n, one in enumerate(processes):
            if n != victim:
                while not (said := await line(one)).startswith("settled"):
                    continue
                assert said == f"settled {admitted[n]}"

        async def nothing_held() -> bool:
            return redis.ask("HLEN", "hub:{spend}:held") == 0 and redis.ask("HLEN", "hub:{spend}:rows") == 0

        await until(nothing_held, 30 + LEASE)
        for n, one in enumerate(processes):
            if n != victim:
                await go(one)
                await one.wait()
    await purse.make(*specs(CAP))
    rows = await purse.rows()
    spent = sum(row.cost for row in rows)
    assert spent <= CAP
    by_process = [sum(row.id.startswith(f"p{n}-") for row in rows) for n in range(PROCESSES)]
    assert [count for n, count in enumerate(by_process) if n != victim] == [count for n, count in enumerate(admitted) if n != victim]
    assert {row.cost for row in rows} <= {COST - 1, 7}
    assert sum(row.facts.status == "unknown" for row in rows) <= 1  # it settled one after the other
    counts = await purse.counts(purse.made[0])
    assert counts == {("b", ""): (spent, 0), ("key", "k1"): (spent, 0), ("all", ""): (spent, 0)}


async def test_what_a_dead_process_sent_is_spent_at_least_and_what_it_did_not_is_given_back(
    purse: InRedis, monkeypatch: pytest.MonkeyPatch
):
    dead, alive = await purse.make(usd(1000)), await purse.make(usd(1000))
    dead._keeper._task.cancel()
    sent = await reserve(dead, "sent", 300)
    sent.dispatching(40, Tokens(input=4))
    await reserve(dead, "not", 300)
    mine = await reserve(alive, "mine", 300)
    assert (await purse.counts(alive))["b", ""] == (0, 900)
    await purse.pass_(29)
    await alive._keeper._once()
    await purse.pass_(2)
    await alive._keeper._once()
    assert (await purse.counts(alive))["b", ""] == (40, 300)
    await end(sent.settle(250, Tokens()))  # it was not dead after all: never both
    await end(mine.settle(300, Tokens()))
    assert (await purse.counts(alive))["b", ""] == (340, 0)
    await purse.pass_(4)
    await alive.standing(ANN, GPT)  # it hears what time it is
    await alive._keeper._once()
    rows = {row.id: (row.cost, row.facts.status) for row in await purse.rows()}
    assert rows == {"sent": (40, "unknown"), "mine": (300, "ok")}


@pytest.mark.parametrize("lost", [False, True])
async def test_what_outlives_a_killed_process_stays_set_aside_until_it_is_adopted(purse: InRedis, lost: bool):
    dead, alive = await purse.make(usd(1000)), await purse.make(usd(1000))
    dead._keeper._task.cancel()
    sent = await reserve(dead, "sent", 300)
    sent.dispatching(40, Tokens(input=4))
    sent.outlive()
    await purse.pass_(3600)
    await alive._keeper._once()
    assert (await purse.counts(alive))["b", ""] == (0, 300)
    if lost:
        purse.server.ask("FLUSHALL")
        await purse.pass_(0)
        await alive._keeper._once()
        assert [one.left for one in await alive.standing(ANN, GPT)] == [1000]
    mine = await alive.adopt(outliving(sent))
    assert mine is not None
    assert (await purse.counts(alive))["b", ""] == (0, 300)
    await end(mine.settle(250, Tokens()))
    assert await alive.adopt(outliving(sent)) is None, "it is settled, and its row may not be in the ledger yet"
    sent.hand_over()  # it was not dead after all
    await end(sent.settle(7, Tokens()))
    assert (await purse.counts(alive))["b", ""] == (250, 0)
    assert [(row.id, row.cost) for row in await purse.rows()] == [("sent", 250)]


async def test_what_was_settled_is_not_set_aside_by_who_could_not_read_so_at_first(purse: InRedis, monkeypatch: pytest.MonkeyPatch):
    one, late = await purse.make(usd(1000)), await purse.make(usd(1000))
    sent = await reserve(one, "sent", 300)
    sent.dispatching(40, Tokens(input=4))
    sent.outlive()
    told = outliving(sent)
    await end(sent.settle(250, Tokens()))
    await purse.rows()
    await until(lambda: asyncio.to_thread(lambda: purse.server.ask("HLEN", "hub:{spend}:rows") == 0))

    async def away(*_: object, **__: object) -> None:
        raise StoreDown("away")

    with monkeypatch.context() as broken:
        broken.setattr(late._store, "find", away)
        with pytest.raises(StoreDown):
            await late.adopt(told)
    assert await late.adopt(told) is None
    assert [one.left for one in await late.standing(ANN, GPT)] == [750]
    assert (await purse.counts(late))["b", ""] == (250, 0)


async def test_what_one_process_set_nothing_aside_for_is_given_back_of_what_another_did(purse: InRedis):
    one, other = await purse.make(), await purse.make(usd(1000))
    sent = await reserve(one, "sent", 300)
    sent.dispatching(40, Tokens(input=4))
    sent.outlive()
    mine = await other.adopt(outliving(sent))
    assert mine is not None
    assert (await purse.counts(other))["b", ""] == (0, 300)
    await end(sent.settle(250, Tokens()))
    mine.hand_over()
    assert [one.left for one in await other.standing(ANN, GPT)] == [1000]
    assert [(row.id, row.cost) for row in await purse.rows()] == [("sent", 250)]


async def test_what_two_processes_settle_at_once_is_counted_once_and_either_knows_that_it_stays_so(
    purse: InRedis, caplog: pytest.LogCaptureFixture
):
    one, other = await purse.make(usd(1000)), await purse.make(usd(1000))
    for number in range(20):
        sent = await reserve(one, f"sent{number}", 30)
        sent.dispatching(4, Tokens(input=4))
        sent.outlive()
        mine = await other.adopt(outliving(sent))
        assert mine is not None
        for held in (sent, mine):
            held.settle(25, Tokens())
        assert await asyncio.gather(sent.lasting(), mine.lasting()) == [True, True]
    assert [(row.cost, row.facts.status) for row in await purse.rows()] == [(25, "ok")] * 20
    assert (await purse.counts(one))["b", ""] == (500, 0)
    assert not caplog.records


async def test_what_outlives_a_process_that_ends_while_redis_is_away_is_left_to_another(purse: InRedis, monkeypatch: pytest.MonkeyPatch):
    one, other = await purse.make(usd(1000)), await purse.make(usd(1000))
    sent = await reserve(one, "sent", 300)
    sent.dispatching(40, Tokens(input=4))
    sent.outlive()

    async def away(*_: object) -> list[int]:
        raise StoreDown("away")

    monkeypatch.setattr(one._spend, "settle", away)
    await end(sent.settle(250, Tokens()))
    lasting = asyncio.create_task(sent.lasting())
    await one.close()
    assert not await lasting
    assert await purse.rows() == []
    mine = await other.adopt(outliving(sent))
    assert mine is not None
    mine.settle(250, Tokens())
    assert await mine.lasting()
    assert [(row.id, row.cost) for row in await purse.rows()] == [("sent", 250)]
    assert (await purse.counts(other))["b", ""] == (250, 0)


async def test_what_nobody_adopts_is_spent_at_least_in_the_end(purse: InRedis):
    dead, alive = await purse.make(usd(1000)), await purse.make(usd(1000))
    dead._keeper._task.cancel()
    sent = await reserve(dead, "sent", 300)
    sent.dispatching(40, Tokens(input=4))
    sent.outlive()
    for seconds in (31, OUTLIVES / 1_000_000):
        await purse.pass_(seconds)
        await alive.standing(ANN, GPT)
        await alive._keeper._once()
    assert (await purse.counts(alive))["b", ""] == (40, 0)
    assert await alive.adopt(outliving(sent)) is None


@pytest.mark.parametrize("loss", ["flushed", "restarted", "emptied and restarted"])
async def test_redis_that_lost_its_counts_is_told_them_by_the_ledger_and_by_who_has_calls_under_way(
    purse: InRedis, redis: RedisServer, store: Redis, loss: str
):
    purse.settling = 0.2
    budgets, other = [], []
    for made in (budgets, other):
        made.append(await purse.make(usd(1000), usd(1000, "rolling", "key", "1h")))

    async def again(make: Callable[[], Awaitable[object]]):
        async with asyncio.timeout(30):
            while True:
                try:
                    return await make()
                except StoreDown:
                    await purse.pass_(0.3)
                    await asyncio.sleep(0.02)

    await again(lambda: spend(budgets[0], "a", 100))
    flying = await again(lambda: reserve(other[0], "b", 300))
    flying.dispatching(10)
    if loss == "flushed":
        redis.ask("FLUSHALL")
    else:
        redis.kill()
        redis.restart(forget=loss.startswith("emptied"))
    await purse.pass_(0)
    await again(lambda: budgets[0].standing(ANN, GPT))
    await again(other[0]._keeper._once)  # as it does every two seconds
    refusal = None
    try:
        await again(lambda: reserve(budgets[0], "c", 601))
    except BudgetExceeded as one:
        refusal = one
    assert refusal is not None
    await spend(budgets[0], "c", 600)
    await end(flying.settle(250, Tokens()))
    assert (await purse.counts(budgets[0])) == {("b", ""): (950, 0), ("rolling", "k1"): (950, 0)}
    assert sorted((row.id, row.cost) for row in await purse.rows()) == [("a", 100), ("b", 250), ("c", 600)]


async def test_rows_that_a_dead_process_had_not_written_are_written_by_another(purse: InRedis, monkeypatch: pytest.MonkeyPatch):
    dead, alive = await purse.make(usd(1000)), await purse.make(usd(1000))
    await dead.standing(ANN, GPT)
    purse.made.remove(dead)
    purse.stores.pop(0)._worker.cancel()
    dead._keeper._task.cancel()
    await spend(dead, "a", 100)
    assert await purse.store.find(None) == []
    await purse.pass_(spend_keeper.OLD / 1_000_000 + 1)
    await alive.standing(ANN, GPT)  # it hears what time it is
    await alive._keeper._once()
    await purse.store.settled()
    assert [(row.id, row.cost) for row in await purse.store.find(None)] == [("a", 100)]
    purse.server.ask("FLUSHALL")
    await purse.pass_(0)
    assert [one.left for one in await alive.standing(ANN, GPT)] == [900]


async def test_without_redis_hard_budgets_refuse_at_once_and_soft_ones_let_through_into_the_ledger(
    purse: InRedis, redis: RedisServer, store: Redis
):
    hard, soft = await purse.make(usd(1000)), await purse.make(usd(1000, "soft", enforce="soft"))
    flying = await reserve(hard, "a", 100)
    flying.dispatching()
    redis.kill()
    while store.up:
        await asyncio.sleep(0.01)
    since = time.monotonic()
    for n in range(100):
        with pytest.raises(StoreDown):
            await reserve(hard, f"h{n}", 1)
    await spend(soft, "s", 5)
    await end(flying.settle(90, Tokens()))
    assert time.monotonic() - since < 20  # who waited for an answer would wait for that each time
    await purse.stores[1].settled()
    assert [row.id for row in await purse.stores[1].find(None)] == ["s"]
    redis.restart()
    await purse.pass_(0)

    async def settled() -> bool:
        return [row.cost for row in await purse.rows() if row.id == "a"] == [90]

    await until(settled)


async def test_on_a_cluster_every_tier_is_in_one_place(redis_cluster: RedisCluster, emptied_url: str):
    redis, postgres = Redis(redis_cluster.url), Postgres(emptied_url)
    await redis.open()
    await postgres.open()
    ledger = PostgresUsage(postgres)
    await ledger.open()
    budgets = RedisBudgets(redis, ledger, (usd(1000, "all", "global", "24h"), usd(600, window="day")), settling=0.0)
    await budgets.open()
    for n, caller in enumerate((ANN, EVE)):
        await spend(budgets, f"a{n}", 500, caller=caller)
    with pytest.raises(BudgetExceeded) as raised:
        await reserve(budgets, "b", 1)
    assert raised.value.data["budget"] == "all"
    (await reserve(budgets, "c", 0)).refund()
    await budgets.close()
    await ledger.close()
    await postgres.close()
    await redis.close()


async def test_the_ledger_of_an_organisation_is_seen_by_nobody_else(purse: InRedis):
    budgets = await purse.make(usd(1000))
    await spend(budgets, "a", 1)
    await spend(budgets, "b", 1, caller=EVE)
    assert [row.id for row in await purse.rows()] == ["b", "a"]
    for org, seen in (("acme", 1), ("evil", 1), ("*", 2), ("", 0), ("acm", 0)):
        count = await purse.postgres.read(lambda connection: connection.fetchval("SELECT count(*) FROM usage"), org=org)
        assert count == seen
    assert [row.id for row in await purse.store.find("evil")] == ["b"]
