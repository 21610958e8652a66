"""Takes a call along the governed path with a stopwatch, and tells of it once its answer is out: spans, and a line of the access log.

It stands between the path and what the path asks: resolver, policy, delivery, dispatch. What any of them says is passed on as it is. A
call that nobody looks on never comes here (`hub.pipeline.govern`).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

from msgspec.structs import replace

from hub.audit.journal import Receipt
from hub.call import Call, Caller, Chunk, Decision, Emit, Reply
from hub.entropy import take
from hub.pipeline import governed
from hub.plan import Answer, Charge, Decider, Delivery, Locate, Plan, Refused, Steps, View
from hub.refusal import Refusal
from hub.telemetry import told
from hub.telemetry.ended import Ended, Status, Timings
from hub.telemetry.logs import fields
from hub.trail import cut_by

log = logging.getLogger("hub.access")

MOST_READ = 1 << 20
"""Bytes of a whole answer that is looked into for why it ended; larger ones are not."""


class Watch:
    """`tell` takes what is known of a sampled call. Implements `hub.plan.Watch`."""

    def __init__(self, below: int, tell: Callable[[Ended], None] | None, *, access_log: bool) -> None:
        self.below = below
        self._tell = tell
        self._log = access_log

    def wants(self, call: Call) -> bool:
        return self._log or (self._tell is not None and call.trace is not None and call.trace.sampled)

    async def govern(self, steps: Steps, policy: Decider, view: View, call: Call, caller: Caller, delivery: Delivery) -> Answer:
        run = _Run(policy, view, call, delivery)
        try:
            answer = await governed(steps, run, run, call, caller, run)
        except Refused as refused:
            status: Status = "error" if run.timings.opened else "refused"
            self._after(run, caller, status, refused.refusal.code, facts=refused.refusal.facts)
            raise
        except asyncio.CancelledError as cancelled:
            self._after(run, caller, "aborted", cut_by(cancelled))
            raise
        reply = answer.reply
        failed = "upstream_error" if reply.error else "tool_error" if reply.is_error else ""
        self._after(run, caller, "error" if failed else "ok", failed, reply, reply.facts)
        return answer

    def rejected(self, call: Call, caller: Caller, refusal: Refusal) -> None:
        now = time.perf_counter_ns()
        self._told(Ended(call, caller, "refused", refusal.code, time.time_ns(), Timings(begin=now, end=now), ""))

    def _after(
        self, run: "_Run", caller: Caller, status: Status, code: str, reply: Reply | None = None, facts: dict[str, Any] | None = None
    ) -> None:
        """Told in the loop's next turn, when the answer is on its way."""
        run.timings.end = time.perf_counter_ns()
        route = _route(facts)
        run.timings.queue = _queued(route)
        ended = Ended(run.call, caller, status, code, run.at, run.timings, run.client_span, run.decision, reply, route=route)
        if run.heard is not None:
            ended.streamed, ended.said = True, run.heard.said
        asyncio.get_running_loop().call_soon(self._told, ended)

    def _told(self, ended: Ended) -> None:
        if self._log:
            _write(ended)
        trace = ended.call.trace
        if self._tell is None or trace is None or not trace.sampled:
            return
        reply = ended.reply
        if ended.said is None and reply is not None and ended.call.kind.startswith("llm.") and len(reply.result) <= MOST_READ:
            ended.said = told.whole(reply.result)
        self._tell(ended)


class _Run:
    """One call under way, seen from between: it is resolver, policy and delivery to the path."""

    def __init__(self, policy: Decider, view: View, call: Call, delivery: Delivery) -> None:
        self.at = time.time_ns()
        auth, receive = _before(call)
        self.timings = Timings(begin=time.perf_counter_ns(), auth=auth, receive=receive)
        self.call = call
        self.client_span = ""
        self.decision: Decision | None = None
        self.heard: told.Listener | None = None
        self._policy = policy
        self._view = view
        self._delivery = delivery
        self._inspect: Callable[[Any], None] | None = None
        self._way: Callable[[Call, Emit], Awaitable[Reply]] | None = None

    def resolve(self, call: Call, caller: Caller) -> Plan:
        began = time.perf_counter_ns()
        try:
            plan = self._view.resolve(call, caller)
        finally:
            self.timings.resolve = time.perf_counter_ns() - began
        self.call = plan.call
        if plan.locate is not None:
            return replace(plan, locate=partial(self._located, plan.locate))
        return self._watched(plan)

    async def _located(self, locate: Locate) -> Plan:
        """To look the target up is a part of resolving."""
        began = time.perf_counter_ns()
        try:
            plan = await locate()
        finally:
            self.timings.resolve += time.perf_counter_ns() - began
        self.call = plan.call
        return self._watched(plan)

    def _watched(self, plan: Plan) -> Plan:
        if plan.dispatch is None:
            return plan
        self._inspect, self._way = plan.inspect, plan.dispatch
        charge = None if plan.charge is None else _Timed(plan.charge, self.timings)
        return replace(plan, inspect=self._inspected, dispatch=self._dispatched, charge=charge)

    def decide(self, call: Call, caller: Caller) -> Decision:
        began = time.perf_counter_ns()
        self.decision = self._policy.decide(call, caller)
        self.timings.decide = time.perf_counter_ns() - began
        return self.decision

    def opened(self, receipt: Receipt) -> None:
        self.timings.opened = time.perf_counter_ns()
        self._delivery.opened(receipt)

    async def emit(self, chunk: Chunk) -> None:
        if not chunk.method:  # a piece of a stream; anything else is a message that goes ahead of the answer
            if self.heard is None:
                self.heard = told.Listener()
                self.timings.first = time.perf_counter_ns()
            self.heard.hear(chunk.params)
        await self._delivery.emit(chunk)

    def _inspected(self, arguments: Any) -> None:
        self.timings.inspect = time.perf_counter_ns()
        if self._inspect is not None:
            self._inspect(arguments)

    async def _dispatched(self, call: Call, emit: Emit) -> Reply:
        """Downstream, the span that stands for what is asked there is the parent."""
        assert self._way is not None
        trace = call.trace
        if trace is not None and trace.sampled:
            self.client_span = take(8).hex()
            call = replace(call, trace=replace(trace, span_id=self.client_span))
        self.timings.sent = time.perf_counter_ns()
        try:
            return await self._way(call, emit)
        finally:
            self.timings.answered = time.perf_counter_ns()


class _Timed:
    """The money of a call (`hub.plan.Charge`) under a stopwatch. The record of the outcome gets the steps up to then."""

    def __init__(self, charge: Charge, timings: Timings) -> None:
        self._charge = charge
        self._timings = timings

    async def reserve(self, call: Call, caller: Caller) -> None:
        began = time.perf_counter_ns()
        try:
            await self._charge.reserve(call, caller)
        finally:
            self._timings.reserve = time.perf_counter_ns() - began

    async def settle(self, reply: Reply, microseconds: int) -> Reply:
        began = time.perf_counter_ns()
        reply = await self._charge.settle(reply, microseconds)
        timings = self._timings
        timings.settle = time.perf_counter_ns() - began
        timings.queue = _queued(_route(reply.facts))
        return replace(reply, facts={**(reply.facts or {}), "steps": timings.microseconds()})

    def end(self, microseconds: int) -> dict[str, Any] | None:
        return self._charge.end(microseconds)


def _route(facts: dict[str, Any] | None) -> tuple[dict[str, object], ...]:
    """The attempts, as the record has them."""
    return tuple(cast("list[dict[str, object]]", (facts or {}).get("route", ())))


def _queued(route: tuple[dict[str, object], ...]) -> int:
    """Nanoseconds that all attempts waited for room."""
    return sum(us for one in route if isinstance(us := one.get("queued_us", 0), int)) * 1000


def _before(call: Call) -> tuple[int, int]:
    """Nanoseconds of the request's head until its caller was known, and from then until now."""
    if not call.arrived:
        return 0, 0
    admitted = call.admitted or call.arrived
    return max(0, int((admitted - call.arrived) * 1e9)), max(0, int((time.monotonic() - admitted) * 1e9))


def _write(ended: Ended) -> None:
    """One line of the access log. No text that a client made up or a model wrote: a name only where something has it."""
    call, tokens = ended.call, ended.reply.usage.tokens if ended.reply is not None else None
    line: dict[str, Any] = {
        "request": call.id,
        "trace": call.trace.trace_id if call.trace is not None else "",
        "org": ended.caller.org,
        "key": ended.caller.key_id,
        "kind": call.kind,
        "door": call.door if call.target is not None or call.kind.startswith("mcp.") else "",
        "target": str(call.target) if call.target is not None else "",
        "status": ended.status,
        "code": ended.code,
        "us": (ended.timings.end - ended.timings.begin) // 1000,
        "steps": ended.timings.microseconds(),
    }
    if tokens is not None:
        line |= {"input_tokens": tokens.input, "output_tokens": tokens.output}
    log.info("call", extra=fields(**{name: value for name, value in line.items() if value != ""}))
