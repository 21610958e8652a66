"""Signals of the operating system, heard on the loop.

Not by the loop's own `add_signal_handler`: a loop that closes gives its signals their default back, and one more SIGTERM would then end a
process that has stopped in order.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable

_PIPE: list[int] = []
"""Both ends, once there is one: it stays for as long as the process."""


def on_signal(number: int, act: Callable[[], None]) -> None:
    """Have `act()` called on the running loop for each signal `number`, as long as the loop lives. In the main thread."""
    loop = asyncio.get_running_loop()

    def heard(_number: int, _frame: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(act)

    signal.signal(number, heard)
    _wake(loop)


def past_signals() -> None:
    """Be ended by none of the hub's signals any more: all is stopped in order, and the exit code is to say so, however often it is told."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


def _wake(loop: asyncio.AbstractEventLoop) -> None:
    """Have a signal wake the loop. Python but notes one that comes in the instant before the loop sleeps, or to another thread, and would
    act on it when something else wakes the loop. uvloop sees to that by itself.
    """
    before = signal.set_wakeup_fd(-1)
    if before not in (-1, *_PIPE):
        signal.set_wakeup_fd(before)
        return
    if not _PIPE:
        _PIPE.extend(os.pipe())
        for end in _PIPE:
            os.set_blocking(end, False)
    loop.add_reader(_PIPE[0], _drain)
    signal.set_wakeup_fd(_PIPE[1], warn_on_full_buffer=False)


def _drain() -> None:
    with contextlib.suppress(BlockingIOError):
        os.read(_PIPE[0], 1024)
