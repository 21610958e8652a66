"""Policy snapshots in SQLite."""

import sqlite3

from hub.call import timestamp
from hub.policy.decide import Policy
from hub.store.sqlite import Database


class SqliteSnapshots:
    """The `Snapshots` of one SQLite database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, policy: Policy) -> None:
        row = (policy.hash, policy.snapshot(), timestamp())

        def insert(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO policy_sets (hash, body, first_seen) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", row)

        await self._database.write(insert)

    async def body(self, policy_set: str) -> bytes | None:
        return await self._database.read(lambda connection: body(connection, policy_set))


def body(connection: sqlite3.Connection, policy_set: str) -> bytes | None:
    """See `Snapshots.body`."""
    found = connection.execute("SELECT body FROM policy_sets WHERE hash = ?", (policy_set,)).fetchone()
    return None if found is None else found[0]
