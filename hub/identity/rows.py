"""Keys as rows: the SQL of identity, for SQLite. Every change bumps its organisation's epoch in the same transaction."""

import sqlite3
from typing import Any

import msgspec
from msgspec import Struct

from hub.call import Grant
from hub.identity.entry import KeyInfo, Mac

_SELECT = "SELECT id, name, org, subject, roles, grants, created, expires, revoked, pepper, mac FROM api_key"
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
    """What is new since the epochs given: rows as they stand now (revoked ones too), and ids of revoked declared keys."""

    epochs: dict[str, int]
    rows: list[Row]
    tombstones: list[str]


def changes(connection: sqlite3.Connection, known: dict[str, int]) -> Changes:
    """What changed after the epochs `known` (by organisation). The epochs are read first, so that nothing falls between."""
    epochs: dict[str, int] = dict(connection.execute("SELECT org, value FROM epoch"))
    found = Changes(epochs, [], [])
    for org, value in epochs.items():
        since = known.get(org, 0)
        if value != since:
            rows = connection.execute(_SELECT + " WHERE org = ? AND epoch > ?", (org, since))
            found.rows.extend(Row(_info(row), row[9], row[10]) for row in rows)
            dead = connection.execute("SELECT id FROM key_tombstone WHERE org = ? AND epoch > ?", (org, since))
            found.tombstones.extend(key_id for (key_id,) in dead)
    return found


def every(connection: sqlite3.Connection, org: str | None) -> list[KeyInfo]:
    """Every stored key there ever was, of one organisation or of all, oldest first."""
    found = connection.execute(_SELECT + " WHERE ?1 IS NULL OR org = ?1 ORDER BY created, id", (org,))
    return [_info(row) for row in found]


def live(connection: sqlite3.Connection, name_or_id: str) -> KeyInfo | None:
    """The key of this id or name that was not revoked. An id wins over a name."""
    found = connection.execute(_SELECT + " WHERE revoked = '' AND (id = ?1 OR name = ?1) ORDER BY id = ?1 DESC LIMIT 1", (name_or_id,))
    row = found.fetchone()
    return None if row is None else _info(row)


def any_made(connection: sqlite3.Connection) -> bool:
    """Whether a key was ever stored."""
    return connection.execute("SELECT 1 FROM api_key LIMIT 1").fetchone() is not None


def insert(connection: sqlite3.Connection, info: KeyInfo, pepper: str, mac: Mac) -> None:
    """Store a new key."""
    roles, grants = msgspec.json.encode(info.roles).decode(), msgspec.json.encode(info.grants).decode()
    shown = (info.id, info.name, info.org, info.subject, roles, grants, info.created, info.expires, info.revoked)
    connection.execute(
        "INSERT INTO api_key (id, name, org, subject, roles, grants, created, expires, revoked, pepper, mac, epoch)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*shown, pepper, mac, _bump(connection, info.org)),
    )


def revoke(connection: sqlite3.Connection, info: KeyInfo, at: str) -> None:
    """End a stored key."""
    connection.execute("UPDATE api_key SET revoked = ?, epoch = ? WHERE id = ?", (at, _bump(connection, info.org), info.id))


def bury(connection: sqlite3.Connection, info: KeyInfo, at: str) -> bool:
    """End a declared key, whatever the configuration says from now on. False where it was ended before."""
    if connection.execute("SELECT 1 FROM key_tombstone WHERE id = ?", (info.id,)).fetchone() is not None:
        return False
    epoch = _bump(connection, info.org)
    connection.execute(
        "INSERT INTO key_tombstone (id, name, org, revoked, epoch) VALUES (?, ?, ?, ?, ?)", (info.id, info.name, info.org, at, epoch)
    )
    return True


def buried(connection: sqlite3.Connection) -> dict[str, str]:
    """When each revoked declared key was revoked, by id."""
    return dict(connection.execute("SELECT id, revoked FROM key_tombstone"))


def _bump(connection: sqlite3.Connection, org: str) -> int:
    row = connection.execute(
        "INSERT INTO epoch (org, value) VALUES (?, 1) ON CONFLICT (org) DO UPDATE SET value = value + 1 RETURNING value", (org,)
    ).fetchone()
    return int(row[0])


def _info(row: tuple[Any, ...]) -> KeyInfo:
    key_id, name, org, subject, roles, grants, created, expires, revoked = row[:9]
    return KeyInfo(key_id, name, org, subject, _ROLES.decode(roles), _GRANTS.decode(grants), created, expires, revoked)
