"""How late a machine is that is busy with other things: what a test may add where the hub promises something within so many seconds."""

import contextlib
import threading
import time
from collections.abc import Generator

EVERY = 0.01
PROCESSES = 4
"""How many processes wait for their turn, one after the other, in what is measured: client, hub, another hub or store, and back."""


class Lateness:
    """`allowed`: seconds this process waited for its turn, for each of those processes. Next to none on a quiet machine."""

    def __init__(self) -> None:
        self._late = 0.0
        self._over = threading.Event()

    @property
    def allowed(self) -> float:
        return PROCESSES * self._late

    def run(self) -> None:
        while True:
            asked = time.monotonic()
            if self._over.wait(EVERY):
                return
            self._late += max(0.0, time.monotonic() - asked - 2 * EVERY)

    def end(self) -> None:
        self._over.set()


@contextlib.contextmanager
def lateness() -> Generator[Lateness]:
    """Measured for the length of a block."""
    made = Lateness()
    thread = threading.Thread(target=made.run, name="lateness", daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.end()
        thread.join()
