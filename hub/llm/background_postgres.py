"""Answers that are being made in the background, in PostgreSQL, by whose clock it is said how long a process looks after one."""

from collections.abc import Sequence

import msgspec

from hub.llm.background_rows import COLUMNS, Row
from hub.store.postgres import Postgres

_NAMES = ", ".join(COLUMNS)
_NOW = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_GIVEN = ", ".join(f"${at}" for at in range(1, len(COLUMNS) + 1))
_PUT = (
    f"INSERT INTO background_response ({_NAMES}, until) VALUES ({_GIVEN}, {_NOW} + ${len(COLUMNS) + 1}) "  # noqa: S608 (constants)
    "ON CONFLICT (call) DO UPDATE SET until = EXCLUDED.until"
)
_TAKE = "DELETE FROM background_response WHERE call = $1 RETURNING call"
_FIND = f"SELECT {_NAMES} FROM background_response WHERE org = $1 AND subject = $2 AND response = $3"  # noqa: S608 (constants)
_RENEW = (
    f"UPDATE background_response SET until = CASE WHEN $2 > 0 THEN {_NOW} + $2 ELSE 0 END "  # noqa: S608 (constants)
    "WHERE call = ANY($1::text[]) RETURNING call"
)
_CLAIM = (
    f"UPDATE background_response SET until = {_NOW} + $1 WHERE call IN "  # noqa: S608 (constants)
    f"(SELECT call FROM background_response WHERE until < {_NOW} OR $2 FOR UPDATE SKIP LOCKED) RETURNING {_NAMES}"
)


class PostgresBackground:
    """The `Rows` of one PostgreSQL database. What belongs to a caller is read and written as its organisation."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def put(self, row: Row, lease: int) -> None:
        given = (*msgspec.structs.astuple(row), lease)
        await self._postgres.write(lambda connection: connection.execute(_PUT, *given), org=row.org)

    async def take(self, call: str) -> bool:
        return await self._postgres.write(lambda connection: connection.fetchval(_TAKE, call)) is not None

    async def find(self, org: str, subject: str, response: str) -> list[Row]:
        found = await self._postgres.read(lambda connection: connection.fetch(_FIND, org, subject, response), org=org)
        return [Row(*row) for row in found]

    async def calls(self) -> list[str]:
        found = await self._postgres.read(lambda connection: connection.fetch("SELECT call FROM background_response"))
        return [str(row[0]) for row in found]

    async def renew(self, calls: Sequence[str], lease: int) -> list[str]:
        found = await self._postgres.write(lambda connection: connection.fetch(_RENEW, list(calls), lease))
        return [str(row[0]) for row in found]

    async def claim(self, lease: int, *, every: bool) -> list[Row]:
        found = await self._postgres.write(lambda connection: connection.fetch(_CLAIM, lease, every))
        return [Row(*row) for row in found]
