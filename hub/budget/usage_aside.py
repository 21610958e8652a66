"""Rows of the usage ledger that its store cannot hold: each is kept aside as text, told and counted, and the rest of its batch is written.

They stand among the calls that are not settled (`usage_open`), which takes any row as JSON of ASCII alone; the next start tries them again.
"""

import json
import logging
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

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


class Aside:
    """Counts them, since this process began."""

    def __init__(self) -> None:
        self.count = 0

    def told(self, unfit: Sequence[Unfit]) -> None:
        """They are kept: say so."""
        self.count += len(unfit)
        for one in unfit:
            said = f"{type(one.error).__name__}: {one.error}"[:500]
            logger.error(
                "what a call cost does not fit the ledger: its row is kept aside, and tried again at the next start",
                extra=fields(call=one.id, org=one.org, cost=one.row[16], reason=said),
            )


def columns(text: str) -> tuple[Any, ...]:
    """A row as `Unfit.text` has it, or as one was noted."""
    return tuple(json.loads(text))


def _plain(value: Any) -> str:
    """What any store can hold and stands for the same row each time."""
    return ascii(value)[1:-1] if isinstance(value, str) else repr(value)
