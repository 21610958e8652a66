"""One transaction at a time into the journal's tables in PostgreSQL, and what became of it. The ledger says what is written, and when.

What is written is sealed here and gets its places from the database, in one statement that is a transaction of its own: whoever else
writes to these logs, it is one way there and back.

Where all is in order they go by a line to the database that calls back (`ask`); where anything is not, by a connection of the store, with
all that may have to be done before (`write`).

Every transaction has its boot's advisory lock, one of several; who takes a boot for dead takes it alone, and ends the boot: from then on
nothing is written under it (`Ended`), and a new boot is begun. `n` is counted here, for nobody else writes under this boot. A commit of
which no answer came is looked up before anything else is written.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from msgspec import Struct

from hub.audit import rows_postgres as rows
from hub.audit import wire_postgres as wire
from hub.audit.graves import lock_key
from hub.audit.ledger import Entry, Identity, Writer, new_boot
from hub.audit.opened import Opened
from hub.audit.receipt import Receipt
from hub.audit.rows_postgres import Batch, Ended, Log
from hub.refusal import JournalDown, StoreDown
from hub.store.postgres import Ambiguous, Connection, Postgres

_TRIES = 3
_QUICKLY = 0.3
"""Seconds: what fails sooner is tried again, for it may have been one connection only. Callers wait meanwhile."""

_UNWRITABLE = "the journal cannot be written at the moment"

Choose = Callable[[Connection], Awaitable[Sequence[Entry]]]
"""Says, with the heads locked, what is to be written."""

Told = Callable[[list[Receipt] | None, "Tried | None"], None]
"""Called with the receipts, or with None and, where that decides what is to be done next, with what became of it."""

Disowned = Callable[[Sequence[Entry], Sequence[Receipt]], None]


class Doubt(Struct, frozen=True):
    """What a commit holds, which is in doubt where no answer came."""

    entries: Sequence[Entry]
    batches: list[Batch]


class Tried(Struct, frozen=True):
    """An attempt that failed. `since`: when it began, by the loop's time."""

    writing: Doubt
    error: StoreDown
    since: float


class Scribe:
    """Not to be asked for two things at once. Methods raise `StoreDown`, or `JournalDown` where this process had been taken for dead."""

    def __init__(self, store: Postgres, disowned: Disowned) -> None:
        """`disowned` is told of a commit that took hold after its callers were told that it could not be written."""
        self.boot = new_boot()
        self.doubt: Doubt | None = None
        self.opened = Opened()
        self.forfeited: set[str] = set()
        """Calls whose outcome another process has recorded as unknown."""
        self._store = store
        self._lines = store.lines(wire.STATEMENTS)
        self._disowned = disowned
        self._identity: Identity | None = None
        self._name = ""
        self._begun = False
        self._former: int | None = None
        self._logs: dict[str, Log] = {}
        self._n: dict[str, int] = {}
        self._floors: dict[str, int] = {}
        self._turn: int | None = 0
        """Of our boot; None where the database has said that it is another."""

    async def begin(self, identity: Identity) -> None:
        self._identity = identity
        self._name = await self._store.write(lambda connection: rows.name(connection, identity.origin))
        await self._begin_boot()
        if (making := self._lines.make()) is not None:
            await making

    def ask(self, entries: Sequence[Entry], told: Told) -> bool:
        """Write records by the line, and say by `told` what became of it. False where that cannot be done at the moment: then `write`.

        Whoever is told None has to `write` before he asks for anything else, and hands that what he was told.
        """
        line = self._lines.get()
        turn, logs = self._turn, self._logs
        if line is None or turn is None or not self._begun or self.doubt is not None or any(org not in logs for org, _, _ in entries):
            return False
        writing = self._sealed(logs, entries)
        fresh = any(batch.log.name not in self._n for batch in writing.batches)
        since = asyncio.get_running_loop().time()

        def answered(row: bytes | None, fault: StoreDown | None) -> None:
            if fault is None:
                try:
                    firsts = wire.placed(writing.batches, row)
                    receipts = None if firsts is None else self._held(writing, firsts)
                except ValueError:
                    line.close("it cannot be read")
                    fault = Ambiguous(_UNWRITABLE, detail="the answer to a commit cannot be read")
                else:
                    if receipts is not None:
                        self._store.committed(asyncio.get_running_loop().time() - since)
                    told(receipts, None)
                    return
            told(None, Tried(writing, fault, since))

        line.ask(wire.placing(self.boot, lock_key(self.boot), turn, fresh=fresh, batches=writing.batches), answered)
        return True

    async def write(self, entries: Sequence[Entry], tried: Tried | None = None) -> list[Receipt]:
        """Write records; receipts in their order. What is raised says that it did not take hold.

        With one exception: where the database goes away in the middle of a commit. That is then known before the next is begun. `tried`:
        what was told of a first attempt, which is then treated like one of these.
        """
        if tried is None:
            return await self._persistently(lambda: self._at_once(entries))
        former = [tried]

        async def attempt() -> list[Receipt]:
            if not former:
                return await self._at_once(entries)
            first = former.pop()
            if isinstance(first.error, Ambiguous):
                self.doubt = first.writing
            raise first.error

        return await self._persistently(attempt, tried.since)

    async def write_chosen(self, orgs: Iterable[str], choose: Choose) -> list[Receipt]:
        """Write what `choose` chooses into the logs of `orgs`, in the same way."""
        wanted = set(orgs)
        return await self._persistently(lambda: self._chosen(wanted, choose))

    async def _persistently(self, attempt: Callable[[], Awaitable[list[Receipt]]], since: float | None = None) -> list[Receipt]:
        """Again, where it was one connection only; not, where the database is away. `since`: when the first attempt began, if not now."""
        loop = asyncio.get_running_loop()
        started, before = loop.time() if since is None else since, self.doubt
        for last in (*[False] * _TRIES, True):
            try:
                if self.doubt is not before and (receipts := await self._resolve()) is not None:
                    return receipts  # of an attempt before this one, whose look-up had failed as well
                await self.stand()
                return await self._told(attempt)
            except Ended:
                self.begin_anew()
                raise JournalDown(_UNWRITABLE, detail="this process was taken for dead") from None
            except StoreDown:
                if last or loop.time() - started > _QUICKLY or not self._store.up:
                    raise
        raise AssertionError("the last try returns or raises")

    async def _told(self, attempt: Callable[[], Awaitable[list[Receipt]]]) -> list[Receipt]:
        """What became of an attempt, looked up where no answer came."""
        try:
            return await attempt()
        except Ambiguous as nobody_knows:
            receipts = await self._resolve()
            if receipts is None:
                raise StoreDown(nobody_knows.message, detail=f"{nobody_knows.detail}; it did not take hold") from None
            return receipts

    async def stand(self) -> None:
        """Bring in order what an earlier failure left: the boot, its turn, and what became of a commit."""
        if not self._begun:
            await self._begin_boot()
        doubt = self.doubt
        if doubt is not None and (receipts := await self._resolve()) is not None:
            self._disowned(doubt.entries, receipts)
        if self._turn is None:
            boot = self.boot
            self._turn = await self._store.write(lambda connection: rows.next_turn(connection, boot))

    def begin_anew(self) -> None:
        """Another ended this boot and closes its intents: what comes of those calls now would be a second outcome.

        Those of a commit in doubt are among them, if it took hold: its callers know nothing of it, and nothing of theirs was done.
        """
        self.forfeited.update(self.opened.ids())
        self.doubt = None
        self._former = lock_key(self.boot)
        self.opened, self._n, self._floors = Opened(), {}, {}
        self.boot, self._begun, self._turn = new_boot(), False, 0

    async def lower(self) -> None:
        """Note below which index of each log no intent of ours is open. Not while a commit is in doubt: it may hold some."""
        floors = {} if self.doubt is not None or not self._begun else self.opened.floors()
        moved = {org: floor for org, floor in floors.items() if self._floors.get(org) != floor}
        if moved:
            boot, numbers = self.boot, {self._logs[org].number: floor for org, floor in moved.items()}
            await self._store.write(lambda connection: rows.lower(connection, boot, numbers))
            self._floors.update(moved)

    async def end(self) -> None:
        """An orderly end: of what is open now, the next sweep of another process takes care."""
        settled = not self.opened and self.doubt is None
        try:
            if self._begun:
                await self._store.write(lambda connection: rows.end(connection, self.boot, settled=settled), under=lock_key(self.boot))
        finally:
            self._begun = False
            await self._store.release(lock_key(self.boot))

    async def _begin_boot(self) -> None:
        """The lock first: others see that we live before they see that there is somebody."""
        if not await self._store.hold(lock_key(self.boot), shared=True):
            raise StoreDown(_UNWRITABLE, detail="the lock of this boot is another's")
        await self._store.write(lambda connection: rows.begin(connection, self.boot))
        self._begun = True
        if self._former is not None:
            await self._store.release(self._former)
            self._former = None

    async def _at_once(self, entries: Sequence[Entry]) -> list[Receipt]:
        """In one way there and back."""
        writing = self._sealed(await self._known({org for org, _, _ in entries}), entries)
        try:
            said, firsts = await self._store.at_once(rows.PLACE, *self._arguments(writing))
        except (Ambiguous, asyncio.CancelledError):  # who is told to stop during a commit does not hear of it either
            self.doubt = writing
            raise
        return self._held(writing, self._placed(writing, said, firsts))

    async def _chosen(self, orgs: set[str], choose: Choose) -> list[Receipt]:
        """With the heads locked before it is said what is written."""
        logs = await self._known(orgs)
        made: list[tuple[Doubt, Sequence[int]]] = []

        async def run(connection: Connection) -> None:
            await rows.lock(connection, [log.number for log in logs.values()])
            if entries := await choose(connection):
                writing = self._sealed(logs, entries)
                said, firsts = await connection.fetchrow(rows.PLACE, *self._arguments(writing))
                made.append((writing, self._placed(writing, said, firsts)))

        try:
            await self._store.write(run, under=lock_key(self.boot))
        except (Ambiguous, asyncio.CancelledError):
            self.doubt = made[0][0] if made else None
            raise
        return self._held(*made[0]) if made else []

    def _sealed(self, logs: dict[str, Log], entries: Sequence[Entry]) -> Doubt:
        return Doubt(entries, rows.sealed(logs, self._writer(), self._n, entries))

    def _arguments(self, writing: Doubt) -> tuple[Any, ...]:
        fresh = any(batch.log.name not in self._n for batch in writing.batches)
        return rows.arguments(self.boot, lock_key(self.boot), self._turn, fresh=fresh, batches=writing.batches)

    def _placed(self, writing: Doubt, said: str, firsts: Sequence[int | None]) -> list[int]:
        """The index of each batch's first record. Raises where the database says that it did nothing."""
        match said:
            case "done":
                return [first for first in firsts if first is not None]
            case "ended":
                raise Ended
            case "late":  # a look-up of ours is in force that we have not heard of, or one that we have heard of is not
                self._turn = None
                raise StoreDown(_UNWRITABLE, detail="the database counts another turn of this boot")
            case _:  # a database that took over from one it had not followed to the last: the log is made anew
                for batch, first in zip(writing.batches, firsts, strict=True):
                    if first is None:
                        self._logs.pop(batch.log.name, None)
                        self._n.pop(batch.log.name, None)
                raise StoreDown(_UNWRITABLE, detail="the database does not have a log that it had before")

    async def _resolve(self) -> list[Receipt] | None:
        """What became of the commit in doubt: its receipts, or None where it did not take hold."""
        doubt = self.doubt
        if doubt is None:
            return None
        boot = self.boot
        firsts, self._turn = await self._store.write(lambda connection: rows.took_hold(connection, boot, doubt.batches))
        self.doubt = None
        return self._held(doubt, firsts) if firsts else None

    def _held(self, written: Doubt, firsts: Sequence[int]) -> list[Receipt]:
        """A commit took hold."""
        self._n.update((batch.log.name, batch.n) for batch in written.batches)
        receipts = rows.receipts(written.batches, firsts)
        for (org, record, _), receipt in zip(written.entries, receipts, strict=True):
            self.opened.note(org, record, receipt)
        return receipts

    async def _known(self, orgs: set[str]) -> dict[str, Log]:
        missing = [org for org in orgs if org not in self._logs]
        if missing:
            writer = self._writer()
            found = await self._store.write(lambda connection: rows.logs(connection, missing, writer))
            self._logs.update((log.name, log) for log in found)
        return {org: self._logs[org] for org in orgs}

    def _writer(self) -> Writer:
        assert self._identity is not None
        return Writer(self.boot, self._identity.build, self._name, self._identity.signer)
