"""Session advisory locks of one process, on a connection of their own. Knows not what they stand for.

PostgreSQL frees them when the connection ends: by a kill of the process at once, by the loss of its machine after the server's keep-alives.
When the connection breaks while the process lives on, it is made again, and the locks are taken again once they are free.
"""

import asyncio
import contextlib
from asyncio import Task
from collections.abc import Awaitable, Callable

from hub import backoff
from hub.store.postgres_link import Connection, typed
from hub.store.postgres_pool import FIRST_PAUSE, LONGEST_PAUSE

PING = 2.0
"""Seconds between looks at the connection."""

_PING_PATIENCE = 15.0
"""Seconds without an answer until the connection is given up. Longer than for a call: while the server is silent, nobody gets a lock."""

_RELEASE_PATIENCE = 1.0


class Locks:
    """The locks that this process wants, and which of them it has."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._wanted: dict[int, bool] = {}
        self._held: set[int] = set()
        self._leaving: dict[int, bool] = {}
        """Those that the server has yet to be told of that they are not wanted any more."""
        self._turn = asyncio.Lock()
        self._broke = asyncio.Event()
        self._watch: Task[None] | None = None

    @property
    def lost(self) -> bool:
        """Whether a lock that was ours is not, at the moment or for good."""
        return any(not self.holds(key) for key in self._wanted)

    def holds(self, key: int) -> bool:
        """Whether the lock is ours, as far as is known here."""
        return key in self._held and self._connection is not None and not self._connection.is_closed()

    async def hold(self, key: int, *, shared: bool) -> bool:
        """Take a lock and keep it, or say at once that another has it. Raises `StoreDown`."""
        async with self._turn:
            if self._connection is None or self._connection.is_closed():
                await self._renew()
            taken = await self._take(key, shared=shared)
            if taken:
                self._wanted[key] = shared
                self._held.add(key)
            if self._watch is None and self._wanted:
                self._watch = asyncio.get_running_loop().create_task(self._look(), name="postgres-locks")
            return taken

    async def release(self, key: int) -> None:
        """Want it no longer. Nobody waits for a silent server: it is let go of once that answers, or goes with the connection."""
        shared = self._wanted.pop(key, False)
        if key not in self._held:
            return
        self._held.discard(key)
        self._leaving[key] = shared
        try:
            await asyncio.wait_for(self._turn.acquire(), _RELEASE_PATIENCE)
        except TimeoutError:
            return
        try:
            await self._let_go()
        finally:
            self._turn.release()

    async def close(self) -> None:
        """Let go of every lock."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None
        self._wanted.clear()
        self._held.clear()
        self._leaving.clear()
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _take(self, key: int, *, shared: bool) -> bool:
        assert self._connection is not None
        how = "_shared" if shared else ""
        try:
            return bool(await self._connection.fetchval(f"SELECT pg_try_advisory_lock{how}({key})"))
        except Exception as error:
            self._connection.terminate()
            raise typed(error) from None

    async def _renew(self) -> None:
        """A new connection, and on it the locks that are free. Raises `StoreDown`."""
        if self._connection is not None:
            self._connection.terminate()
        self._held.clear()
        self._leaving.clear()
        self._connection = await self._connect()
        self._broke.clear()
        self._connection.add_termination_listener(lambda _: self._broke.set())
        await self._regain()

    async def _let_go(self) -> None:
        if self._connection is None or self._connection.is_closed():
            return
        for key, shared in tuple(self._leaving.items()):
            with contextlib.suppress(Exception):
                await self._connection.execute(f"SELECT pg_advisory_unlock{'_shared' if shared else ''}({key})")
                self._leaving.pop(key, None)

    async def _regain(self) -> None:
        await self._let_go()
        for key, shared in tuple(self._wanted.items()):
            if key in self._wanted and key not in self._held and await self._take(key, shared=shared):
                if key in self._wanted:
                    self._held.add(key)
                else:
                    self._leaving[key] = shared

    async def _look(self) -> None:
        """See that the connection is there, for as long as the process is."""
        failures = 0
        while True:
            with contextlib.suppress(TimeoutError):
                pause = backoff.pause(failures, FIRST_PAUSE, LONGEST_PAUSE) if failures else PING
                await asyncio.wait_for(self._broke.wait(), pause)
            self._broke.clear()
            try:
                async with self._turn:
                    await self._check()
                failures = 0
            except Exception:  # whatever it was: locks that nobody seeks any more would be lost for good
                self._broke.clear()  # it broke at once: not to be tried again at once
                failures += 1

    async def _check(self) -> None:
        if self._connection is not None and not self._connection.is_closed():
            try:
                await self._connection.execute("SELECT 1", timeout=_PING_PATIENCE)
            except Exception:  # then it is of no more use, whatever it was
                self._connection.terminate()
        if self._connection is None or self._connection.is_closed():
            await self._renew()
        else:
            await self._regain()
