"""Overrides of budgets in SQLite. Its writer runs one transaction at a time, which is all the locking there is to do."""

import sqlite3

from hub.budget.override_rows import COLUMNS, Fits, room_beside, row, values
from hub.budget.overrides import Override
from hub.store.epochs import BUDGETS, bump_sqlite
from hub.store.sqlite import Database

_NAMES = ", ".join(COLUMNS)
_STANDING = f"SELECT {_NAMES} FROM budget_override WHERE ended = 0 AND until > ?"  # noqa: S608 (constants)
_BESIDE = f"{_STANDING} AND basis = ?"
_LISTED = (
    f"SELECT {_NAMES} FROM budget_override WHERE (?1 IS NULL OR org = ?1) AND (?2 IS NULL OR ended = 0 AND until > ?2) "  # noqa: S608
    "ORDER BY given DESC, id DESC LIMIT ?3"
)
_COUNT = "SELECT count(*) FROM budget_override WHERE org = ? AND ended = 0 AND until > ?"
_INSERT = f"INSERT INTO budget_override ({_NAMES}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 (constants)
_BEFORE = (
    "UPDATE budget_override SET ended = ?, ended_by = ? WHERE basis = ? AND org = ? AND who = ? AND ended = 0 AND until > ? RETURNING id"
)
_END = (
    f"UPDATE budget_override SET ended = ?1, ended_by = ?2 WHERE id = ?3 AND ended = 0 AND until > ?1 "  # noqa: S608 (constants)
    "AND (?4 IS NULL OR (org = ?4 AND scope <> 'org' AND giver <> '')) "
    f"RETURNING {_NAMES}"
)
_ONE = f"SELECT {_NAMES} FROM budget_override WHERE id = ?"  # noqa: S608 (constants)


class SqliteOverrides:
    """The `Rows` of one SQLite database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def standing(self, since: int) -> tuple[int, list[Override]]:
        return await self._database.read(lambda connection: _standing(connection, since))

    async def listed(self, org: str | None, *, since: int | None, limit: int) -> list[Override]:
        return await self._database.read(lambda connection: listed(connection, org, since, limit))

    async def give(self, one: Override, fits: Fits | None = None) -> str:
        return await self._database.write(lambda connection: _give(connection, one, fits))

    async def find(self, name: str) -> Override | None:
        return await self._database.read(lambda connection: _find(connection, name))

    async def end(self, org: str | None, name: str, now: int, by: str) -> Override | None:
        return await self._database.write(lambda connection: _end(connection, org, name, now, by))


def listed(connection: sqlite3.Connection, org: str | None, since: int | None, limit: int) -> list[Override]:
    """See `Rows.listed`."""
    return [row(found) for found in connection.execute(_LISTED, (org, since, limit))]


def _standing(connection: sqlite3.Connection, since: int) -> tuple[int, list[Override]]:
    """The epoch is read first, so that nothing falls between."""
    found = connection.execute("SELECT value FROM epoch WHERE org = ?", (BUDGETS,)).fetchone()
    return found[0] if found else 0, [row(one) for one in connection.execute(_STANDING, (since,))]


def _find(connection: sqlite3.Connection, name: str) -> Override | None:
    found = connection.execute(_ONE, (name,)).fetchone()
    return None if found is None else row(found)


def _give(connection: sqlite3.Connection, one: Override, fits: Fits | None) -> str:
    if fits is not None:
        fits([row(found) for found in connection.execute(_BESIDE, (one.given, one.basis))])
    before = connection.execute(_BEFORE, (one.given, one.by, one.basis, one.org, one.who, one.given)).fetchall()
    room_beside(int(connection.execute(_COUNT, (one.org, one.given)).fetchone()[0]))
    connection.execute(_INSERT, values(one))
    bump_sqlite(connection, BUDGETS)
    return before[0][0] if before else ""


def _end(connection: sqlite3.Connection, org: str | None, name: str, now: int, by: str) -> Override | None:
    found = connection.execute(_END, (now, by, name, org)).fetchall()
    if not found:
        return None
    bump_sqlite(connection, BUDGETS)
    return row(found[0])
