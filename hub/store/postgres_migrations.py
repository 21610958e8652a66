"""The numbered migrations of a PostgreSQL database: forward only, each in one transaction, by one process at a time."""

import asyncio
import time
from importlib import resources
from typing import Any

import asyncpg

from hub.store.base import LaterVersion
from hub.store.postgres_link import Connection, quoted

LOCK = 0x68756200  # "hub", then a number
"""The advisory lock under which migrations are applied."""

PATIENCE = 600.0
"""Seconds that a migration may take, and that another process waits for it, or all of them for who reads what they change."""

LOCKS, PAUSE = 1000, 2.0
"""Milliseconds that a step waits for a lock at a time, and seconds until it tries again: whoever comes to a table that it waits for, behind
an export or a dump, stands behind it, and so would the calls of hubs that serve."""

_TABLE = """
CREATE TABLE IF NOT EXISTS hub_migration (
  number  integer PRIMARY KEY,
  name    text NOT NULL,
  applied timestamptz NOT NULL DEFAULT now()
)"""


def migrations() -> list[tuple[int, str, str]]:
    """(number, name, SQL) of every migration, in order."""
    folder = resources.files("hub.store") / "migrations" / "postgres"
    return sorted((int(f.name.split("_")[0]), f.name, f.read_text()) for f in folder.iterdir() if f.name.endswith(".sql"))


async def applied(connection: Connection) -> int:
    """The number of the last migration this database has; 0 where it has none."""
    if not await connection.fetchval("SELECT count(*) FROM pg_class WHERE relname = 'hub_migration' AND pg_table_is_visible(oid)"):
        return 0  # `to_regclass` could answer from what the session remembers of before
    return int(await connection.fetchval("SELECT coalesce(max(number), 0) FROM hub_migration"))


async def migrate(connection: Connection) -> list[str]:
    """Apply what is missing; the names of what was applied here. Raises `LaterVersion`, and what asyncpg raises."""
    found, done = migrations(), list[str]()
    if await applied(connection) == found[-1][0]:
        return done
    until = time.monotonic() + PATIENCE
    while True:
        try:
            await _migrated(connection, found, done)
        except asyncpg.LockNotAvailableError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(PAUSE)
        else:
            return done


async def _migrated(connection: Connection, found: list[tuple[int, str, str]], done: list[str]) -> None:
    for number, name, sql in found:
        await _in_turn(connection)
        try:
            last = await applied(connection)
            if last > found[-1][0]:
                raise LaterVersion
            if last < number:
                await connection.execute(_step(number, name, sql), timeout=PATIENCE)
            await connection.execute("COMMIT", timeout=PATIENCE)
            if last < number:
                done.append(name)
        except Exception:
            if not connection.is_closed():
                await connection.execute("ROLLBACK")
            raise


async def _in_turn(connection: Connection) -> None:
    """Begin a transaction that no other migrating one runs beside."""
    begin: list[Any] = [
        "BEGIN",
        "SET LOCAL lock_timeout = 0",
        "SET LOCAL idle_in_transaction_session_timeout = 0",
        f"SELECT pg_advisory_xact_lock({LOCK})",
        f"SET LOCAL lock_timeout = {LOCKS}",
        "SELECT set_config('hub.org', '*', true)",
    ]
    await connection.execute("; ".join(begin), timeout=PATIENCE)


def _step(number: int, name: str, sql: str) -> str:
    return f"{_TABLE};\n{sql}\n;INSERT INTO hub_migration (number, name) VALUES ({number}, {quoted(name)})"  # noqa: S608 (a file's name)
