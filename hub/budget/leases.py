"""Places among the calls in flight that this process occupies in Redis: given back when a call ends, renewed while it runs.

A process that dies renews nothing, so that its places are free when their leases run out. What it does not know: rules, and who calls.
"""

import asyncio
import contextlib
from collections import deque
from typing import Any

from msgspec import Struct

from hub.budget.limiter import Hold
from hub.budget.scripts import RENEW
from hub.entropy import take
from hub.store.redis import Redis, Script
from hub.store.resp import strings

LENGTH = 6.0
"""Seconds a lease lasts. What the rest follows from: places of a dead process are free within that, and a process may be out of reach of
Redis for LENGTH - RENEW_AFTER - LOOK seconds, which is more than it needs to notice, before its places are given to others."""

RENEW_AFTER = 1.5
LOOK = 0.5
"""Seconds between looks for leases older than that: calls shorter than it are never renewed."""

_TOGETHER = 200
_OWED = 10_000


class Places(Struct, frozen=True):
    """Where the calls of one kind stand while they run: the sets of leases of the counts they are held against, all of one hash tag."""

    keys: tuple[bytes, ...]
    leave: tuple[bytes, ...]
    """The command that takes a lease out of each set, up to the lease's name."""

    @property
    def tag(self) -> bytes:
        return self.keys[0]


def places(keys: tuple[bytes, ...]) -> Places:
    """The sets with these keys."""
    return Places(keys, tuple(b"*3\r\n" + strings("ZREM", key) for key in keys))


def together(one: Places | None, other: Places | None) -> Places | None:
    """The sets of both, which have one hash tag."""
    if one is None or other is None:
        return one or other
    return Places(one.keys + other.keys, one.leave + other.leave)


class Lease(Hold):
    """The places of one call: the same name in each set."""

    __slots__ = ("_leases", "name", "renewed", "where")

    def __init__(self, leases: "Leases", name: bytes, where: Places, since: float) -> None:
        self._leases: Leases | None = leases
        self.name = name
        self.where = where
        self.renewed = since
        """The loop's time from which Redis has counted at the latest."""

    def release(self) -> None:
        leases, self._leases = self._leases, None
        if leases is not None:
            leases.end(self)


class Leases:
    """All leases of this process. `length` in seconds."""

    def __init__(self, redis: Redis, length: float = LENGTH, renew: str = RENEW) -> None:
        self._redis = redis
        self._script = Script(renew)
        self._micros = round(length * 1_000_000)
        self._every = min(LOOK, length / 10)
        self._after = min(RENEW_AFTER, length / 4)
        self._prefix = take(9).hex().encode() + b"."
        self._count = 0
        self._live: dict[bytes, Lease] = {}
        """The one renewed longest ago first."""
        self._owed: deque[tuple[bytes, bytes]] = deque(maxlen=_OWED)
        """What could not be given back because Redis was away."""
        self._task: asyncio.Task[None] | None = None

    @property
    def length(self) -> bytes:
        """Microseconds, as the scripts take them."""
        return b"%d" % self._micros

    def __len__(self) -> int:
        return len(self._live)

    def open(self) -> None:
        self._task = asyncio.create_task(self._renewing())

    async def close(self) -> None:
        """Give back what is still held."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for lease in tuple(self._live.values()):
            lease.release()

    def name(self) -> bytes:
        """One that no other call of any process has."""
        self._count += 1
        return b"%b%x" % (self._prefix, self._count)

    def begin(self, name: bytes, where: Places, since: float) -> Lease:
        """Redis has taken the lease: hold it from now on. `since`: the loop's time when Redis was asked."""
        lease = self._live[name] = Lease(self, name, where, since)
        return lease

    def end(self, lease: Lease) -> None:
        self._live.pop(lease.name, None)
        self.give_back(lease.name, lease.where)

    def give_back(self, name: bytes, where: Places) -> None:
        """Have Redis forget the lease, which it may not even have. In the order of what else is sent, and nobody waits for it."""
        for leave in where.leave:
            packed = b"%b$%d\r\n%b\r\n" % (leave, len(name), name)
            if not self._redis.post(where.tag, packed):
                self._owed.append((where.tag, packed))

    def again(self) -> None:
        """Redis is back: give back what is owed, and make sure that it knows of every call that runs."""
        owed = tuple(self._owed)
        self._owed.clear()
        for tag, packed in owed:
            if not self._redis.post(tag, packed):
                self._owed.append((tag, packed))
        self._renew(tuple(self._live.values()))

    async def _renewing(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            before = asyncio.get_running_loop().time() - self._after
            old: list[Lease] = []
            for lease in self._live.values():
                if lease.renewed > before:
                    break
                old.append(lease)
            self._renew(tuple(old))

    def _renew(self, leases: tuple[Lease, ...]) -> None:
        now = asyncio.get_running_loop().time()
        together: dict[bytes, list[tuple[bytes, bytes]]] = {}
        for lease in leases:
            together.setdefault(_tag(lease.where.tag), []).extend((key, lease.name) for key in lease.where.keys)
            lease.renewed = now
            self._live[lease.name] = self._live.pop(lease.name)
        for pairs in together.values():
            for start in range(0, len(pairs), _TOGETHER):
                self._send(pairs[start : start + _TOGETHER])

    def _send(self, pairs: list[tuple[bytes, bytes]]) -> None:
        keys, names = [key for key, _ in pairs], [name for _, name in pairs]
        arguments: list[Any] = [len(keys), *keys, self._micros, *names]
        # whole, not by its hash: a server that started anew does not know it, and nobody waits for the answer to try again
        self._redis.post(keys[0], self._script.whole(len(arguments), strings(*arguments)))


def _tag(key: bytes) -> bytes:
    return key[: key.find(b"}") + 1]
