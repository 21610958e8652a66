"""Which deployment keeps a response that a client may name again: rows, and what a store of them can do. Each medium has a file of its own.

Neither prompts nor answers are in them: the provider that stored a response keeps it.
"""

from collections.abc import Awaitable, Sequence
from typing import Protocol

from msgspec import Struct

from hub.call import Target

COLUMNS = ("org", "subject", "id", "response", "provider", "model", "door", "at")
"""In the order of the members of `Row`."""


class Row(Struct, frozen=True):
    """A response, or an item of the output of `response`. `at` in microseconds since 1970; `door` is the model as the caller named it."""

    org: str
    subject: str
    id: str
    response: str
    provider: str
    model: str
    door: str
    at: int

    @property
    def target(self) -> Target:
        return Target(self.provider, "model", self.model)


class Rows(Protocol):
    """A store of them. Every method raises `StoreDown`."""

    in_order: bool
    """Whether what is `put` is durable no later than what is handed to the same database afterwards: then nobody need wait for it."""

    def put(self, rows: Sequence[Row]) -> Awaitable[None]:
        """Add rows of one organisation, in place of those of the same id: durable when what is returned is done."""
        ...

    async def find(self, org: str, subject: str, ids: Sequence[str]) -> list[Row]:
        """Those of one subject that are there, in no order."""
        ...

    async def drop(self, org: str, subject: str, response: str) -> None:
        """Forget a response and its items."""
        ...

    async def reap(self, before: int) -> None:
        """Forget what was put before this moment."""
        ...
