"""SIGHUP has two meanings: an operator wants the configuration read again, or the terminal the hub was started from is gone.

At the very end no signal has any.
"""

import asyncio
import os
import signal
from collections.abc import Callable


def on_hangup(reload: Callable[[], None], stop: Callable[[], None]) -> None:
    """Have one of both called, on the running loop, for each SIGHUP."""
    from_terminal = _terminal()

    def hung_up() -> None:
        if from_terminal and not _terminal():
            stop()
        else:
            reload()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up)


def _terminal() -> bool:
    """Whether this process has a terminal that controls it."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def past_signals() -> None:
    """Be ended by none of the hub's signals any more: all is stopped in order, and the exit code is to say so, however often it is told."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
        loop.remove_signal_handler(number)  # else the loop would give it back its default when it is closed
        signal.signal(number, signal.SIG_IGN)
