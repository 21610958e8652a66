"""One timer for one connection, which may be put off as often as there are requests. It does not know what is waited for."""

import asyncio
from collections.abc import Callable

_NEAR = 0.001
"""Seconds: the clock of the loop does not tell apart what is nearer."""


class Deadline:
    """Calls `expired` when the time is over. Put off, its timer fires as it was set, looks, and waits for the rest: that costs nothing."""

    __slots__ = ("_due", "_expired", "_fires", "_loop", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._timer: asyncio.TimerHandle | None = None
        self._due = self._fires = 0.0

    def within(self, seconds: float) -> None:
        """The time is over in `seconds` from now, whatever it was before."""
        self._due = due = self._loop.time() + seconds
        if self._timer is None or due < self._fires:
            self._set(seconds)

    def _set(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._fires = self._loop.time() + seconds
        self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        left = self._due - self._loop.time()
        if left > _NEAR:
            self._set(left)
        else:
            self._expired()

    def end(self) -> None:
        """For good. What would be called is let go of: it may be what owns this."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._expired = _nothing


def _nothing() -> None:
    pass
