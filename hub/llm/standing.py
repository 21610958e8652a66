"""What was left of each caller's tightest budget after its last call here: what rules of a route go by. Kept in memory, bounded."""

from collections import OrderedDict
from collections.abc import Sequence

from hub.budget.budgets import Left
from hub.call import Caller

KEPT = 4096
"""Callers; who has not called for longest goes."""


class Standing:
    """Of one process. A caller that has not called here yet stands nowhere."""

    def __init__(self) -> None:
        self._percent: OrderedDict[str, int] = OrderedDict()

    def note(self, caller: Caller, budgets: Sequence[Left]) -> None:
        """Take in what is left after a call."""
        shares = [max(0, 100 * one.left // one.cap) for one in budgets if one.cap]
        if not shares:
            return
        self._percent[caller.key_id] = min(shares)
        self._percent.move_to_end(caller.key_id)
        if len(self._percent) > KEPT:
            self._percent.popitem(last=False)

    def left(self, caller: Caller) -> int | None:
        """Percent of the tightest; None where nobody knows."""
        return self._percent.get(caller.key_id)
