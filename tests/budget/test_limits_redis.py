"""Limits that several processes share: exact whoever asks, freed when a process dies, and what happens while Redis is away."""

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from hub.budget import leases as leases_module
from hub.budget import limits_redis
from hub.budget.limiter import NOTHING, Hold
from hub.budget.limits_redis import RedisLimits
from hub.refusal import Limited, StoreDown
from hub.store.redis import PATIENCE, Redis
from tests.budget.conftest import admitted, caller, enter, refusal, rule, until
from tests.services.redis import RedisCluster, RedisServer
from tests.support.patience import LONG

FLYING = "hub:{default}:flying:r:key:k1"
PROCESSES = 4


@contextlib.asynccontextmanager
async def limits_of(store: Redis, *specs, **more) -> AsyncIterator[RedisLimits]:
    limits = RedisLimits(store, specs, **more)
    await limits.open()
    try:
        yield limits
    finally:
        await limits.close()


@contextlib.asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """One more process that calls, once it is ready."""
    pipe = asyncio.subprocess.PIPE
    run = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.budget.hammer", *arguments, stdin=pipe, stdout=pipe)
    assert run.stdout is not None
    try:
        async with asyncio.timeout(30):
            assert await run.stdout.readline() in (b"ready\n", b"held\n")
        yield run
    finally:
        if run.returncode is None:
            run.kill()
        await run.communicate()


async def hammered(
    url: str, spec: dict[str, object], seconds: float | None, meanwhile: Callable[[], Awaitable[None]] | None = None
) -> list[tuple[int, int, int]]:
    """(before it asked, let in, before it left) in nanoseconds of every call that several processes were let make at once.

    For so many seconds, or for as long as `meanwhile` takes; only then do they wait no longer for Redis than a hub does.
    """
    how = (str(seconds), str(LONG)) if meanwhile is None else ("told", str(PATIENCE))
    async with contextlib.AsyncExitStack() as stack:
        ours = [await stack.enter_async_context(process(url, json.dumps(spec), *how)) for _ in range(PROCESSES)]
        async with asyncio.timeout(100):
            if meanwhile is not None:
                for one in ours:
                    assert one.stdin is not None
                    one.stdin.write(b"\n")
                await meanwhile()
            said = await asyncio.gather(*(one.communicate(b"\n") for one in ours))
    per_process = [[tuple(map(int, line.split())) for line in out.decode().splitlines()] for out, _ in said]
    assert sum(map(bool, per_process)) > 1  # more than one of them was let in
    return sorted(call for calls in per_process for call in calls)  # type: ignore[return-value]


async def test_a_rate_is_exact_over_four_processes_in_every_window(redis_url: str):
    calls = await hammered(redis_url, {"name": "r", "scope": "key", "per_minute": 6000, "burst": 40}, 0.8)
    first, last = calls[0][0], max(entered for _, entered, _ in calls)
    assert 40 < len(calls) <= 40 + (last - first) // 10_000_000
    for begin, _, _ in calls:
        inside = sorted(entered for before, entered, _ in calls if before >= begin)
        for number, end in enumerate(inside, 1):
            assert number <= 40 + (end - begin) // 10_000_000


async def test_calls_in_flight_and_a_day_are_exact_over_four_processes(redis_url: str):
    calls = await hammered(redis_url, {"name": "r", "scope": "key", "concurrency": 5, "per_day": 300}, 60)
    assert len(calls) == 300
    assert 3 <= most_at_once(calls) <= 5


def most_at_once(calls: list[tuple[int, int, int]]) -> int:
    flying = most = 0
    for _, step in sorted([(entered, 1) for _, entered, _ in calls] + [(left, -1) for _, _, left in calls]):
        flying += step
        most = max(most, flying)
    return most


async def test_no_limit_is_exceeded_whatever_happens_to_redis_meanwhile(redis_url: str, redis: RedisServer):
    resumed = 0

    async def harm() -> None:
        nonlocal resumed
        await asyncio.sleep(0.3)
        redis.kill()
        await asyncio.sleep(0.3)
        redis.restart()
        await asyncio.sleep(0.3)
        redis.stop_answering()
        await asyncio.sleep(0.7)
        redis.resume()
        resumed = time.monotonic_ns()
        await asyncio.sleep(2.5)  # longer than it takes them to come back

    spec = {"name": "r", "scope": "key", "concurrency": 5, "per_day": 100_000, "per_minute": 6000, "burst": 30}
    calls = await hammered(redis_url, spec, None, harm)
    assert 3 <= most_at_once(calls) <= 5
    assert len(calls) <= int(redis.ask("GET", "hub:{acme}:day:r:key:k1")) % 2**32
    first, last = calls[0][0], max(entered for _, entered, _ in calls)
    assert last > resumed
    assert len(calls) <= 30 + (last - first) // 10_000_000


async def test_the_places_of_a_process_that_was_killed_are_free_within_seconds_and_those_of_one_that_lives_are_not(
    redis_url: str, redis: RedisServer, store: Redis
):
    spec, lease = {"name": "r", "scope": "key", "concurrency": 3}, 4.0
    assert leases_module.LENGTH <= 6
    async with (
        limits_of(store, rule(concurrency=3), lease=lease) as limits,
        process(redis_url, json.dumps(spec), "hold", str(LONG), "1", str(lease)) as alive,
        process(redis_url, json.dumps(spec), "hold", str(LONG), "2", str(lease)) as killed,
    ):
        who = caller(org="acme")
        await refusal(enter(limits, who))
        killed.send_signal(signal.SIGKILL)
        await killed.wait()
        since = time.monotonic()
        await refusal(enter(limits, who))
        for _ in range(2):
            while True:
                try:
                    await enter(limits, who)
                    break
                except Limited:
                    await asyncio.sleep(0.02)
        assert time.monotonic() - since < lease + 10  # and what a busy machine adds
        assert alive.returncode is None
        await refusal(enter(limits, who))  # the third place is held by the one that lives, longer than a lease lasts


async def test_a_lease_is_renewed_while_its_call_runs_and_a_short_call_costs_no_renewal(store: Redis, redis: RedisServer):
    async with limits_of(store, rule(concurrency=2), lease=2.0) as limits:
        hold = await enter(limits, caller())
        redis.ask("CONFIG", "RESETSTAT")
        for _ in range(100):
            (await enter(limits, caller())).release()
        await asyncio.sleep(3.0)
        await enter(limits, caller())
        await refusal(enter(limits, caller()))
        assert redis.ask("ZCARD", FLYING) == 2
        assert 3 <= redis.ask("INFO", "commandstats")["cmdstat_eval"]["calls"] <= 40
        hold.release()
        await until(lambda: redis.ask("ZCARD", FLYING) == 1)
    await until(lambda: redis.ask("ZCARD", FLYING) == 0)


async def test_whoever_leaves_while_he_waits_to_be_let_in_occupies_nothing(store: Redis, redis: RedisServer):
    async with limits_of(store, rule(concurrency=100)) as limits:
        for turns in range(6):
            entering = [asyncio.create_task(enter(limits, caller())) for _ in range(20)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in entering:
                task.cancel()
            for one in await asyncio.gather(*entering, return_exceptions=True):
                if isinstance(one, Hold):
                    one.release()
        await store.command("PING")
        assert redis.ask("ZCARD", FLYING) == 0
        assert len(limits._leases) == 0


async def test_the_clock_of_a_replica_does_not_matter(store: Redis, monkeypatch: pytest.MonkeyPatch):
    async with limits_of(store, rule(per_day=3), rule("rate", per_minute=60, burst=3)) as one, limits_of(store, rule(per_day=3)) as two:
        await enter(one, caller())
        for jump in (+90_000.0, -90_000.0):
            monkeypatch.setattr(time, "time", lambda jump=jump: 1_700_000_000 + jump)
            monkeypatch.setattr(time, "time_ns", lambda jump=jump: int(1e9 * (1_700_000_000 + jump)))
            await enter(two, caller())
        await refusal(enter(one, caller()))
        await refusal(enter(two, caller()))


async def test_replicas_with_different_rules_of_one_name_share_its_count(store: Redis):
    async with limits_of(store, rule(per_day=10)) as old, limits_of(store, rule(per_day=4)) as new:
        for _ in range(3):
            await enter(old, caller())
        await enter(new, caller())
        await refusal(enter(new, caller()))
        assert await admitted(old, caller(), 20) == 6


async def test_memory_follows_the_active_callers(store: Redis, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits_redis, "KNOWN", 50)
    async with limits_of(store, rule(per_minute=60)) as limits:
        for n in range(500):
            await enter(limits, caller(f"k{n}"))
            assert len(limits._callers) <= 50


async def test_what_no_rule_applies_to_never_asks_redis(store: Redis, redis: RedisServer):
    async with limits_of(store, rule(match="other", concurrency=1), rule("tool", "tool", match="git/*", per_day=1)) as limits:
        redis.stop_answering()
        assert limits.enter_caller(caller()) is NOTHING
        redis.resume()


async def test_without_redis_what_must_be_exact_is_refused_at_once_and_comes_back_by_itself(
    store: Redis, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits_redis, "SETTLE", 0.3)
    async with limits_of(store, rule("day", per_day=50), rule("busy", "subject", concurrency=2)) as limits:
        (await enter(limits, caller())).release()
        redis.kill()
        await until(lambda: not store.up)
        since = time.monotonic()
        for _ in range(200):
            with pytest.raises(StoreDown) as raised:
                await enter(limits, caller())
            assert raised.value.retry_after is not None
        assert time.monotonic() - since < 50.0  # waiting for an answer would be longer, two hundred times
        redis.restart()
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(StoreDown):
                    (await enter(limits, caller())).release()
                    break
                await asyncio.sleep(0.01)
        assert await admitted(limits, caller(), 1) == 1
        assert redis.ask("GET", "hub:{default}:day:day:key:k1") is not None


@pytest.mark.usefixtures("as_the_hub_waits")
async def test_without_redis_a_rate_alone_has_a_small_allowance_which_is_counted(store: Redis, redis: RedisServer):
    alone: list[None] = []
    async with limits_of(store, rule(per_minute=6000, burst=100), local=lambda: alone.append(None)) as limits:
        assert await admitted(limits, caller(), 5) == 5
        assert not alone
        redis.stop_answering()
        since = time.monotonic()
        let = 0
        while time.monotonic() - since < 1.5 or let < 3:
            with contextlib.suppress(Limited):
                await enter(limits, caller())
                let += 1
            await asyncio.sleep(0.002)
        assert let <= 10 * (time.monotonic() - since) + 1  # ten a second, a tenth of a hundred
        assert len(alone) == let
        redis.resume()
        await until(lambda: store.up)
        assert await admitted(limits, caller(), 50) == 50
        assert len(alone) == let


@pytest.mark.usefixtures("as_the_hub_waits")
async def test_a_hanging_redis_holds_nobody_longer_than_its_patience(store: Redis, redis: RedisServer):
    async with limits_of(store, rule(concurrency=1000)) as limits:
        redis.stop_answering()
        since = time.monotonic()
        got = await asyncio.gather(*(enter(limits, caller()) for _ in range(300)), return_exceptions=True)
        assert {type(one) for one in got} == {StoreDown}
        assert time.monotonic() - since < 10  # half a second, and what a busy machine adds
        redis.resume()


async def test_after_an_absence_every_running_call_is_counted_again_before_any_other_is_let_in(
    redis_url: str, redis: RedisServer, store: Redis, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits_redis, "SETTLE", 0.5)
    other = Redis(redis_url)
    await other.open()
    async with limits_of(store, rule(concurrency=3)) as one, limits_of(other, rule(concurrency=3)) as two:
        mine, theirs = await enter(one, caller()), [await enter(two, caller()) for _ in range(2)]
        redis.kill()
        await until(lambda: not store.up and not other.up)
        mine.release()  # while nobody can be told
        redis.restart(forget=True)  # the worst of it: nothing is left of any lease
        most = 0
        held: list[Hold] = []
        async with asyncio.timeout(30):
            while not held:
                for limits in (one, two):
                    with contextlib.suppress(StoreDown, Limited):
                        held.append(await enter(limits, caller()))
                    most = max(most, len(held) + len(theirs))
                await asyncio.sleep(0.005)
        assert most == 3
        for limits in (one, two):
            async with asyncio.timeout(30):
                while True:
                    with contextlib.suppress(StoreDown):
                        await refusal(enter(limits, caller()))
                        break
                    await asyncio.sleep(0.005)
        theirs[0].release()
        await until(lambda: redis.ask("ZCARD", FLYING) == 2)
        await enter(one, caller())
        for hold in (*theirs, *held):
            hold.release()
    await other.close()


async def test_a_brief_loss_of_the_connection_frees_what_ended_meanwhile_and_refuses_nobody(store: Redis, redis: RedisServer):
    async with limits_of(store, rule(concurrency=1)) as limits:
        hold = await enter(limits, caller())
        redis.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        while store.up:
            await asyncio.sleep(0)
        hold.release()
        await enter(limits, caller())
        await refusal(enter(limits, caller()))


async def test_redis_that_is_full_refuses_what_must_be_exact_and_lets_others_have_their_allowance(store: Redis, redis: RedisServer):
    async with limits_of(store, rule(per_day=5)) as hard, limits_of(store, rule(per_minute=60_000)) as soft:
        redis.ask("CONFIG", "SET", "maxmemory", "1")
        try:
            with pytest.raises(StoreDown):
                await enter(hard, caller())
            await refusal(enter(soft, caller()))
            await asyncio.sleep(0.02)
            await enter(soft, caller())
        finally:
            redis.ask("CONFIG", "SET", "maxmemory", "0")


async def test_the_counts_of_an_organisation_are_in_one_place_of_a_cluster(redis_cluster: RedisCluster):
    store = Redis(redis_cluster.url)
    await store.open()
    specs = (rule(concurrency=1), rule("s", "subject", per_day=5), rule("o", "org", per_minute=600), rule("t", "tool", per_day=2))
    async with limits_of(store, *specs, lease=2.0) as limits:
        for org in [f"org{n}" for n in range(20)]:
            who = caller(org=org, key=f"key-{org}")
            with await enter(limits, who):
                assert (await refusal(enter(limits, who))).data["limit"] == "r"
        who = caller(org="acme")
        hold = await enter(limits, who)
        await asyncio.sleep(2.5)  # longer than the lease: renewed
        await refusal(enter(limits, who))
        hold.release()
        await enter(limits, who)
    await store.close()


async def test_who_starts_when_redis_has_just_lost_its_data_gives_no_place_before_the_others_are_back(
    redis_url: str, redis: RedisServer, store: Redis
):
    async with limits_of(store, rule(concurrency=1)) as one:
        running = await enter(one, caller())
        redis.kill()
        await until(lambda: not store.up)
        redis.restart(forget=True)
        late = Redis(redis_url)
        newcomer = RedisLimits(late, (rule(concurrency=1),))
        await late.open()
        await newcomer.open()
        try:
            with pytest.raises(StoreDown):  # whether or not the other is back already: this one cannot know
                await enter(newcomer, caller())
            await until(lambda: redis.ask("ZCARD", FLYING) == 1)
            async with asyncio.timeout(30):
                while True:
                    with contextlib.suppress(StoreDown):
                        await refusal(enter(newcomer, caller()))
                        break
                    await asyncio.sleep(0.005)
            running.release()
            await until(lambda: redis.ask("ZCARD", FLYING) == 0)
            (await enter(newcomer, caller())).release()
        finally:
            await newcomer.close()
            await late.close()
