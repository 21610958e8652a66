"""Answers that are being made in the background, in SQLite."""

import time
from collections.abc import Collection, Sequence

import msgspec

from hub.llm.background_rows import COLUMNS, Row
from hub.store.sqlite import Database

_NAMES = ", ".join(COLUMNS)
_PUT = (
    f"INSERT INTO background_response ({_NAMES}, until) VALUES ({', '.join('?' * (len(COLUMNS) + 1))}) "  # noqa: S608 (constants)
    "ON CONFLICT (call) DO UPDATE SET until = excluded.until"
)
_END = "UPDATE background_response SET ended = CASE WHEN ended = '' THEN ? ELSE ended END WHERE call = ? RETURNING ended"
_DROP = "DELETE FROM background_response WHERE call = ?"
_FIND = f"SELECT {_NAMES} FROM background_response WHERE org = ? AND subject = ? AND response = ?"  # noqa: S608 (constants)
_RENEW = "UPDATE background_response SET until = ? WHERE call IN (SELECT value FROM json_each(?)) RETURNING call, ended"
_FREE = "UPDATE background_response SET until = 0"
_CLAIM = (
    "UPDATE background_response SET until = ? WHERE call IN (SELECT call FROM background_response "  # noqa: S608 (constants)
    f"WHERE until < ? AND call NOT IN (SELECT value FROM json_each(?)) ORDER BY until LIMIT ?) RETURNING {_NAMES}"
)


class SqliteBackground:
    """The `Rows` of one SQLite database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, row: Row, lease: int) -> None:
        given = (*msgspec.structs.astuple(row), _now() + lease)
        await self._database.write(lambda connection: connection.execute(_PUT, given) and None)

    async def end(self, call: str, ended: str) -> str | None:
        found = await self._database.write(lambda connection: connection.execute(_END, (ended, call)).fetchall())
        return found[0][0] if found else None

    async def drop(self, call: str) -> None:
        await self._database.write(lambda connection: connection.execute(_DROP, (call,)) and None)

    async def find(self, org: str, subject: str, response: str) -> list[Row]:
        given = (org, subject, response)
        return await self._database.read(lambda connection: [Row(*found) for found in connection.execute(_FIND, given)])

    async def calls(self) -> list[str]:
        return await self._database.read(
            lambda connection: [call for (call,) in connection.execute("SELECT call FROM background_response")]
        )

    async def renew(self, calls: Sequence[str], lease: int) -> dict[str, str]:
        given = (_now() + lease if lease else 0, _json(calls))
        return await self._database.write(lambda connection: dict(connection.execute(_RENEW, given).fetchall()))

    async def free(self) -> None:
        await self._database.write(lambda connection: connection.execute(_FREE) and None)

    async def claim(self, lease: int, most: int, but: Collection[str] = ()) -> list[Row]:
        given = (_now() + lease, _now(), _json(list(but)), most)
        return await self._database.write(lambda connection: [Row(*found) for found in connection.execute(_CLAIM, given).fetchall()])


def _json(calls: Sequence[str]) -> str:
    return msgspec.json.encode(calls).decode()


def _now() -> int:
    return time.time_ns() // 1000
