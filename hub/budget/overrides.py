"""Overrides of budgets: for a while another amount holds than the configuration says. Plain values, and which of them hold for a count.

Of those that hold for one count the narrowest does: of the one it counts for, else of everybody in the organisation, else of all
organisations. When that one ends, the next wider holds, and last what is configured. There is at most one for each of these. What an
organisation gave holds within what an operator of the hub gave to more of them, whichever came first. Pure.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from hub.budget.tiers import Rule, Steps

ALL = "*"
"""As an organisation: every one. As a `who`: everybody whom the budget counts there."""

MOST = 9_000_000_000_000_000
"""The largest amount that is counted exactly everywhere: 9,000,000 dollars, or so many tokens or calls."""


class Override(Struct, frozen=True):
    """What holds in place of the configured amount, or is added to it (`mode`), until before `until`.

    `amount` in nano-dollars, tokens or calls; times in microseconds since 1970. `basis` says what the budget counted when it was given
    (`hub.budget.tiers.Rule`): a budget that counts another thing since, under the same name, is another. `by` and `ended_by` are ids of
    keys, `subject` whose key the first is. `ended`: when it was taken back or replaced; 0: it was not. `giver`: the organisation whose
    administrator gave it; empty: an operator of the hub.
    """

    id: str
    org: str
    budget: str
    basis: str
    scope: str
    who: str
    unit: str
    mode: Literal["raise", "set"]
    amount: int
    given: int
    until: int
    reason: str
    by: str
    subject: str
    ended: int = 0
    ended_by: str = ""
    giver: str = ""

    def cap(self, configured: int) -> int:
        """What may be spent by it where so much is configured."""
        return min(MOST, configured + self.amount) if self.mode == "raise" else self.amount


class Overrides:
    """Those that were not taken back, for looking up. Immutable."""

    def __init__(self, given: Iterable[Override] = ()) -> None:
        self._given = {(one.basis, one.org, one.who): one for one in given}

    def beneath(self, one: Override, configured: int) -> int:
        """What may be spent where `one` does not hold: by the next wider of these, or as it is configured."""
        wider = ((one.basis, one.org, ALL), (one.basis, ALL, ALL))
        found = next((self._given[at] for at in wider if at in self._given and self._given[at].id != one.id), None)
        return configured if found is None else found.cap(configured)

    def __bool__(self) -> bool:
        return bool(self._given)

    def applied(self, rule: Rule, org: str, who: str) -> Rule:
        """A rule of the configuration as it holds for one count: `org` and `who` are empty where all are counted together."""
        if not self._given or rule.limit:
            return rule
        basis = rule.basis
        places = ((basis, org, who), (basis, org, ALL), (basis, ALL, ALL))
        found = [self._given[at] for at in places if at in self._given]
        return replace(rule, steps=_steps(found, rule.cap)) if found else rule


def _steps(found: Sequence[Override], configured: int) -> Steps:
    """What holds until when, of overrides for one count, the narrowest first: the first that is not over does."""
    steps: list[tuple[int, int]] = []
    for place, one in enumerate(found):
        cap = one.cap(configured)
        if one.giver:
            steps += [(min(cap, each.cap(configured)), min(one.until, each.until)) for each in found[place + 1 :] if not each.giver]
        steps.append((cap, one.until))
    return tuple(steps)


NONE = Overrides()
