"""Captured content as rows: what is stored of it, and what a store can do. Each medium has a file of its own beside this one.

Each organisation has a key of its own for each day (UTC), under envelope encryption; the contents of that day are sealed with it. What
is past its days is deleted together with its key, so that also a copy of the database made before cannot be read without that copy's key.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from hub.store.envelope import About, Envelope

PURPOSE = "captured content"
Part = Literal["question", "answer"]

DAY_COLUMNS = "org, day, kek, wrapped, sealed, expires"


class DayKey(Struct, frozen=True):
    """The key of one organisation's day (`YYYY-MM-DD`). From the day `expires` on it may not be there any more."""

    org: str
    day: str
    envelope: Envelope
    expires: str

    @property
    def about(self) -> About:
        return About(self.org, self.day, 1, PURPOSE)


class ContentPart(Struct, frozen=True):
    """One part of a call. `at` in microseconds since 1970; `size` the bytes that were said, of which the first are kept where `cut`."""

    org: str
    id: str
    part: Part
    day: str
    at: int
    kind: str
    door: str
    key_id: str
    sub: str
    size: int
    cut: bool


class Row(ContentPart, frozen=True):
    """The same with what was said. `id` is the call's, as in its records. `sealed` is empty in what is listed."""

    sealed: bytes = b""


COLUMNS = ", ".join(Row.__struct_fields__)
SHOWN = ", ".join(ContentPart.__struct_fields__)
"""Of what is listed: all but what is sealed."""
BOTH = ", ".join([f"c.{name}" for name in Row.__struct_fields__] + [f"d.{name}" for name in DAY_COLUMNS.split(", ")])
"""Of a content joined with its day."""


class Contents(Protocol):
    """A store of captured content. Every method raises `StoreDown`."""

    async def day(self, made: DayKey) -> DayKey:
        """The key of an organisation's day: the one that is there, else `made`, stored now."""
        ...

    async def put(self, row: Row) -> None:
        """Durable when it returns. A part that is there already stays as it is."""
        ...

    async def listed(self, org: str | None, before: int, limit: int) -> list[Row]:
        """What there is from before that moment, of an organisation or (None) of all, the newest first, without what is sealed."""
        ...

    async def call(self, org: str | None, call_id: str) -> list[tuple[Row, DayKey]]:
        """The parts of one call with the keys they are sealed under."""
        ...

    async def erase(self, org: str | None, call_id: str) -> int:
        """Take the parts of one call away; how many."""
        ...

    async def sweep(self, today: str, kept: Mapping[str, str]) -> int:
        """Take away the days that are `over`, with all that was sealed under their keys; how many."""
        ...

    async def rewrite(self, change: Callable[[DayKey], Envelope | None]) -> int:
        """Put `change(day)` in place of each day's envelope of which it is not None, all or none; how many."""
        ...


def day_values(day: DayKey) -> tuple[Any, ...]:
    it = day.envelope
    return day.org, day.day, it.kek, it.wrapped, it.sealed, day.expires


def day_of(columns: Sequence[Any]) -> DayKey:
    org, day, kek, wrapped, sealed, expires = columns
    return DayKey(org, day, Envelope(kek, bytes(wrapped), bytes(sealed)), expires)


def values(row: Row) -> tuple[Any, ...]:
    shown = (row.org, row.id, row.part, row.day, row.at, row.kind, row.door, row.key_id, row.sub, row.size, row.cut)
    return (*shown, row.sealed)


def row_of(columns: Sequence[Any]) -> Row:
    """Of the columns `COLUMNS` or `SHOWN`."""
    *shown, cut, sealed = columns if len(columns) == 12 else (*columns, b"")
    return Row(*shown, cut=bool(cut), sealed=bytes(sealed))


def both_of(columns: Sequence[Any]) -> tuple[Row, DayKey]:
    """Of the columns `BOTH`."""
    return row_of(columns[:12]), day_of(columns[12:])


def over(days: Iterable[tuple[str, str, str]], today: str, kept: Mapping[str, str]) -> list[tuple[str, str]]:
    """Which of the days, as (organisation, day, expires), are: those before the first that `kept` says of its organisation, else those
    that expire by `today`."""
    return [(org, day) for org, day, expires in days if (day < kept[org] if org in kept else expires <= today)]
