"""The records of a change that an operator makes: an intent before anything is changed, and its outcome before the change is answered.

    async with Deed(journal, actor) as deed:
        change = await desk.end(name, giver, deed.begin)
        await deed.done(change.record)

Whatever dies between the two, the intent stands and is closed as `unknown` (`hub.audit.journal`). A change that opens something is not made
without its intent. One that closes something is made all the same, and has one record afterwards where the journal is back by then.
"""

import asyncio
import logging
from asyncio import Future
from types import TracebackType
from typing import Any, Self

from hub.audit.entry import INTENT, OUTCOME
from hub.audit.journal import OPERATOR, Journal
from hub.audit.receipt import Receipt
from hub.audit.record import event
from hub.change import EVERYBODY, Planned
from hub.refusal import JournalDown, OutcomeUnrecorded, Refusal, Unavailable

log = logging.getLogger("hub.audit")


class Deed:
    """One change, or several that are made in one step: then `begin` is called for each, and `done` is given their records in that order.

    `actor` is who makes it, as records name him.
    """

    def __init__(self, journal: Journal, actor: dict[str, str]) -> None:
        self._journal = journal
        self._actor = actor
        self._begun: list[_Begun] = []

    async def begin(self, planned: Planned) -> None:
        """Make the intent durable. Raises `JournalDown` where that cannot be, but of a change that closes something."""
        record = event(planned.kind + INTENT, actor=self._actor, change=planned.record)
        begun = _Begun(planned, str(record["id"]))
        self._begun.append(begun)  # before the wait: whoever is cut off during it may have an intent all the same, which needs its outcome
        try:
            begun.intent = await self._append(planned, record)
        except JournalDown:
            if not planned.closes:
                self._begun.remove(begun)
                raise
            begun.alone = True
            log.warning("%s is carried out without an intent: the journal cannot be written", planned.kind)

    async def done(self, *records: dict[str, Any]) -> None:
        """Put on record what is now. Raises `OutcomeUnrecorded`, which says that the change stands."""
        begun, self._begun = self._begun, []
        ends = [self._end(one, "ok", "", record) for one, record in zip(begun, records, strict=True)]
        if any(isinstance(end, JournalDown) for end in await asyncio.gather(*ends, return_exceptions=True)):
            raise OutcomeUnrecorded(_UNSAID if any(one.alone for one in begun) else _HALF_SAID)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        """What did not come to `done` ends here: refused, or nobody knows whether it was made.

        Of what has no intent and was refused nothing stands, so nothing is said here; where nobody knows, its one record says so.
        """
        (status, code), begun = _became(error), self._begun
        self._begun = []
        ends = [
            self._end(one, status, code, one.planned.record if one.alone else {}) for one in begun if not one.alone or status == "unknown"
        ]
        if isinstance(error, asyncio.CancelledError):  # nobody waits any more
            for end in ends:
                end.add_done_callback(_seen)
        elif ends:
            said = await asyncio.gather(*ends, return_exceptions=True)
            if isinstance(error, Refusal):
                error.recorded = not any(isinstance(end, BaseException) for end in said)

    def _end(self, begun: "_Begun", status: str, code: str, record: dict[str, Any]) -> "Future[Receipt]":
        planned, outcome = begun.planned, {"status": status, "code": code} if code else {"status": status}
        if begun.alone:
            return self._append(planned, event(planned.kind, actor=self._actor, change=record, outcome=outcome))
        of = {} if begun.intent is None else {"intent": begun.intent.index}
        end = event(planned.kind + OUTCOME, actor=self._actor, change=record, outcome=outcome, **of)
        return self._append(planned, end | {"id": begun.id})

    def _append(self, planned: Planned, record: dict[str, Any]) -> "Future[Receipt]":
        return self._journal.append(OPERATOR if planned.org == EVERYBODY else planned.org, record)


class _Begun:
    """`alone`: its intent could not be written, so that no outcome can be tied to one."""

    __slots__ = ("alone", "id", "intent", "planned")

    def __init__(self, planned: Planned, name: str) -> None:
        self.planned = planned
        self.id = name
        self.intent: Receipt | None = None
        self.alone = False


_UNSAID = "the change took hold and is not on record: the journal cannot be written"
_HALF_SAID = "the change took hold; that it was about to be made is on record, what came of it is not"


def _became(error: BaseException | None) -> tuple[str, str]:
    """Status and code of what did not come to `done`. Where the store did not answer, or a fault came between, nobody knows."""
    if error is None:
        return "refused", "nothing_to_do"
    if isinstance(error, Refusal):
        return "unknown" if isinstance(error, Unavailable) and not isinstance(error, JournalDown) else "refused", error.code
    return "unknown", "cancelled" if isinstance(error, asyncio.CancelledError) else "internal"


def _seen(done: "Future[Receipt]") -> None:
    """Nobody waits for it; where it failed, recovery closes the intent."""
    if not done.cancelled():
        done.exception()
