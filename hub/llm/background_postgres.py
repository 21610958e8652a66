"""Answers that are being made in the background, in PostgreSQL, by whose clock it is said how long a process looks after one."""

from collections.abc import Collection, Sequence

import msgspec

from hub.llm.background_rows import COLUMNS, Row
from hub.store.postgres import Postgres

_NAMES = ", ".join(COLUMNS)
_NOW = "(extract(epoch FROM statement_timestamp()) * 1000000)::bigint"
"""Of the statement, not of the clock: an index is of no use for what may change while it is looked for."""
_GIVEN = ", ".join(f"${at}" for at in range(1, len(COLUMNS) + 1))
_PUT = (
    f"INSERT INTO background_response ({_NAMES}, until) VALUES ({_GIVEN}, {_NOW} + ${len(COLUMNS) + 1}) "  # noqa: S608 (constants)
    "ON CONFLICT (call) DO UPDATE SET until = EXCLUDED.until"
)
_END = "UPDATE background_response SET ended = CASE WHEN ended = '' THEN $1 ELSE ended END WHERE call = $2 RETURNING ended"
_DROP = "DELETE FROM background_response WHERE call = $1"
_FIND = f"SELECT {_NAMES} FROM background_response WHERE org = $1 AND subject = $2 AND response = $3"  # noqa: S608 (constants)
_RENEW = (
    f"UPDATE background_response SET until = CASE WHEN $2 > 0 THEN {_NOW} + $2 ELSE 0 END "  # noqa: S608 (constants)
    "WHERE call IN (SELECT call FROM background_response WHERE call = ANY($1::text[]) ORDER BY call FOR UPDATE) RETURNING call, ended"
)
"""In one order whoever asks: two processes may wait for the same answers, and must not wait for each other."""
_FREE = "UPDATE background_response SET until = 0"
_CLAIM = (
    f"UPDATE background_response SET until = {_NOW} + $1 WHERE call = ANY (ARRAY(SELECT call FROM background_response "  # noqa: S608 (constants)
    f"WHERE until < {_NOW} AND call <> ALL($3::text[]) ORDER BY until LIMIT $2 FOR UPDATE SKIP LOCKED)) RETURNING {_NAMES}"
)


class PostgresBackground:
    """The `Rows` of one PostgreSQL database. What belongs to a caller is read and written as its organisation."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def put(self, row: Row, lease: int) -> None:
        given = (*msgspec.structs.astuple(row), lease)
        await self._postgres.write(lambda connection: connection.execute(_PUT, *given), org=row.org)

    async def end(self, call: str, ended: str) -> str | None:
        return await self._postgres.write(lambda connection: connection.fetchval(_END, ended, call))

    async def drop(self, call: str) -> None:
        await self._postgres.write(lambda connection: connection.execute(_DROP, call))

    async def find(self, org: str, subject: str, response: str) -> list[Row]:
        found = await self._postgres.read(lambda connection: connection.fetch(_FIND, org, subject, response), org=org)
        return [Row(*row) for row in found]

    async def calls(self) -> list[str]:
        found = await self._postgres.read(lambda connection: connection.fetch("SELECT call FROM background_response"))
        return [str(row[0]) for row in found]

    async def renew(self, calls: Sequence[str], lease: int) -> dict[str, str]:
        found = await self._postgres.write(lambda connection: connection.fetch(_RENEW, list(calls), lease))
        return {str(row[0]): str(row[1]) for row in found}

    async def free(self) -> None:
        await self._postgres.write(lambda connection: connection.execute(_FREE))

    async def claim(self, lease: int, most: int, but: Collection[str] = ()) -> list[Row]:
        found = await self._postgres.write(lambda connection: connection.fetch(_CLAIM, lease, most, list(but)))
        return [Row(*row) for row in found]
