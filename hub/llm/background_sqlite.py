"""Answers that are being made in the background, in SQLite."""

import time
from collections.abc import Sequence

import msgspec

from hub.llm.background_rows import COLUMNS, Row
from hub.store.sqlite import Database

_NAMES = ", ".join(COLUMNS)
_PUT = f"INSERT OR REPLACE INTO background_response ({_NAMES}, until) VALUES ({', '.join('?' * (len(COLUMNS) + 1))})"  # noqa: S608 (constants)
_TAKE = "DELETE FROM background_response WHERE call = ? RETURNING call"
_FIND = f"SELECT {_NAMES} FROM background_response WHERE org = ? AND subject = ? AND response = ?"  # noqa: S608 (constants)
_RENEW = "UPDATE background_response SET until = ? WHERE call IN (SELECT value FROM json_each(?)) RETURNING call"
_CLAIM = f"UPDATE background_response SET until = ?1 WHERE until < ?2 OR ?3 RETURNING {_NAMES}"  # noqa: S608 (constants)


class SqliteBackground:
    """The `Rows` of one SQLite database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, row: Row, lease: int) -> None:
        given = (*msgspec.structs.astuple(row), _now() + lease)
        await self._database.write(lambda connection: connection.execute(_PUT, given) and None)

    async def take(self, call: str) -> bool:
        return await self._database.write(lambda connection: connection.execute(_TAKE, (call,)).fetchone() is not None)

    async def find(self, org: str, subject: str, response: str) -> list[Row]:
        given = (org, subject, response)
        return await self._database.read(lambda connection: [Row(*found) for found in connection.execute(_FIND, given)])

    async def calls(self) -> list[str]:
        return await self._database.read(
            lambda connection: [call for (call,) in connection.execute("SELECT call FROM background_response")]
        )

    async def renew(self, calls: Sequence[str], lease: int) -> list[str]:
        given = (_now() + lease if lease else 0, msgspec.json.encode(calls).decode())
        return await self._database.write(lambda connection: [call for (call,) in connection.execute(_RENEW, given).fetchall()])

    async def claim(self, lease: int, *, every: bool) -> list[Row]:
        given = (_now() + lease, _now(), every)
        return await self._database.write(lambda connection: [Row(*found) for found in connection.execute(_CLAIM, given).fetchall()])


def _now() -> int:
    return time.time_ns() // 1000
