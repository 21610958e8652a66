"""Catalogues in SQLite."""

import sqlite3

from hub.call import timestamp
from hub.store.sqlite import Database


class SqliteCatalogues:
    """The `Catalogues` of one SQLite database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, upstream: str, spec: str) -> bytes | None:
        def read(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute("SELECT body FROM catalogue WHERE upstream = ? AND spec = ?", (upstream, spec)).fetchone()
            return row[0] if row else None

        return await self._database.read(read)

    async def put(self, upstream: str, spec: str, body: bytes) -> None:
        row = (upstream, spec, body, timestamp())
        await self._database.write(lambda connection: connection.execute("INSERT OR REPLACE INTO catalogue VALUES (?, ?, ?, ?)", row))
