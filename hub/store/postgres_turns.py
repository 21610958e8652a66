"""Changes of one kind that PostgreSQL makes one at a time, whichever process asks.

They are rare, and names, epochs and first starts then need no further care. A commit whose answer was lost is looked up before anything is
said of it.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from hub.store.base import Ambiguous
from hub.store.postgres import Postgres
from hub.store.postgres_link import Connection

T = TypeVar("T")
Run = Callable[[Connection], Awaitable[T]]


class Turns:
    """The turns of one kind of change, whose advisory lock is (`space`, `number`).

    Pairs of numbers are apart from all other locks: (1, …) is identity's, (2, …) routing's, (3, …) that of budgets, (4, …) of the ledger.
    """

    def __init__(self, postgres: Postgres, space: int, number: int) -> None:
        self._postgres = postgres
        self._lock = f"SELECT pg_advisory_xact_lock({space:d}, {number:d})"

    async def change(self, change: Run[T], look_up: "Run[T | None]", org: str = "*") -> T:
        """Make a change; where the answer to its commit was lost, `look_up` says what it did, or None where it did nothing."""
        try:
            return await self._alone(change, org)
        except Ambiguous:
            done = await self._alone(look_up, org)
            if done is None:
                raise
            return done

    async def _alone(self, run: Run[T], org: str) -> T:
        """Run it with no other change under way: also none whose commit was sent and not answered."""

        async def alone(connection: Connection) -> T:
            await connection.execute(self._lock)
            return await run(connection)

        return await self._postgres.write(alone, org=org)
