"""One of the workers that are wanted, whichever process it is at the time: kept filled, and renewed without a gap."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from hub.processes.child import Child
from hub.processes.either import either
from hub.processes.pauses import Pauses
from hub.telemetry.logs import fields

log = logging.getLogger("hub")


class Place:
    """`start` makes a process, None where the system cannot; `see_out` has one end in order; `fell` is called where one ended unasked."""

    def __init__(
        self,
        start: Callable[[], Awaitable[Child | None]],
        see_out: Callable[[Child], Coroutine[Any, Any, None]],
        fell: Callable[[], None],
        stop: asyncio.Event,
    ) -> None:
        self._start = start
        self._see_out = see_out
        self._fell = fell
        self._stop = stop
        self._pauses = Pauses()
        self._renew = asyncio.Event()
        self._renewal: asyncio.Future[bool] | None = None
        self._leaving: asyncio.Task[None] | None = None

    async def keep(self) -> None:
        """Have a worker in this place until the hub stops; return when there is none left."""
        while not self._stop.is_set():
            child = await self._start()
            self._renewed(True)  # if somebody wanted a new one: this is one
            if child is not None:
                child = await self._attended(child)
            if not self._stop.is_set():
                await either(self._stop, timeout=self._pause(child))
        self._renewed(False)
        if self._leaving is not None:
            await self._leaving

    async def renew(self) -> bool:
        """Put a new worker here, and have the one that was here end once the new one serves. False where there is no new one."""
        self._renewal = asyncio.get_running_loop().create_future()
        self._renew.set()
        done = await self._renewal
        if self._leaving is not None:
            await self._leaving
        return done

    async def _attended(self, child: Child) -> Child:
        """Wait until the worker in this place has ended; it may be another by then."""
        while True:
            await either(child.ended, self._renew)
            if child.ended.is_set():
                return child
            self._renew.clear()
            child = await self._followed(child)

    async def _followed(self, child: Child) -> Child:
        follower = await self._start()
        if follower is not None:
            await either(follower.serving, follower.ended)
        if follower is None or follower.ended.is_set():
            self._renewed(False)
            return child
        self._leaving = asyncio.create_task(self._see_out(child), name="leaving")
        self._renewed(True)
        return follower

    def _renewed(self, done: bool) -> None:
        self._renew.clear()
        if self._renewal is not None and not self._renewal.done():
            self._renewal.set_result(done)

    def _pause(self, child: Child | None) -> float:
        """Seconds until the next, now that `child` has ended: None is one that could not even be made."""
        if child is not None and child.code == 0 and child.serving.is_set():  # somebody has asked that process alone to stop
            log.info("a worker was stopped; another takes its place", extra=fields(worker=child.number, pid=child.pid))
            return 0.0
        again = self._pauses.after(child)
        if child is not None:
            self._fell()
            said = fields(worker=child.number, pid=child.pid, how=child.how_it_ended(), again_in=again)
            log.error("a worker ended; another takes its place", extra=said)
        return again
