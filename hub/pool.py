"""The connections to one destination: used again, bounded in number, waited for in order. It does not know what is said over them."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable

from hub.http1 import Connection
from hub.incoming import Gone

KEEP_ALIVE = 4.0
"""Seconds an idle connection is kept: below the five after which common servers close it, so that a request rarely meets a close."""


class Pool:
    """At most `limit` connections, made by `dial`.

    A place is one connection that may exist. Whoever waits is given, in order of arrival, an idle connection or a free place; that
    is his alone from then on, so that nobody who came later can take it.
    """

    def __init__(self, limit: int, dial: Callable[[], Awaitable[Connection]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._dial = dial
        self._free = limit
        self._limit = limit
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._ended: asyncio.Future[None] | None = None

    @property
    def empty(self) -> bool:
        """Whether there is no connection, none being made, and nobody waiting."""
        return self._free == self._limit

    def take(self) -> Connection | None:
        """An idle connection that can be used, the latest used first; None where there is none, as always while somebody waits."""
        idle = self._idle
        if not idle:
            return None
        now = self._loop.time()
        while idle:
            connection = idle.pop()
            if now - connection.since < KEEP_ALIVE and connection.usable(now):
                return connection
            connection.close()
        return None

    async def get(self, *, fresh: bool = False) -> Connection:
        """A connection, waited for as long as the caller has patience; `fresh`: one that carried nothing yet.

        Raises what `dial` raises, and `Gone` once the pool is closed. Whoever gets one must `begin` an exchange or `abort` it.
        """
        if fresh:
            self._forget_idle()
        again = False
        while True:
            found = None if fresh else self.take()
            if found is not None:
                return found
            if self._free and (again or not self._waiting):
                self._free -= 1
            else:
                found = await self._wait(first=again)
            if found is None:
                return await self._make()
            if not fresh and found.usable(self._loop.time()):
                return found
            found.close()
            again = True

    async def _wait(self, *, first: bool) -> Connection | None:
        if self._ended is not None:
            raise Gone("the pool is closed")
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        if first:
            self._waiting.appendleft(waiter)
        else:
            self._waiting.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if not waiter.done() or waiter.cancelled():
                with contextlib.suppress(ValueError):
                    self._waiting.remove(waiter)
            elif waiter.exception() is None:
                self._return(waiter.result())
            raise

    def _return(self, given: Connection | None) -> None:
        """Given to somebody who has gone meanwhile."""
        if given is None:
            self._release()
        else:
            self.idle(given)

    async def _make(self) -> Connection:
        """A new connection in a place that is taken already."""
        try:
            if self._ended is not None:
                raise Gone("the pool is closed")
            connection = await self._dial()
        except BaseException:
            self._release()
            raise
        if connection.closed or self._ended is not None:
            connection.abort()
            self._release()
            raise Gone("closed before the request")
        connection.owner = self
        self._all.add(connection)
        return connection

    def _release(self) -> None:
        """A place is free: it goes to whoever waits longest."""
        if not self._hand(None):
            self._free += 1
            if self._free == self._limit and self._ended is not None and not self._ended.done():
                self._ended.set_result(None)

    def _hand(self, given: Connection | None) -> bool:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(given)
                return True
        return False

    # Told by the connections

    def idle(self, connection: Connection) -> None:
        if connection.closed:
            return
        connection.since = self._loop.time()
        if not self._waiting or not self._hand(connection):
            self._idle.append(connection)
            if self._timer is None:
                self._timer = self._loop.call_later(KEEP_ALIVE, self._sweep)

    def lost(self, connection: Connection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._release()

    # Time and end

    def _sweep(self) -> None:
        """Close what has been idle for too long: the list is in the order of becoming idle."""
        self._timer = None
        now = self._loop.time()
        while self._idle and now - self._idle[0].since >= KEEP_ALIVE:
            self._idle.pop(0).close()
        if self._idle:
            self._timer = self._loop.call_at(self._idle[0].since + KEEP_ALIVE, self._sweep)

    def _forget_idle(self) -> None:
        """One connection turned out to be closed: those that idled beside it are most likely too."""
        while self._idle:
            self._idle.pop().close()

    async def close(self) -> None:
        """Close every connection, also those in use; returns when they are closed, at most a second later."""
        if self._ended is None:
            self._ended = self._loop.create_future()
        if self._timer is not None:
            self._timer.cancel()
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(Gone("the pool is closed"))
        for connection in list(self._all):
            connection.abort(Gone("the pool is closed"))
        if self._free < self._limit:
            await asyncio.wait([self._ended], timeout=1.0)
