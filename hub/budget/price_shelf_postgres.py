"""Price tables in PostgreSQL, the same for every replica."""

from hub.budget.price_shelf import Kept
from hub.call import timestamp
from hub.store.postgres import Postgres
from hub.store.postgres_link import Connection

_KEPT = "SELECT hash, state, staged, decided FROM price_tables "


class PostgresPriceShelf:
    """The `PriceShelf` of one PostgreSQL database. Changes come one after another, from whichever process."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def stage(self, table: str, body: bytes) -> None:
        now = timestamp()

        async def put(connection: Connection) -> None:
            await _in_turn(connection)
            await connection.execute("DELETE FROM price_tables WHERE state = 'staged' AND turn = 0 AND hash <> $1", table)
            await connection.execute("UPDATE price_tables SET state = 'confirmed' WHERE state = 'staged' AND hash <> $1", table)
            statement = "INSERT INTO price_tables (hash, body, state, staged) VALUES ($1, $2, 'staged', $3)"
            again = " ON CONFLICT (hash) DO UPDATE SET state = 'staged', staged = excluded.staged"
            await connection.execute(statement + again, table, body, now)

        await self._postgres.write(put)

    async def decide(self, table: str, *, confirm: bool) -> bool:
        now = timestamp()

        async def put(connection: Connection) -> bool:
            await _in_turn(connection)
            turn = "(SELECT max(turn) + 1 FROM price_tables)" if confirm else "turn"
            state = "'confirmed'" if confirm else "CASE WHEN turn > 0 THEN 'confirmed' ELSE 'rejected' END"
            change = f"UPDATE price_tables SET state = {state}, turn = {turn}, decided = $2 WHERE hash = $1 AND state = 'staged'"  # noqa: S608
            return await connection.execute(change, table, now) == "UPDATE 1"

        return await self._postgres.write(put)

    async def staged(self) -> Kept | None:
        return await self._one("WHERE state = 'staged'")

    async def in_force(self) -> Kept | None:
        return await self._one("WHERE turn > 0 ORDER BY turn DESC LIMIT 1")

    async def body(self, table: str) -> bytes | None:
        async def select(connection: Connection) -> bytes | None:
            return await connection.fetchval("SELECT body FROM price_tables WHERE hash = $1", table)

        return await self._postgres.read(select)

    async def _one(self, which: str) -> Kept | None:
        async def select(connection: Connection) -> Kept | None:
            found = await connection.fetchrow(_KEPT + which)
            return None if found is None else Kept(*found)

        return await self._postgres.read(select)


async def _in_turn(connection: Connection) -> None:
    await connection.execute("LOCK TABLE price_tables IN SHARE ROW EXCLUSIVE MODE")
