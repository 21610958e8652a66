"""Epochs: a number for each organisation, and for what is the hub's own, that grows with every change, in the same transaction.

Whoever polls them sees that something has changed and asks what. Each medium's statement stands here, as several rooms bump them.
"""

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hub.store.postgres_link import Connection

VAULT = ":vault"
"""The epoch of all that the vault holds. No organisation can have this name."""

BUDGETS = ":budgets"
"""The epoch of overrides of budgets."""

_SQLITE = "INSERT INTO epoch (org, value) VALUES (?, 1) ON CONFLICT (org) DO UPDATE SET value = value + 1 RETURNING value"
_POSTGRES = """
INSERT INTO epoch (org, value) VALUES ($1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
ON CONFLICT (org) DO UPDATE SET value = GREATEST(epoch.value + 1, excluded.value) RETURNING value
"""


def bump_sqlite(connection: sqlite3.Connection, org: str) -> int:
    return int(connection.execute(_SQLITE, (org,)).fetchone()[0])


async def bump_postgres(connection: "Connection", org: str) -> int:
    """The clock takes part so that an epoch that was lost with a server is not given again to something else."""
    return await connection.fetchval(_POSTGRES, org)
