"""Answers that are being made in the background, as every process of the hub knows them: rows, and what a store of them can do.

A row is there from before the client has the answer's id until what its call cost is in the ledger to stay. How the answer ended is written
into it once, before the call is settled by that: whoever comes upon the row afterwards settles the call by the same, which does nothing
where it is settled. Neither prompts nor answers are in it. Each medium has a file of its own.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

from msgspec import Struct

from hub.call import Target

COLUMNS = ("call", "org", "subject", "response", "provider", "model", "at", "body", "ended")
"""In the order of the members of `Row`. There is one more: `until`, when its process must have said again that it looks after it."""


class Row(Struct, frozen=True):
    """`call` names its reservation, `response` is the provider's id; `at` in microseconds since 1970; `body` is of `hub.llm.due`, and
    `ended` of `hub.llm.background_ended`, empty while it is waited for."""

    call: str
    org: str
    subject: str
    response: str
    provider: str
    model: str
    at: int
    body: str
    ended: str = ""

    @property
    def target(self) -> Target:
        return Target(self.provider, "model", self.model)


class Rows(Protocol):
    """A store of them. Times are in microseconds; every method raises `StoreDown`."""

    async def put(self, row: Row, lease: int) -> None:
        """Add one, which its process looks after for as long as `lease`: durable when this returns."""
        ...

    async def end(self, call: str, ended: str) -> str | None:
        """Write how one ended, unless that is written: what is written then, durable; None where there is no such row."""
        ...

    async def drop(self, call: str) -> None:
        """Delete one, if it is there."""
        ...

    async def find(self, org: str, subject: str, response: str) -> list[Row]:
        """Those of one response of one subject."""
        ...

    async def calls(self) -> list[str]:
        """The calls of all that there are."""
        ...

    async def renew(self, calls: Sequence[str], lease: int) -> dict[str, str]:
        """Their process looks after them for as long again; with a `lease` of 0 not any longer. Those that are there still, and how each
        ended."""
        ...

    async def free(self) -> None:
        """No process looks after any of them."""
        ...

    async def claim(self, lease: int, most: int, but: Collection[str] = ()) -> list[Row]:
        """At most so many of those that no process looks after, and none of `but`: from now on the one that asked does."""
        ...
