"""Keys in SQLite. Its writer runs one transaction at a time, which is all the locking there is to do."""

import sqlite3
import time
from collections.abc import Callable, Sequence

from hub.identity.entry import KeyInfo, moment
from hub.identity.rows import COLUMNS, Changes, Row, meant, row, shadows, values
from hub.store.epochs import bump_sqlite
from hub.store.sqlite import Database

_SELECT = f"SELECT {COLUMNS} FROM api_key"  # noqa: S608 (constants)
_INSERT = f"INSERT INTO api_key ({COLUMNS}, epoch) VALUES ({', '.join('?' * 16)})"  # noqa: S608 (constants)


class SqliteKeys:
    """The `Keys` of one SQLite database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def changes(self, known: dict[str, int], clock: Callable[[], float]) -> Changes:
        return await self._database.read(lambda connection: _changes(connection, known, clock()))

    async def begun(self) -> bool:
        return await self._database.read(_begun)

    async def listed(self, org: str | None) -> tuple[list[KeyInfo], dict[str, str]]:
        return await self._database.read(lambda connection: listed(connection, org))

    async def live(self, org: str | None, name_or_id: str, declared: Sequence[KeyInfo]) -> KeyInfo | None:
        return await self._database.read(lambda connection: _meant(connection, org, name_or_id, declared))

    async def add(self, rows: Sequence[Row], *, first: bool = False) -> bool:
        return await self._database.write(lambda connection: _add(connection, rows, first))

    async def revoke(self, org: str | None, name_or_id: str, declared: Sequence[KeyInfo], at: str) -> KeyInfo | None:
        return await self._database.write(lambda connection: _revoke(connection, org, name_or_id, declared, at))


def listed(connection: sqlite3.Connection, org: str | None) -> tuple[list[KeyInfo], dict[str, str]]:
    """See `Keys.listed`."""
    found = connection.execute(_SELECT + " WHERE ?1 IS NULL OR org = ?1 ORDER BY created, id", (org,))
    return [row(columns).info for columns in found], dict(connection.execute("SELECT id, revoked FROM key_tombstone"))


def _changes(connection: sqlite3.Connection, known: dict[str, int], at: float) -> Changes:
    """The epochs are read first, so that nothing falls between."""
    epochs: dict[str, int] = dict(connection.execute("SELECT org, value FROM epoch"))
    found = Changes(at, epochs, [], [])
    for org, value in epochs.items():
        since = known.get(org, 0)
        if value != since:
            found.rows.extend(map(row, connection.execute(_SELECT + " WHERE org = ? AND epoch > ?", (org, since))))
            dead = connection.execute("SELECT id FROM key_tombstone WHERE org = ? AND epoch > ?", (org, since))
            found.tombstones.extend(key_id for (key_id,) in dead)
    return found


def _begun(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM api_key LIMIT 1").fetchone() is not None


def _add(connection: sqlite3.Connection, rows: Sequence[Row], first: bool) -> bool:
    if first and _begun(connection):
        return False
    rivals = [rival for new in rows if (rival := _live(connection, new.info.name)) is not None]
    if any(moment(rival.expires) > time.time() for rival in rivals):
        return False
    for rival in rivals:
        _end(connection, rival, rows[0].info.created)
    for new in rows:
        connection.execute(_INSERT, (*values(new), bump_sqlite(connection, new.info.org)))
    return True


def _meant(connection: sqlite3.Connection, org: str | None, name_or_id: str, declared: Sequence[KeyInfo]) -> KeyInfo | None:
    """The live key of this id or name, stored or declared."""
    stored, mine = _live(connection, name_or_id), meant(declared, org, name_or_id)
    if stored is not None and org in (None, stored.org) and not shadows(stored, name_or_id, mine):
        return stored
    return next((key for key in mine if not _buried(connection, key)), None)


def _revoke(connection: sqlite3.Connection, org: str | None, name_or_id: str, declared: Sequence[KeyInfo], at: str) -> KeyInfo | None:
    found = _meant(connection, org, name_or_id, declared)
    if found is not None and found.source == "declared":
        _bury(connection, found, at)
    elif found is not None:
        _end(connection, found, at)
    return found


def _live(connection: sqlite3.Connection, name_or_id: str) -> KeyInfo | None:
    """The key of this id or name that was not revoked. An id wins over a name."""
    where = " WHERE revoked = '' AND (id = ?1 OR name = ?1) ORDER BY id = ?1 DESC LIMIT 1"
    found = connection.execute(_SELECT + where, (name_or_id,)).fetchone()
    return None if found is None else row(found).info


def _end(connection: sqlite3.Connection, info: KeyInfo, at: str) -> None:
    connection.execute("UPDATE api_key SET revoked = ?, epoch = ? WHERE id = ?", (at, bump_sqlite(connection, info.org), info.id))


def _buried(connection: sqlite3.Connection, info: KeyInfo) -> bool:
    return connection.execute("SELECT 1 FROM key_tombstone WHERE id = ?", (info.id,)).fetchone() is not None


def _bury(connection: sqlite3.Connection, info: KeyInfo, at: str) -> None:
    epoch = bump_sqlite(connection, info.org)
    connection.execute(
        "INSERT INTO key_tombstone (id, name, org, revoked, epoch) VALUES (?, ?, ?, ?, ?)", (info.id, info.name, info.org, at, epoch)
    )
