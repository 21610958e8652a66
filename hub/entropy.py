"""Random bytes without a system call each: the kernel is asked for a page at a time, and no byte is handed out twice."""

import os

_PAGE = 4096


class Entropy:
    """Not thread-safe; a forked child must make its own."""

    __slots__ = ("_at", "_page")

    def __init__(self) -> None:
        self._page = b""
        self._at = 0

    def take(self, count: int) -> bytes:
        """`count` (at most 64) random bytes, fit for keys and salts."""
        at, end = self._at, self._at + count
        if end > len(self._page):
            self._page, at, end = os.urandom(_PAGE), 0, count
        self._at = end
        return self._page[at:end]


take = Entropy().take
"""For the loop's thread of this process."""
