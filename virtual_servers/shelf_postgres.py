"""Catalogues in PostgreSQL: what one replica has fetched, the next one starts with."""

from hub.call import timestamp
from hub.store.postgres import Postgres
from hub.store.postgres_link import Connection

_PUT = """
INSERT INTO catalogue (upstream, spec, body, fetched) VALUES ($1, $2, $3, $4)
ON CONFLICT (upstream) DO UPDATE SET spec = excluded.spec, body = excluded.body, fetched = excluded.fetched
"""


class PostgresCatalogues:
    """The `Catalogues` of one PostgreSQL database."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def take(self, upstream: str, spec: str) -> bytes | None:
        async def read(connection: Connection) -> bytes | None:
            return await connection.fetchval("SELECT body FROM catalogue WHERE upstream = $1 AND spec = $2", upstream, spec)

        return await self._postgres.read(read)

    async def put(self, upstream: str, spec: str, body: bytes) -> None:
        row = (upstream, spec, body, timestamp())

        async def write(connection: Connection) -> None:
            await connection.execute(_PUT, *row)

        await self._postgres.write(write)
