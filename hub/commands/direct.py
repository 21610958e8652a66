"""The hub's database, opened by a command: for writing under the hub's own lock, for reading beside a running hub."""

import os
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from hub import __version__
from hub.audit.checkpoint import Signer
from hub.audit.deed import Deed
from hub.audit.journal import Journal
from hub.audit.ledger import Ledger
from hub.audit.ledger_sqlite import SqliteLedger
from hub.budget.override_rows import Rows as OverrideRows
from hub.budget.override_sqlite import SqliteOverrides
from hub.budget.price_shelf import PriceShelf
from hub.budget.price_shelf_sqlite import SqlitePriceShelf
from hub.capture.rows import Contents
from hub.capture.rows_sqlite import SqliteContents
from hub.cli import default_config
from hub.commands.output import Failed
from hub.commands.place import bare, connected, database, located, reading
from hub.config import stores
from hub.config.belonging import Units, units_of
from hub.config.load import ConfigError, Loaded, load, secret_folder
from hub.identity import rows_sqlite
from hub.identity.admin import Admin, declared
from hub.identity.entry import KeyInfo
from hub.identity.giving import Wanted
from hub.identity.rows import Keys
from hub.identity.rows_sqlite import SqliteKeys
from hub.routing.vault_rows import Rows
from hub.routing.vault_sqlite import SqliteVault
from hub.store.secrets import KEY_PEPPER, Secrets, UnusableSecret
from hub.store.sqlite import Database, Locked

ACTOR = {"kind": "operator", "id": "command-line", "sub": "operator"}


class _Rooms(msgspec.Struct, frozen=True):
    """What commands change in a hub's database."""

    keys: Keys
    prices: PriceShelf
    vault: Rows
    contents: Contents
    overrides: OverrideRows
    ledger: Ledger


@asynccontextmanager
async def _administered(config: Path | None) -> AsyncGenerator[tuple[Admin, Journal]]:
    """Keys and journal, as `opened`. Hubs that run on the database look at its keys when it is done."""
    loaded = located(config)
    async with opened(config) as (rooms, journal):
        yield Admin(rooms.keys, secrets_of(loaded).derive(KEY_PEPPER)), journal
        await say_so(loaded)


@asynccontextmanager
async def opened(config: Path | None) -> AsyncGenerator[tuple[_Rooms, Journal]]:
    """State and journal of a hub on SQLite that is not running, or on PostgreSQL whether any runs or not. Raises `Failed`."""
    loaded = located(config)
    secrets, audit = secrets_of(loaded), loaded.config.audit
    at = stores.database(loaded.config.stores.database)
    async with _on_sqlite(at) if isinstance(at, stores.SqliteFile) else _on_postgres(at, secrets) as rooms:
        journal = Journal(
            rooms.ledger,
            Signer(secrets.log_seed),
            origin=audit.origin,
            checkpoint_every=audit.checkpoint_every,
            build=f"countersign/{__version__}",
            config_hash=_hash(config),
        )
        try:
            await journal.open()
            yield rooms, journal
        finally:
            await journal.close()


async def say_so(loaded: Loaded) -> None:
    """Have hubs that run on this database look at once at what has changed there."""
    given = loaded.config.stores
    if stores.several(given):
        from hub.identity.relay import tell

        await tell(given.redis.url)


@asynccontextmanager
async def _on_sqlite(at: stores.SqliteFile) -> AsyncGenerator[_Rooms]:
    database = Database(at.file)
    try:
        database.open()
    except Locked:
        raise Failed("the hub is running: give its admin key with --admin-key or HUB_ADMIN_KEY") from None
    try:
        yield _Rooms(
            SqliteKeys(database),
            SqlitePriceShelf(database),
            SqliteVault(database),
            SqliteContents(database),
            SqliteOverrides(database),
            SqliteLedger(database),
        )
    finally:
        await database.close()


@asynccontextmanager
async def _on_postgres(at: stores.PostgresDatabase, secrets: Secrets) -> AsyncGenerator[_Rooms]:
    """Beside running hubs: they write beside each other anyway, and notice a changed key when told, or within a poll."""
    from hub.audit.ledger_postgres import PostgresLedger
    from hub.budget.override_postgres import PostgresOverrides
    from hub.budget.price_shelf_postgres import PostgresPriceShelf
    from hub.capture.rows_postgres import PostgresContents
    from hub.identity.rows_postgres import PostgresKeys
    from hub.routing.vault_postgres import PostgresVault
    from hub.store.postgres_secrets import agree

    async with connected(at, making=True) as postgres:
        try:
            await agree(postgres, secrets)
        except UnusableSecret as error:
            raise Failed(str(error)) from None
        yield _Rooms(
            PostgresKeys(postgres),
            PostgresPriceShelf(postgres),
            PostgresVault(postgres),
            PostgresContents(postgres),
            PostgresOverrides(postgres),
            PostgresLedger(postgres),
        )


async def create(config: Path | None, body: dict[str, Any]) -> dict[str, Any]:
    """Make the key that `body` (as of `POST /admin/v1/keys`) describes, recorded in the journal."""
    try:
        wanted = msgspec.convert({**body, "org": body["org"] or "default"}, Wanted)
    except msgspec.ValidationError as error:
        raise Failed(f"this does not fit: {error}", code=2) from None
    async with _administered(config) as (admin, journal), Deed(journal, ACTOR) as deed:
        made = await admin.create(
            **structs.asdict(wanted),
            taken=[name for key in declared_keys(config) for name in (key.name, key.id)],
            units=_units(config),
            before=deed.begin,
        )
        await deed.done(made.record)
    return {"key": made.text, "info": msgspec.to_builtins(made.key)}


async def revoke(config: Path | None, name_or_id: str) -> dict[str, Any]:
    """Revoke a stored or declared key, recorded in the journal."""
    async with _administered(config) as (admin, journal), Deed(journal, ACTOR) as deed:
        gone = await admin.revoke(None, name_or_id, declared=declared_keys(config), before=deed.begin)
        await deed.done(gone.record)
    return {"revoked": msgspec.to_builtins(gone.key)}


async def listed(config: Path | None, org: str | None) -> list[dict[str, Any]]:
    """The stored keys, then the declared ones."""
    at = database(config)
    if isinstance(at, stores.SqliteFile):
        with reading(at) as connection:
            stored, graves = rows_sqlite.listed(connection, org)
    else:
        from hub.identity.rows_postgres import PostgresKeys

        async with connected(at) as postgres:
            stored, graves = await PostgresKeys(postgres).listed(org)
    mine = (key for key in declared_keys(config) if org in (None, key.org))
    return [msgspec.to_builtins(key) for key in (*stored, *(structs.replace(key, revoked=graves.get(key.id, "")) for key in mine))]


def _hash(config: Path | None) -> str:
    """The hash of the whole configuration; empty where it cannot be resolved here."""
    try:
        return load(config or default_config()).hash
    except ConfigError:
        return ""


def declared_keys(config: Path | None) -> tuple[KeyInfo, ...]:
    """The keys of the configuration; none where it cannot be resolved here, as without the hub's environment."""
    try:
        return declared(load(config or default_config()).config.declared)
    except (ConfigError, ValueError):
        return ()


def _units(config: Path | None) -> Units:
    """What keys may belong to; nothing said where the configuration cannot be resolved here. A hub judges a key by its own."""
    try:
        return units_of(load(config or default_config()).config)
    except ConfigError:
        return Units()


def secrets_of(loaded: Loaded) -> Secrets:
    given = loaded.config.secrets
    try:
        return Secrets.load(
            secret_folder(loaded.config), given.master.value if given.master else None, given.log.value if given.log else None
        )
    except UnusableSecret as error:
        raise Failed(str(error)) from None


def migrate_sqlite(at: stores.SqliteFile) -> list[str]:
    """Bring the database of a hub that is not running up to date; the names of the migrations applied."""
    import fcntl

    from hub.store.sqlite import migrate

    path = at.file
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Failed("the hub is running: it has brought its database up to date when it started") from None
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return migrate(connection)
        finally:
            connection.close()


async def migrate_postgres(at: stores.PostgresDatabase) -> list[str]:
    """The same for PostgreSQL, also beside running hubs: of several that migrate at once, one does."""
    from hub.store.postgres import LaterVersion, migrate
    from hub.store.postgres_link import typed

    async with bare(at) as connection:
        try:
            return await migrate(connection)
        except LaterVersion:
            raise
        except Exception as error:
            raise typed(error) from None
