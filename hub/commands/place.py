"""Which hub a command is about: its configuration, its address, its database. It opens nothing for writing."""

import sqlite3
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hub.commands.output import Failed
from hub.config import stores
from hub.config.load import ConfigError, Loaded, load

if TYPE_CHECKING:
    from hub.store.postgres import Connection, Postgres

_SECTIONS = ("server", "stores", "secrets", "audit")
"""All that commands on a hub's own data need: they work where the rest of the file cannot be resolved."""

_PATIENCE = 5.0
"""Seconds that a command waits for PostgreSQL. A hub waits for less: others wait for it."""


def located(config: Path | None) -> Loaded:
    """The configuration meant, without upstreams, keys and policies. Raises `Failed` where it is at fault."""
    from hub.cli import default_config

    try:
        return load(config or default_config(), only=_SECTIONS)
    except ConfigError as error:
        raise Failed("; ".join(error.lines())) from None


def database(config: Path | None) -> stores.SqliteFile | stores.PostgresDatabase:
    """Where the hub keeps its data."""
    return stores.database(located(config).config.stores.database)


def journal(config: Path | None) -> Path | str:
    """Where the journal is read: a file, or an address that holds a password and is not to be shown."""
    at = database(config)
    return at.file if isinstance(at, stores.SqliteFile) else at.address.url


def hub_url(config: Path | None) -> str:
    """Where the configured hub listens, as seen from this machine."""
    server = located(config).config.server
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(server.host, server.host)  # noqa: S104 (read, not bound)
    return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{server.port}"


@contextmanager
def reading(at: stores.SqliteFile) -> Generator[sqlite3.Connection]:
    """A SQLite database, read-only: also beside a running hub. Raises `Failed` where there is none yet."""
    if not at.file.is_file():
        raise Failed(f"there is no database at {at.file}; the hub makes it on its first start")
    with closing(sqlite3.connect(f"{at.file.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)) as connection:
        connection.execute("PRAGMA busy_timeout=2000")
        connection.execute("PRAGMA query_only=ON")
        yield connection


@asynccontextmanager
async def connected(at: stores.PostgresDatabase, *, making: bool = False) -> AsyncGenerator["Postgres"]:
    """A PostgreSQL database as this version knows it, also beside running hubs; with `making`, one that is empty is set up first.

    Raises `Failed` where its migrations are others: hubs of another version may be running on it.
    """
    from hub.store.postgres import Postgres, applied, migrations

    store, newest = Postgres(at.address.url, connections=2, patience=_PATIENCE), migrations()[-1][0]
    async with bare(at) as connection:
        number = await applied(connection)
    if number > newest:
        raise Failed("the database was written by a later version of the hub: use that one")
    if not number and not making:
        raise Failed(f"there is nothing in {at.address} yet; the hub makes it on its first start")
    if 0 < number < newest:
        raise Failed(f"the database is at migration {number} and this version wants {newest}: run `hub db migrate`")
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def bare(at: stores.PostgresDatabase) -> AsyncGenerator["Connection"]:
    """One connection, without looking at what the database holds. Raises `StoreDown`."""
    from hub.store.postgres import connect

    connection = await connect(at.address.url, _PATIENCE)
    try:
        yield connection
    finally:
        await connection.close()


def in_use(path: Path) -> bool:
    """Whether a hub has this database open. Takes no lock that would keep one from starting: a shared one, for an instant."""
    import fcntl

    lock = Path(f"{path}.lock")
    if not lock.exists():
        return False
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
