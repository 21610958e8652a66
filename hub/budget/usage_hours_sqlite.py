"""The hours of the usage ledger in SQLite: its single writer sets the order in which rows come and hours are begun."""

import sqlite3
from collections.abc import Sequence

from hub.budget.usage_hours import COLUMNS, Hour
from hub.store.sqlite import Database

_BEGIN = (
    "INSERT INTO usage_rolled (hour, state, dirty, turn, groups) VALUES (?, 0, 0, 1, 0) "
    "ON CONFLICT (hour) DO UPDATE SET state = 0, dirty = 0, turn = turn + 1 RETURNING turn"
)
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
        return await self._database.write(lambda connection: _keep(connection, hour))


def _keep(connection: sqlite3.Connection, it: Hour) -> bool:
    rows = it.rows or ()
    if not connection.execute(_COUNT, (it.state, len(rows), it.hour, it.turn)).rowcount:
        return False
    connection.execute("DELETE FROM usage_hour WHERE hour = ?", (it.hour,))
    connection.executemany(_INSERT, [(it.hour, *row) for row in rows])
    return True
