"""What may be asked of the usage ledger: which rows, whose, from when until when, and by what they are added up. Plain values."""

from typing import Any, Literal

from msgspec import Struct

Dialect = Literal["sqlite", "postgresql"]

FILTERS: dict[str, str] = {
    "key": "key",
    "subject": "subject",
    "user": "spender",
    "app": "app",
    "team": "team",
    "project": "project",
    "provider": "provider",
    "model": "model",
    "alias": "door",
    "kind": "kind",
    "status": "status",
    "org": "org",
}
"""What a row is asked for by, and added up by: the name outside, and the column of the ledger."""

BUCKETS: dict[str, int] = {"hour": 3_600_000_000, "day": 86_400_000_000}
"""Microseconds. A bucket begins at a whole hour, or at midnight, in UTC."""

TAG = "tag."
"""What stands before the name of a tag, as a filter and as a group."""

LATEST = 9_000_000_000_000_000
"""Microseconds since 1970, later than any row."""


class Question(Struct, frozen=True):
    """Rows with `since <= at < until` (microseconds since 1970). `org` None: of all organisations; `key` empty: of every key.

    `equal` has columns and the values of which a row has one, `tags` names and values; `unpriced` None: whether or not.
    """

    org: str | None = None
    key: str = ""
    since: int = 0
    until: int = LATEST
    equal: tuple[tuple[str, tuple[str, ...]], ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    unpriced: bool | None = None


class Statement(Struct, frozen=True):
    """A question in SQL, with the values of its placeholders."""

    text: str
    values: tuple[Any, ...]


class Place(Struct, frozen=True):
    """Where a page ended: its last row."""

    at: int
    id: str


class Total(Struct):
    """What rows come to. `cost` in nano-dollars, of those whose cost is known; `unpriced` counts the others. `tokens` as in `TOKENS`."""

    group: tuple[str | int, ...]
    calls: int
    unpriced: int
    cost: int
    tokens: list[int]
