"""Daily counts in SQLite, whose single writer keeps the order of what it is given. It knows the table, not the rules."""

import asyncio
import sqlite3
from typing import Any

from hub.budget.daily import date
from hub.store.sqlite import Database

_LOAD = "SELECT rule, who, used FROM daily_use WHERE day = ?"
_SAVE = "INSERT INTO daily_use (day, rule, who, used) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET used = excluded.used"


class SqliteDays:
    """The `Days` of one SQLite database."""

    ordered = True

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, day: int) -> list[tuple[str, str, int]]:
        def load(connection: sqlite3.Connection) -> list[tuple[str, str, int]]:
            return [(str(rule), str(who), int(used)) for rule, who, used in connection.execute(_LOAD, (date(day),))]

        return await self._database.read(load)

    def save(self, day: int, rule: str, who: str, used: int, *, final: bool = False) -> "asyncio.Future[Any]":
        return self._database.write(lambda connection: connection.execute(_SAVE, (date(day), rule, who, used)) and None)

    async def forget(self, before: int) -> None:
        await self._database.write(lambda connection: connection.execute("DELETE FROM daily_use WHERE day < ?", (date(before),)) and None)
