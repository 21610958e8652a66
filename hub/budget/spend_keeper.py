"""What keeps budgets in Redis true beside the path of calls: leases renewed, dead processes' calls ended, counts loaded, rows handed on."""

import asyncio
import contextlib
import logging
from asyncio import Task
from collections.abc import Callable, Sequence

import msgspec

from hub.budget.spend_redis import SpendRedis, Tally
from hub.budget.usage import Ask, Ledger, Sum, Usage, ask_for, slots
from hub.budget.window import Span
from hub.refusal import Refusal, StoreDown

logger = logging.getLogger(__name__)

AGAIN = 0.25
"""Seconds until what Redis could not be told is tried again."""

OLD = 3_000_000
"""Microseconds after which a row that is still in Redis is taken over by whoever sees it: its process may be dead."""

PATIENCE = 3.0
"""Seconds the ledger has for a sum."""

MOST_ROWS = 5000
_TOGETHER = 100
_REAPED = 200


class Keeper:
    """`records` are the calls under way: (call, what it set aside, what was sent)."""

    def __init__(self, spend: SpendRedis, store: Ledger, records: Callable[[], list[tuple[str, bytes, bytes]]]) -> None:
        self._spend = spend
        self._store = store
        self._records = records
        self._loading: dict[tuple[str, int], Task[None]] = {}
        self._adopting = asyncio.Lock()
        self._unwritten: dict[str, Usage] = {}
        self._task: Task[None] | None = None
        store.on_written(self._written)

    async def open(self) -> None:
        self._spend.run = await self._spend.began()
        self._task = asyncio.create_task(self._keep(), name="budgets")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def put(self, row: Usage) -> None:
        """A row that Redis keeps until the ledger has it."""
        self._unwritten[row.id] = row
        self._store.put(row, holds=False)

    def returned(self, whole: bool) -> None:
        """Redis is back. Where it is another run of it, or may have been, the counts of before are not what they were."""
        if not whole:
            self._spend.returned()

    async def adopt(self, run: str) -> None:
        """Another life of the counts has begun: set aside again what is under way here. Raises `StoreDown`."""
        async with self._adopting:
            if run == self._spend.run:
                return
            self._spend.run = run
            for row in self._unwritten.values():
                self._spend.keep(row)
            records = self._records()
            for at in range(0, len(records), _TOGETHER):
                await self._spend.restore(records[at : at + _TOGETHER])

    async def load(self, wanted: Sequence[tuple[Tally, int, int]]) -> None:
        """Have counts say what the ledger does: (count, the first row it counts itself, its window). Raises `StoreDown`."""
        for tally, first, window in wanted:
            at = (tally.key, first)
            task = self._loading.get(at)
            if task is None:
                task = self._loading[at] = asyncio.create_task(self._load(tally, first, window))
                task.add_done_callback(lambda done, at=at: self._loaded(at, done))
            await asyncio.shield(task)

    def _loaded(self, at: tuple[str, int], done: "Task[None]") -> None:
        self._loading.pop(at, None)
        if not done.cancelled():
            done.exception()

    async def _load(self, tally: Tally, first: int, window: int) -> None:
        """Rows still in Redis are looked at before the ledger is: what is gone from there by then is in the ledger."""
        run, rule = self._spend.run, tally.rule
        waiting = await self._spend.rows(MOST_ROWS)
        if waiting is None:
            raise StoreDown("what calls cost is being written", retry_after=1.0)
        end = window + rule.window.slot if rule.window.kind == "rolling" else window + 1
        ask = ask_for(rule, tally.org, tally.who, Span(window, end))
        ask = msgspec.structs.replace(ask, run=run, seq=first, but=tuple(row.id for row in waiting))
        try:
            async with asyncio.timeout(PATIENCE):
                sums = await self._store.sums(ask)
        except TimeoutError:
            raise StoreDown("what was spent cannot be read at the moment", retry_after=1.0) from None
        found = slots(rule, [*sums, *_of(waiting, ask)])
        await self._spend.load(tally, run, first, window, found)

    async def _keep(self) -> None:
        pause = min(2.0, self._spend.lease / 1_000_000 / 4)
        while True:
            await asyncio.sleep(pause)
            try:
                await self._once()
            except Refusal:
                continue
            except Exception:
                logger.exception("a part of keeping budgets failed")

    async def _once(self) -> None:
        calls = [call for call, _, _ in self._records()]
        for at in range(0, max(1, len(calls)), _TOGETHER):
            run = await self._spend.renew(calls[at : at + _TOGETHER])
            if run != self._spend.run:
                await self.adopt(run)
        while len(await self._spend.reap(_REAPED)) == _REAPED:
            continue
        await self._take_over()

    async def _take_over(self) -> None:
        """Rows of processes that died before they wrote them."""
        old = self._spend.now() - OLD
        for row in await self._spend.some_rows():
            if row.at < old and row.id not in self._unwritten:
                self.put(row)

    def _written(self, rows: Sequence[Usage]) -> None:
        calls = [row.id for row in rows if self._unwritten.pop(row.id, None) is not None]
        if calls:
            with contextlib.suppress(StoreDown):
                self._spend.written(calls)


def _of(rows: Sequence[Usage], ask: Ask) -> list[Sum]:
    """The same of rows that are not in the ledger yet."""
    found: list[Sum] = []
    for row in rows:
        mine = ask.scope in ("global", "org") or getattr(row, ask.scope) == ask.who
        if row.at >= ask.since and (not ask.org or row.org == ask.org) and mine and (row.run != ask.run or row.seq < ask.seq):
            slot = row.at - row.at % ask.slot if ask.slot else 0
            found.append(Sum(row.provider, row.model, slot, row.cost or 0, row.tokens.input, row.tokens.output, 1))
    return found
