"""Policy snapshots in PostgreSQL, the same for every replica."""

from hub.call import timestamp
from hub.policy.decide import Policy
from hub.store.postgres import Postgres
from hub.store.postgres_link import Connection


class PostgresSnapshots:
    """The `Snapshots` of one PostgreSQL database."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def save(self, policy: Policy) -> None:
        row = (policy.hash, policy.snapshot(), timestamp())

        async def insert(connection: Connection) -> None:
            await connection.execute("INSERT INTO policy_sets (hash, body, first_seen) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", *row)

        await self._postgres.write(insert)

    async def body(self, policy_set: str) -> bytes | None:
        async def select(connection: Connection) -> bytes | None:
            return await connection.fetchval("SELECT body FROM policy_sets WHERE hash = $1", policy_set)

        return await self._postgres.read(select)
