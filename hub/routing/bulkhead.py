"""A bound on how many calls are under way, served in the order of arrival. It does not know what they are.

An `asyncio.Semaphore` does the same; this one costs an integer where there is room, which is nearly always.
"""

import asyncio
import time
from collections import deque

from hub.refusal import UpstreamTimeout


class Busy(UpstreamTimeout):
    """There was no room in time. It says nothing about the server's health."""


class Bulkhead:
    """`enter` then `leave`, in one loop."""

    def __init__(self, room: int) -> None:
        self.room = room
        """How many may still enter at once."""
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def wait(self, until: float) -> None:
        """Enter when there is room. Raises `Busy` at `until` (monotonic seconds)."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await waiter
        except BaseException as problem:
            if waiter.done() and not waiter.cancelled():
                self.leave()
            if isinstance(problem, TimeoutError):
                raise Busy("the server is busy with other calls") from None
            raise

    def leave(self) -> None:
        """Let the next one in."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self.room += 1
