"""Adds the usage ledger up by the hour, beside the path of calls: hours that are over, those that rows came late to, and those of a ledger
that was there before, the newest first. It may be stopped, or die, at any point: what is not kept does not count, and is made again.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from hub.budget.usage_ask import Question
from hub.budget.usage_hours import BOUNDS, FIRST, UNMADE, Hour, Hours
from hub.budget.usage_read import Reader, totals
from hub.budget.usage_sql import BY_HOUR, HOUR
from hub.refusal import InvalidRequest, Refusal

logger = logging.getLogger(__name__)

QUIET = 60_000_000
"""Microseconds after its end from which an hour is made: few rows come later."""

FEW = 500
"""Groups that an hour may have however few calls it had; with more, and less than two calls to each, its rows are as soon read."""

TOGETHER = 24
"""Hours that are begun at a time."""

MOST = (1 << 63) - 1
"""What either store holds; an hour with a larger sum is read row by row."""

AGAIN = 20.0
"""Seconds between looks for something to do."""


def _now() -> int:
    return time.time_ns() // 1000


class Roller:
    """`wall` is microseconds since 1970, `again` in seconds."""

    def __init__(self, reader: Reader, hours: Hours, *, wall: Callable[[], int] = _now, again: float = AGAIN) -> None:
        self._reader = reader
        self._hours = hours
        self._wall = wall
        self._again = again
        self._single = False
        """Whether hours are added up one by one: several together had too many groups once."""
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._task = asyncio.create_task(self._work(), name="usage-hours")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def once(self) -> bool:
        """Make the next hours; False where there are none. Raises `StoreDown`."""
        wanted = await self._next()
        if not wanted:
            return False
        turns = await self._hours.begin(wanted)
        together = not self._single and wanted[-1] - wanted[0] == (len(wanted) - 1) * HOUR
        for hours in [wanted] if together else [[hour] for hour in wanted]:
            await self._make(hours, turns)
        return True

    async def _work(self) -> None:
        while True:
            busy, began = False, time.monotonic()
            try:
                busy = await self._hours.lead() and await self.once()
            except Refusal:  # the store is away
                pass
            except Exception:  # whatever it was: hours would not be made any more
                logger.exception("the hours of the usage ledger could not be made")
            await asyncio.sleep(max(0.05, time.monotonic() - began) if busy else self._again)  # half of the time at most

    async def _next(self) -> list[int]:
        """Hours to be made, in order."""
        unmade = [int(hour) for (hour,) in await self._reader.select(UNMADE, None)]
        if unmade:
            return sorted(unmade)
        first = (await self._reader.select(FIRST, None))[0][0]
        if first is None:
            return []
        oldest, end = _hour(int(first)), _hour(self._wall() - QUIET)
        low, high = (await self._reader.select(BOUNDS, None))[0]
        if low is None:
            return list(range(max(oldest, end - TOGETHER * HOUR), end, HOUR))
        if int(high) + HOUR < end:
            return list(range(int(high) + HOUR, min(end, int(high) + (1 + TOGETHER) * HOUR), HOUR))
        return list(range(max(oldest, int(low) - TOGETHER * HOUR), int(low), HOUR))

    async def _make(self, hours: list[int], turns: dict[int, int]) -> None:
        question = Question(since=hours[0], until=hours[-1] + HOUR)
        rows: dict[int, list[list[str | int]]] = {hour: [] for hour in hours}
        calls = dict.fromkeys(hours, 0)
        try:
            for one in await totals(self._reader, question, ("hour", *BY_HOUR), hours=False):
                hour, *group = one.group
                rows[int(hour)].append([*group, one.calls, one.cost, *one.tokens])
                calls[int(hour)] += one.calls
        except InvalidRequest:  # too many groups
            if len(hours) > 1:
                self._single = True
                for hour in hours:
                    await self._make([hour], turns)
                return
            await self._hours.keep(Hour(hours[0], turns[hours[0]], None))
            return
        for hour in hours:
            made = rows[hour]
            worth = len(made) <= FEW or 2 * len(made) <= calls[hour]
            fits = all(one <= MOST for row in made for one in row if isinstance(one, int))
            await self._hours.keep(Hour(hour, turns[hour], made if worth and fits else None))


def _hour(at: int) -> int:
    return at - at % HOUR
