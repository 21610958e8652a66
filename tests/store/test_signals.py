"""Signals between processes: heard by who listens, again after every fault, and in nobody's way."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import pytest

from hub.store.redis import Redis
from hub.store.signals import Signals
from tests.services.redis import RedisServer


async def until(condition: Callable[[], bool], patience: float = 30.0) -> None:
    async with asyncio.timeout(patience):
        while not condition():
            await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def process(url: str) -> AsyncIterator[tuple[Signals, list[bytes]]]:
    """One of several, that listens to `keys`: its signals and what it heard."""
    heard: list[bytes] = []
    redis = Redis(url)
    await redis.open()
    signals = Signals(redis)
    signals.subscribe("keys", lambda _, data: heard.append(data))
    signals.open()
    await until(lambda: signals.confirmed == 1)
    try:
        yield signals, heard
    finally:
        await signals.close()
        await redis.close()


async def test_every_other_process_hears_what_one_publishes_soon_and_in_order(redis_url: str):
    async with process(redis_url) as (one, first), process(redis_url) as (two, second):
        since = time.monotonic()
        two.publish("keys", b"\x00acme")
        await until(lambda: len(first) == 1)
        assert time.monotonic() - since < 5.0
        for n in range(200):
            one.publish("keys", b"%d" % n)
            one.publish("other", b"nobody listens")
        await until(lambda: len(second) == 200)
        assert second == [b"%d" % n for n in range(200)]
        assert first == [b"\x00acme"], "what it said itself it need not hear"


async def test_topics_may_join_later_and_a_listener_that_fails_harms_no_other(redis_url: str):
    async with process(redis_url) as (one, first), process(redis_url) as (two, _):
        later: list[tuple[bytes, bytes]] = []

        def hear(sender: bytes, data: bytes) -> None:
            later.append((sender, data))

        def fail(sender: bytes, data: bytes) -> None:
            raise RuntimeError

        one.subscribe("keys", fail)
        one.subscribe("keys", hear)
        one.subscribe("sessions", hear)
        await until(lambda: one.confirmed == 2)
        two.publish("keys", b"1")
        two.publish("sessions", b"2")
        await until(lambda: later == [(two.name, b"1"), (two.name, b"2")])
        assert first == [b"1"]


@pytest.mark.usefixtures("as_the_hub_waits")
async def test_it_listens_again_after_its_connection_was_closed_the_server_killed_or_stopped(redis_url: str, redis: RedisServer):
    async with process(redis_url) as (one, first), process(redis_url) as (two, second):

        def close() -> None:
            redis.ask("CLIENT", "KILL", "TYPE", "pubsub")

        def stop() -> None:
            redis.stop_answering()

        for harm, heal in ((close, lambda: None), (redis.kill, redis.restart), (stop, redis.resume)):
            harm()
            two.publish("keys", b"perhaps lost")
            await until(lambda: one.confirmed == two.confirmed == 0)
            heal()
            await until(lambda: one.confirmed == two.confirmed == 1)
            await until(lambda: one._redis.up and two._redis.up)
            told = [harm.__name__.encode()]
            for signals in (one, two):
                signals.publish("keys", told[0])
            await until(lambda told=told: first[-1:] == second[-1:] == told)


async def test_hubs_that_share_a_server_but_not_a_database_do_not_hear_each_other(redis_url: str):
    other_url = redis_url.replace("/0", "/1")
    async with (
        process(redis_url) as (one, _),
        process(redis_url) as (_, heard),
        process(other_url) as (other, _),
        process(other_url) as (_, there),
    ):
        other.publish("keys", b"two")
        one.publish("keys", b"one")
        await until(lambda: bool(heard and there))
        assert (heard, there) == ([b"one"], [b"two"])


async def test_without_redis_nothing_is_heard_and_nothing_fails(redis_url: str, redis: RedisServer):
    redis.kill()
    store = Redis(redis_url)
    signals = Signals(store)
    signals.subscribe("keys", lambda sender, data: None)
    signals.open()
    for _ in range(1000):
        signals.publish("keys", b"lost")
    await asyncio.sleep(0)
    assert signals.confirmed == 0
    await signals.close()
