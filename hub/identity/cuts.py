"""Who is told when a key stops counting, so that its streams are ended: at once, or when the time of the key has come."""

import heapq
import logging
from collections.abc import Callable

from hub.identity.entry import Entry

logger = logging.getLogger(__name__)


class Cuts:
    """`find(key id)` is the live key of that id; `wall` is Unix seconds."""

    def __init__(self, find: Callable[[str], Entry | None], wall: Callable[[], float]) -> None:
        self._find = find
        self._wall = wall
        self._expiring: list[tuple[float, str]] = []
        self._cuts: list[Callable[[str], None]] = []

    def add(self, cut: Callable[[str], None]) -> None:
        """Have `cut(key id)` called from now on."""
        self._cuts.append(cut)

    def watch(self, entry: Entry) -> None:
        """It is cut when it expires, if ever."""
        if entry.expires != float("inf"):
            heapq.heappush(self._expiring, (entry.expires, entry.info.id))

    def cut_expired(self) -> None:
        now = self._wall()
        while self._expiring and self._expiring[0][0] <= now:
            _, key_id = heapq.heappop(self._expiring)
            entry = self._find(key_id)
            if entry is not None and entry.expires <= now:
                self.cut(key_id)

    def cut(self, key_id: str) -> None:
        for cut in self._cuts:
            try:
                cut(key_id)
            except Exception:
                logger.exception("a stream of key %s could not be cut", key_id)
