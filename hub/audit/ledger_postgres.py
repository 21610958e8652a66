"""The ledger of one of many processes, in PostgreSQL: what is pending goes in one transaction, one of which is under way at a time.

    put ─► pending ─► seal ─► one statement: lock the heads in order, place, write, commit ─► receipts

By the scribe's line, without a task, where all is in order; by a task where that cannot be done or has failed.

Several processes append to one log: the head's row says where, and is locked until the commit. Each looks now and then for processes that
died, and signs what has grown unless another is at it.
"""

import asyncio
import contextlib
from asyncio import Future, Task
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from itertools import islice
from typing import Any

import asyncpg

from hub.audit import rows_postgres as rows
from hub.audit.entry import phase
from hub.audit.graves import GRACE, Graves, lock_key
from hub.audit.lane import Lane
from hub.audit.ledger import NO_SALT, OPERATOR, Entry, Identity, Recovered, Unknown, Waiting, down
from hub.audit.receipt import Receipt
from hub.audit.scribe import Choose, Scribe, Tried
from hub.refusal import JournalDown, Refusal
from hub.store.postgres import Connection, Postgres

BATCH = 1000
"""Records that one transaction takes at most."""

_AT_ONCE = 256
"""Intents that are closed, and heads that are signed, in one transaction."""

_SCAN_PATIENCE = 60.0
"""Seconds that the look for open intents may take; no call waits for it."""

_FAULTS = (Refusal, asyncpg.PostgresError)


class PostgresLedger:
    """Give it a `Postgres` that is open when it begins, and shared with no other ledger. `grace`: see `hub.audit.graves`."""

    shared = True

    def __init__(self, store: Postgres, *, grace: float = GRACE) -> None:
        self.ready = False
        self.waiting = 0
        self.changed = False
        self._store = store
        self._graves = Graves(store, grace)
        self._scribe = Scribe(store, self._disown)
        self._lane = Lane()
        self._pending: deque[Waiting] = deque()
        self._going = False
        """Whether somebody sees to what is pending, or will at the next turn of the loop."""
        self._work: Task[None] | None = None
        self._idle = asyncio.Event()
        self._identity: Identity | None = None
        self._unknown: Unknown | None = None
        self._unsaid: set[str] = set()
        """Calls whose outcome could not be written."""
        self._begunless: set[str] = set()
        """Calls whose callers left before their intent was written, which then could not be: their outcome is still to come."""

    @property
    def boot(self) -> str:
        return self._scribe.boot

    async def begin(self, identity: Identity) -> None:
        self._identity = identity
        try:
            await self._scribe.begin(identity)
        except _FAULTS as error:
            raise down(error) from None
        self.ready = True
        self.changed = True  # a process that died may have left records that no checkpoint covers

    def put(self, org: str, record: dict[str, Any], salt: bytes) -> Future[Receipt]:
        loop = asyncio.get_running_loop()
        future: Future[Receipt] = loop.create_future()
        if self._begunless and record["id"] in self._begunless:
            self._begunless.discard(record["id"])
            future.set_exception(JournalDown("the journal cannot be written at the moment", detail="its intent could not be written"))
        elif not self._store.up:
            self._leave_open(record)
            future.set_exception(JournalDown("the journal cannot be written at the moment", detail="the database is away"))
        else:
            self._pending.append(((org, record, salt), future))
            self.waiting += 1
            if not self._going:
                self._going = True
                loop.call_soon(self._go)  # what is put in this turn goes together
        return future

    async def settled(self) -> None:
        with contextlib.suppress(*_FAULTS):
            async with self._lane:
                await self._scribe.stand()
        while self._going:
            self._idle.clear()
            await self._idle.wait()

    async def recover(self, unknown: Unknown, recovered: Recovered) -> None:
        self._unknown = unknown
        try:
            if await self._graves.ended(self.boot):
                async with self._lane:
                    self._scribe.begin_anew()
            if self._unsaid:
                await self._close_unsaid(unknown)
            for boot in await self._graves.dead(self.boot):
                await self._bury(boot, unknown, recovered)
        except _FAULTS as error:
            raise down(error) from None

    async def sign(self) -> None:
        self.changed = False
        alone = False
        try:
            alone = await self._sign()
            await self._scribe.lower()
        except _FAULTS as error:
            alone = False
            raise down(error) from None
        finally:
            self.changed = self.changed or not alone  # who is at it may have begun before our last commit: look again

    async def end(self) -> None:
        self.ready = False
        try:
            async with self._lane:
                await self._scribe.end()
        except _FAULTS as error:
            raise down(error) from None

    def _go(self) -> None:
        if self._lane.try_take():
            self._onward()
        else:
            self._by_task(self._in_turn())

    def _by_task(self, work: Coroutine[Any, Any, None]) -> None:
        self._work = asyncio.get_running_loop().create_task(work, name="journal-commits")

    async def _in_turn(self) -> None:
        try:
            await self._lane.__aenter__()
        except BaseException:
            self._rest()
            raise
        self._onward()

    def _onward(self) -> None:
        """In the lane: write what is pending next, by the line or by a task; where nothing is, leave it."""
        while self._pending:
            taken = self._next()
            if taken:
                if not self._asked(taken):
                    self._by_task(self._slowly(taken, None))
                return
        self._lane.leave()
        self._rest()

    def _rest(self) -> None:
        self._going = False
        self._work = None
        self._idle.set()

    def _asked(self, taken: Sequence[Waiting]) -> bool:
        """Whether it goes by the line."""

        def told(receipts: list[Receipt] | None, tried: Tried | None) -> None:
            if receipts is None:
                self._by_task(self._slowly(taken, tried))
                return
            self._deliver(taken, receipts)
            self._onward()

        try:
            return self._scribe.ask([entry for entry, _ in taken], told)
        except Exception:  # a record that cannot be sealed: the task finds out which
            return False

    async def _slowly(self, taken: Sequence[Waiting], tried: Tried | None) -> None:
        try:
            await self._commit(taken, tried)
        except BaseException:
            self._lane.leave()
            self._rest()
            raise
        self._onward()

    def _next(self) -> list[Waiting]:
        """What comes next; without outcomes that another process has recorded as unknown, however long they have waited here."""
        taken = [self._pending.popleft() for _ in range(min(len(self._pending), BATCH))]
        forfeited = self._scribe.forfeited
        if not forfeited:
            return taken
        kept: list[Waiting] = []
        for each in taken:
            _, record, _ = each[0]
            if phase(record["kind"]) == 2 and record["id"] in forfeited:
                forfeited.discard(record["id"])
                self._fail((each,), JournalDown("the journal cannot be written at the moment", detail="this process was taken for dead"))
            else:
                kept.append(each)
        return kept

    async def _commit(self, taken: Sequence[Waiting], tried: Tried | None = None) -> None:
        entries = [entry for entry, _ in taken]
        try:
            receipts = await self._scribe.write(entries, tried)
        except Exception as error:
            if isinstance(error, Refusal) or len(taken) == 1:
                self._fail(taken, error)
                return
            for each in taken:  # one of them cannot be stored: the others are not to suffer for it
                await self._commit((each,))
        except BaseException:
            self._fail(taken, None)
            raise
        else:
            self._deliver(taken, receipts)

    def _deliver(self, taken: Sequence[Waiting], receipts: Sequence[Receipt]) -> None:
        self.waiting -= len(taken)
        self.changed = True
        for (_, future), receipt in zip(taken, receipts, strict=True):
            if not future.done():
                future.set_result(receipt)

    def _fail(self, taken: Sequence[Waiting], error: BaseException | None) -> None:
        self.waiting -= len(taken)
        for (_, record, _), future in taken:
            self._leave_open(record)
            if future.cancelled() and phase(record["kind"]) == 1:
                self._forgo(record["id"], {each["id"] for (_, each, _), _ in taken if phase(each["kind"]) == 2})
            if not future.done():
                future.set_exception(down(error))

    def _forgo(self, call: str, failed: set[str]) -> None:
        """The caller left while the intent was pending, which was not written: nor may its outcome be, which has failed, waits or comes."""
        if call in failed:
            return
        waits = next((each for each in self._pending if each[0][1]["id"] == call), None)
        if waits is None:
            self._begunless.add(call)
        else:
            self._pending.remove(waits)
            self.waiting -= 1
            if not waits[1].done():
                waits[1].set_exception(down(None))

    def _leave_open(self, record: dict[str, Any]) -> None:
        if phase(record["kind"]) == 2:
            self._unsaid.add(record["id"])

    async def _close_unsaid(self, unknown: Unknown) -> None:
        """Close the intents whose outcome could not be written when there was one: those who asked were told that nobody knows it."""
        async with self._lane:
            await self._scribe.stand()
            ids = list(islice(self._unsaid, _AT_ONCE))
            if found := await self._store.read(lambda connection: rows.open_among(connection, ids)):

                async def choose(connection: Connection) -> Sequence[Entry]:
                    closed = await rows.closed(connection, ids) | self._ending()  # another process may take this one for dead
                    return [(org, unknown(index, intent), NO_SALT) for org, index, intent in found if intent["id"] not in closed]

                await self._scribe.write_chosen({org for org, _, _ in found}, choose)
                self.changed = True
            self._unsaid.difference_update(ids)

    def _ending(self) -> set[str]:
        """Calls whose outcome is pending."""
        return {record["id"] for (_, record, _), _ in self._pending if phase(record["kind"]) == 2}

    def _disown(self, entries: Sequence[Entry], receipts: Sequence[Receipt]) -> None:
        """A commit took hold of which those who waited were told that it could not be written: their calls went nowhere. Close them."""
        assert self._unknown is not None
        self.changed = True
        ending = self._ending() | {record["id"] for _, record, _ in entries if phase(record["kind"]) == 2}
        for (org, record, _), receipt in zip(entries, receipts, strict=True):
            if phase(record["kind"]) == 1 and record["id"] not in ending:
                self.put(org, self._unknown(receipt.index, record), NO_SALT).add_done_callback(_seen)

    async def _bury(self, boot: str, unknown: Unknown, recovered: Recovered) -> None:
        """End a dead boot, so that it cannot write however late it comes; then close its intents, and settle it."""
        if not await self._store.write(_ending(boot)):
            return
        while found := await self._store.read(lambda connection: rows.open_intents(connection, boot, _AT_ONCE, _SCAN_PATIENCE)):
            async with self._lane:
                await self._scribe.write_chosen({OPERATOR, *(org for org, _, _ in found)}, _closing(boot, found, unknown, recovered))
        await self._store.write(lambda connection: rows.end(connection, boot, settled=True))
        self.changed = True

    async def _sign(self) -> bool:
        """Whether nobody else was at it."""
        assert self._identity is not None
        signer = self._identity.signer

        async def run(connection: Connection) -> int | None:
            if not await rows.alone(connection, rows.SIGNING):
                return None
            heads = await rows.grown(connection, _AT_ONCE)
            if heads:
                await rows.keep(connection, await asyncio.to_thread(rows.notes, signer, heads))
            return len(heads)

        while (signed := await self._store.write(run)) == _AT_ONCE:
            continue
        return signed is not None


def _ending(boot: str) -> Callable[[Connection], Awaitable[bool]]:
    """End a boot, if neither it nor another who takes it for dead has its lock: whether that was so."""

    async def run(connection: Connection) -> bool:
        if not await rows.alone(connection, lock_key(boot)):
            return False
        await rows.end(connection, boot, settled=False)
        return True

    return run


def _closing(boot: str, found: Sequence[tuple[str, int, dict[str, Any]]], unknown: Unknown, recovered: Recovered) -> Choose:
    """The outcomes of those intents that nobody has closed since they were found."""

    async def choose(connection: Connection) -> Sequence[Entry]:
        await rows.one_at_a_time(connection, boot)
        closed = await rows.closed(connection, [intent["id"] for _, _, intent in found])
        left = [(org, unknown(index, intent), NO_SALT) for org, index, intent in found if intent["id"] not in closed]
        return [*left, (OPERATOR, recovered([boot], len(left)), NO_SALT)] if left else []

    return choose


def _seen(done: "Future[Receipt]") -> None:
    """Nobody waits for it; where it failed, the end of this boot sees to it."""
    if not done.cancelled():
        done.exception()
