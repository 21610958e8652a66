"""What one process lets through by itself while Redis is away: a tenth of each rate, evenly spaced, with nothing saved up to begin with.

So ten processes together stay within the rate. Only rates can be met in this way: a daily count or a number of calls in flight that nobody
can see whole is not guessed at.
"""

from collections.abc import Sequence

from hub.budget.gcra import admit
from hub.budget.limiter import reached
from hub.budget.match import Count
from hub.budget.meter import MINUTE

SHARE = 10
_MOST = 4096
"""Counts kept; beyond it all are forgotten, and begin again with nothing saved up."""


class Allowance:
    """Times are monotonic nanoseconds."""

    def __init__(self) -> None:
        self._tats: dict[tuple[str, str], int] = {}

    def clear(self) -> None:
        """Redis is back: the next absence begins anew."""
        self._tats.clear()

    def take(self, counts: Sequence[Count], now: int) -> None:
        """Let one call through. Raises `Limited`, having counted nothing."""
        if len(self._tats) > _MOST:
            self.clear()
        taken: dict[tuple[str, str], int] = {}
        longest, last = 0, None
        for rule, who in counts:
            interval, burst = SHARE * -(-MINUTE // (rule.per_minute or 1)), max(1, (rule.burst or rule.per_minute or 1) // SHARE)
            at = (rule.name, who)
            tat = self._tats.setdefault(at, now + burst * interval)
            taken[at], wait = admit(tat, now, interval, burst)
            if wait > longest:
                longest, last = wait, rule
        if last is not None:
            raise reached(last, -(-longest // 1_000_000))
        self._tats.update(taken)
