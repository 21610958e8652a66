"""Prices as they are in force, read beside running hubs: also where there is no database yet."""

import asyncio
from pathlib import Path

from msgspec import Struct

from hub.budget import price_shelf_sqlite
from hub.budget.price_shelf import Kept
from hub.budget.price_table import BadTable, Table, embedded
from hub.cli import default_config
from hub.commands.output import Failed, note
from hub.commands.place import bare, connected, reading
from hub.config import stores
from hub.config.load import ConfigError, Loaded, load
from hub.config.model import Config

_SECTIONS = ("stores", "orgs", "prices")
_NAMES = ("providers", "models")
"""What says where a name leads; its secrets need not be at hand here."""


class Priced(Struct, frozen=True):
    """The table in force, how it came into force (None: with the hub), what is staged, and what the configuration says.

    `config` has stores, organisations, prices, and providers and models where these can be resolved here.
    """

    table: Table
    in_force: Kept | None
    staged: Kept | None
    config: Config


_Found = tuple[Kept | None, Kept | None, bytes | None]


def priced(config: Path | None) -> Priced:
    """Raises `Failed`."""
    loaded = _loaded(config or default_config())
    at = stores.database(loaded.config.stores.database)
    kept, staged, body = _in_sqlite(at) if isinstance(at, stores.SqliteFile) else asyncio.run(_in_postgres(at))
    try:
        return Priced(embedded() if body is None else Table(body), kept, staged, loaded.config)
    except BadTable as error:
        raise Failed(str(error)) from None


def _loaded(file: Path | None) -> Loaded:
    try:
        return load(file, only=(*_SECTIONS, *_NAMES))
    except ConfigError as error:
        try:
            loaded = load(file, only=_SECTIONS)
        except ConfigError:
            raise Failed("; ".join(error.lines())) from None
        note(f"providers and models of the file are left out: {'; '.join(error.lines())}")
        return loaded


def _in_sqlite(at: stores.SqliteFile) -> _Found:
    if not at.file.is_file():
        return None, None, None
    with reading(at) as connection:
        if not connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'price_tables'").fetchone()[0]:
            return None, None, None  # of a hub of an earlier version, which had no other table
        kept = price_shelf_sqlite.in_force(connection)
        return kept, price_shelf_sqlite.staged(connection), price_shelf_sqlite.body(connection, kept.hash) if kept else None


async def _in_postgres(at: stores.PostgresDatabase) -> _Found:
    from hub.budget.price_shelf_postgres import PostgresPriceShelf
    from hub.store.postgres import applied

    async with bare(at) as connection:
        if not await applied(connection):
            return None, None, None
    async with connected(at) as postgres:
        shelf = PostgresPriceShelf(postgres)
        kept = await shelf.in_force()
        return kept, await shelf.staged(), await shelf.body(kept.hash) if kept else None
