"""The end of a child whose parent is gone and whose own loop hangs: nobody else is left to end it."""

import os
import select
import signal
import threading
import time
from collections.abc import Callable

REST = 20.0
"""Seconds that a child without a parent has beside the drain of its calls; then it is ended, whatever it does."""


def guard(channel: int, patience: Callable[[], float]) -> None:
    """Watch the descriptor from a thread. Once the other end of it is gone, this process has `patience()` seconds left."""
    own = os.dup(channel)
    threading.Thread(target=_watch, args=(own, patience), name="parent-watch", daemon=True).start()


def _watch(channel: int, patience: Callable[[], float]) -> None:
    poll = select.poll()
    poll.register(channel, 0)  # the end of the other side is always told
    while not poll.poll():
        pass
    time.sleep(patience())
    os.kill(os.getpid(), signal.SIGKILL)
