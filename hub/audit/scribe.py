"""One transaction at a time into the journal's tables in PostgreSQL, and what became of it. The ledger says what is written, and when.

Every transaction has its boot's advisory lock, one of several; who takes a boot for dead takes it alone, and ends the boot: from then on
nothing is written under it (`Ended`), and a new boot is begun. `n` is counted here, for nobody else writes under this boot. A commit of
which no answer came is looked up before anything else is written.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from hub.audit import rows_postgres as rows
from hub.audit.graves import lock_key
from hub.audit.ledger import Entry, Identity, Writer, new_boot
from hub.audit.opened import Opened
from hub.audit.receipt import Receipt
from hub.audit.rows_postgres import Batch, Ended, Head, Log
from hub.refusal import JournalDown, StoreDown
from hub.store.postgres import Ambiguous, Connection, Postgres

_TRIES = 3
_QUICKLY = 0.3
"""Seconds: what fails sooner is tried again, for it may have been one connection only. Callers wait meanwhile."""

Choose = Callable[[Connection], Awaitable[Sequence[Entry]]]
"""Says, with the heads locked, what is to be written."""


class Doubt(Struct, frozen=True):
    """A commit: what it holds and where. In doubt, where no answer came."""

    batches: list[Batch]
    entries: Sequence[Entry]
    receipts: list[Receipt]


class Scribe:
    """Not to be asked for two things at once. Methods raise `StoreDown`, or `JournalDown` where this process had been taken for dead."""

    def __init__(self, store: Postgres, disowned: Callable[[Doubt], None]) -> None:
        """`disowned` is told of a commit that took hold after its callers were told that it could not be written."""
        self.boot = new_boot()
        self.doubt: Doubt | None = None
        self.opened = Opened()
        self.forfeited: set[str] = set()
        """Calls whose outcome another process has recorded as unknown."""
        self._store = store
        self._disowned = disowned
        self._identity: Identity | None = None
        self._name = ""
        self._begun = False
        self._former: int | None = None
        self._logs: dict[str, Log] = {}
        self._n: dict[str, int] = {}
        self._floors: dict[str, int] = {}
        self._turn = 0
        self._heads: dict[str, Head] = {}
        """Heads as our last commit left them."""
        self._alone = False
        """Whether nobody else wrote to these logs in between, the last time we looked."""

    async def begin(self, identity: Identity) -> None:
        self._identity = identity
        self._name = await self._store.write(lambda connection: rows.name(connection, identity.origin))
        await self._begin_boot()

    async def write(self, entries: Sequence[Entry]) -> list[Receipt]:
        """Write records; receipts in their order. What is raised says that it did not take hold.

        With one exception: where the database goes away in the middle of a commit. That is then known before the next is begun.
        """

        async def these(_: Connection) -> Sequence[Entry]:
            return entries

        orgs = {org for org, _, _ in entries}
        return await self._persistently(lambda: self._either(orgs, entries, these))

    async def write_chosen(self, orgs: Iterable[str], choose: Choose) -> list[Receipt]:
        """Write what `choose` chooses into the logs of `orgs`, in the same way."""
        wanted = set(orgs)
        return await self._persistently(lambda: self._locking(wanted, choose))

    async def _persistently(self, attempt: Callable[[], Awaitable[list[Receipt]]]) -> list[Receipt]:
        """Again, where it was one connection only; not, where the database is away."""
        loop = asyncio.get_running_loop()
        started, before = loop.time(), self.doubt
        for last in (*[False] * _TRIES, True):
            try:
                if self.doubt is not before and (receipts := await self._resolve()) is not None:
                    return receipts  # of an attempt before this one, whose look-up had failed as well
                await self.stand()
                return await self._told(attempt)
            except Ended:
                self.begin_anew()
                raise JournalDown("the journal cannot be written at the moment", detail="this process was taken for dead") from None
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
        """Bring in order what an earlier failure left: the boot, and what became of a commit."""
        if not self._begun:
            await self._begin_boot()
        doubt = self.doubt
        if doubt is not None and await self._resolve() is not None:
            self._disowned(doubt)

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
            raise StoreDown("the journal cannot be written at the moment", detail="the lock of this boot is another's")
        await self._store.write(lambda connection: rows.begin(connection, self.boot))
        self._begun = True
        if self._former is not None:
            await self._store.release(self._former)
            self._former = None

    async def _either(self, orgs: set[str], entries: Sequence[Entry], these: Choose) -> list[Receipt]:
        """In one way there and back where nobody else writes to these logs, as far as we know; else with their heads locked first."""
        if self._alone and all(org in self._heads and org in self._n for org in orgs):
            receipts = await self._at_once(orgs, entries)
            if receipts is not None:
                return receipts
        return await self._locking(orgs, these)

    async def _at_once(self, orgs: set[str], entries: Sequence[Entry]) -> list[Receipt] | None:
        """None where somebody else has written there meanwhile, and nothing was done."""
        writer = self._writer()
        done = self._placed(writer, self._logs, {self._logs[org].number: self._heads[org] for org in orgs}, entries)
        try:
            said = await self._store.at_once(rows.APPEND, *rows.arguments(writer.boot, lock_key(writer.boot), self._turn, done.batches))
        except (Ambiguous, asyncio.CancelledError):
            self.doubt = done
            raise
        if said == "ended":
            raise Ended
        self._alone = said == "done"
        return self._held(done) if self._alone else None

    async def _locking(self, orgs: set[str], choose: Choose) -> list[Receipt]:
        writer = self._writer()
        logs = await self._known(orgs)
        numbers = sorted(log.number for log in logs.values())
        made: list[Doubt] = []

        async def run(connection: Connection) -> None:
            heads = await rows.heads(connection, numbers, writer.boot)
            self._must_be_there(logs, heads)
            self._alone = all(heads[log.number] == self._heads.get(org) for org, log in logs.items())
            entries = await choose(connection)
            done = self._placed(writer, logs, heads, entries)
            if fresh := [(batch.log.number, batch.first) for batch in done.batches if batch.log.name not in self._n]:
                await rows.enter(connection, writer.boot, fresh)
            if done.batches:
                await rows.store(connection, done.batches)
            made.append(done)

        try:
            await self._store.write(run, under=lock_key(writer.boot))
        except (Ambiguous, asyncio.CancelledError):  # who is told to stop during a commit does not hear of it either
            self.doubt = made[-1] if made and made[-1].batches else None
            raise
        return self._held(made[-1])

    def _must_be_there(self, logs: dict[str, Log], heads: Mapping[int, Head]) -> None:
        """A database that took over from one it had not followed to the last may not have heard of a log: it is made anew."""
        if gone := [org for org, log in logs.items() if log.number not in heads]:
            for org in gone:
                for known in (self._logs, self._n, self._heads):
                    known.pop(org, None)
            raise StoreDown("the journal cannot be written at the moment", detail="the database does not have a log that it had before")

    def _placed(self, writer: Writer, logs: dict[str, Log], heads: Mapping[int, Head], entries: Sequence[Entry]) -> Doubt:
        groups: dict[str, list[int]] = {}
        for at, (org, _, _) in enumerate(entries):
            groups.setdefault(org, []).append(at)
        batches: list[Batch] = []
        receipts: dict[int, Receipt] = {}
        for org, places in groups.items():
            log = logs[org]
            batch = rows.place(log, heads[log.number], writer, self._n.get(org, 0), [entries[at] for at in places])
            batches.append(batch)
            receipts.update(zip(places, batch.receipts, strict=True))
        return Doubt(batches, entries, [receipts[at] for at in range(len(entries))])

    async def _resolve(self) -> list[Receipt] | None:
        """What became of the commit in doubt: its receipts, or None where it did not take hold."""
        doubt = self.doubt
        if doubt is None:
            return None
        boot = self.boot
        held, self._turn = await self._store.write(lambda connection: rows.took_hold(connection, boot, doubt.batches))
        self.doubt = None
        return self._held(doubt) if held else None

    def _held(self, done: Doubt) -> list[Receipt]:
        """A commit took hold."""
        for batch in done.batches:
            self._n[batch.log.name] = batch.n
            self._heads[batch.log.name] = (batch.size, batch.range)
        for (org, record, _), receipt in zip(done.entries, done.receipts, strict=True):
            self.opened.note(org, record, receipt)
        return done.receipts

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
