"""Which deployment keeps which response, in PostgreSQL, where every process of the hub finds it."""

from collections.abc import Sequence

import msgspec

from hub.llm.stored_rows import COLUMNS, Row
from hub.store.postgres import Postgres

_NAMES = ", ".join(COLUMNS)
_ARRAYS = ", ".join(f"${at}::{'bigint' if name == 'at' else 'text'}[]" for at, name in enumerate(COLUMNS, 1))
_CHANGED = ", ".join(f"{name} = EXCLUDED.{name}" for name in COLUMNS[3:])
_PUT = (
    f"INSERT INTO stored_response ({_NAMES}) SELECT * FROM unnest({_ARRAYS}) "  # noqa: S608 (constants)
    f"ON CONFLICT (org, subject, id) DO UPDATE SET {_CHANGED}"
)
_FIND = f"SELECT {_NAMES} FROM stored_response WHERE org = $1 AND subject = $2 AND id = ANY($3::text[])"  # noqa: S608 (constants)
_DROP = "DELETE FROM stored_response WHERE org = $1 AND subject = $2 AND response = $3"
_REAP = "DELETE FROM stored_response WHERE at < $1"


class PostgresStored:
    """The `Rows` of one PostgreSQL database. What belongs to a caller is read and written as its organisation."""

    in_order = False

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def put(self, rows: Sequence[Row]) -> None:
        once = {row.id: row for row in rows}.values()  # one statement must not change a row twice
        columns = [list(one) for one in zip(*map(msgspec.structs.astuple, once), strict=True)]
        await self._postgres.write(lambda connection: connection.execute(_PUT, *columns), org=rows[0].org)

    async def find(self, org: str, subject: str, ids: Sequence[str]) -> list[Row]:
        found = await self._postgres.read(lambda connection: connection.fetch(_FIND, org, subject, list(ids)), org=org)
        return [Row(*row) for row in found]

    async def drop(self, org: str, subject: str, response: str) -> None:
        await self._postgres.write(lambda connection: connection.execute(_DROP, org, subject, response), org=org)

    async def reap(self, before: int) -> None:
        await self._postgres.write(lambda connection: connection.execute(_REAP, before))
