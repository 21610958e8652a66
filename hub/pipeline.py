"""The governed path: who asks, may they, can they afford it, is the content fit, where does it go, and what is kept of it.

Each step is one call into a room of its own; this file only fixes their order (docs/path.md draws it):

    authenticate → limits of the caller → resolve → decide → limits of the target → inspect → intent → dispatch → outcome

where a call costs money, that is set aside before the intent and settled before the outcome (`charged`).

Resolve and decide are synchronous and change nothing. A target that only a store can name is looked up between them (`Plan.locate`), for
whom the limits of the caller have let through. Where limits have to be waited for, they are asked ahead of their turn, so that one
wait is for the limits of caller and target together (`Ahead`); whoever is refused hears what he would have heard in the order above.

It knows no wire protocol. A call that leaves the hub has its intent durable before anything is sent and its outcome durable before
the answer is handed back; a call the hub answers itself, or refuses, has one record. No record, no answer.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from msgspec import Struct

from hub.budget.limiter import Entry, Hold, Question
from hub.call import Call, Caller, Credential, Decision, Target
from hub.identity.authenticate import Unheard
from hub.plan import Answer, Charge, Decider, Delivery, Dispatch, Locate, Plan, Refused, Steps, TargetLimits, View
from hub.refusal import Denied, Internal, Limited, Refusal, StoreDown
from hub.trail import Trail, cut_by


async def authenticate(steps: Steps, credential: Credential, source: str) -> Caller:
    """Who is asking. First on the path, once for all the calls of one request, before its body is even read.

    `source` is the peer's address. Failures are not recorded one by one, which a stranger could use to fill the journal: they are
    counted by (source, code, second). Raises `Unauthenticated`, or `StoreDown` when revocations cannot be seen at the moment.
    """
    identity = steps.identity
    try:
        try:
            return identity.authenticate(credential)
        except Unheard:
            return await identity.authenticate_anew(credential)
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
            if plan.dispatch is None:
                plan = plan if plan.locate is None else await located(trail, plan.locate)
                if plan.answer is not None:
                    return await trail.close(await plan.answer(caller))
                call = plan.call
            assert plan.dispatch is not None
            if call.target is None:  # a stream of the hub's own: its door was checked by resolve, there is nothing further to decide
                delivery.opened(await trail.open())
                return await trail.close(await plan.dispatch(call, delivery.emit))
            trail.decision = policy.decide(call, caller)
            if not trail.decision.allow:
                raise denied(trail.decision)
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
        trail.abort(cut_by(cancelled))
        raise
    except Exception as error:
        fault = Internal("the hub failed to handle this call; the operator's log has the details under this request id")
        receipt = await trail.refuse(fault)
        raise Refused(fault, receipt) from error


def denied(decision: Decision) -> Denied:
    reasons = list(decision.reasons)
    return Denied(f"policy does not allow this call ({', '.join(reasons)})", data={"reasons": reasons})


async def located(trail: Trail, locate: Locate) -> Plan:
    """The plan of a call whose target only a store can name, which is asked now."""
    plan = await locate()
    trail.call = plan.call
    return plan


async def charged(trail: "Trail", charge: Charge, dispatch: Dispatch, delivery: Delivery) -> Answer:
    """The end of the path for a call that costs money: set aside, sent, settled, whatever becomes of it."""
    call = trail.call
    try:
        await charge.reserve(call, trail.caller)
        delivery.opened(await trail.open())
        reply = await dispatch(call, delivery.emit)
        return await trail.close(await charge.settle(reply, trail.microseconds()))
    finally:
        trail.facts = charge.end(trail.microseconds())


class Ahead(Struct):
    """What resolve, policy and the limits of the target say of one call: found out ahead, and said again when their turn comes.

    `fault` is what the first of them raised that was asked and has no answer here. Of a call whose target is still to be located, `policy`
    and `limits` are asked when their turn has come.
    """

    plan: Plan | None = None
    decision: Decision | None = None
    target: Entry | None = None
    fault: Exception | None = None
    policy: Decider | None = None
    limits: TargetLimits | None = None

    def resolve(self, call: Call, caller: Caller) -> Plan:
        if self.plan is None:
            raise self._fault()
        return self.plan

    def decide(self, call: Call, caller: Caller) -> Decision:
        if self.decision is None:
            if self.policy is None:
                raise self._fault()
            return self.policy.decide(call, caller)
        return self.decision

    def enter_target(self, caller: Caller, target: Target) -> Entry:
        if self.target is None:
            if self.limits is None:
                raise self._fault()
            return self.limits.enter_target(caller, target)
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
            return Ahead(plan, policy=policy, limits=limits)
        decision = policy.decide(plan.call, caller)
        if not decision.allow:
            return Ahead(plan, decision)
        target = limits.enter_target(caller, plan.call.target)
    except Exception as fault:
        return Ahead(plan, decision, fault=fault)
    question.join(target)
    return Ahead(plan, decision, target)
