"""Counts of refusals that need no record each: no caller was known, or they repeat a limit. A flood costs a few records a second. Pure."""

from collections import Counter

MAX_SOURCES = 256
"""Distinct (source, code) counted in one second; what comes beyond is counted under the source `*`."""

MAX_FIRSTS = 4096
"""Kinds told apart in one second; all beyond count as repeated."""

MAX_SECONDS = 60
"""Seconds kept apart while the journal takes none; what comes beyond is counted in the newest of them."""

Refused = tuple[int, str, str, int]
"""Unix second, code, source, count."""


class Firsts:
    """Tells the first of its kind in a second from those that repeat it."""

    def __init__(self) -> None:
        self._second = 0
        self._seen: set[str] = set()

    def first(self, second: int, key: str) -> bool:
        if second != self._second:
            self._second, self._seen = second, set()
        if key in self._seen or len(self._seen) >= MAX_FIRSTS:
            return False
        self._seen.add(key)
        return True


class Refusals:
    def __init__(self) -> None:
        self._counts: dict[int, Counter[tuple[str, str]]] = {}

    def add(self, second: int, code: str, source: str, count: int = 1) -> None:
        if second not in self._counts and len(self._counts) >= MAX_SECONDS:
            second = max(self._counts)
        counts = self._counts.setdefault(second, Counter())
        key = (code, source) if len(counts) < MAX_SOURCES or (code, source) in counts else (code, "*")
        counts[key] += count

    def take(self, present: int) -> list[Refused]:
        """Take out what was counted in any second but `present`: one that is to come again, the clock having been set back, is over too."""
        seconds = [second for second in self._counts if second != present]
        return [(second, *key, count) for second in seconds for key, count in self._counts.pop(second).items()]
