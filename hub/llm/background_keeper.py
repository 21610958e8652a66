"""Says which answers made in the background this process looks after, and takes over what no process does, many at a time."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from hub.llm.background_rows import Row, Rows
from hub.refusal import Refusal
from hub.telemetry.logs import fields

log = logging.getLogger("hub.llm")

LEASE, EVERY = 6_000_000, 2.0
"""Microseconds until what its process says nothing of is taken over; seconds between the times that it says so, and that others look."""

TOGETHER = 500
"""That are taken over at a time: what is claimed has to be looked after within its lease."""

AT_ONCE = 8
"""Of these under way: each asks the ledger, and Redis where there is one, and calls are not to stand behind them."""

MOST_LEFT = 10_000
"""Rows that are remembered to be of a later version from one look to the next; beyond it all are looked at again."""


class Keeper:
    """`kept` are the calls whose rows this process looks after; `lost` is told which of them are there still, and how they ended; `adopt`
    takes one over. `alone`: there is no other process, so that nothing needs to be said, and to look once is enough."""

    def __init__(
        self,
        rows: Rows,
        kept: Callable[[], list[str]],
        lost: Callable[[dict[str, str], list[str]], None],
        adopt: Callable[[Row], Awaitable[object]],
        *,
        alone: bool,
    ) -> None:
        self._rows = rows
        self._kept = kept
        self._lost = lost
        self._adopt = adopt
        self._alone = alone
        self._tasks: list[asyncio.Task[None]] = []
        self._left: set[str] = set()
        """Calls whose rows are of a later version."""

    def start(self) -> None:
        work = [self._first()] if self._alone else [self._renewing(), self._claiming()]
        self._tasks = [asyncio.create_task(one, name="background-responses") for one in work]

    def resume(self) -> None:
        if self._tasks:
            for task in self._tasks:
                task.cancel()
            self.start()

    async def close(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def leave(self, row: Row) -> None:
        """It cannot be read: a process of a later version settles it."""
        if row.call in self._left:
            return
        self._left.add(row.call)
        log.warning("a background response is left to a later version of the hub, which it is of", extra=fields(response=row.response))

    async def _renewing(self) -> None:
        while True:
            with contextlib.suppress(Refusal):
                mine = self._kept()
                if mine:
                    self._lost(await self._rows.renew(mine, LEASE), mine)
            await asyncio.sleep(EVERY)

    async def _claiming(self) -> None:
        while True:
            with contextlib.suppress(Refusal):
                await self._take_over()
            await asyncio.sleep(EVERY)

    async def _first(self) -> None:
        """Whoever looked after them is no more."""
        while True:
            with contextlib.suppress(Refusal):
                await self._rows.free()
                await self._take_over()
                return
            await asyncio.sleep(EVERY)

    async def _take_over(self) -> None:
        """Raises `StoreDown`, when what is under way has come to its end."""
        if len(self._left) >= MOST_LEFT:  # not meanwhile: rows that are forgotten on the way would be found again without end
            self._left.clear()
        while True:
            rows = await self._rows.claim(LEASE, TOGETHER, self._left)
            turns = asyncio.Semaphore(AT_ONCE)
            found = await asyncio.gather(*(self._one(row, turns) for row in rows))
            if refusal := next((one for one in found if one is not None), None):
                raise refusal
            if len(rows) < TOGETHER:
                return

    async def _one(self, row: Row, turns: asyncio.Semaphore) -> Refusal | None:
        async with turns:
            try:
                await self._adopt(row)
                if row.call in self._left:
                    await self._rows.renew([row.call], 0)
            except Refusal as refusal:
                return refusal
            except Exception:
                log.exception("a background response could not be taken over", extra=fields(response=row.response))
        return None
