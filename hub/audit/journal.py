"""The journal of one process: records go in, a receipt comes back once the record is durable at its final place in the tree.

An append MUST NOT be answered before the commit that holds it was synced; a failure is `JournalDown`, never silence. The journal knows
what its own records say (counts of refusals, recovery) and hands everything to a ledger, which knows where records go.
"""

import asyncio
import contextlib
import logging
import time
from asyncio import Future, Task
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from hub.audit.checkpoint import Signer
from hub.audit.entry import OUTCOME, RECOVERED, REFUSALS, base, check
from hub.audit.ledger import NO_SALT, OPERATOR, Identity, Ledger
from hub.audit.receipt import Receipt
from hub.audit.record import SALT, event
from hub.audit.refused import Firsts, Refusals
from hub.refusal import JournalDown, Refusal

log = logging.getLogger("hub.audit")

__all__ = ["MAX_WAITING", "OPERATOR", "Journal", "Receipt"]

MAX_WAITING = 100_000
"""Records that may wait for their commit; beyond it, calls are refused."""

SWEEP = 2.0
"""Seconds between looks for processes that died, where several write to one ledger."""

_LAST_LOOKS = 3.0
"""Seconds that a closing journal waits for another who signs at that moment, who may have begun before our last commit."""

_COPIED = ("actor", "target", "parent", "client", "trace")


class Journal:
    """Give it a ledger that it shares with no other journal. `config_hash` goes into every record appended after it is set."""

    def __init__(
        self,
        ledger: Ledger,
        signer: Signer,
        *,
        origin: str = "",
        checkpoint_every: float = 1.0,
        sweep_every: float = SWEEP,
        build: str,
        config_hash: str = "",
    ) -> None:
        """`origin`: first part of the origins of new logs, default a random name made once; `…_every` in seconds."""
        self.config_hash = config_hash
        self._ledger = ledger
        self._identity = Identity(build, origin, signer)
        self._every = checkpoint_every
        self._sweep_every = sweep_every
        self._loop: asyncio.AbstractEventLoop | None = None
        self._refusals = Refusals()
        self._firsts = Firsts()
        self._tasks: list[Task[None]] = []

    @property
    def boot(self) -> str:
        """The life of this process that records name."""
        return self._ledger.boot

    @property
    def waiting(self) -> int:
        """Records that wait for their commit."""
        return self._ledger.waiting

    async def open(self) -> None:
        """Begin a boot, close the intents that dead boots left open, start signing. Raises `JournalDown`."""
        self._loop = asyncio.get_running_loop()
        await self._ledger.begin(self._identity)
        try:
            await self._recover()
        except JournalDown:
            with contextlib.suppress(JournalDown):
                await self._ledger.end()
            raise
        self._tasks = [asyncio.create_task(_regularly(self._every, self._tick), name="journal-checkpoints")]
        if self._ledger.shared:
            self._tasks.append(asyncio.create_task(_regularly(self._sweep_every, self._recover), name="journal-recovery"))

    async def close(self) -> None:
        """Commit what was appended, sign every changed head, end the boot. What cannot be written any more is left to recovery."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        with contextlib.suppress(Refusal):
            await self._record_refusals(everything=True)
        if self._ledger.ready:
            await self._ledger.settled()
            with contextlib.suppress(JournalDown, TimeoutError):
                async with asyncio.timeout(_LAST_LOOKS):
                    await self._sign_all()
            with contextlib.suppress(JournalDown):
                await self._ledger.end()

    def append(self, org: str, record: dict[str, Any]) -> Future[Receipt]:
        """Take `record` into the log of `org`; it is the journal's from now on. The future ends when it is durable.

        It raises `JournalDown` when it cannot be. Cancelling it does not take the record back. Raises `entry.ProfileError` at once for
        a record that is not from a builder of `hub.audit.record` and lies outside the profile.
        """
        if self._loop is None:
            raise JournalDown("the journal is not open")
        ledger = self._ledger
        if not ledger.ready or ledger.waiting >= MAX_WAITING:
            future: Future[Receipt] = self._loop.create_future()
            future.set_exception(JournalDown("the journal cannot take this record at the moment"))
            return future
        salt = record.pop(SALT, NO_SALT)
        if salt is NO_SALT:
            check(record)
        record["cfg"] = self.config_hash
        return ledger.put(org, record, salt)

    def coalesce(self, code: str, source: str) -> None:
        """Count a refusal that came before a caller was known; counts go to the operator log, a record for each second."""
        self._refusals.add(int(time.time()), code, source)

    def repeats(self, key: str) -> bool:
        """Whether a refusal of this kind (a key and its limit) was asked about before within this second: then it is to be counted only."""
        return not self._firsts.first(int(time.time()), key)

    async def checkpoint(self) -> None:
        """Sign the heads that have changed, now. Raises `JournalDown`."""
        await self._ledger.sign()

    async def _sign_all(self) -> None:
        """Sign until nothing is left to sign. Who is at it may be this process: work that was just stopped, not yet rolled back."""
        await self.checkpoint()
        while self._ledger.changed:
            await asyncio.sleep(0.02)
            await self.checkpoint()

    async def _recover(self) -> None:
        await self._ledger.recover(self._unknown, self._recovered)

    def _unknown(self, index: int, intent: dict[str, Any]) -> dict[str, Any]:
        copied = {name: intent[name] for name in _COPIED if name in intent}
        outcome = {"status": "unknown", "code": "recovered"}
        record = event(base(intent["kind"]) + OUTCOME, **copied, outcome=outcome, intent=index)
        return {**record, "id": intent["id"], "cfg": self.config_hash}

    def _recovered(self, boots: Sequence[str], count: int) -> dict[str, Any]:
        return {**event(RECOVERED, boots=list(boots), count=count), "cfg": self.config_hash}

    async def _tick(self) -> None:
        """Write the counts of refusals, sign what changed."""
        await self._record_refusals(everything=False)
        if self._ledger.changed:
            await self.checkpoint()

    async def _record_refusals(self, *, everything: bool) -> None:
        taken = self._refusals.take(int(time.time()) + everything)
        done = await asyncio.gather(*(self.append(OPERATOR, _refused(*counted)) for counted in taken), return_exceptions=True)
        for (second, code, source, count), result in zip(taken, done, strict=True):
            if isinstance(result, BaseException):
                self._refusals.add(second, code, source, count)


async def _regularly(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Again and again. A failure is tried again the next time, also one that nobody thought of: recovery and signing must go on."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except Refusal:
            continue
        except Exception:
            log.exception("a part of the journal's own work failed")


def _refused(second: int, code: str, source: str, count: int) -> dict[str, Any]:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
    return event(REFUSALS, code=code, source=source, second=at, count=count)
