"""Signals of the operating system, heard on the loop.

Not by the loop's own `add_signal_handler`: a loop that closes gives its signals their default back, and one more SIGTERM would then end a
process that has stopped in order.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable


def on_signal(number: int, act: Callable[[], None]) -> None:
    """Have `act()` called on the running loop for each signal `number`, as long as the loop lives. In the main thread."""
    loop = asyncio.get_running_loop()

    def heard(_number: int, _frame: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(act)

    signal.signal(number, heard)


def past_signals() -> None:
    """Be ended by none of the hub's signals any more: all is stopped in order, and the exit code is to say so, however often it is told."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
