"""Which lives of processes are over, as far as PostgreSQL can tell: their advisory locks are free. Knows not what is done about it.

A process that lives on may be without its lock for a moment, where its connection broke or the server was started anew. So a lock must
be seen free for a while; only a hub that starts on a server that is up for long looks but once. Who is wrongly taken for dead does no harm
by it: its life is ended in the database first, and whatever it commits from then on is refused.
"""

import time

from hub.audit import rows_postgres as rows
from hub.store.postgres import Postgres

GRACE = 3.0
"""Seconds: a living process has its lock again before, once the server answers."""


def lock_key(boot: str) -> int:
    """The advisory lock of a boot: its 64 bits, signed."""
    return int.from_bytes(bytes.fromhex(boot), "big", signed=True)


class Graves:
    """What this process has seen of the others."""

    def __init__(self, store: Postgres, grace: float) -> None:
        self._store = store
        self._grace = grace
        self._free_since: dict[str, float] = {}
        self._first = True

    async def ended(self, mine: str) -> bool:
        """Whether another took us for dead. Raises `StoreDown`."""
        return await self._store.read(lambda connection: rows.ended(connection, mine))

    async def dead(self, mine: str) -> list[str]:
        """Boots that are over and may have left intents open; never `mine`. Raises `StoreDown`."""
        try:
            boots, held, up = await self._store.read(lambda connection: rows.unsettled(connection, mine))
        except Exception:
            self._free_since.clear()  # others may have had the same trouble: what was seen before it says nothing
            raise
        now = time.monotonic()
        self._free_since = {boot: self._free_since.get(boot, now) for boot in boots if lock_key(boot) not in held}
        at_once = self._first and up > self._grace
        self._first = False
        return [boot for boot, since in self._free_since.items() if at_once or now - since >= self._grace]
