"""Which deployment keeps which response, in SQLite, whose single writer keeps the order of what it is given."""

from collections.abc import Awaitable, Sequence

import msgspec

from hub.llm.stored_rows import COLUMNS, Row
from hub.store.sqlite import Database

_NAMES = ", ".join(COLUMNS)
_PUT = f"INSERT OR REPLACE INTO stored_response ({_NAMES}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 (constants)
_FIND = f"SELECT {_NAMES} FROM stored_response WHERE org = ? AND subject = ? AND id IN (SELECT value FROM json_each(?))"  # noqa: S608 (constants)
_DROP = "DELETE FROM stored_response WHERE org = ? AND subject = ? AND response = ?"
_REAP = "DELETE FROM stored_response WHERE at < ?"


class SqliteStored:
    """The `Rows` of one SQLite database."""

    in_order = True

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, rows: Sequence[Row]) -> Awaitable[None]:
        given = [msgspec.structs.astuple(row) for row in rows]
        return self._database.write(lambda connection: connection.executemany(_PUT, given) and None)

    async def find(self, org: str, subject: str, ids: Sequence[str]) -> list[Row]:
        given = (org, subject, msgspec.json.encode(ids).decode())
        return await self._database.read(lambda connection: [Row(*found) for found in connection.execute(_FIND, given)])

    async def drop(self, org: str, subject: str, response: str) -> None:
        await self._database.write(lambda connection: connection.execute(_DROP, (org, subject, response)) and None)

    async def reap(self, before: int) -> None:
        await self._database.write(lambda connection: connection.execute(_REAP, (before,)) and None)
