"""Keys as rows: what is stored of one, and what a store of keys can do. Each medium has a file of its own beside this one.

Every change bumps its organisation's epoch in the same transaction, so that whoever polls the epochs sees every change.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from hub.call import Grant
from hub.identity.entry import KeyInfo, Mac

COLUMNS = "id, name, org, subject, roles, grants, created, expires, revoked, spender, app, team, project, pepper, mac"
"""In the order of `values` and `row`."""

_GRANTS = msgspec.json.Decoder(tuple[Grant, ...])
_ROLES = msgspec.json.Decoder(tuple[str, ...])


class Row(Struct, frozen=True):
    """A stored key. `pepper` names the pepper its `mac` was made with."""

    info: KeyInfo
    pepper: str
    mac: Mac

    def __repr__(self) -> str:
        return f"Row({self.info.id!r})"


class Changes(Struct, frozen=True):
    """What is new since the epochs given: rows as they stand now (revoked ones too), and ids of revoked declared keys.

    `at` is what the clock of whoever asked said before the store looked: what is told here was true then or later. `anew` are organisations
    whose epoch was higher before: a standby took over that had not heard of everything. All that they have now is among the rows.
    """

    at: float
    epochs: dict[str, int]
    rows: list[Row]
    tombstones: list[str]
    anew: frozenset[str] = frozenset()


class Keys(Protocol):
    """A store of keys, asked by names that are `possible`. Every method raises `StoreDown`; of a change it may then not know."""

    async def changes(self, known: dict[str, int], clock: Callable[[], float]) -> Changes:
        """What changed after the epochs `known` (by organisation); `clock` is read before the store looks."""
        ...

    async def begun(self) -> bool:
        """Whether a key was ever stored."""
        ...

    async def listed(self, org: str | None) -> tuple[list[KeyInfo], dict[str, str]]:
        """Every stored key there ever was, of one organisation or of all, oldest first; and when declared ones were revoked, by id."""
        ...

    async def live(self, org: str | None, name_or_id: str, declared: Sequence[KeyInfo]) -> KeyInfo | None:
        """The key that `revoke` would end."""
        ...

    async def add(self, rows: Sequence[Row], *, first: bool = False) -> bool:
        """Store new keys, all or none. False where a live key has one of the names: one that has expired gives its name up.

        With `first`, False also where a key was ever stored.
        """
        ...

    async def revoke(self, org: str | None, name_or_id: str, declared: Sequence[KeyInfo], at: str) -> KeyInfo | None:
        """End the live key of this id or name (an id wins), stored or declared, of one organisation or of any. None where there is none.

        A declared one leaves a tombstone by its id.
        """
        ...


def values(row: Row) -> tuple[Any, ...]:
    """A row's columns."""
    info = row.info
    roles, grants = msgspec.json.encode(info.roles).decode(), msgspec.json.encode(info.grants).decode()
    shown = (info.id, info.name, info.org, info.subject, roles, grants, info.created, info.expires, info.revoked)
    return (*shown, info.user, info.app, info.team, info.project, row.pepper, row.mac)


def row(columns: Sequence[Any]) -> Row:
    """A row of its columns."""
    key_id, name, org, subject, roles, grants, created, expires, revoked, user, app, team, project, pepper, mac = columns
    said = (key_id, name, org, subject, _ROLES.decode(roles), _GRANTS.decode(grants), created, expires, revoked)
    return Row(KeyInfo(*said, user=user, app=app, team=team, project=project), pepper, mac)


def meant(declared: Sequence[KeyInfo], org: str | None, name_or_id: str) -> list[KeyInfo]:
    """The declared keys of this id or name, of one organisation or of any."""
    return [key for key in declared if name_or_id in (key.id, key.name) and org in (None, key.org)]


def shadows(stored: KeyInfo, name_or_id: str, declared: Sequence[KeyInfo]) -> bool:
    """Whether a stored key is called what is the id of a declared one, which is meant then: an id wins over a name."""
    return stored.id != name_or_id and any(key.id == name_or_id for key in declared)


def possible(text: str) -> bool:
    """Whether this can be a name at all. Of others, stores cannot even be asked."""
    return text.isascii() and text.isprintable()
