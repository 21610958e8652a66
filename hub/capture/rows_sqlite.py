"""Captured content in SQLite."""

import sqlite3
from collections.abc import Callable, Mapping

from hub.capture.rows import BOTH, COLUMNS, DAY_COLUMNS, SHOWN, DayKey, Row, both_of, day_of, day_values, over, row_of, values
from hub.store.envelope import Envelope
from hub.store.sqlite import Database

# ruff: noqa: S608 (the statements are put together from constants)
_DAY = f"INSERT OR IGNORE INTO content_day ({DAY_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"
_FIND_DAY = f"SELECT {DAY_COLUMNS} FROM content_day WHERE org = ? AND day = ?"
_PUT = f"INSERT OR IGNORE INTO content ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ORG = "(?1 IS NULL OR org = ?1)"
_LIST = f"SELECT {SHOWN} FROM content WHERE {_ORG} AND at < ?2 ORDER BY at DESC, id DESC, part LIMIT ?3"
_CALL = f"SELECT {BOTH} FROM content c JOIN content_day d USING (org, day) WHERE (?1 IS NULL OR org = ?1) AND id = ?2 ORDER BY part DESC"
_ERASE = f"DELETE FROM content WHERE {_ORG} AND id = ?2"
_DAYS = "SELECT org, day, expires FROM content_day"
_WRAP = "UPDATE content_day SET kek = ?, wrapped = ?, sealed = ? WHERE org = ? AND day = ?"


class SqliteContents:
    """The `Contents` of one SQLite database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def day(self, made: DayKey) -> DayKey:
        return await self._database.write(lambda connection: _day(connection, made))

    async def put(self, row: Row) -> None:
        await self._database.write(lambda connection: connection.execute(_PUT, values(row)) and None)

    async def listed(self, org: str | None, before: int, limit: int) -> list[Row]:
        return await self._database.survey(lambda connection: [row_of(found) for found in connection.execute(_LIST, (org, before, limit))])

    async def call(self, org: str | None, call_id: str) -> list[tuple[Row, DayKey]]:
        return await self._database.read(lambda connection: call(connection, org, call_id))

    async def erase(self, org: str | None, call_id: str) -> int:
        return await self._database.write(lambda connection: connection.execute(_ERASE, (org, call_id)).rowcount)

    async def sweep(self, today: str, kept: Mapping[str, str]) -> int:
        return await self._database.write(lambda connection: _sweep(connection, today, kept))

    async def rewrite(self, change: Callable[[DayKey], Envelope | None]) -> int:
        return await self._database.write(lambda connection: _rewrite(connection, change))


def call(connection: sqlite3.Connection, org: str | None, call_id: str) -> list[tuple[Row, DayKey]]:
    """See `Contents.call`."""
    return [both_of(found) for found in connection.execute(_CALL, (org, call_id))]


def _day(connection: sqlite3.Connection, made: DayKey) -> DayKey:
    connection.execute(_DAY, day_values(made))
    return day_of(connection.execute(_FIND_DAY, (made.org, made.day)).fetchone())


def _sweep(connection: sqlite3.Connection, today: str, kept: Mapping[str, str]) -> int:
    gone = over(connection.execute(_DAYS).fetchall(), today, kept)
    for org, day in gone:
        connection.execute("DELETE FROM content WHERE org = ? AND day = ?", (org, day))
        connection.execute("DELETE FROM content_day WHERE org = ? AND day = ?", (org, day))
    return len(gone)


def _rewrite(connection: sqlite3.Connection, change: Callable[[DayKey], Envelope | None]) -> int:
    days = [day_of(found) for found in connection.execute(f"SELECT {DAY_COLUMNS} FROM content_day")]
    changed = [(day, envelope) for day in days if (envelope := change(day)) is not None]
    for day, it in changed:
        connection.execute(_WRAP, (it.kek, it.wrapped, it.sealed, day.org, day.day))
    return len(changed)
