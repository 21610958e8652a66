"""One configuration everywhere: it is put in force when every worker has found it good, and then on all of them, otherwise on none.

Two steps: every worker checks (`Check`, `Vote`), and only when all have said yes all adopt (`Adopt`, `Adopted`). A worker that starts
meanwhile begins with what is in force, and serves once it has what is in force by then.
"""

import asyncio
import logging
from collections.abc import Callable

from msgspec import Struct

from hub.config.load import Loaded
from hub.processes.child import Child
from hub.processes.messages import Adopt, Adopted, Adopting, Check, Vote
from hub.processes.parcel import pack
from hub.telemetry.logs import fields

log = logging.getLogger("hub.config")

PATIENCE = 2.0
"""Seconds without a vote until it is said that one is missing."""

DEAD = 30.0
"""Seconds for which a worker may owe a vote, or a word on what was agreed, until it is killed as dead, however many edits follow."""


class Generation(Struct, frozen=True):
    """One configuration under its number, which only grows. `parcel`: as workers get it."""

    number: int
    loaded: Loaded
    parcel: bytes

    def __repr__(self) -> str:
        return f"Generation({self.number}, {self.loaded.hash})"


class Agreement:
    """`serve` is called for a worker that may, `changed` when one stands elsewhere than before, `agreed` when another configuration is in
    force, before any worker adopts it."""

    def __init__(
        self, first: Loaded, serve: Callable[[Child], None], changed: Callable[[], None], agreed: Callable[[Generation], None]
    ) -> None:
        self.in_force = Generation(1, first, pack(first))
        self._serve = serve
        self._changed = changed
        self._agreed = agreed
        self._last = 1
        self._proposed: Generation | None = None
        self._voters: set[Child] = set()
        self._yes: set[Child] = set()
        self._owed: dict[Child, int] = {}
        """How many answers a worker owes: one for each `Check` and `Adopt`, in their order."""
        self._overdue: dict[Child, asyncio.TimerHandle] = {}
        self._reminder: asyncio.TimerHandle | None = None

    async def propose(self, loaded: Loaded) -> None:
        """Ask every worker. What was proposed before and is not agreed yet is forgotten, unless it is the same: nobody is asked twice."""
        if self._proposed is not None and self._proposed.loaded == loaded:
            return
        self._last += 1
        self._forget()
        self._proposed = Generation(self._last, loaded, pack(loaded))
        self._reminder = asyncio.get_running_loop().call_later(PATIENCE, self._remind)
        for child in self._voters:
            self._ask(child, Check(self._last, self._proposed.parcel))

    def joined(self, child: Child) -> None:
        """It is ready; or it has just adopted what was in force. Let it serve where that is in force still."""
        if child.generation != self.in_force.number:
            self._ask(child, Check(self.in_force.number, self.in_force.parcel))
            return
        self._voters.add(child)
        if self._proposed is not None:
            self._ask(child, Check(self._proposed.number, self._proposed.parcel))
        self._serve(child)

    def left(self, child: Child) -> None:
        """It has ended."""
        self._voters.discard(child)
        self._yes.discard(child)
        self._excuse(child)
        self._decide()

    def close(self) -> None:
        """Decide nothing more: the hub stops."""
        self._forget()
        for child in list(self._overdue):
            self._excuse(child)

    def told(self, child: Child, message: Vote | Adopting | Adopted) -> None:
        """What a worker says."""
        match message:
            case Vote():
                self._heard(child)
                self._voted(child, message)
            case Adopting():
                self._heard(child)
            case Adopted():
                child.generation, child.config = message.generation, message.hash
                self._changed()
                if child not in self._voters:
                    self.joined(child)

    def _voted(self, child: Child, vote: Vote) -> None:
        if self._proposed is not None and child in self._voters and vote.generation == self._proposed.number:
            self._counted(child, vote, self._proposed)
        elif child not in self._voters and vote.generation == self.in_force.number:
            self._caught_up(child, vote)
        elif child not in self._voters:
            self.joined(child)  # what it was asked about is not in force any more

    def _counted(self, child: Child, vote: Vote, proposed: Generation) -> None:
        if vote.reason:
            log.error(
                "the edited configuration was refused; the one before it keeps running",
                extra=fields(reason=vote.reason, worker=child.number, hash=proposed.loaded.hash),
            )
            self._forget()
            return
        self._yes.add(child)
        self._decide()

    def _caught_up(self, child: Child, vote: Vote) -> None:
        if vote.reason:
            log.error("a worker cannot take what the others run: it is ended", extra=fields(worker=child.number, reason=vote.reason))
            child.kill()
        else:
            self._adopt(child)

    def _decide(self) -> None:
        if self._proposed is None or not self._voters or self._voters - self._yes:
            return
        self.in_force = self._proposed
        self._forget()
        log.info(
            "every worker has found the configuration good: it is in force",
            extra=fields(hash=self.in_force.loaded.hash, generation=self.in_force.number, workers=len(self._voters)),
        )
        self._agreed(self.in_force)
        for child in self._voters:
            self._adopt(child)

    def _adopt(self, child: Child) -> None:
        self._ask(child, Adopt(self.in_force.number))

    def _ask(self, child: Child, message: Check | Adopt) -> None:
        child.tell(message)
        self._owed[child] = self._owed.get(child, 0) + 1
        if child not in self._overdue:
            self._wait_for(child)

    def _heard(self, child: Child) -> None:
        """It has answered one: its time for the next, if it owes another, runs from now."""
        left = self._owed.get(child, 0) - 1
        self._excuse(child)
        if left > 0:
            self._owed[child] = left
            self._wait_for(child)

    def _wait_for(self, child: Child) -> None:
        self._overdue[child] = asyncio.get_running_loop().call_later(DEAD, self._ended, child)

    def _excuse(self, child: Child) -> None:
        self._owed.pop(child, None)
        if (timer := self._overdue.pop(child, None)) is not None:
            timer.cancel()

    def _forget(self) -> None:
        self._proposed = None
        self._yes.clear()
        if self._reminder is not None:
            self._reminder.cancel()

    def _remind(self) -> None:
        missing = sorted(child.number for child in self._voters - self._yes)
        log.error("the edited configuration is in force nowhere yet: not every worker has answered", extra=fields(missing=missing))

    def _ended(self, child: Child) -> None:
        log.error("a worker does not answer its parent: it is ended", extra=fields(worker=child.number, seconds=DEAD))
        child.kill()
