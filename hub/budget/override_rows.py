"""Overrides of budgets as rows, and what a store of them can do. Each medium has a file of its own beside this one.

Every change bumps the epoch of budgets in the same transaction (`hub.store.epochs`).
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from msgspec import convert
from msgspec.structs import astuple

from hub.budget.overrides import Override
from hub.refusal import InvalidParams

COLUMNS = tuple(Override.__struct_fields__)

MOST_STANDING = 1000
"""Of one organisation, or for all, at a time. Every process has all that stand in memory, and reads them whenever one changes."""


Fits = Callable[[Sequence[Override]], None]
"""Called with those that stand of the same basis: raises where one more may not."""


class Rows(Protocol):
    """A store of overrides. Every method raises `StoreDown`; of a change it may then not know."""

    async def standing(self, since: int) -> tuple[int, list[Override]]:
        """The epoch of budgets, and those that were not taken back and end after `since`."""
        ...

    async def listed(self, org: str | None, *, since: int | None, limit: int) -> list[Override]:
        """The newest of an organisation (None: of all and every one). `since`: only those that stand, as above; None: ended ones too."""
        ...

    async def give(self, one: Override, fits: Fits | None = None) -> str:
        """Keep one. Another for the same that stands ends with that; its id, empty where there was none. Raises `InvalidParams` where as
        many of the organisation stand as may, and what `fits` raises, which no other change comes between."""
        ...

    async def find(self, name: str) -> Override | None:
        """The one of this id, whatever has become of it."""
        ...

    async def end(self, org: str | None, name: str, now: int, by: str) -> Override | None:
        """Take one back, where `org` is given one of that organisation that its administrators gave; as it was then, None where there is
        none such of this id that stands."""
        ...


def room_beside(standing: int) -> None:
    """Whether one more may stand beside so many of its organisation. Raises `InvalidParams`."""
    if standing >= MOST_STANDING:
        raise InvalidParams(f"{MOST_STANDING} overrides of one organisation hold already: take one of them back")


def values(one: Override) -> tuple[Any, ...]:
    """A row's columns."""
    return astuple(one)


def row(columns: Sequence[Any]) -> Override:
    """A row of its columns."""
    return convert(dict(zip(COLUMNS, columns, strict=True)), Override)
