"""A hub's place on a PostgreSQL database: alone there without Redis, one of any number with it.

Which of both holds is what an advisory lock of the database says: taken alone, or shared by all who have Redis. Without it nobody is let
in: what is counted in the memory of one process would be counted in two.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from hub.refusal import StoreDown
from hub.store.base import Locked
from hub.store.postgres import Postgres

log = logging.getLogger("hub")

KEY = 0x68756210
"""The advisory lock: "hub", then a number."""

LOOK = 0.1
"""Seconds between looks at whether the lock is still ours; while it is not, it is sought all the time (`hub.store.postgres_locks`)."""


class Seat:
    """`take` it once; from then on `lost` is called when it is lost and `back` when it is there again, until that succeeds."""

    def __init__(self, postgres: Postgres, *, alone: bool) -> None:
        self._postgres = postgres
        self._alone = alone
        self._task: asyncio.Task[None] | None = None
        self._taken = False

    async def take(self, lost: Callable[[], None], back: Callable[[], Awaitable[None]]) -> None:
        """Raises `Locked` with a sentence where others are in the way, `StoreDown`."""
        if not await self._postgres.hold(KEY, shared=not self._alone):
            raise Locked(
                "another hub serves from this database: without `stores.redis` only one can, and every one of several needs it"
                if self._alone
                else "a hub without `stores.redis` serves from this database: stop it, or give every hub the same Redis"
            )
        self._taken = True
        self._task = asyncio.create_task(self._keep(lost, back), name="seat")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep(self, lost: Callable[[], None], back: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(LOOK)
            held = self._postgres.holds(KEY)
            if self._taken and not held:
                self._taken = False
                lost()
                log.error("the lock on the database was lost: no call is taken until this hub has it again")
            elif held and not self._taken:
                try:
                    await back()
                except Exception as error:  # not yet, then: at the next look, and nobody is let in until it succeeds
                    lost()
                    if not isinstance(error, StoreDown):
                        log.exception("the place on the database could not be taken again")
                    continue
                self._taken = True
                log.warning("the lock on the database is held again")
