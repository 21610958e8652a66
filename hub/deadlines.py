"""Ends waits that are overdue: one timer for all of them, as a timer each costs more than all else done for a call."""

import asyncio
import time

TICK = 0.25
"""Seconds between looks: a wait may last so much longer than it should."""


NEVER = float("inf")


class Watch:
    """A wait of the current task. `due` is in monotonic seconds and may be moved: `NEVER` while the task does something else."""

    __slots__ = ("due", "expired", "task")

    def __init__(self, task: "asyncio.Task[object] | None", due: float) -> None:
        self.task = task
        self.due = due
        self.expired = False

    def ended(self) -> bool:
        """Asked where a `CancelledError` came: whether it was this watch's, which is then taken back."""
        if not self.expired or self.task is None:
            return False
        self.expired = False
        return self.task.uncancel() <= 0


class Deadlines:
    """For the waits of one loop. The task is cancelled where it waits, as `asyncio.timeout` does."""

    def __init__(self, tick: float | None = None) -> None:
        """`tick`: seconds between looks, where waits are short; `TICK` where it is None."""
        self._tick = tick
        self._watched: set[Watch] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def enter(self, due: float) -> Watch:
        """Watch the current task until `leave`."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        watch = Watch(asyncio.current_task(loop), due)
        self._watched.add(watch)
        if self._timer is None:
            self._timer = loop.call_later(self._tick or TICK, self._sweep)
        return watch

    def leave(self, watch: Watch) -> None:
        self._watched.discard(watch)

    def close(self) -> None:
        """No wait is ended any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        now = time.monotonic()
        for watch in self._watched:
            if now >= watch.due and not watch.expired and watch.task is not None:
                watch.expired = True
                watch.task.cancel()
        assert self._loop is not None
        self._timer = self._loop.call_later(self._tick or TICK, self._sweep) if self._watched else None
