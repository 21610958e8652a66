"""The vault in SQLite. Its writer runs one transaction at a time, which is all the locking there is to do."""

import sqlite3
from collections.abc import Callable

from hub.routing.vault_rows import COLUMNS, Row, row, values
from hub.store.epochs import VAULT, bump_sqlite
from hub.store.sqlite import Database

_SELECT = f"SELECT {COLUMNS} FROM vault_secret WHERE sealed != x'' ORDER BY org, name, version DESC"  # noqa: S608 (constants)
_INSERT = f"INSERT INTO vault_secret ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 (constants)
_NEWEST = "SELECT version, sealed != x'' FROM vault_secret WHERE org = ? AND name = ? ORDER BY version DESC LIMIT 1"
_BEFORE = "DELETE FROM vault_secret WHERE org = ? AND name = ? AND version < ?"
_EXPIRE = "UPDATE vault_secret SET expires = ? WHERE org = ? AND name = ? AND version = ?"
_EMPTY = "UPDATE vault_secret SET kek = '', wrapped = x'', sealed = x'' WHERE org = ? AND name = ? AND version = ?"
_WRAP = "UPDATE vault_secret SET kek = ?, wrapped = ?, sealed = ? WHERE org = ? AND name = ? AND version = ?"


class SqliteVault:
    """The `Rows` of one SQLite database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> tuple[int, list[Row]]:
        return await self._database.read(all_rows)

    async def put(self, org: str, name: str, make: Callable[[int], Row], keep: str) -> Row:
        return await self._database.write(lambda connection: _put(connection, org, name, make, keep))

    async def remove(self, org: str, name: str) -> int:
        return await self._database.write(lambda connection: _remove(connection, org, name))

    async def rewrite(self, change: Callable[[Row], Row | None]) -> int:
        return await self._database.write(lambda connection: _rewrite(connection, change))


def all_rows(connection: sqlite3.Connection) -> tuple[int, list[Row]]:
    """See `Rows.all`. The epoch is read first, so that nothing falls between."""
    found = connection.execute("SELECT value FROM epoch WHERE org = ?", (VAULT,)).fetchone()
    return found[0] if found else 0, [row(columns) for columns in connection.execute(_SELECT)]


def _put(connection: sqlite3.Connection, org: str, name: str, make: Callable[[int], Row], keep: str) -> Row:
    version, live = connection.execute(_NEWEST, (org, name)).fetchone() or (0, False)
    connection.execute(_BEFORE, (org, name, version if live and keep else version + 1))
    connection.execute(_EXPIRE, (keep, org, name, version))
    made = make(version + 1)
    connection.execute(_INSERT, values(made))
    bump_sqlite(connection, VAULT)
    return made


def _remove(connection: sqlite3.Connection, org: str, name: str) -> int:
    version, live = connection.execute(_NEWEST, (org, name)).fetchone() or (0, False)
    if not live:
        return 0
    connection.execute(_BEFORE, (org, name, version))
    connection.execute(_EMPTY, (org, name, version))
    bump_sqlite(connection, VAULT)
    return version


def _rewrite(connection: sqlite3.Connection, change: Callable[[Row], Row | None]) -> int:
    changed = [after for before in all_rows(connection)[1] if (after := change(before)) is not None]
    for after in changed:
        it = after.envelope
        connection.execute(_WRAP, (it.kek, it.wrapped, it.sealed, *after.key))
    if changed:
        bump_sqlite(connection, VAULT)
    return len(changed)
