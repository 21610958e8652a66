"""The journal of one process: records go in, a receipt comes back once the record is durable at its final place in the tree.

    append ─► pending ─► one database operation takes all there is ─► durable commit ─► receipts

An append MUST NOT be answered before the commit that holds it was synced; a failure is `JournalDown`, never silence. The journal knows
where records go, not what they say.
"""

import asyncio
import contextlib
import sqlite3
import time
from asyncio import Future
from collections import deque
from collections.abc import Sequence
from typing import Any

from hub.audit import ledger
from hub.audit.checkpoint import Signer
from hub.audit.entry import OUTCOME, RECOVERED, REFUSALS, base, check, phase
from hub.audit.ledger import NO_SALT, OPERATOR, Entry, Writer
from hub.audit.receipt import Receipt
from hub.audit.record import SALT, event
from hub.audit.refused import Firsts, Refusals
from hub.refusal import JournalDown, Refusal
from hub.store.sqlite import Database

__all__ = ["MAX_WAITING", "OPERATOR", "Journal", "Receipt"]

MAX_WAITING = 100_000
"""Records that may wait for their commit; beyond it, calls are refused."""

_RECOVERY_BATCH = 512
_COPIED = ("actor", "target", "parent", "client", "trace")

_Waiting = tuple[Entry, Future[Receipt]]


class Journal:
    """Give it an open `Database` that it shares with no other journal. `config_hash` goes into every record appended after it is set."""

    def __init__(
        self, database: Database, signer: Signer, *, origin: str = "", checkpoint_every: float = 1.0, build: str, config_hash: str = ""
    ) -> None:
        """`origin`: first part of the origins of new logs, default a random name made once; `checkpoint_every` in seconds."""
        self.config_hash = config_hash
        self.waiting = 0
        self.boot = ledger.new_boot()
        self._database = database
        self._signer = signer
        self._origin = origin
        self._every = checkpoint_every
        self._build = build
        self._writer: Writer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pending: deque[_Waiting | _Commit] = deque()
        self._commit: _Commit | None = None
        self._asking = False
        self._open: dict[str, dict[str, int]] = {}
        self._known: dict[str, int] = {}
        self._settling: set[asyncio.Task[None]] = set()
        self._refusals = Refusals()
        self._firsts = Firsts()
        self._changed = False
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin a boot, close the intents that dead boots left open, start signing. Raises `JournalDown`."""
        self._loop = asyncio.get_running_loop()
        try:
            self._writer = await self._database.write(self._begin)
            await self._recover()
        except (Refusal, sqlite3.Error) as error:
            self._writer = None
            raise _down(error) from None
        self._changed = True  # a boot that died may have left records that no checkpoint covers
        self._task = asyncio.create_task(self._run(), name="journal-checkpoints")

    async def close(self) -> None:
        """Commit what was appended, sign every changed head, end the boot. What cannot be written any more is left to recovery."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        with contextlib.suppress(Refusal):
            await self._record_refusals(everything=True)
        if self._writer is not None:
            self._ask()
            with contextlib.suppress(Refusal):
                await self._database.write(_nothing)  # operations are run in order: what was appended is settled, or is being settled
            await asyncio.gather(*self._settling)
            with contextlib.suppress(Refusal):
                await self.checkpoint()
                await self._database.write(self._end)
        self._writer = None

    def append(self, org: str, record: dict[str, Any]) -> Future[Receipt]:
        """Take `record` into the log of `org`; it is the journal's from now on. The future ends when it is durable.

        It raises `JournalDown` when it cannot be. Cancelling it does not take the record back. Raises `entry.ProfileError` at once for
        a record that is not from a builder of `hub.audit.record` and lies outside the profile.
        """
        if self._loop is None:
            raise JournalDown("the journal is not open")
        future: Future[Receipt] = self._loop.create_future()
        if self._writer is None or self.waiting >= MAX_WAITING:
            future.set_exception(JournalDown("the journal cannot take this record at the moment"))
            return future
        salt = record.pop(SALT, NO_SALT)
        if salt is NO_SALT:
            check(record)
        record["cfg"] = self.config_hash
        self._join(((org, record, salt), future))
        self.waiting += 1
        return future

    def coalesce(self, code: str, source: str) -> None:
        """Count a refusal that came before a caller was known; counts go to the operator log, a record for each second."""
        self._refusals.add(int(time.time()), code, source)

    def repeats(self, key: str) -> bool:
        """Whether a refusal of this kind (a key and its limit) was asked about before within this second: then it is to be counted only."""
        return not self._firsts.first(int(time.time()), key)

    async def checkpoint(self) -> None:
        """Sign the heads that have changed, now. Raises `JournalDown`."""
        signer, floors = self._signer, self._floors()
        self._changed = False
        try:
            await self._database.write(lambda connection: ledger.sign(connection, signer, floors))
        except (Refusal, sqlite3.Error) as error:
            self._changed = True
            raise _down(error) from None

    def _join(self, waiting: _Waiting) -> None:
        """Add it to the commit that was asked for last, if that has not begun: one statement for many records.

        Not where something else was asked of the store since: what a call had stored before its record, such as a count of the day, is
        durable no later than the record.
        """
        commit = self._commit
        if commit is not None and (commit.begun or self._database.last_write is not commit):
            self._pending.append(commit)  # it takes nothing from behind itself
            self._commit = commit = None
        self._pending.append(waiting)
        if not self._asking and (commit is None or commit.begun):  # one that began this moment may have missed it
            assert self._loop is not None
            self._asking = True
            self._loop.call_soon(self._ask)

    def _ask(self) -> None:
        """Ask the store for a commit, at the end of a turn of the loop."""
        self._asking = False
        self._commit = commit = _Commit(self._writer, self._pending)
        try:
            future = self._database.write(commit)
        except Refusal as error:
            self._fail(commit.take(), error)
            return
        future.add_done_callback(lambda done: self._committed(commit, done))

    def _committed(self, operation: "_Commit", done: "Future[list[Receipt]]") -> None:
        error = None if done.cancelled() else done.exception()
        if error is None and not done.cancelled():
            self._deliver(operation.taken, done.result())
            return
        task = asyncio.ensure_future(self._settle(operation, error))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _settle(self, operation: "_Commit", error: BaseException | None) -> None:
        """A commit that failed may yet have taken hold: look before saying that it did not."""
        try:
            receipts = await self._database.read(operation.look_up)
        except Exception:  # the store cannot even be read: then nothing of it was answered
            receipts = None
        taken = operation.taken or operation.take()  # it may have failed before it came to take anything
        if receipts is None:
            self._fail(taken, error)
        else:
            self._deliver(taken, receipts)

    def _deliver(self, taken: Sequence[_Waiting], receipts: Sequence[Receipt]) -> None:
        self.waiting -= len(taken)
        self._changed = True
        for ((org, record, _), future), receipt in zip(taken, receipts, strict=True):
            kind = phase(record["kind"])
            if kind == 1:
                self._open.setdefault(org, {})[record["id"]] = receipt.index
            elif kind:
                self._open.setdefault(org, {}).pop(record["id"], None)
            self._known[org] = receipt.index + 1
            if not future.done():
                future.set_result(receipt)

    def _fail(self, taken: Sequence[_Waiting], error: BaseException | None) -> None:
        self.waiting -= len(taken)
        for _, future in taken:
            if not future.done():
                future.set_exception(_down(error))

    def _floors(self) -> dict[str, int]:
        """By organisation, an index below which no intent is open. None while a failed commit is being looked up: it may hold some."""
        if self._settling:
            return {}
        return {org: min(self._open[org].values()) if self._open.get(org) else known for org, known in self._known.items()}

    def _begin(self, connection: sqlite3.Connection) -> Writer:
        name = ledger.hub_name(connection, self._origin)
        connection.execute("INSERT INTO journal_boot (boot, started) VALUES (?, strftime('%Y-%m-%dT%H:%M:%SZ'))", (self.boot,))
        return Writer(self.boot, self._build, name, self._signer)

    def _end(self, connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE journal_boot SET ended = strftime('%Y-%m-%dT%H:%M:%SZ') WHERE boot = ?", (self.boot,))

    async def _recover(self) -> None:
        """Write an outcome `unknown` for every open intent. The database's lock says that no other boot lives."""
        found: list[tuple[str, int, dict[str, Any]]] = await self._database.read(_all_open)
        for at in range(0, len(found), _RECOVERY_BATCH):
            await asyncio.gather(*(self.append(org, _unknown(index, intent)) for org, index, intent in found[at : at + _RECOVERY_BATCH]))
        if found:
            boots = sorted({intent["boot"] for _, _, intent in found})
            await self.append(OPERATOR, event(RECOVERED, boots=boots, count=len(found)))

    async def _run(self) -> None:
        """Once in `checkpoint_every`: write the counts of refusals, sign what changed. A failure is tried again the next time."""
        while True:
            await asyncio.sleep(self._every)
            with contextlib.suppress(Refusal):
                await self._record_refusals(everything=False)
                if self._changed:
                    await self.checkpoint()

    async def _record_refusals(self, *, everything: bool) -> None:
        taken = self._refusals.take(int(time.time()) + everything)
        done = await asyncio.gather(*(self.append(OPERATOR, _refused(*counted)) for counted in taken), return_exceptions=True)
        for (second, code, source, count), result in zip(taken, done, strict=True):
            if isinstance(result, BaseException):
                self._refusals.add(second, code, source, count)


class _Commit:
    """What is pending when the store comes to it, as a database operation. Run again, it first looks whether it took hold before."""

    __slots__ = ("_pending", "_writer", "begun", "taken")

    def __init__(self, writer: Writer | None, pending: "deque[_Waiting | _Commit]") -> None:
        self._writer = writer
        self._pending = pending
        self.begun = False
        self.taken: list[_Waiting] = []

    def __call__(self, connection: sqlite3.Connection) -> list[Receipt]:
        if not self.begun:
            self.take()
        elif (receipts := self.look_up(connection)) is not None:
            return receipts
        if self._writer is None:
            raise JournalDown("the journal is closed")
        return ledger.commit(connection, self._writer, self._entries()) if self.taken else []

    def take(self) -> list[_Waiting]:
        """Take all that is pending, up to where this commit was closed. In the store's thread; what is appended meanwhile may be missed."""
        self.begun = True
        with contextlib.suppress(IndexError):
            while (found := self._pending.popleft()) is not self:
                if not isinstance(found, _Commit):
                    self.taken.append(found)
        return self.taken

    def look_up(self, connection: sqlite3.Connection) -> list[Receipt] | None:
        return ledger.settle(connection, self._writer, self._entries()) if self._writer is not None and self.taken else None

    def _entries(self) -> list[Entry]:
        return [entry for entry, _ in self.taken]


def _nothing(_: sqlite3.Connection) -> None:
    return


def _all_open(connection: sqlite3.Connection) -> list[tuple[str, int, dict[str, Any]]]:
    return [(head.name, index, record) for head in ledger.heads(connection) for index, record in ledger.open_intents(connection, head)]


def _unknown(index: int, intent: dict[str, Any]) -> dict[str, Any]:
    copied = {name: intent[name] for name in _COPIED if name in intent}
    record = event(base(intent["kind"]) + OUTCOME, **copied, outcome={"status": "unknown", "code": "recovered"}, intent=index)
    record["id"] = intent["id"]
    return record


def _refused(second: int, code: str, source: str, count: int) -> dict[str, Any]:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
    return event(REFUSALS, code=code, source=source, second=at, count=count)


def _down(error: BaseException | None) -> JournalDown:
    if isinstance(error, JournalDown):
        return error
    detail = error.detail if isinstance(error, Refusal) else type(error).__name__
    return JournalDown("the journal cannot be written at the moment", detail=detail)
