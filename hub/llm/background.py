"""Answers that providers make in the background: looked after until they are there, so that each is paid as it was used, once.

What a call set aside stays so until its answer is seen to be complete: by its client, who asks for it, or by this room, which asks the
provider from time to time. One that is never seen complete is spent at what was set aside.

Each has a row in the database (`hub.llm.background_rows`), so that any process of the hub can settle it, whenever another dies::

    put ─► end ─► settle ─► lasting ─► drop
           how it ended is written once; who wrote it settles it, and the row goes when the ledger has it

The process that took the call looks after it, and says so again and again; one that stops hands it on, and what nobody looks after another
process takes over, or the same one when it is started again.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from msgspec import MsgspecError, Struct
from msgspec.structs import replace

from hub.budget.budgets import Budgets
from hub.call import Caller, Target, Tokens
from hub.entropy import take
from hub.llm.announced import announced
from hub.llm.background_ended import LOST, Ended, ended, read
from hub.llm.background_keeper import EVERY, LEASE, Keeper
from hub.llm.background_rows import Row, Rows
from hub.llm.due import Due, again
from hub.llm.providers import Place
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

STOPPING = 3.0
"""Seconds that what is being settled has, where the process is about to stop, until it is left to another."""


class _Waiting(Struct, eq=False):
    """An answer this process waits for. `doubt`: it is not sure that its row is there. `ending`: how it ended is being written, or is."""

    row: Row
    due: Due
    by: str
    doubt: bool
    ending: bool = False
    task: "asyncio.Task[None] | None" = None
    last: "asyncio.Task[None] | None" = None
    """Sees to it that it stays settled."""


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
        self._dropping = asyncio.Semaphore(AT_ONCE)
        self._keeper = Keeper(rows, self._kept, self._lost, self._adopt, alone=alone)
        self._doing: set[asyncio.Task[Any]] = set()
        """What goes on to its end whoever waits for it."""

    async def waiting(self) -> list[str]:
        """The calls whose answers are still being made: their reservations are not to be ended at the start. Raises `StoreDown`."""
        return await self._rows.calls()

    def start(self) -> None:
        self._keeper.start()

    def resume(self) -> None:
        """Another process may have taken calls in the place of this one, and be gone: look again at what nobody looks after."""
        self._keeper.resume()

    def tend(self, caller: Caller, response: str, target: Target, due: Due) -> Awaitable[None]:
        """The call has ended, and its answer is still being made. When what is returned is done, other processes can settle it too, if
        the database answers; nobody need wait for it."""
        one = self._waiting.get(due.held.id)
        if one is not None:  # it was streaming
            written = self._do(self._write(one))
        elif due.held.ended:  # and was settled meanwhile
            return _nothing()
        else:
            one, written = self._begun(caller, response, target, due)
        if one.task is None and one.last is None:  # also while it is written how it ended: that may come to nothing
            one.task = asyncio.create_task(self._tend(one, FIRST), name="background-response")
        return asyncio.shield(written)

    def follow(self, caller: Caller, response: str, target: Target, due: Due) -> Awaitable[None]:
        """The answer has begun to stream to its client, and is settled by its call; but by others should this process die. As `tend`."""
        one, written = self._begun(caller, response, target, due)
        due.held.then = lambda: self._over(one)
        return asyncio.shield(written)

    async def seen(self, caller: Caller, response: str, body: bytes, *, plain: bool = True) -> dict[str, Any] | None:
        """The provider answered with the response. Where that is what its call waits for, it is settled: what is on record of it.

        Not `plain`: its client has said what is to be in it. Where the usage is not, nothing is known of that by it.
        """
        how, said = ended(body), announced(body)
        if how is None or said is None or (how.tokens is None and not plain):
            return None
        found = await self._find(caller, response, elsewhere=said.background)
        return None if found is None else await self._end(found, how)

    async def told(self, caller: Caller, response: str, tokens: Tokens | None, *, failed: bool = False) -> dict[str, Any] | None:
        """The same of a stream that came to its end."""
        found = None if tokens is None else await self._find(caller, response)
        return None if found is None else await self._end(found, Ended("error" if failed else "ok", tokens))

    async def look(self, caller: Caller, response: str) -> None:
        """Ask the provider now, if anybody waits for it: it is about to be deleted."""
        found = await self._find(caller, response)
        if found is not None:
            await self._look(found)

    async def gone(self, caller: Caller, response: str) -> dict[str, Any] | None:
        """It was deleted, and nobody can see any more what it used."""
        found = await self._find(caller, response)
        return None if found is None else await self._end(found, LOST)

    async def close(self) -> None:
        """Hand on what this process waits for. What nobody could settle is spent at what it cost at least."""
        tasks = [*self._adopting.values(), *(one.task for one in self._waiting.values() if one.task is not None)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(self._keeper.close(), *tasks, *self._doing, return_exceptions=True)
        last = [one.last for one in self._waiting.values() if one.last is not None]
        if last:
            _, late = await asyncio.wait(last, timeout=STOPPING)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for one in self._waiting.values():
            one.due.held.then = None
            if one.doubt and not one.due.held.ended:
                one.due.close()
        left = [call for call, one in self._waiting.items() if not one.doubt]
        self._waiting.clear()
        if left:
            await self._rows.renew(left, 0)

    # What this process waits for

    def _begun(self, caller: Caller, response: str, target: Target, due: Due) -> tuple[_Waiting, "asyncio.Task[None]"]:
        """Wait for it, and have its row written."""
        for one in self._named(caller.org, caller.subject, response):  # nobody can see any more what the first one used
            self._do(self._end(one, LOST))
        at = time.time_ns() // 1000
        row = Row(due.held.id, caller.org, caller.subject, response, target.upstream, target.name, at, due.kept())
        one = self._waiting[row.call] = _Waiting(row, due, take(8).hex(), doubt=True)
        return one, self._do(self._write(one))

    def _named(self, org: str, subject: str, response: str) -> list[_Waiting]:
        whose = (org, subject, response)
        return [one for one in self._waiting.values() if (one.row.org, one.row.subject, one.row.response) == whose]

    async def _find(self, caller: Caller, response: str, *, elsewhere: bool = True) -> _Waiting | None:
        """Who waits for a response, here or in another process, which it is then taken over from."""
        here = self._named(caller.org, caller.subject, response)
        if here or not elsewhere:
            return here[-1] if here else None
        try:
            rows = await self._rows.find(caller.org, caller.subject, response)
            found = [await self._adopt(row, FIRST) for row in rows if not row.ended]
        except Refusal:
            return None  # the process that waits for it finds out by itself
        return next((one for one in found if one is not None), None)

    async def _write(self, one: _Waiting) -> None:
        """Have other processes know of it. What fails is tried again when the provider is next asked."""
        if not one.doubt:
            return
        try:
            await self._rows.put(one.row, LEASE)
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
                await self._end(one, LOST)
                continue
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
        how = ended(body) if status == 200 else LOST if status == 404 else None
        if how is not None:
            await self._end(one, how)

    # How it ends

    async def _end(self, one: _Waiting, how: Ended) -> dict[str, Any] | None:
        """Settle it, unless another process has, or is about to: what is on record of it. Where the database is away it goes on waiting."""
        if one.ending or one.row.call not in self._waiting:
            return None
        one.ending = True
        return await asyncio.shield(self._do(self._ended(one, replace(how, by=one.by))))

    async def _ended(self, one: _Waiting, how: Ended) -> dict[str, Any] | None:
        try:
            written = await self._rows.end(one.row.call, how.text())
            stands = how if written is None and one.doubt else read(written or "")
        except Refusal:
            one.ending = False
            return None
        except MsgspecError:  # another process of a later version has found out
            stands = None
        if stands is not None and stands.by == one.by:  # of before, perhaps, when no answer came
            return self._settle(one, stands)
        self._let_go(one)
        if self._alone:  # who found out is no more
            self._keeper.resume()
        return None

    def _settle(self, one: _Waiting, how: Ended) -> dict[str, Any]:
        said = one.due.settle(how.tokens, how.status, how.said)
        self._over(one)
        return said

    def _over(self, one: _Waiting) -> None:
        """It is settled here: see to it that it stays so, and nobody else need know of it."""
        one.ending = True
        if one.last is None and self._waiting.get(one.row.call) is one:
            one.last = asyncio.create_task(self._last(one), name="background-settled")
        if one.task is not None:
            one.task.cancel()

    async def _last(self, one: _Waiting) -> None:
        call = one.row.call
        while True:
            try:
                if await one.due.lasting():
                    async with self._dropping:  # of many calls at once, when the ledger is back
                        await self._rows.drop(call)
                else:
                    await self._rows.renew([call], 0)
                break
            except Refusal:
                await asyncio.sleep(EVERY)
        self._waiting.pop(call, None)

    def _let_go(self, one: _Waiting) -> None:
        """Another process has it."""
        self._waiting.pop(one.row.call, None)
        one.due.held.hand_over()
        if one.task is not None:
            one.task.cancel()

    def _do(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._doing.add(task)
        task.add_done_callback(self._doing.discard)
        return task

    # What other processes wait for, or did

    async def _adopt(self, row: Row, pause: float = 0.0) -> _Waiting | None:
        """Wait for it here. None where there is nothing to wait for. Raises `StoreDown`."""
        here = self._waiting.get(row.call)
        if here is not None and (here.ending or not row.ended):
            return here
        if here is not None:
            self._let_go(here)
        task = self._adopting.get(row.call)
        if task is None:
            task = self._adopting[row.call] = asyncio.create_task(self._adopted(row, pause))
            task.add_done_callback(lambda _: self._adopting.pop(row.call, None))
        return await asyncio.shield(task)

    async def _adopted(self, row: Row, pause: float) -> _Waiting | None:
        try:
            how, due = read(row.ended), await again(self._budgets, row.body)
        except MsgspecError:
            self._keeper.leave(row)
            return None
        if due is None:
            await self._rows.drop(row.call)
            return None
        one = self._waiting[row.call] = _Waiting(row, due, take(8).hex(), doubt=False)
        if how is not None:  # who found out has died before the ledger had it
            self._settle(one, how)
            return one
        one.task = asyncio.create_task(self._tend(one, pause), name="background-response")
        return one

    def _kept(self) -> list[str]:
        return [call for call, one in self._waiting.items() if not one.doubt]

    def _lost(self, there: dict[str, str], mine: list[str]) -> None:
        """Let go what other processes have settled meanwhile, or are about to."""
        for call in mine:
            one = self._waiting.get(call)
            if one is not None and not one.ending and not one.doubt and there.get(call) != "":
                self._let_go(one)


def _nothing() -> "asyncio.Future[None]":
    """Done already."""
    done = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done
