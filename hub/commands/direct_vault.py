"""The vault in the hub's database, opened by a command: on SQLite of a hub that is stopped, on PostgreSQL also beside running ones."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from hub.audit.deed import Deed
from hub.capture.keeper import Keeper
from hub.change import Before
from hub.commands.direct import ACTOR, opened, say_so, secrets_of
from hub.commands.output import Failed
from hub.commands.place import connected, located, reading
from hub.config import stores
from hub.config.load import Loaded
from hub.routing.vault_admin import Change, VaultAdmin, shown, with_days
from hub.routing.vault_sqlite import all_rows
from hub.store.keks import Keks, keks
from hub.store.secrets import Secrets, UnusableSecret


async def set_value(config: Path | None, org: str, name: str, value: str, overlap: float) -> dict[str, Any]:
    return {"set": await _changed(config, lambda admin, before: admin.put(org, name, value, overlap, before))}


async def remove(config: Path | None, org: str, name: str) -> dict[str, Any]:
    return {"removed": await _changed(config, lambda admin, before: admin.remove(org, name, before))}


async def rotate(config: Path | None) -> dict[str, Any]:
    """As `POST /admin/v1/vault/rotate` answers."""
    loaded = located(config)
    wrapping = _keks(secrets_of(loaded), loaded)
    async with opened(config) as (rooms, journal):
        admin = VaultAdmin(rooms.vault, wrapping)
        async with Deed(journal, ACTOR) as deed:
            await deed.begin(await admin.rotation())
            days = await Keeper(rooms.contents, wrapping).rotate()
            made = with_days(await admin.rotate(), days)
            await deed.done(made.record)
        await say_so(loaded)
    return {"rotated": made.shown}


async def listed(config: Path | None, org: str | None) -> dict[str, Any]:
    """As `GET /admin/v1/vault` answers."""
    loaded = located(config)
    found = _keks(secrets_of(loaded), loaded)
    at = stores.database(loaded.config.stores.database)
    if isinstance(at, stores.SqliteFile):
        with reading(at) as connection:
            rows = all_rows(connection)[1]
    else:
        from hub.routing.vault_postgres import PostgresVault

        async with connected(at) as postgres:
            rows = (await PostgresVault(postgres).all())[1]
    return {"secrets": msgspec.to_builtins(shown(rows, found, org))}


async def _changed(config: Path | None, change: Callable[[VaultAdmin, Before], Awaitable[Change]]) -> dict[str, Any]:
    """Make a change, recorded in the journal."""
    loaded = located(config)
    async with opened(config) as (rooms, journal):
        async with Deed(journal, ACTOR) as deed:
            made = await change(VaultAdmin(rooms.vault, _keks(secrets_of(loaded), loaded)), deed.begin)
            await deed.done(made.record)
        await say_so(loaded)
    return made.shown


def _keks(secrets: Secrets, loaded: Loaded) -> Keks:
    try:
        return keks(secrets, loaded.config.secrets.vault)
    except UnusableSecret as error:
        raise Failed(str(error)) from None
