"""The count of one rule for one who: its rate, its calls in flight, its calls of the day. No clock, no store.

Every meter a call matches is checked before any is taken, so that a refused call uses up nothing.
"""

from hub.budget.gcra import admit
from hub.config.callers import LimitSpec

MINUTE = 60_000_000_000
BUSY = 1_000_000_000
"""Nanoseconds a caller is told to wait where too many calls are in flight: nobody knows when one of them ends."""


class Meter:
    """Mutable state; times are monotonic nanoseconds."""

    __slots__ = ("_burst", "_interval", "_next", "_per_day", "_step", "concurrency", "flying", "mark", "rule", "tat", "used", "who")

    def __init__(self, rule: LimitSpec, who: str, *, used: int = 0) -> None:
        self.who = who
        self.tat = 0
        self.flying = 0
        self.used = used
        """Calls counted today."""
        self.mark = used
        """What the store holds, or will hold once what was queued is committed; never less than `used` after `take`."""
        self._next = 0
        self.bind(rule)

    def bind(self, rule: LimitSpec) -> None:
        """Follow `rule` from now on, keeping what was counted."""
        self.rule = rule
        per_minute = rule.per_minute or 0
        self._interval = -(-MINUTE // per_minute) if per_minute else 0
        self._burst = rule.burst or per_minute
        self.concurrency = rule.concurrency or 0
        self._per_day = rule.per_day or 0
        self._step = min(100, max(1, self._per_day // 100))

    def check(self, now: int, left_today: int) -> int:
        """0 where one more call fits, else the nanoseconds to wait. `left_today`: nanoseconds until the day ends."""
        wait = 0
        if self._interval:
            self._next, wait = admit(self.tat, now, self._interval, self._burst)
            if wait:
                self.tat = self._next
        if self.concurrency and self.flying >= self.concurrency and wait < BUSY:
            wait = BUSY
        if self._per_day and self.used >= self._per_day and wait < left_today:
            wait = left_today
        return wait

    def take(self) -> bool:
        """Count the call that `check` has just let through. True where `mark` has moved and must be stored before the call's record."""
        if self._interval:
            self.tat = self._next
        if self.concurrency:
            self.flying += 1
        if not self._per_day:
            return False
        self.used += 1
        if self.used <= self.mark:
            return False
        # The store runs ahead by up to 1 % of the limit: a write for each call would cost a commit of its own. A crash so counts at most
        # that many calls too many, and never one too few.
        self.mark = min(self._per_day, self.used + self._step - 1)
        return True

    def new_day(self) -> None:
        self.used = self.mark = 0

    def idle(self, now: int) -> bool:
        """Whether forgetting this meter changes nothing."""
        return self.tat <= now and not self.flying and not self.used
