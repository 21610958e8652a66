"""What rooms keep, in real stores: a test that asks for `store` runs on SQLite and on PostgreSQL, and must see the same."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hub.budget.price_shelf import PriceShelf
from hub.budget.price_shelf_postgres import PostgresPriceShelf
from hub.budget.price_shelf_sqlite import SqlitePriceShelf
from hub.capture.rows import Contents
from hub.capture.rows_postgres import PostgresContents
from hub.capture.rows_sqlite import SqliteContents
from hub.identity.rows import Keys
from hub.identity.rows_postgres import PostgresKeys
from hub.identity.rows_sqlite import SqliteKeys
from hub.llm.stored_postgres import PostgresStored
from hub.llm.stored_rows import Rows as StoredRows
from hub.llm.stored_sqlite import SqliteStored
from hub.policy.snapshots import Snapshots
from hub.policy.snapshots_postgres import PostgresSnapshots
from hub.policy.snapshots_sqlite import SqliteSnapshots
from hub.routing.vault_postgres import PostgresVault
from hub.routing.vault_rows import Rows
from hub.routing.vault_sqlite import SqliteVault
from hub.store.postgres import Postgres
from hub.store.sqlite import Database
from tests.services.postgres import PostgresServer
from virtual_servers.shelf import Catalogues
from virtual_servers.shelf_postgres import PostgresCatalogues
from virtual_servers.shelf_sqlite import SqliteCatalogues


class SqliteStore:
    """A file in the test's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def open(self) -> None:
        self.database = Database(self._folder / "hub.db")
        self.database.open()
        self.keys: Keys = SqliteKeys(self.database)
        self.vault: Rows = SqliteVault(self.database)
        self.stored: StoredRows = SqliteStored(self.database)
        self.contents: Contents = SqliteContents(self.database)
        self.snapshots: Snapshots = SqliteSnapshots(self.database)
        self.catalogues: Catalogues = SqliteCatalogues(self.database)
        self.prices: PriceShelf = SqlitePriceShelf(self.database)

    async def close(self) -> None:
        await self.database.close()

    @asynccontextmanager
    async def deaf(self) -> AsyncGenerator[None]:
        """For the length of a block it does not answer."""
        gate = threading.Event()
        held = self.database.read(lambda _: gate.wait(20))
        try:
            yield
        finally:
            gate.set()
            await held

    @staticmethod
    def literal(value: bytes) -> str:
        return f"x'{value.hex()}'"

    async def change(self, statement: str) -> None:
        """What somebody does to the tables behind the hub's back."""
        await self.database.write(lambda connection: connection.execute(statement) and None)

    async def count(self, table: str) -> int:
        return await self.database.read(lambda connection: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    async def epochs(self) -> dict[str, int]:
        return await self.database.read(lambda connection: dict(connection.execute("SELECT org, value FROM epoch")))

    async def holds(self, text: bytes) -> bool:
        """Whether these bytes stand anywhere in what is kept."""
        return any(text in path.read_bytes() for path in self._folder.iterdir())


class PostgresStore:
    """A database that the test has for itself."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self._server = server
        self._name = name

    async def open(self) -> None:
        self.postgres = Postgres(self._server.url(self._name))
        await self.postgres.open()
        self.keys: Keys = PostgresKeys(self.postgres)
        self.vault: Rows = PostgresVault(self.postgres)
        self.stored: StoredRows = PostgresStored(self.postgres)
        self.contents: Contents = PostgresContents(self.postgres)
        self.snapshots: Snapshots = PostgresSnapshots(self.postgres)
        self.catalogues: Catalogues = PostgresCatalogues(self.postgres)
        self.prices: PriceShelf = PostgresPriceShelf(self.postgres)

    async def close(self) -> None:
        await self.postgres.close()

    @asynccontextmanager
    async def deaf(self) -> AsyncGenerator[None]:
        """For the length of a block it does not answer."""
        self._server.stop_answering()
        try:
            yield
        finally:
            self._server.resume()

    @staticmethod
    def literal(value: bytes) -> str:
        return f"'\\x{value.hex()}'"

    async def change(self, statement: str) -> None:
        await self.sql(statement)

    async def sql(self, statement: str) -> str:
        """What a superuser sees."""
        return await asyncio.to_thread(self._server.sql, statement, self._name)

    async def count(self, table: str) -> int:
        return int(await self.sql(f"SELECT count(*) FROM {table}"))

    async def epochs(self) -> dict[str, int]:
        rows = await self.sql("SELECT org || ' ' || value FROM epoch")
        return {org: int(value) for org, value in (line.split() for line in rows.splitlines())}

    async def holds(self, text: bytes) -> bool:
        """Whether these bytes stand anywhere in what is kept."""
        kept = await self.sql("SELECT to_jsonb(k) FROM api_key k") + await self.sql("SELECT to_jsonb(t) FROM key_tombstone t")
        kept += await self.sql("SELECT to_jsonb(v) FROM vault_secret v")
        return text in kept.encode() or text.hex() in kept


Store = SqliteStore | PostgresStore


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made: Store
    if request.param == "sqlite":
        made = SqliteStore(tmp_path)
    else:
        made = PostgresStore(request.getfixturevalue("postgres"), request.getfixturevalue("emptied_name"))
    await made.open()
    yield made
    await made.close()
