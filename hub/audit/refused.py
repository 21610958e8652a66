"""Counts of refusals that came before a caller was known, so that a flood of them costs a few records a second. Pure."""

from collections import Counter

MAX_SOURCES = 256
"""Distinct (source, code) counted in one second; what comes beyond is counted under the source `*`."""

MAX_SECONDS = 60
"""Seconds kept apart while the journal takes none; what comes beyond is counted in the newest of them."""

Refused = tuple[int, str, str, int]
"""Unix second, code, source, count."""


class Refusals:
    def __init__(self) -> None:
        self._counts: dict[int, Counter[tuple[str, str]]] = {}

    def add(self, second: int, code: str, source: str, count: int = 1) -> None:
        if second not in self._counts and len(self._counts) >= MAX_SECONDS:
            second = max(self._counts)
        counts = self._counts.setdefault(second, Counter())
        key = (code, source) if len(counts) < MAX_SOURCES or (code, source) in counts else (code, "*")
        counts[key] += count

    def take(self, before: int) -> list[Refused]:
        """Take out what was counted in the seconds before `before`."""
        seconds = [second for second in self._counts if second < before]
        return [(second, *key, count) for second in seconds for key, count in self._counts.pop(second).items()]
