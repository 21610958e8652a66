"""Word of changed keys between processes: heard at once, never a flood of reads, and what a process does that cannot hear of anything."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hub.call import Credential
from hub.identity import looks
from hub.identity.authenticate import Identity
from hub.identity.looks import POLL, REST
from hub.identity.relay import CHANGED, STALE, Relay
from hub.identity.rows_postgres import PostgresKeys
from hub.refusal import Unauthenticated
from hub.store.postgres import Postgres
from hub.store.redis import Redis
from hub.store.signals import Signals
from tests.identity.conftest import Counted
from tests.services.redis import RedisServer
from tests.support.media import Store

PEPPER = b"p" * 32


async def until(condition: Callable[[], Any], patience: float = 30.0) -> None:
    async with asyncio.timeout(patience):
        while not condition():
            await asyncio.sleep(0.002)


@asynccontextmanager
async def process(database: str, redis: str) -> AsyncGenerator[Identity]:
    """The keys of one of several processes, which hears of what the others change."""
    postgres, store = Postgres(database), Redis(redis)
    await postgres.open()
    await store.open()
    signals, identity = Signals(store), Identity(PostgresKeys(postgres), PEPPER)
    Relay(signals, identity)
    signals.open()
    await identity.open()
    await until(lambda: signals.confirmed == 2)
    try:
        yield identity
    finally:
        for part in (identity, signals, store, postgres):
            await part.close()


def lets_in(identity: Identity, text: str) -> bool:
    try:
        identity.authenticate(Credential(text))
    except Unauthenticated:
        return False
    return True


async def test_what_one_process_changes_others_know_before_they_would_ask(
    monkeypatch: pytest.MonkeyPatch, emptied_url: str, redis_url: str
) -> None:
    for name in ("POLL", "STALE"):
        monkeypatch.setattr(looks, name, 60.0)  # nobody asks by himself as long as this test runs
    async with process(emptied_url, redis_url) as here, process(emptied_url, redis_url) as there:
        looked: list[None] = []
        monkeypatch.setattr(here, "look", lambda _: looked.append(None))
        cut: list[str] = []
        there.on_revoke(cut.append)
        for n in range(20):
            made = await here.create("acme", f"ci-{n}")
            await until(lambda text=made.text: lets_in(there, text))
            await here.revoke("acme", made.key.id)
            await until(lambda text=made.text: not lets_in(there, text))
            assert cut[-1] == made.key.id
        assert not looked, "a process was told what it had said itself"
        other = Redis(redis_url)
        await other.open()
        for word in (b"", b"\xff" * 1000, b"somebody"):  # whatever is said, it only has the store asked
            Signals(other).publish(CHANGED, word)
        await until(lambda: len(looked) == 3)
        await other.close()


async def test_what_was_changed_here_holds_everywhere_once_it_is_said_to(
    monkeypatch: pytest.MonkeyPatch, emptied_url: str, redis_url: str, redis: RedisServer
) -> None:
    for name in ("POLL", "STALE"):
        monkeypatch.setattr(looks, name, 60.0)
    async with (
        process(emptied_url, redis_url) as here,
        process(emptied_url, redis_url) as there,
        process(emptied_url, redis_url) as third,
    ):
        others = (there, third)
        await here.everywhere()  # nothing was changed
        for n in range(20):
            made = await here.create("acme", f"ci-{n}")
            await here.everywhere()
            assert all(lets_in(other, made.text) for other in others)
            await here.revoke("acme", made.key.id)
            await asyncio.gather(here.everywhere(), here.everywhere())
            assert not any(lets_in(other, made.text) for other in others)
        monkeypatch.setattr(third, "look", lambda _: None)  # it stands still: a second later it would let nobody in
        await here.create("acme", "still")
        started = time.monotonic()
        await here.everywhere()
        assert STALE / 2 < time.monotonic() - started < STALE + 10
        redis.kill()
        await here.create("acme", "away")
        started = time.monotonic()
        await here.everywhere()
        assert STALE / 2 < time.monotonic() - started < STALE + 10


@pytest.fixture
async def counted(store: Store) -> AsyncIterator[tuple[Identity, Counted]]:
    keys = Counted(store.keys)
    identity = Identity(keys, PEPPER)
    await identity.open()
    yield identity, keys
    await identity.close()


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
async def test_a_flood_of_words_is_no_flood_of_reads(counted: tuple[Identity, Counted]) -> None:
    identity, keys = counted
    started, before = time.monotonic(), keys.reads
    for _ in range(200):
        for _ in range(50):
            identity.look()
        await asyncio.sleep(0.001)
    await until(lambda: keys.reads > before + 1)
    await asyncio.sleep(REST)  # the one that is still to come
    assert keys.most == 1
    assert keys.reads - before <= (time.monotonic() - started) / REST + 2


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
async def test_signals_that_do_not_come_leave_the_polls_as_they_were(counted: tuple[Identity, Counted]) -> None:
    identity, keys = counted
    started, before = time.monotonic(), keys.reads
    await until(lambda: keys.reads == before + 3)
    assert time.monotonic() - started > 2 * POLL
    assert identity.fresh


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
async def test_while_the_store_is_silent_it_is_said_again_and_again(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    stale = 2.0  # eight polls
    monkeypatch.setattr(looks, "STALE", stale)
    identity = Identity(store.keys, PEPPER)
    said: list[float] = []
    identity.on_silence(lambda: said.append(time.monotonic()))
    await identity.open()
    identity.bar()  # whether it may serve is another question: it hears of revocations all the same
    await asyncio.sleep(stale + 2 * POLL)
    assert said == []
    async with store.deaf():
        since = time.monotonic()
        await until(lambda: len(said) >= 3)
        assert said[0] - since < stale + POLL + 10.0  # and what a busy machine adds
    await until(lambda: identity._looks.heard > since + stale)
    said.clear()
    await asyncio.sleep(2 * POLL)
    assert said == []
    await identity.close()
