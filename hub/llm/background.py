"""Answers that providers make in the background: looked after until they are there, so that each is paid as it was used, once.

What a call set aside stays so until its answer is seen to be complete: by its client, who asks for it, or by this room, which asks the
provider from time to time. One that is never seen complete is spent at what was set aside.

Each has a row in the database (`hub.llm.background_rows`), so that any process of the hub can settle it: who deletes the row does. The
process that took the call looks after it, and says so again and again; one that stops hands it on, and what nobody looks after another
process takes over, or the same one when it is started again.
"""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar, cast

import orjson
from msgspec import Struct

from hub.budget.budgets import Budgets
from hub.call import Caller, Target, Tokens
from hub.llm.announced import OVER, announced
from hub.llm.background_rows import Row, Rows
from hub.llm.due import Due, again
from hub.llm.needs import BYTES_A_TOKEN
from hub.llm.providers import Place
from hub.llm.relay import usage_of
from hub.refusal import Refusal
from hub.routing.provider import Attempt
from hub.telemetry.logs import fields

log = logging.getLogger("hub.llm")
T = TypeVar("T")

FIRST, SLOWER, LAST = 2.0, 1.5, 30.0
"""Seconds until the provider is asked first; by how much longer each time; and at most."""

LONGEST = 24 * 3600.0
"""Seconds until an answer is given up."""

PATIENCE = 60.0
"""Seconds for one look."""

AT_ONCE = 4
"""Looks at one provider under way: however many answers are waited for, or taken over at once, calls do not stand behind them."""

LEASE, EVERY = 6.0, 2.0
"""Seconds until what its process says nothing of is taken over; and between the times that it says so, and that others look."""

_LEASE = round(LEASE * 1_000_000)


class _Waiting(Struct, eq=False):
    """An answer this process waits for. `doubt`: it is not sure that its row is there."""

    row: Row
    due: Due
    doubt: bool
    ending: bool = False
    task: "asyncio.Task[None] | None" = None


class Background:
    """Of one process: of the calls it took itself, and those it took over. `alone`: there is no other beside it."""

    def __init__(self, places: Callable[[], Mapping[str, Place]], rows: Rows, budgets: Budgets, *, alone: bool) -> None:
        self._places = places
        self._rows = rows
        self._budgets = budgets
        self._alone = alone
        self._waiting: dict[str, _Waiting] = {}
        self._adopting: dict[str, asyncio.Task[_Waiting | None]] = {}
        self._turns: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))
        """By provider."""
        self._keeper: asyncio.Task[None] | None = None
        self._doing: set[asyncio.Task[Any]] = set()
        """What goes on to its end whoever waits for it."""

    async def waiting(self) -> list[str]:
        """The calls whose answers are still being made: their reservations are not to be ended at the start. Raises `StoreDown`."""
        return await self._rows.calls()

    def start(self) -> None:
        self._keeper = asyncio.create_task(self._keep(), name="background-responses")

    def resume(self) -> None:
        """Another process may have taken calls in the place of this one, and be gone: look again at what nobody looks after."""
        if self._keeper is not None:
            self._keeper.cancel()
            self.start()

    def tend(self, caller: Caller, response: str, target: Target, due: Due) -> Awaitable[None]:
        """The call has ended, and its answer is still being made. When what is returned is done, other processes can settle it too, if
        the database answers; nobody need wait for it."""
        for one in self._named(caller.org, caller.subject, response):  # nobody can see any more what the first one used
            self._do(self._end(one, None, "unknown", None))
        at = time.time_ns() // 1000
        row = Row(due.held.id, caller.org, caller.subject, response, target.upstream, target.name, at, due.kept())
        one = self._waiting[row.call] = _Waiting(row, due, doubt=True)
        one.task = asyncio.create_task(self._tend(one, FIRST), name="background-response")
        return asyncio.shield(self._do(self._write(one)))

    async def seen(self, caller: Caller, response: str, body: bytes) -> dict[str, Any] | None:
        """The provider answered with the response. Where that is what its call waits for, it is settled: what is on record of it."""
        said = announced(body)
        if said is None or said.status not in OVER:
            return None
        found = await self._find(caller, response, elsewhere=said.background)
        return None if found is None else await self._seen(found, body)

    async def told(self, caller: Caller, response: str, tokens: Tokens | None) -> dict[str, Any] | None:
        """The same of a stream that came to its end."""
        found = None if tokens is None else await self._find(caller, response)
        return None if found is None else await self._end(found, tokens, "ok", None)

    async def look(self, caller: Caller, response: str) -> None:
        """Ask the provider now, if anybody waits for it: it is about to be deleted."""
        found = await self._find(caller, response)
        if found is not None:
            await self._look(found)

    async def gone(self, caller: Caller, response: str) -> dict[str, Any] | None:
        """It was deleted, and nobody can see any more what it used."""
        found = await self._find(caller, response)
        return None if found is None else await self._end(found, None, "unknown", None)

    async def close(self) -> None:
        """Hand on what this process waits for. What nobody could settle is spent at what it cost at least."""
        keeper, self._keeper = self._keeper, None
        tasks = [keeper, *self._adopting.values(), *(one.task for one in self._waiting.values())]
        running = [task for task in tasks if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, *self._doing, return_exceptions=True)
        for one in self._waiting.values():
            if one.doubt:
                one.due.close()
        left = [call for call, one in self._waiting.items() if not one.doubt]
        self._waiting.clear()
        if left:
            await self._rows.renew(left, 0)

    # What this process waits for

    def _named(self, org: str, subject: str, response: str) -> list[_Waiting]:
        whose = (org, subject, response)
        return [one for one in self._waiting.values() if (one.row.org, one.row.subject, one.row.response) == whose]

    async def _find(self, caller: Caller, response: str, *, elsewhere: bool = True) -> _Waiting | None:
        """Who waits for a response, here or in another process, which it is then taken over from."""
        here = self._named(caller.org, caller.subject, response)
        if here or not elsewhere:
            return here[-1] if here else None
        try:
            found = [await self._adopt(row, FIRST) for row in await self._rows.find(caller.org, caller.subject, response)]
        except Refusal:
            return None  # the process that waits for it finds out by itself
        return next((one for one in found if one is not None), None)

    async def _write(self, one: _Waiting) -> None:
        """Have other processes know of it. What fails is tried again when the provider is next asked."""
        try:
            await self._rows.put(one.row, _LEASE)
            one.due.held.outlive()
            one.doubt = False
        except Refusal:
            log.warning("other processes cannot know of a background response yet", extra=fields(response=one.row.response))

    async def _tend(self, one: _Waiting, pause: float) -> None:
        until = one.row.at / 1e6 + LONGEST
        while one.row.call in self._waiting:
            await asyncio.sleep(pause)
            pause = min(max(FIRST, pause * SLOWER), LAST)
            if time.time() > until:
                await self._end(one, None, "unknown", None)
                continue
            if one.doubt:
                await self._write(one)
            async with self._turns[one.row.provider]:
                await self._look(one)

    async def _look(self, one: _Waiting) -> None:
        """What cannot be seen now is looked for again."""
        target, response = one.row.target, one.row.response
        place = self._places().get(target.upstream)
        if place is None:
            return
        until = time.monotonic() + PATIENCE
        try:
            async with Attempt(place.provider, f"/responses/{response}", b"", b"", bearer=True, deadline=until, method="GET") as attempt:
                status, body = attempt.response.status, attempt.body
        except Refusal:
            return
        except Exception:
            log.exception("a background response could not be looked for", extra=fields(response=response))
            return
        if status == 200:
            await self._seen(one, body)
        elif status == 404:
            await self._end(one, None, "unknown", None)

    async def _seen(self, one: _Waiting, body: bytes) -> dict[str, Any] | None:
        said = announced(body)
        if said is None or said.status not in OVER:
            return None
        tokens = usage_of(body, "responses")
        return await self._end(one, tokens, "ok" if said.status in ("completed", "incomplete") else "error", _said(body))

    async def _end(self, one: _Waiting, tokens: Tokens | None, status: str, said: int | None) -> dict[str, Any] | None:
        """Settle it, unless another process has, or is about to: what is on record of it. Where the database is away it goes on waiting."""
        if one.ending or one.row.call not in self._waiting:
            return None
        one.ending = True
        return await asyncio.shield(self._do(self._ended(one, tokens, status, said)))

    async def _ended(self, one: _Waiting, tokens: Tokens | None, status: str, said: int | None) -> dict[str, Any] | None:
        try:
            mine = await self._rows.take(one.row.call) or one.doubt
        except Refusal:
            one.ending, one.doubt = False, True  # it may be gone by now
            return None
        self._let_go(one)
        if mine:
            return one.due.settle(tokens, status, said)
        one.due.held.hand_over()
        return None

    def _let_go(self, one: _Waiting) -> None:
        self._waiting.pop(one.row.call, None)
        if one.task is not None:
            one.task.cancel()

    def _do(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._doing.add(task)
        task.add_done_callback(self._doing.discard)
        return task

    # What other processes wait for, or did

    async def _adopt(self, row: Row, pause: float = 0.0) -> _Waiting | None:
        """Wait for it here. None where it is settled. Raises `StoreDown`."""
        here = self._waiting.get(row.call)
        if here is not None:
            return here
        task = self._adopting.get(row.call)
        if task is None:
            task = self._adopting[row.call] = asyncio.create_task(self._adopted(row, pause))
            task.add_done_callback(lambda _: self._adopting.pop(row.call, None))
        return await asyncio.shield(task)

    async def _adopted(self, row: Row, pause: float) -> _Waiting | None:
        due = await again(self._budgets, row.body)
        if due is None:
            await self._rows.take(row.call)
            return None
        one = self._waiting[row.call] = _Waiting(row, due, doubt=False)
        one.task = asyncio.create_task(self._tend(one, pause), name="background-response")
        return one

    async def _keep(self) -> None:
        """Say what is looked after here, and take over what nobody does. Who is alone has to look once."""
        while True:
            with contextlib.suppress(Refusal):
                mine = [call for call, one in self._waiting.items() if not one.doubt]
                self._lost(mine, await self._rows.renew(mine, _LEASE) if mine else [])
                for row in await self._rows.claim(_LEASE, every=self._alone):
                    await self._take_over(row)
                if self._alone:
                    return
            await asyncio.sleep(EVERY)

    def _lost(self, mine: list[str], there: list[str]) -> None:
        """Let go what other processes have settled meanwhile."""
        for call in set(mine).difference(there):
            one = self._waiting.get(call)
            if one is not None and not one.ending and not one.doubt:
                self._let_go(one)
                one.due.held.hand_over()

    async def _take_over(self, row: Row) -> None:
        try:
            await self._adopt(row)
        except Refusal:
            raise
        except Exception:
            log.exception("a background response could not be taken over", extra=fields(response=row.response))


def _said(body: bytes) -> int | None:
    """Tokens that the output of a response is taken for: its texts and arguments. None where it cannot be read."""
    size = 0
    try:
        items: list[Any] = list(cast("dict[str, Any]", orjson.loads(body)).get("output") or [])
    except orjson.JSONDecodeError:  # what `announced` skips unread need not be JSON, or UTF-8
        return None
    while items:
        item = items.pop()
        if not isinstance(item, dict):
            continue
        members = cast("dict[str, Any]", item)
        size += sum(len(value.encode()) for name in ("text", "arguments", "refusal") if isinstance(value := members.get(name), str))
        for name in ("content", "summary"):
            if isinstance(more := members.get(name), list):
                items += cast("list[Any]", more)
    return -(-size // BYTES_A_TOKEN)
