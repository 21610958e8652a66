"""`hub check`: everything that is wrong with a configuration, before a hub runs it."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.commands.options import Json
from hub.commands.output import Failed, emit, note

if TYPE_CHECKING:
    from hub.config.load import Loaded
    from hub.config.stores import PostgresDatabase
    from hub.config.values import Address
    from hub.rehearsal import Findings


def check(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The hub.yaml to check.", show_default=False)],
    connect: Annotated[
        bool,
        typer.Option(
            "--connect",
            help="Also ask PostgreSQL and Redis, start the upstreams, and compile virtual servers and policies on what they offer.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Report every problem of a configuration with its line.

    Example: hub check hub.yaml --connect
    """
    from hub.config.load import ConfigError, load

    try:
        loaded = load(config)
    except ConfigError as error:
        problems = [{"line": one.line, "column": one.column, "path": one.path, "message": one.message} for one in error.problems]
        _refuse(config, problems, error.lines(), as_json)
        raise typer.Exit(1) from None
    sentences, hints = _deeper(loaded), list[str]()
    if connect and not sentences:
        found = asyncio.run(_connected(loaded))
        sentences, hints = [*asyncio.run(_stored(loaded)), *found.errors], found.warnings
    if sentences:
        problems = [{"line": 0, "column": 0, "path": "", "message": sentence} for sentence in sentences]
        _refuse(config, problems, [f"{config}: {sentence}" for sentence in sentences], as_json)
        raise typer.Exit(1)
    hints += _money(config, loaded, connect=connect)
    warnings = [*(f"{config}:{warning}" for warning in loaded.warnings), *(f"{config}: {hint}" for hint in hints)]
    for warning in warnings:
        note(f"warning: {warning}")
    parts = loaded.config
    counts = {"upstreams": len(parts.upstreams), "virtual_servers": len(parts.virtual_servers), "keys": len(parts.keys)}
    told = ", ".join(f"{name.replace('_', ' ')}: {count}" for name, count in counts.items())
    emit({"ok": True, **counts, "hash": loaded.hash, "problems": [], "warnings": warnings}, f"{config} is good ({told})", as_json)


def _refuse(config: Path, problems: list[dict[str, Any]], lines: list[str], as_json: bool) -> None:
    for line in lines:
        note(line)
    if as_json:
        emit({"ok": False, "config": str(config), "problems": problems}, "", as_json)


def _deeper(loaded: "Loaded") -> list[str]:
    """What needs the parts' own knowledge: checksums of declared keys, and Cedar's view of the policies."""
    from hub.identity.admin import declared
    from hub.policy.decide import Places, Policy, PolicyInvalid

    sentences: list[str] = []
    try:
        declared(loaded.config.declared)
    except ValueError as error:
        sentences.append(str(error))
    try:
        Policy.compile(loaded.config.policies, loaded.base, [], Places.of(loaded.config), loaded.config.upstreams)
    except PolicyInvalid as error:
        sentences += error.messages
    return sentences


def _money(file: Path, loaded: "Loaded", *, connect: bool) -> list[str]:
    """Models whose price nobody knows, and keys that the vault does not have."""
    from hub.commands.check_money import unkept, unpriced

    found = list(unpriced(file, loaded.config, connect=connect)) if loaded.config.models else []
    return found + asyncio.run(unkept(file, loaded.config, connect=connect))


async def _stored(loaded: "Loaded") -> list[str]:
    """What would keep a hub from its stores. Changes nothing there."""
    from hub.config import stores

    given = loaded.config.stores
    at = stores.database(given.database)
    if isinstance(at, stores.SqliteFile):
        return []
    return [*await _database(at), *(await _redis(given.redis) if given.redis.url else [])]


async def _database(at: "PostgresDatabase") -> list[str]:
    from hub.commands.place import bare
    from hub.refusal import StoreDown
    from hub.store.postgres import LaterVersion, applied, migrations

    try:
        async with bare(at) as connection:
            later = await applied(connection) > migrations()[-1][0]
    except StoreDown as down:
        return [f"stores.database: {at.address} cannot be used: {down.detail}"]
    return [f"stores.database: {LaterVersion()}"] if later else []


async def _redis(address: "Address") -> list[str]:
    from hub.refusal import StoreDown
    from hub.store.redis import Redis

    try:
        redis = Redis(address.url)
        await redis.open()
    except StoreDown as down:
        return [f"stores.redis: {address} cannot be used: {down.detail}"]
    except OSError as error:
        return [f"stores.redis: its certificates cannot be read: {error.strerror or error}"]
    await redis.close()
    return []


async def _connected(loaded: "Loaded") -> "Findings":
    from hub.app import dry_run

    try:
        return await dry_run(loaded)
    except OSError as error:
        raise Failed(f"the upstreams could not be started: {error.strerror or error}") from None
