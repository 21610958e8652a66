"""The ledger of one process, in SQLite: one database operation takes all there is when its turn comes.

    put ─► pending ─► one operation ─► durable commit ─► receipts

An operation that stood before a record in the database's queue is durable no later than the record.
"""

import asyncio
import contextlib
import sqlite3
from asyncio import Future
from collections import deque
from collections.abc import Sequence
from typing import Any

from hub.audit import rows_sqlite as rows
from hub.audit.entry import phase
from hub.audit.ledger import OPERATOR, Entry, Identity, Recovered, Unknown, Waiting, Writer, down, new_boot
from hub.audit.opened import Opened
from hub.audit.receipt import Receipt
from hub.refusal import JournalDown, Refusal
from hub.store.sqlite import Database

_RECOVERY_BATCH = 512


class SqliteLedger:
    """Give it an open `Database` that it shares with no other ledger."""

    shared = False

    def __init__(self, database: Database) -> None:
        self.boot = new_boot()
        self.ready = False
        self.waiting = 0
        self.changed = False
        self._database = database
        self._writer: Writer | None = None
        self._pending: deque[Waiting | Commit] = deque()
        self._commit: Commit | None = None
        self._opened = Opened()
        self._settling: set[asyncio.Task[None]] = set()
        self._recovered = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def begin(self, identity: Identity) -> None:
        """The database's lock says that no other boot lives."""

        def begin(connection: sqlite3.Connection) -> Writer:
            name = rows.hub_name(connection, identity.origin)
            rows.begin(connection, self.boot)
            return Writer(self.boot, identity.build, name, identity.signer)

        self._loop = asyncio.get_running_loop()
        try:
            self._writer = await self._database.write(begin)
        except (Refusal, sqlite3.Error) as error:
            raise down(error) from None
        self.ready = True
        self.changed = True  # a boot that died may have left records that no checkpoint covers

    def put(self, org: str, record: dict[str, Any], salt: bytes) -> Future[Receipt]:
        assert self._loop is not None
        future: Future[Receipt] = self._loop.create_future()
        self._join(((org, record, salt), future))
        self.waiting += 1
        return future

    async def settled(self) -> None:
        self._ask()
        with contextlib.suppress(Refusal):
            await self._database.write(_nothing, late=True)  # operations are run in order: what was put is settled, or is being settled
        await asyncio.gather(*self._settling)

    async def recover(self, unknown: Unknown, recovered: Recovered) -> None:
        """Once: whoever else may die, it is not while we hold the file."""
        if self._recovered:
            return
        try:
            found: list[tuple[str, int, dict[str, Any]]] = await self._database.survey(rows.all_open)
            for at in range(0, len(found), _RECOVERY_BATCH):
                part = found[at : at + _RECOVERY_BATCH]
                await asyncio.gather(*(self.put(org, unknown(index, intent), rows.NO_SALT) for org, index, intent in part))
            if found:
                boots = sorted({intent["boot"] for _, _, intent in found})
                await self.put(OPERATOR, recovered(boots, len(found)), rows.NO_SALT)
        except (Refusal, sqlite3.Error) as error:
            raise down(error) from None
        self._recovered = True

    async def sign(self) -> None:
        writer, floors = self._writer, self._floors()
        if writer is None:
            raise JournalDown("the journal is closed")
        self.changed = False
        try:
            await self._database.write(lambda connection: rows.sign(connection, writer.signer, floors))
        except (Refusal, sqlite3.Error) as error:
            self.changed = True
            raise down(error) from None

    async def end(self) -> None:
        self.ready = False
        try:
            await self._database.write(lambda connection: rows.end(connection, self.boot))
        except (Refusal, sqlite3.Error) as error:
            raise down(error) from None
        finally:
            self._writer = None

    def _join(self, waiting: Waiting) -> None:
        """Add it to the commit that was asked for last, if its turn has not come: one statement for many records.

        Not where something else was asked of the store since: what a call had stored before its record, such as a count of the day, is
        durable no later than the record. And not while the store already waits for the file: what comes meanwhile has its own time.
        """
        commit = self._commit
        if commit is not None and (commit.begun or self._database.last_write is not commit):
            self._pending.append(commit)  # it takes nothing from behind itself
            self._commit = commit = None
        self._pending.append(waiting)
        if commit is None or commit.begun:  # one that began this moment may have missed it
            self._ask()

    def _ask(self) -> None:
        """Ask the store for a commit, behind what is stored in this turn of the loop: what is put in it joins."""
        self._commit = commit = Commit(self._writer, self._pending)
        try:
            future = self._database.write(commit, late=True)
        except Refusal as error:
            self._fail(commit.take(), error)
            return
        future.add_done_callback(lambda done: self._committed(commit, done))

    def _committed(self, operation: "Commit", done: "Future[list[Receipt]]") -> None:
        error = None if done.cancelled() else done.exception()
        if operation.orphans:
            self._fail(operation.orphans, None)
        if error is None and not done.cancelled():
            self._deliver(operation.taken, done.result())
            return
        task = asyncio.ensure_future(self._settle(operation, error))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _settle(self, operation: "Commit", error: BaseException | None) -> None:
        """A commit that failed may yet have taken hold: look before saying that it did not."""
        try:
            receipts = await self._database.read(operation.look_up)
        except Exception:  # the store cannot even be read: then nothing of it was answered
            receipts = None
        taken = operation.taken if operation.begun else operation.take()  # it may have failed before it came to take anything
        if receipts is None:
            self._fail(taken, error)
        else:
            self._deliver(taken, receipts)

    def _deliver(self, taken: Sequence[Waiting], receipts: Sequence[Receipt]) -> None:
        self.waiting -= len(taken)
        self.changed = True
        for ((org, record, _), future), receipt in zip(taken, receipts, strict=True):
            self._opened.note(org, record, receipt)
            if not future.done():
                future.set_result(receipt)

    def _fail(self, taken: Sequence[Waiting], error: BaseException | None) -> None:
        self.waiting -= len(taken)
        for _, future in taken:
            if not future.done():
                future.set_exception(down(error))

    def _floors(self) -> dict[str, int]:
        """None while a failed commit is being looked up: it may hold open intents."""
        return {} if self._settling else self._opened.floors()


class Commit:
    """What is pending when the store comes to it, as a database operation. Run again, it first looks whether it took hold before."""

    __slots__ = ("_passed", "_pending", "_writer", "begun", "orphans", "taken")

    def __init__(self, writer: Writer | None, pending: "deque[Waiting | Commit]") -> None:
        self._writer = writer
        self._pending = pending
        self._passed = False  # a later one has taken what was this one's
        self.begun = False
        self.taken: list[Waiting] = []
        self.orphans: list[Waiting] = []
        """Outcomes whose intent is not in the log, and which are not written either."""

    def __call__(self, connection: sqlite3.Connection) -> list[Receipt]:
        if not self.begun:
            self.take()
            self._part_with_orphans(connection)
        elif (receipts := self.look_up(connection)) is not None:
            return receipts
        if self._writer is None:
            raise JournalDown("the journal is closed")
        return rows.commit(connection, self._writer, self._entries()) if self.taken else []

    def take(self) -> list[Waiting]:
        """Take all that is pending, up to where this commit was closed. In the store's thread; what is put meanwhile may be missed."""
        self.begun = True
        with contextlib.suppress(IndexError):
            while not self._passed and (found := self._pending.popleft()) is not self:
                if isinstance(found, Commit):
                    found._passed = True
                else:
                    self.taken.append(found)
        return self.taken

    def _part_with_orphans(self, connection: sqlite3.Connection) -> None:
        """A caller who leaves before the intent is written has an outcome that knows no intent; the intent may have failed since."""
        unsure = [waiting for waiting in self.taken if "intent" not in waiting[0][1] and phase(waiting[0][1]["kind"]) == 2]
        if not unsure:
            return
        begun = {record["id"] for (_, record, _), _ in self.taken if phase(record["kind"]) == 1}
        begun |= rows.with_intent(connection, [record["id"] for (_, record, _), _ in unsure])
        self.orphans = [waiting for waiting in unsure if waiting[0][1]["id"] not in begun]
        self.taken = [waiting for waiting in self.taken if waiting not in self.orphans]

    def look_up(self, connection: sqlite3.Connection) -> list[Receipt] | None:
        return rows.settle(connection, self._writer, self._entries()) if self._writer is not None and self.taken else None

    def _entries(self) -> list[Entry]:
        return [entry for entry, _ in self.taken]


def _nothing(_: sqlite3.Connection) -> None:
    return
