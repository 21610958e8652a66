"""Keeps policy snapshots by their hash, so that a record's `policy_set` can be looked up for as long as the record is kept.

Each medium has a file of its own beside this one.
"""

from hashlib import sha256
from typing import Protocol

from hub.policy.decide import Policy
from hub.policy.source import PolicyInvalid


class Snapshots(Protocol):
    """A store of policy snapshots. Every method raises `StoreDown`."""

    async def save(self, policy: Policy) -> None:
        """Keep the snapshot, durably when this returns. Once per hash; harmless again."""
        ...

    async def body(self, policy_set: str) -> bytes | None:
        """What is kept under this hash."""
        ...


def kept(policy_set: str, body: bytes | None) -> Policy | None:
    """The policy a record names, or None where it was never kept. Raises `PolicyInvalid` where what was kept is not what it was."""
    if body is None:
        return None
    if f"sha256:{sha256(body).hexdigest()}" != policy_set:
        raise PolicyInvalid([f"the snapshot kept under {policy_set} has another hash: the database was changed"])
    return Policy.from_snapshot(body)
