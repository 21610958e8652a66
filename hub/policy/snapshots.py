"""Keeps policy snapshots by their hash, so that a record's `policy_set` can be looked up for as long as the record is kept."""

from asyncio import Future
from hashlib import sha256
from sqlite3 import Connection
from typing import Any

from hub.call import timestamp
from hub.policy.decide import Policy
from hub.policy.source import PolicyInvalid
from hub.store.sqlite import Database


def save_snapshot(database: Database, policy: Policy) -> Future[None]:
    """Queue the snapshot for writing; durable when the future ends, and before anything queued later. Once per hash, harmless again."""
    row = (policy.hash, policy.snapshot(), timestamp())

    def insert(connection: Connection) -> None:
        connection.execute("INSERT INTO policy_sets (hash, body, first_seen) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", row)

    return database.write(insert)


async def load_snapshot(database: Database, policy_set: str) -> Policy | None:
    """The policy a record names, or None where it was never kept. Raises `PolicyInvalid` where what was kept is not what it was."""

    def select(connection: Connection) -> Any:
        return connection.execute("SELECT body FROM policy_sets WHERE hash = ?", (policy_set,)).fetchone()

    row = await database.read(select)
    if row is None:
        return None
    if f"sha256:{sha256(row[0]).hexdigest()}" != policy_set:
        raise PolicyInvalid([f"the snapshot kept under {policy_set} has another hash: the database was changed"])
    return Policy.from_snapshot(row[0])
