"""Sessions in Redis: one process opens them, another finds them; their end is heard; without Redis nobody is told that they are gone."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import pytest

from hub.refusal import SessionNotFound, StoreDown
from hub.store.redis import Redis
from hub.store.signals import Signals
from tests.edge.test_session_store import VERSION, caller, find, there
from tests.services.redis import RedisCluster, RedisServer
from virtual_servers.sessions import Session
from virtual_servers.sessions_redis import FRESH, RedisSessions

MEGABYTE = 1024 * 1024


async def until(condition: Callable[[], bool], patience: float = 30.0) -> None:
    async with asyncio.timeout(patience):
        while not condition():
            await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def process(url: str, *, deaf: bool = False, **bounds: float) -> AsyncIterator[RedisSessions]:
    """The sessions of one process of several; a `deaf` one hears no signals."""
    redis = Redis(url)
    await redis.open()
    signals = Signals(redis)
    sessions = RedisSessions(redis, signals, **bounds)
    if not deaf:
        signals.open()
        await until(lambda: signals.confirmed == 1)
    try:
        yield sessions
    finally:
        await signals.close()
        await redis.close()


def asked(redis: RedisServer) -> int:
    """How many scripts the server has been asked to run."""
    found = redis.ask("INFO", "commandstats")
    return sum(found.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha"))


def kept(redis: RedisServer) -> list[str]:
    return redis.ask("KEYS", "hub:session*")


async def test_what_one_process_opens_another_finds_uses_and_ends(redis_url: str, redis: RedisServer) -> None:
    async with process(redis_url) as one, process(redis_url) as two:
        session = await one.open(caller("mine"), "main", "2025-03-26", ("elicitation", "roots"))
        found = await find(two, session.id, "main", "mine")
        assert (found.id, found.version, found.door, found.key_id) == (session.id, "2025-03-26", "main", "mine")
        assert (found.capabilities, found.created) == (session.capabilities, session.created)
        for session_id, door, key in ((session.id, "main", "theirs"), (session.id, "other", "mine")):
            with pytest.raises(SessionNotFound):
                await find(two, session_id, door, key)
        assert await there(one, session)
        await two.close(found)
        assert not await there(two, session)
        await until(lambda: len(one) == 0)  # it has been told
        assert not await there(one, session)
        assert kept(redis) == []


async def test_a_request_costs_one_question_at_most_and_none_a_moment_later(redis_url: str, redis: RedisServer) -> None:
    async with process(redis_url) as one, process(redis_url) as two:
        session = await one.open(caller("mine"), "main", VERSION)
        before = asked(redis)
        assert isinstance(one.find(session.id, "main", "mine"), Session), "who opened it knows it"
        assert asked(redis) == before
        assert await there(two, session)
        assert asked(redis) in (before + 1, before + 2), "two where the server has not seen the script yet"
        before = asked(redis)
        for _ in range(100):
            assert isinstance(two.find(session.id, "main", "mine"), Session)
        assert asked(redis) == before
        with pytest.raises(SessionNotFound):
            await find(two, "no session", "main", "mine")
        assert asked(redis) == before, "what cannot be an id is not asked for"


async def test_its_end_holds_within_a_second_where_no_signal_is_heard(redis_url: str) -> None:
    async with process(redis_url) as one, process(redis_url, deaf=True) as deaf:
        session = await one.open(caller("mine"), "main", VERSION)
        revoked = await one.open(caller("bad"), "main", VERSION)
        assert await there(deaf, session)
        assert await there(deaf, revoked)
        since = time.monotonic()
        await one.close(session)
        one.forget_key("bad")
        while await there(deaf, session) or await there(deaf, revoked):
            await asyncio.sleep(0.01)
        assert time.monotonic() - since < FRESH + 10.0  # and what a busy machine adds
        assert FRESH < 1.0


async def test_an_end_that_is_heard_while_the_session_is_on_its_way_is_not_forgotten(redis_url: str) -> None:
    async with process(redis_url) as one, process(redis_url) as two:
        session = await one.open(caller("mine"), "main", VERSION)
        finding = asyncio.ensure_future(find(two, session.id, "main", "mine"))
        await asyncio.sleep(0)  # it has asked
        two._heard(b"one", session.id.encode())
        assert await finding
        assert len(two) == 0, "what it was told may have been true before the end only"


async def test_revoking_a_key_ends_its_sessions_wherever_they_were_opened(redis_url: str, redis: RedisServer) -> None:
    async with process(redis_url) as one, process(redis_url) as two:
        mine = [await store.open(caller("mine"), "main", VERSION) for store in (one, two) for _ in range(20)]
        other = await one.open(caller("other"), "main", VERSION)
        one.forget_key("mine")  # each process does when it learns of it
        two.forget_key("mine")
        for store in (one, two):
            assert not any([await there(store, session) for session in mine])
            assert await there(store, other)
        assert len(kept(redis)) == 2, "the other's record, and the list of its ids"


async def test_a_key_that_is_revoked_while_redis_is_away_loses_its_sessions_when_it_is_back(redis_url: str, redis: RedisServer) -> None:
    async with process(redis_url) as one:
        await one.open(caller("mine"), "main", VERSION)
        redis.kill()
        await until(lambda: not one._redis.up)
        one.forget_key("mine")
        redis.restart()
        await until(lambda: one._redis.up)
        await until(lambda: kept(redis) == [])


async def test_one_that_is_used_lives_on_and_one_that_is_not_goes_with_all_that_was_kept_of_it(redis_url: str, redis: RedisServer) -> None:
    async with process(redis_url, idle=2.0, fresh=0.0) as one:
        used, unused = [await one.open(caller("mine"), "main", VERSION) for _ in range(2)]
        since = time.monotonic()
        while time.monotonic() - since < 2.5:
            assert await there(one, used)
            await asyncio.sleep(0.05)
        assert not await there(one, unused)
        (record,) = [name for name in kept(redis) if name.endswith(used.id)]
        assert 0 < redis.ask("PTTL", record) <= 2000
        await until(lambda: kept(redis) == [])
        assert not await there(one, used)


@pytest.mark.usefixtures("as_the_hub_waits")
@pytest.mark.parametrize("harm", ["kill", "stop_answering"])
async def test_without_redis_sessions_are_unavailable_not_unknown_and_there_again_with_it(
    redis_url: str, redis: RedisServer, harm: str
) -> None:
    async with process(redis_url, fresh=0.0) as one, process(redis_url, fresh=0.0) as two:
        session = await one.open(caller("mine"), "main", VERSION)
        getattr(redis, harm)()
        for store in (one, two):
            for doing in (find(store, session.id, "main", "mine"), store.open(caller("mine"), "main", VERSION), store.close(session)):
                since = time.monotonic()
                with pytest.raises(StoreDown) as down:
                    await doing
                assert time.monotonic() - since < 10.0  # half a second, and what a busy machine adds
                assert down.value.retry_after
        (redis.resume if harm == "stop_answering" else redis.restart)()
        await until(lambda: one._redis.up and two._redis.up)
        if harm == "kill":  # else what could not be answered has been done all the same
            assert await there(one, session)
            assert await there(two, session)
        again = await one.open(caller("mine"), "main", VERSION)
        assert await there(two, again)


async def test_a_record_that_cannot_be_read_is_no_session_and_one_with_more_in_it_is(redis_url: str, redis: RedisServer) -> None:
    async with process(redis_url, fresh=0.0) as one:
        session = await one.open(caller("mine"), "main", VERSION)
        (record,) = [name for name in kept(redis) if name.endswith(session.id)]
        redis.ask("SET", record, b"\x95\xaa2025-11-25\xa4main\x90\x01\xa4more")
        found = await find(one, session.id, "main", "mine")
        assert (found.version, found.door, found.created) == (VERSION, "main", 1)
        redis.ask("SET", record, b"something else")
        assert not await there(one, session)


async def test_a_cluster_has_the_sessions_of_a_key_in_one_place_and_of_many_in_many(redis_cluster: RedisCluster) -> None:
    async with process(redis_cluster.url, each=3, fresh=0.0) as one, process(redis_cluster.url, fresh=0.0) as two:
        keys = [f"key{n}" for n in range(12)]
        opened = {key: [await one.open(caller(key), "main", VERSION) for _ in range(4)] for key in keys}
        for sessions in opened.values():
            assert [await there(two, session) for session in sessions] == [False, True, True, True]
        assert all(kept(server) for server in redis_cluster.servers)
        await two.close(opened["key0"][1])
        assert not await there(one, opened["key0"][1])
        for key in keys:
            one.forget_key(key)
        await until(lambda: not any(kept(server) for server in redis_cluster.servers))


async def test_ten_thousand_sessions_fit_into_fifty_megabytes(redis_url: str, redis: RedisServer) -> None:
    async with process(redis_url) as one:
        await one.open(caller("before"), "main", VERSION)
        before = redis.ask("INFO", "memory")["used_memory"]
        for start in range(0, 10_000, 1000):
            keys = [f"{n % 20:012d}" for n in range(start, start + 1000)]
            await asyncio.gather(
                *(one.open(caller(key), "a-virtual-server-of-some-team", VERSION, ("elicitation", "roots", "sampling")) for key in keys)
            )
        assert len(kept(redis)) == 10_000 + 20 + 2
        used = redis.ask("INFO", "memory")["used_memory"] - before
        print(f"10,000 sessions of 20 keys take {used / MEGABYTE:.1f} MB of Redis, {used / 10_000:.0f} bytes each")
        assert used < 50 * MEGABYTE
