"""How soon a child that has ended is followed by another: at once the first time, ever later where one after the other ends."""

import time

from hub.processes.child import Child

PAUSES = (0.0, 0.5, 1.0, 2.0, 5.0, 15.0, 30.0)
"""Seconds until the next, by how many have failed in a row."""

STEADY = 60.0
"""Seconds after which a child that ends has not failed in a row."""


class Pauses:
    """Of those that take each other's place."""

    def __init__(self) -> None:
        self._failures = 0

    def after(self, child: Child | None) -> float:
        """Seconds until the next, now that `child` has ended and should not have; None is one that could not even be made."""
        if child is not None and time.monotonic() - child.began > STEADY:
            self._failures = 0
        self._failures += 1
        return PAUSES[min(self._failures, len(PAUSES)) - 1]
