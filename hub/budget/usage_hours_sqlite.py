"""The hours of the usage ledger in SQLite: its single writer sets the order in which rows come and hours are begun."""

import sqlite3
from collections.abc import Sequence

from hub.budget.usage_hours import COLUMNS, TOGETHER, Hour
from hub.store.sqlite import Database

_BEGIN = (
    "INSERT INTO usage_rolled (hour, state, dirty, turn, groups) VALUES (?, 0, 0, 1, 0) "
    "ON CONFLICT (hour) DO UPDATE SET state = 0, dirty = 0, turn = turn + 1 RETURNING turn"
)
_MINE = "SELECT 1 FROM usage_rolled WHERE hour = ? AND turn = ? AND state = 0 AND dirty = 0"
_COUNT = "UPDATE usage_rolled SET state = ?, groups = ? WHERE hour = ? AND turn = ? AND state = 0 AND dirty = 0"
_INSERT = f"INSERT INTO usage_hour ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 (constants)


class SqliteHours:
    """The `Hours` of one SQLite database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lead(self) -> bool:
        return True

    async def begin(self, hours: Sequence[int]) -> dict[int, int]:
        return await self._database.write(
            lambda connection: {hour: int(connection.execute(_BEGIN, (hour,)).fetchall()[0][0]) for hour in hours}
        )

    async def keep(self, hour: Hour) -> bool:
        count = len(hour.rows or ())
        for at in range(0, max(1, count), TOGETHER):
            if not await self._database.write(lambda connection, at=at: _write(connection, hour, at)):
                return False
        made = (hour.state, count, hour.hour, hour.turn)
        return await self._database.write(lambda connection: connection.execute(_COUNT, made).rowcount > 0)


def _write(connection: sqlite3.Connection, it: Hour, at: int) -> bool:
    """Some rows from `at` on, if the hour is still this maker's; before the first what another left there goes."""
    if connection.execute(_MINE, (it.hour, it.turn)).fetchone() is None:
        return False
    if at == 0:
        connection.execute("DELETE FROM usage_hour WHERE hour = ?", (it.hour,))
    connection.executemany(_INSERT, [(it.hour, *row) for row in (it.rows or ())[at : at + TOGETHER]])
    return True
