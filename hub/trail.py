"""The records of one call: at most one intent, exactly one end, and what is told to the metrics of it."""

import asyncio
import time
from typing import Any

from hub.audit import record
from hub.audit.journal import Receipt
from hub.audit.record import Status
from hub.call import Call, Caller, Decision, Reply
from hub.entropy import take
from hub.plan import Answer, Refused, Steps
from hub.refusal import JournalDown, Limited, OutcomeUnrecorded, Refusal, StoreDown

ABORTED = frozenset({"client_gone", "key_revoked", "keys_unchecked", "cancelled", "hub_stopping"})
"""Why a call was cut off, as records say it."""


def cut_by(cancelled: asyncio.CancelledError) -> str:
    """The one of `ABORTED` that a cancellation bears as its message."""
    said = cancelled.args[0] if cancelled.args else ""
    return said if said in ABORTED else "cancelled"


class Trail:
    """The records of one call: at most one intent, exactly one end."""

    def __init__(self, steps: Steps, call: Call, caller: Caller) -> None:
        self.call = call
        self.caller = caller
        self.decision = _UNDECIDED
        self.facts: dict[str, Any] | None = None
        """What the outcome says besides, of a call that ended without a reply."""
        self._journal = steps.journal
        self._metrics = steps.metrics
        self._started = time.perf_counter_ns()
        self._opened: dict[str, Any] | None = None
        self._intent: Receipt | None = None
        self._sent = False
        self._ended = False

    async def open(self) -> Receipt:
        """Make the intent durable. Nothing may leave the hub before this has returned."""
        self._opened = entry = record.intent(self.call, self.caller, self.decision, take(32))
        self._sent = True  # before the wait: a caller who leaves during it has an intent all the same, which needs its outcome
        try:
            self._intent = await self._journal.append(self.caller.org, entry)
        except JournalDown:
            self._sent = False
            raise
        return self._intent

    async def close(self, reply: Reply) -> Answer:
        """Make the end durable. Nothing may be answered before this has returned."""
        status: Status = "error" if reply.error or reply.is_error else "ok"
        code = "upstream_error" if reply.error else "tool_error" if reply.is_error else ""
        receipt = await self._end(status, code, reply.committed or reply.error or reply.result, reply.facts)
        self._metrics.called(self.call.kind, status, self._elapsed())
        return Answer(reply, receipt, self.call)

    async def refuse(self, refusal: Refusal) -> Receipt | None:
        """Record a refusal; where the journal itself is what failed there is nothing to record it in."""
        self._metrics.called(self.call.kind, "refused", self._elapsed())
        self._metrics.refused(refusal.code)
        if isinstance(refusal, OutcomeUnrecorded | JournalDown):
            return None
        uncounted = isinstance(refusal, Limited | StoreDown) and not self._sent
        if uncounted and self._journal.repeats(f"{self.caller.key_id}/{refusal.data.get('limit')}"):
            self._journal.coalesce(refusal.code, self.caller.key_id)  # a caller refused at its limits must not grow the journal without one
            return None
        try:
            return await self._end("error" if self._sent else "refused", refusal.code, None, refusal.facts)
        except JournalDown as down:
            raise Refused(down, None) from refusal
        except OutcomeUnrecorded as unrecorded:
            raise Refused(unrecorded, None) from refusal

    def abort(self, code: str) -> None:
        """Record that the caller left or was cut off. Nobody waits for it: no answer depends on it any more."""
        if self._ended:
            return
        self._metrics.called(self.call.kind, "aborted", self._elapsed())
        future = self._journal.append(self.caller.org, self._entry("aborted", code, None))
        future.add_done_callback(_seen)

    async def _end(self, status: Status, code: str, reply: bytes | None, facts: dict[str, Any] | None = None) -> Receipt:
        self._ended = True
        try:
            return await self._journal.append(self.caller.org, self._entry(status, code, reply, facts))
        except JournalDown:
            if self._sent:
                raise OutcomeUnrecorded from None
            raise

    def _entry(self, status: Status, code: str, reply: bytes | None, facts: dict[str, Any] | None = None) -> dict[str, Any]:
        call, caller, decision, intent = self.call, self.caller, self.decision, self._intent
        salt, us = take(32), self._elapsed() // 1000
        if self._sent:
            like = self._opened
            entry = record.outcome(call, caller, decision, status=status, code=code, us=us, reply=reply, salt=salt, of=intent, like=like)
            for besides in (self.facts, facts):
                if besides is not None:
                    entry.update(besides)
            return entry
        decided = None if decision is _UNDECIDED else decision
        return record.single(call, caller, decided, status=status, code=code, us=us, reply=reply, salt=salt)

    def microseconds(self) -> int:
        """Since the call came."""
        return self._elapsed() // 1000

    def _elapsed(self) -> int:
        return time.perf_counter_ns() - self._started


def _seen(done: "asyncio.Future[Receipt]") -> None:
    """Nobody waits for this record; a failure of the journal shows in its own metrics and in the next call."""
    if not done.cancelled():
        done.exception()


_UNDECIDED = Decision(allow=False)
