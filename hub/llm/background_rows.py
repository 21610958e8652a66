"""Answers that are being made in the background, as every process of the hub knows them: rows, and what a store of them can do.

A row is there from when its call has ended until it is settled, and who deletes it settles it: nobody else will. Neither prompts nor
answers are in it. Each medium has a file of its own.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from hub.call import Target

COLUMNS = ("call", "org", "subject", "response", "provider", "model", "at", "body")
"""In the order of the members of `Row`. There is one more: `until`, when its process must have said again that it looks after it."""


class Row(Struct, frozen=True):
    """`call` names its reservation, `response` is the provider's id; `at` in microseconds since 1970; `body` is of `hub.llm.due`."""

    call: str
    org: str
    subject: str
    response: str
    provider: str
    model: str
    at: int
    body: str

    @property
    def target(self) -> Target:
        return Target(self.provider, "model", self.model)


class Rows(Protocol):
    """A store of them. Times are in microseconds; every method raises `StoreDown`."""

    async def put(self, row: Row, lease: int) -> None:
        """Add one, which its process looks after for as long as `lease`: durable when this returns."""
        ...

    async def take(self, call: str) -> bool:
        """Delete one; whether it was there."""
        ...

    async def find(self, org: str, subject: str, response: str) -> list[Row]:
        """Those of one response of one subject."""
        ...

    async def calls(self) -> list[str]:
        """The calls of all that there are."""
        ...

    async def renew(self, calls: Sequence[str], lease: int) -> list[str]:
        """Their process looks after them for as long again; with a `lease` of 0 not any longer. Those that are there still."""
        ...

    async def claim(self, lease: int, *, every: bool) -> list[Row]:
        """Those that no process looks after, or `every` one: from now on the one that asked does."""
        ...
