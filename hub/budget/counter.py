"""The count of one rule for one who: what was spent in its window, and what calls under way have set aside. No clock, no store."""

from collections import deque

from hub.budget.budgets import BUSY, Left, resets_at
from hub.budget.tiers import Rule
from hub.budget.window import FOREVER, SLOTS, Span, span_of


class Counter:
    """Mutable state; instants are microseconds and never go back (`hub.budget.budgets_memory`).

    What is set aside stays so when a window ends: a call under way is spent in the window in which it is settled.
    """

    __slots__ = ("_due", "_slots", "cap", "loaded", "org", "override", "reserved", "rule", "span", "spent", "told", "who")

    def __init__(self, rule: Rule, org: str, who: str, now: int) -> None:
        self.rule = rule
        self.org = org
        self.who = who
        self.span: Span = span_of(rule.window, now)
        self.spent = 0
        self.reserved = 0
        self.loaded = False
        """Whether what the ledger knew when this count began is in it."""
        self.told = 0
        """The highest percentage of this window that somebody was told of."""
        self._slots: deque[tuple[int, int]] = deque()
        """Of a rolling window: (beginning of the slot, spent in it), the oldest first."""
        self.cap = rule.cap
        """What may be spent at present: what is configured, or an override of it."""
        self._weigh(now)

    def turn(self, now: int) -> None:
        """Take leave of what is past. Back is no way: a clock that was set back gives no window twice."""
        if now < self._due:
            return
        if now >= self.span.end:
            self.span = span_of(self.rule.window, now)
            if self.rule.window.kind == "rolling":
                self._drop()
            else:
                self.spent = 0
                self.told = 0
        self._weigh(now)

    def follow(self, rule: Rule, now: int) -> None:
        """Go by another amount from now on; what is counted stays."""
        self.rule = rule
        self._weigh(now)

    def begin(self, now: int) -> Span:
        """Forget what was spent: the ledger is about to be asked. Returns the window to ask for."""
        self.span = span_of(self.rule.window, max(now, self.span.start))
        self.spent = 0
        self._slots.clear()
        self._weigh(now)
        return self.span

    def load(self, span: Span, found: dict[int, int]) -> None:
        """Add what the ledger says of before `begin`, which returned `span`."""
        self.loaded = True
        if self.rule.window.kind != "rolling":
            self.spent += found.get(0, 0) if span == self.span else 0
            return
        merged: dict[int, int] = dict(self._slots)
        for slot, amount in found.items():
            merged[slot] = merged.get(slot, 0) + amount
        self._slots = deque(sorted(merged.items()))
        self.spent = sum(merged.values())
        self._drop()

    def spend(self, amount: int) -> None:
        """In the window at present: call `turn` before."""
        self.spent += amount
        if self.rule.window.kind == "rolling":
            slots, start = self._slots, self.span.start
            if slots and slots[-1][0] >= start:
                slots[-1] = (slots[-1][0], slots[-1][1] + amount)
            else:
                slots.append((start, amount))

    def fits(self, need: int) -> bool:
        return self.spent + self.reserved + need <= self.cap

    def wait(self, need: int, now: int) -> int | None:
        """Microseconds until `need` would fit if nobody else came, by the amount that holds then; None where it never will."""
        if self.spent + need <= self.cap:
            return BUSY  # it is calls under way that are in the way
        window, left = self.rule.window, self.spent
        moments = [(until, 0) for _, until in self.rule.steps if until > now]
        if window.kind == "rolling":
            moments += [(slot + (SLOTS + 1) * window.slot, amount) for slot, amount in self._slots]
        elif window.kind == "calendar":
            moments.append((self.span.end, self.spent))
        for at, amount in sorted(moments):
            left -= amount
            if left + need <= self.rule.cap_at(at):
                return max(1, at - now)
        return None

    def crossed(self) -> list[int]:
        """The thresholds passed since this was last asked."""
        found = [one for one in self.rule.percents if self.told < one and self.spent * 100 >= one * self.cap]
        if found:
            self.told = found[-1]
        return found

    def left(self, *, free: bool = False) -> Left:
        """`free`: without what is set aside."""
        rule = self.rule
        left = self.cap - self.spent - (self.reserved if free else 0)
        return Left(rule.name, rule.scope, self.who, rule.unit, left, self.cap, self.resets(), rule.hard, rule.limit, self.override)

    def resets(self) -> int | None:
        if self.rule.window.kind == "rolling":
            return self._slots[0][0] + (SLOTS + 1) * self.rule.window.slot if self._slots else self.span.end
        return resets_at(self.span.end)

    def _drop(self) -> None:
        oldest = self.span.start - SLOTS * self.rule.window.slot
        while self._slots and self._slots[0][0] < oldest:
            self.spent -= self._slots.popleft()[1]
        if self.spent * 100 < self.told * self.cap:
            self.told = max((one for one in self.rule.percents if self.spent * 100 >= one * self.cap), default=0)

    def _weigh(self, now: int) -> None:
        """Find out what may be spent now, and when to look again. Another amount has thresholds of its own."""
        cap = self.rule.cap_at(now)
        if cap != self.cap:
            self.cap, self.told = cap, 0
        self.override = self.rule.overridden(now)
        self._due = min(self.span.end, FOREVER if self.override is None else self.override)
