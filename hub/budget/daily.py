"""Daily counts as the limits of one process keep them in a store, whichever it is. Each medium has a file of its own beside this one.

A count is stored as it stands, not as an increment: an operation that is run twice, or after a later one was lost, does no harm.
"""

import asyncio
from datetime import UTC, datetime
from typing import Any, Protocol

DAY = 86_400


class Days(Protocol):
    """The counts of one process: nobody else writes them (see `hub.store.sqlite`, `hub.seat`). Every method raises `StoreDown`."""

    @property
    def ordered(self) -> bool:
        """Whether a count is durable no later than any record that is handed to the same store after it."""
        ...

    async def load(self, day: int) -> list[tuple[str, str, int]]:
        """(rule, who, used) of every count of `day`."""
        ...

    def save(self, day: int, rule: str, who: str, used: int, *, final: bool = False) -> "asyncio.Future[Any]":
        """Store one count; the future ends when it is durable. Of several on their way the highest stays, unless one is `final`."""
        ...

    async def forget(self, before: int) -> None:
        """Delete the counts of the days before `before`: no rule looks at them any more."""
        ...


def day_of(seconds: float) -> int:
    """The number of the UTC calendar day that holds this Unix time."""
    return int(seconds // DAY)


def date(day: int) -> str:
    """A day as YYYY-MM-DD."""
    return datetime.fromtimestamp(day * DAY, UTC).strftime("%Y-%m-%d")
