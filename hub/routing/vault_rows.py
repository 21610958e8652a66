"""Secrets of the vault as rows: what is stored of one, and what a store of them can do. Each medium has a file of its own beside this one.

Every change bumps the vault's epoch in the same transaction (`hub.store.epochs`).
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from msgspec import Struct

from hub.store.envelope import About, Envelope

PURPOSE = "provider key"
COLUMNS = "org, name, version, kek, wrapped, sealed, created, expires"
"""In the order of `values` and `row`."""


class Row(Struct, frozen=True):
    """One version of a secret. Times are RFC 3339 in UTC; `expires` is empty but for one that was replaced."""

    org: str
    name: str
    version: int
    envelope: Envelope
    created: str
    expires: str = ""

    @property
    def about(self) -> About:
        return About(self.org, self.name, self.version, PURPOSE)

    @property
    def key(self) -> tuple[str, str, int]:
        return self.org, self.name, self.version


class Rows(Protocol):
    """A store of secrets. Every method raises `StoreDown`; of a change it may then not know."""

    async def all(self) -> tuple[int, list[Row]]:
        """The vault's epoch, and every version that holds a value, by organisation and name, the newest first."""
        ...

    async def put(self, org: str, name: str, make: Callable[[int], Row], keep: str) -> Row:
        """Store `make(version)` as the newest version. The one before it may be used until `keep` (RFC 3339); empty: it goes at once."""
        ...

    async def remove(self, org: str, name: str) -> int:
        """Take every value of a name away; the version that was the newest, 0 where there was none."""
        ...

    async def rewrite(self, change: Callable[[Row], Row | None]) -> int:
        """Put `change(row)` in place of each row of which it is not None, all or (where it raises) none; how many."""
        ...


def values(row: Row) -> tuple[Any, ...]:
    """A row's columns."""
    it = row.envelope
    return row.org, row.name, row.version, it.kek, it.wrapped, it.sealed, row.created, row.expires


def row(columns: Sequence[Any]) -> Row:
    """A row of its columns."""
    org, name, version, kek, wrapped, sealed, created, expires = columns
    return Row(org, name, version, Envelope(kek, bytes(wrapped), bytes(sealed)), created, expires)
