"""What the usage ledger comes to by the hour, as rows, and what is asked of who keeps them. Each medium has a file of its own.

An hour is begun, added up, and kept; of what is asked in between nothing is believed: a row that came after it was begun has made it dirty,
and another who began it meanwhile has given it another turn.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct

from hub.budget.usage_ask import Statement
from hub.budget.usage_sql import BY_HOUR, CALLS

COLUMNS = ("hour", *BY_HOUR, *CALLS)
"""Of a row in the store."""

MADE, WIDE = 1, 2
"""States of an hour: its sums are kept; it has too many groups for that, or too large sums."""

TOGETHER = 500
"""Rows that are written at a time: neither the store nor the loop has much to do for them."""

UNMADE = Statement("SELECT hour FROM usage_rolled WHERE state = 0 OR dirty = 1 ORDER BY hour DESC LIMIT 24", ())
BOUNDS = Statement("SELECT min(hour), max(hour) FROM usage_rolled", ())
FIRST = Statement("SELECT min(at) FROM usage", ())


class Hour(Struct, frozen=True):
    """An hour that was added up, in the `turn` in which it was begun. `rows` as `COLUMNS` without the hour; None: they are too many, or
    their sums too large."""

    hour: int
    turn: int
    rows: Sequence[Sequence[Any]] | None

    @property
    def state(self) -> int:
        return WIDE if self.rows is None else MADE


class Hours(Protocol):
    """Every method raises `StoreDown`; what it did then is found out by asking again."""

    async def lead(self) -> bool:
        """Whether it is this process that makes hours. Of several, one does."""
        ...

    async def begin(self, hours: Sequence[int]) -> dict[int, int]:
        """Begin hours, for the first time or anew: the turn of each. From then on a row that comes makes its hour dirty."""
        ...

    async def keep(self, hour: Hour) -> bool:
        """Have an hour count, unless it has become dirty, or was begun anew. Until it does, its rows are written part by part."""
        ...
