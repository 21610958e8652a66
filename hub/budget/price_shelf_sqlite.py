"""Price tables in SQLite."""

import sqlite3

from hub.budget.price_shelf import Kept
from hub.call import timestamp
from hub.store.sqlite import Database

_KEPT = "SELECT hash, state, staged, decided FROM price_tables "


class SqlitePriceShelf:
    """The `PriceShelf` of one SQLite database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def stage(self, table: str, body: bytes) -> None:
        now = timestamp()

        def put(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM price_tables WHERE state = 'staged' AND turn = 0 AND hash <> ?", (table,))
            connection.execute("UPDATE price_tables SET state = 'confirmed' WHERE state = 'staged' AND hash <> ?", (table,))
            statement = "INSERT INTO price_tables (hash, body, state, staged) VALUES (?, ?, 'staged', ?)"
            connection.execute(
                statement + " ON CONFLICT (hash) DO UPDATE SET state = 'staged', staged = excluded.staged", (table, body, now)
            )

        await self._database.write(put)

    async def decide(self, table: str, *, confirm: bool) -> bool:
        now = timestamp()

        def put(connection: sqlite3.Connection) -> bool:
            turn = "(SELECT max(turn) + 1 FROM price_tables)" if confirm else "turn"
            state = "'confirmed'" if confirm else "CASE WHEN turn > 0 THEN 'confirmed' ELSE 'rejected' END"
            change = f"UPDATE price_tables SET state = {state}, turn = {turn}, decided = ? WHERE hash = ? AND state = 'staged'"  # noqa: S608
            return connection.execute(change, (now, table)).rowcount == 1

        return await self._database.write(put)

    async def staged(self) -> Kept | None:
        return await self._database.read(staged)

    async def in_force(self) -> Kept | None:
        return await self._database.read(in_force)

    async def body(self, table: str) -> bytes | None:
        return await self._database.read(lambda connection: body(connection, table))


def staged(connection: sqlite3.Connection) -> Kept | None:
    """See `PriceShelf.staged`."""
    return _one(connection, "WHERE state = 'staged'")


def in_force(connection: sqlite3.Connection) -> Kept | None:
    """See `PriceShelf.in_force`."""
    return _one(connection, "WHERE turn > 0 ORDER BY turn DESC LIMIT 1")


def body(connection: sqlite3.Connection, table: str) -> bytes | None:
    """See `PriceShelf.body`."""
    found = connection.execute("SELECT body FROM price_tables WHERE hash = ?", (table,)).fetchone()
    return None if found is None else found[0]


def _one(connection: sqlite3.Connection, which: str) -> Kept | None:
    found = connection.execute(_KEPT + which).fetchone()
    return None if found is None else Kept(*found)
