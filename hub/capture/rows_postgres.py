"""Captured content in PostgreSQL. Every statement can be run again without harm."""

from collections.abc import Callable, Mapping

from hub.capture.rows import BOTH, COLUMNS, DAY_COLUMNS, SHOWN, DayKey, Row, both_of, day_of, day_values, over, row_of, values
from hub.store.envelope import Envelope
from hub.store.postgres import EVERY, Postgres
from hub.store.postgres_link import Connection

# ruff: noqa: S608 (the statements are put together from constants)
_DAY = f"INSERT INTO content_day ({DAY_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING"
_FIND_DAY = f"SELECT {DAY_COLUMNS} FROM content_day WHERE org = $1 AND day = $2"
_PUT = f"INSERT INTO content ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING"
_LIST = f"SELECT {SHOWN} FROM content WHERE at < $1 ORDER BY at DESC, id DESC, part LIMIT $2"
_CALL = f"SELECT {BOTH} FROM content c JOIN content_day d USING (org, day) WHERE id = $1 ORDER BY part DESC"
_ERASE = "WITH gone AS (DELETE FROM content WHERE id = $1 RETURNING 1) SELECT count(*) FROM gone"
_DAYS = "SELECT org, day, expires FROM content_day FOR UPDATE"
_WRAP = "UPDATE content_day SET kek = $3, wrapped = $4, sealed = $5 WHERE org = $1 AND day = $2"


class PostgresContents:
    """The `Contents` of one PostgreSQL database. Of whom it shows what is up to the database's row-level security."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def day(self, made: DayKey) -> DayKey:
        return await self._postgres.write(lambda connection: _day(connection, made), org=made.org)

    async def put(self, row: Row) -> None:
        await self._postgres.write(lambda connection: connection.execute(_PUT, *values(row)), org=row.org)

    async def listed(self, org: str | None, before: int, limit: int) -> list[Row]:
        found = await self._postgres.read(lambda connection: connection.fetch(_LIST, before, limit), org=org or EVERY)
        return [row_of(tuple(one)) for one in found]

    async def call(self, org: str | None, call_id: str) -> list[tuple[Row, DayKey]]:
        found = await self._postgres.read(lambda connection: connection.fetch(_CALL, call_id), org=org or EVERY)
        return [both_of(tuple(one)) for one in found]

    async def erase(self, org: str | None, call_id: str) -> int:
        return await self._postgres.write(lambda connection: connection.fetchval(_ERASE, call_id), org=org or EVERY)

    async def sweep(self, today: str, kept: Mapping[str, str]) -> int:
        return await self._postgres.write(lambda connection: _sweep(connection, today, kept))

    async def rewrite(self, change: Callable[[DayKey], Envelope | None]) -> int:
        return await self._postgres.write(lambda connection: _rewrite(connection, change))


async def _day(connection: Connection, made: DayKey) -> DayKey:
    await connection.execute(_DAY, *day_values(made))
    found = await connection.fetchrow(_FIND_DAY, made.org, made.day)
    assert found is not None, "it was stored just now"
    return day_of(tuple(found))


async def _sweep(connection: Connection, today: str, kept: Mapping[str, str]) -> int:
    gone = over([(found["org"], found["day"], found["expires"]) for found in await connection.fetch(_DAYS)], today, kept)
    for org, day in gone:
        await connection.execute("DELETE FROM content WHERE org = $1 AND day = $2", org, day)
        await connection.execute("DELETE FROM content_day WHERE org = $1 AND day = $2", org, day)
    return len(gone)


async def _rewrite(connection: Connection, change: Callable[[DayKey], Envelope | None]) -> int:
    days = [day_of(tuple(found)) for found in await connection.fetch(f"SELECT {DAY_COLUMNS} FROM content_day FOR UPDATE")]
    changed = [(day, envelope) for day in days if (envelope := change(day)) is not None]
    for day, it in changed:
        await connection.execute(_WRAP, day.org, day.day, it.kek, it.wrapped, it.sealed)
    return len(changed)
