"""Where staged and confirmed price tables are kept: one place for all processes of a hub. Each medium has a file of its own."""

from typing import Protocol

from msgspec import Struct


class Kept(Struct, frozen=True):
    """A table that was staged. `staged` and `decided` are RFC 3339 times."""

    hash: str
    state: str
    staged: str
    decided: str = ""


class PriceShelf(Protocol):
    """A store of price tables. Every method raises `StoreDown`. At most one table is staged."""

    async def stage(self, table: str, body: bytes) -> None:
        """Keep a table under its hash, in place of what was staged before; durable when this returns."""
        ...

    async def decide(self, table: str, *, confirm: bool) -> bool:
        """Put the staged table in force, or reject it; whether this is the one that was staged."""
        ...

    async def staged(self) -> Kept | None:
        """The table that waits for a decision."""
        ...

    async def in_force(self) -> Kept | None:
        """The table confirmed last; None: the one that comes with the hub."""
        ...

    async def body(self, table: str) -> bytes | None:
        """The bytes kept under a hash."""
        ...
