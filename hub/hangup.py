"""SIGHUP has two meanings: an operator wants the configuration read again, or the terminal the hub was started from is gone."""

import os
import signal
from collections.abc import Callable

from hub.os_signals import on_signal


def on_hangup(reload: Callable[[], None], stop: Callable[[], None]) -> None:
    """Have one of both called, on the running loop, for each SIGHUP."""
    from_terminal = _terminal()

    def hung_up() -> None:
        if from_terminal and not _terminal():
            stop()
        else:
            reload()

    on_signal(signal.SIGHUP, hung_up)


def _terminal() -> bool:
    """Whether this process has a terminal that controls it."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
