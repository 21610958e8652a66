"""Rows of the usage ledger that its store cannot hold: each is kept aside as text, told and counted, and the rest of its batch is written.

They stand among the calls that are not settled (`usage_open`), which takes any row as JSON of ASCII alone; the next start tries them again.
"""

import json
import logging
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from msgspec import MsgspecError, Struct

from hub.budget.usage import row_of
from hub.telemetry.logs import fields

logger = logging.getLogger(__name__)


class Unfit(Struct, frozen=True):
    """A row, by its columns, and why it does not fit."""

    row: tuple[Any, ...]
    error: Exception

    @property
    def id(self) -> str:
        return _plain(self.row[0])

    @property
    def org(self) -> str:
        return _plain(self.row[4])

    @property
    def text(self) -> str:
        return json.dumps(self.row, default=repr)


class Illegible(Struct, frozen=True):
    """What is kept aside under the name of a call, and is no row: somebody has mended it, and made a mistake. It stays as it is."""

    id: str
    error: Exception


class Aside:
    """Counts them, since this process began."""

    def __init__(self) -> None:
        self.count = 0

    def told(self, found: Sequence[Unfit | Illegible]) -> None:
        """They are kept: say so."""
        self.count += len(found)
        for one in found:
            said = f"{type(one.error).__name__}: {one.error}"[:500]
            about = fields(call=one.id, reason=said)
            if isinstance(one, Unfit):
                about = fields(call=one.id, org=one.org, cost=one.row[16], reason=said)
            logger.error("what a call cost does not fit the ledger: its row is kept aside, and tried again at the next start", extra=about)


def legible(kept: Iterable[tuple[str, str]], but: Collection[str] = ()) -> tuple[dict[str, tuple[Any, ...]], list[Illegible]]:
    """Of calls and texts the rows, as they were noted or are kept aside, `but` those of these calls; and what is none."""
    found: dict[str, tuple[Any, ...]] = {}
    illegible: list[Illegible] = []
    for call, text in kept:
        if call in but:
            continue
        try:
            row = tuple(json.loads(text))
            hash(row)  # nothing but texts and numbers
            row_of(row)
        except (ValueError, TypeError, MsgspecError) as error:
            illegible.append(Illegible(call, error))
        else:
            found[call] = row
    return found, illegible


def _plain(value: Any) -> str:
    """What any store can hold and stands for the same row each time."""
    return ascii(value)[1:-1] if isinstance(value, str) else repr(value)
