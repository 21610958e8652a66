"""The governed path: who asks, may they, can they afford it, is the content fit, where does it go, and what is kept of it.

Each step is one call into a room of its own; this file only fixes their order (docs/path.md draws it):

    authenticate → limits of the caller → resolve → decide → limits of the target → inspect → intent → dispatch → outcome

where a call costs money, that is set aside before the intent and settled before the outcome (`charged`).

Resolve and decide are synchronous and change nothing. Where limits have to be waited for, they are asked ahead of their turn, so that one
wait is for the limits of caller and target together (`Ahead`); whoever is refused hears what he would have heard in the order above.

It knows no wire protocol. A call that leaves the hub has its intent durable before anything is sent and its outcome durable before
the answer is handed back; a call the hub answers itself, or refuses, has one record. No record, no answer.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from msgspec import Struct

from hub.audit import record
from hub.audit.journal import Journal, Receipt
from hub.audit.record import Status
from hub.budget.limiter import Entry, Hold, Limiter, Question
from hub.call import Call, Caller, Chunk, Credential, Decision, Emit, Reply, Target
from hub.entropy import take
from hub.identity.authenticate import Identity
from hub.refusal import Denied, Internal, JournalDown, Limited, OutcomeUnrecorded, Refusal, StoreDown
from hub.telemetry.metrics import Metrics

ABORTED = frozenset({"client_gone", "key_revoked", "keys_unchecked", "cancelled", "hub_stopping"})
"""Why a call was cut off, as records say it."""


Dispatch = Callable[[Call, Emit], Awaitable[Reply]]


class Charge(Protocol):
    """The money of one call that costs any."""

    async def reserve(self, call: Call, caller: Caller) -> None:
        """Set aside what it costs at most. Raises `BudgetExceeded`, `Limited`, `Unpriced`, `StoreDown`: nothing is sent then."""
        ...

    async def settle(self, reply: Reply, microseconds: int) -> Reply:
        """Spend what it did cost; the reply bears it from then on."""
        ...

    def end(self) -> None:
        """The call is over: what was not settled is."""
        ...


class Plan(Struct, frozen=True):
    """What `resolve` makes of a call: the call as it would be sent, and how it is answered.

    Exactly one of `dispatch` (bytes leave the hub) and `answer` (the hub answers by itself) is set. `inspect` takes the arguments and
    may refuse them. `charge` is set where the call costs money.
    """

    call: Call
    dispatch: Dispatch | None = None
    answer: Callable[[Caller], Awaitable[Reply]] | None = None
    inspect: Callable[[Any], None] | None = None
    charge: Charge | None = None


class View(Protocol):
    """What an edge resolves by: immutable, of one configuration generation."""

    def resolve(self, call: Call, caller: Caller) -> Plan:
        """Turn the advertised name into the stable target. Raises a `Refusal` where there is none for this caller."""
        ...


class Decider(Protocol):
    """What decides: the policy of one generation."""

    def decide(self, call: Call, caller: Caller) -> Decision:
        """Whether a resolved call may be made."""
        ...


class TargetLimits(Protocol):
    """What is asked for the limits of a target."""

    def enter_target(self, caller: Caller, target: Target) -> Entry:
        """See `Limiter.enter_target`."""
        ...


class Delivery(Protocol):
    """The edge's side of an answer under way."""

    def opened(self, receipt: Receipt) -> None:
        """Called when the intent is durable: its receipt goes into the headers of a stream."""
        ...

    async def emit(self, chunk: Chunk) -> None:
        """Deliver a message that precedes the reply."""
        ...


class Answer(Struct, frozen=True):
    """A reply and the receipt of the last record durable before it."""

    reply: Reply
    receipt: Receipt
    call: Call


class Refused(Exception):
    """A refusal of a known caller, already recorded: `receipt` is the record's, or None where the journal was down."""

    def __init__(self, refusal: Refusal, receipt: Receipt | None) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
        self.receipt = receipt


class Watch(Protocol):
    """Who looks on at some of the calls, for spans and the access log."""

    below: int
    """Which new traces are sampled (`hub.telemetry.trace.threshold`)."""

    def wants(self, call: Call) -> bool:
        """Whether this call is one of them."""
        ...

    def govern(
        self, steps: "Steps", policy: Decider, view: View, call: Call, caller: Caller, delivery: Delivery
    ) -> Coroutine[Any, Any, Answer]:
        """As `governed`, looking on."""
        ...

    def rejected(self, call: Call, caller: Caller, refusal: Refusal) -> None:
        """A request that never became a call was refused."""
        ...


class Steps(Struct):
    """The rooms of the path, put together once in `hub.app`. Policy is not among them: it belongs to the generation a call began with.

    `watch` is None where nobody looks on: what a call costs then is to find that out. `sampled` says which new traces it is to be.
    """

    identity: Identity
    limits: Limiter
    journal: Journal
    metrics: Metrics
    watch: Watch | None = None

    @property
    def sampled(self) -> int:
        watch = self.watch
        return watch.below if watch is not None else 0


def authenticate(steps: Steps, credential: Credential, source: str) -> Caller:
    """Who is asking. First on the path, once for all the calls of one request, before its body is even read.

    `source` is the peer's address. Failures are not recorded one by one, which a stranger could use to fill the journal: they are
    counted by (source, code, second). Raises `Unauthenticated`, or `StoreDown` when revocations cannot be seen at the moment.
    """
    try:
        return steps.identity.authenticate(credential)
    except Refusal as refusal:
        steps.metrics.refused(refusal.code)
        steps.journal.coalesce(refusal.code, source)
        raise


async def reject(steps: Steps, caller: Caller, call: Call, refusal: Refusal) -> Refused:
    """Record a refusal that happened before there was a call to govern, such as an unreadable body; return what to raise.

    It counts against the limits of the caller: each such request is a record all the same.
    """
    try:
        entry = steps.limits.enter_caller(caller)
        (entry if isinstance(entry, Hold) else await entry).release()
    except (Limited, StoreDown) as uncounted:
        refusal = uncounted
    if steps.watch is not None and steps.watch.wants(call):
        steps.watch.rejected(call, caller, refusal)
    return Refused(refusal, await Trail(steps, call, caller).refuse(refusal))


def govern(steps: Steps, policy: Decider, view: View, call: Call, caller: Caller, delivery: Delivery) -> Coroutine[Any, Any, Answer]:
    """`governed`, looked on by who wants to (`Steps.watch`)."""
    watch = steps.watch
    if watch is None or not watch.wants(call):
        return governed(steps, policy, view, call, caller, delivery)
    return watch.govern(steps, policy, view, call, caller, delivery)


async def governed(steps: Steps, policy: Decider, view: View, call: Call, caller: Caller, delivery: Delivery) -> Answer:
    """Take `call` along the rest of the path. Raises `Refused` for every no, which is then recorded.

    Cancelling it, as an edge does when its client has left, cancels the work downstream and records the outcome `aborted`, with the
    message of the cancellation as its code where that is one of `ABORTED`.
    """
    trail = Trail(steps, call, caller)
    limits: TargetLimits = steps.limits
    try:
        entry = limits.enter_caller(caller)
        if not isinstance(entry, Hold):
            if isinstance(entry, Question):
                view = policy = limits = ahead(entry, limits, policy, view, call, caller)
            entry = await entry
        with entry:
            plan = view.resolve(call, caller)
            trail.call = call = plan.call
            if plan.answer is not None:
                return await trail.close(await plan.answer(caller))
            assert plan.dispatch is not None
            if call.target is None:  # a stream of the hub's own: its door was checked by resolve, there is nothing further to decide
                delivery.opened(await trail.open())
                return await trail.close(await plan.dispatch(call, delivery.emit))
            trail.decision = policy.decide(call, caller)
            if not trail.decision.allow:
                reasons = list(trail.decision.reasons)
                raise Denied(f"policy does not allow this call ({', '.join(reasons)})", data={"reasons": reasons})
            entry = limits.enter_target(caller, call.target)
            with entry if isinstance(entry, Hold) else await entry:
                if plan.inspect is not None:
                    plan.inspect(call.arguments)
                if plan.charge is not None:
                    return await charged(trail, plan.charge, plan.dispatch, delivery)
                delivery.opened(await trail.open())
                return await trail.close(await plan.dispatch(call, delivery.emit))
    except Refusal as refusal:
        raise Refused(refusal, await trail.refuse(refusal)) from refusal
    except asyncio.CancelledError as cancelled:
        trail.abort(cancelled.args[0] if cancelled.args and cancelled.args[0] in ABORTED else "cancelled")
        raise
    except Exception as error:
        fault = Internal("the hub failed to handle this call; the operator's log has the details under this request id")
        receipt = await trail.refuse(fault)
        raise Refused(fault, receipt) from error


async def charged(trail: "Trail", charge: Charge, dispatch: Dispatch, delivery: Delivery) -> Answer:
    """The end of the path for a call that costs money: set aside, sent, settled, whatever becomes of it."""
    call = trail.call
    try:
        await charge.reserve(call, trail.caller)
        delivery.opened(await trail.open())
        reply = await dispatch(call, delivery.emit)
        return await trail.close(await charge.settle(reply, trail.microseconds()))
    finally:
        charge.end()


class Ahead(Struct):
    """What resolve, policy and the limits of the target say of one call: found out ahead, and said again when their turn comes.

    `fault` is what the first of them raised that was asked and has no answer here.
    """

    plan: Plan | None = None
    decision: Decision | None = None
    target: Entry | None = None
    fault: Exception | None = None

    def resolve(self, call: Call, caller: Caller) -> Plan:
        if self.plan is None:
            raise self._fault()
        return self.plan

    def decide(self, call: Call, caller: Caller) -> Decision:
        if self.decision is None:
            raise self._fault()
        return self.decision

    def enter_target(self, caller: Caller, target: Target) -> Entry:
        if self.target is None:
            raise self._fault()
        return self.target

    def _fault(self) -> Exception:
        """Kept no longer: what is raised holds the frames it passes, and one of them this."""
        fault, self.fault = self.fault, None
        assert fault is not None
        return fault


def ahead(question: Question, limits: TargetLimits, policy: Decider, view: View, call: Call, caller: Caller) -> Ahead:
    """Go along the path as far as the limits of the target, where it leads there, and have `question` ask for these as well."""
    plan = decision = None
    try:
        plan = view.resolve(call, caller)
        if plan.call.target is None or plan.answer is not None:
            return Ahead(plan)
        decision = policy.decide(plan.call, caller)
        if not decision.allow:
            return Ahead(plan, decision)
        target = limits.enter_target(caller, plan.call.target)
    except Exception as fault:
        return Ahead(plan, decision, fault=fault)
    question.join(target)
    return Ahead(plan, decision, target)


class Trail:
    """The records of one call: at most one intent, exactly one end."""

    def __init__(self, steps: Steps, call: Call, caller: Caller) -> None:
        self.call = call
        self.caller = caller
        self.decision = _UNDECIDED
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
            return await self._end("error" if self._sent else "refused", refusal.code, None)
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
            if facts is not None:
                entry.update(facts)
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
