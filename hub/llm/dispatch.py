"""One model call on the governed path: which deployments it may go to, and what comes back from the one that answers."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Mapping
from hashlib import sha256
from math import ceil
from typing import Any

import msgspec
from msgspec import Struct

from hub.call import Call, Caller, Emit, Target, Tokens, Usage
from hub.llm.amount import Amount
from hub.llm.announced import OVER, RUNNING, Announced, announced, last_of
from hub.llm.attribution import attributed
from hub.llm.carry import Carrier, Passing, Stream, Translating, carrier
from hub.llm.catalogue import Catalogue
from hub.llm.charge import Charge
from hub.llm.delivery import Served, encoded
from hub.llm.endpoints import Endpoint
from hub.llm.head import Head
from hub.llm.needs import question
from hub.llm.providers import Place
from hub.llm.rooms import Rooms
from hub.llm.stored import Pin
from hub.llm.streaming import streamed
from hub.plan import Plan
from hub.policy.decide import Policy
from hub.refusal import InvalidRequest, NotFound, Refusal, UpstreamFault
from hub.routing.attempts import Attempts, Tried
from hub.routing.plan import Left, Stop
from hub.routing.provider import Attempt
from hub.routing.route import Deployed, Route
from hub.telemetry.logs import fields

log = logging.getLogger("hub.llm")

HEADERS = tuple[tuple[bytes, bytes], ...]
LARGE = 256 * 1024
"""Bytes of a request from which on it is read, and written anew, in a thread."""

_UNASKED = frozenset({"upstream_unavailable", "credential_unavailable", "breaker_open", "invalid_request"})
"""Results of attempts that no model has worked for, as statuses of errors are."""

_VISIBLE = re.compile(rb"[\x20-\x7e]*")
_RELAYED = frozenset({b"anthropic-beta", b"openai-beta"})
_IDEMPOTENCY = b"idempotency-key"
_BEARERS_FROM = "2026-10-21"
"""From this version on Anthropic's API takes its key as a bearer (research note on its versions)."""


class Sent(Struct, frozen=True):
    """What of a request over HTTP is of use to a provider."""

    headers: Mapping[bytes, bytes]
    request_id: str

    @property
    def version(self) -> str:
        return self.headers.get(b"anthropic-version", b"").decode("latin-1")[:32]


class Way(Struct, frozen=True):
    """A call as it would be sent: to which deployments, in their order, and which are left out."""

    call: Call
    route: Route
    stops: tuple[Stop, ...]
    left: tuple[Left, ...]
    charge: Charge


class Errand(Struct, frozen=True):
    """How one call resolves (`hub.plan.View`): what is asked, by which models and policy, with what."""

    endpoint: Endpoint
    head: Head
    sent: Sent
    catalogue: Catalogue
    policy: Policy
    places: Mapping[str, Place]
    """Of the providers as they were when it was asked."""
    rooms: Rooms
    extra: list[tuple[bytes, bytes]]
    """Headers of the answer to come."""
    pin: Pin | None = None
    """Where what the request refers to is kept; None: it refers to nothing, or nobody has looked (`hub.llm.following`)."""

    def resolve(self, call: Call, caller: Caller) -> Plan:
        """Raises as `way` does."""
        way = self.way(call, caller)
        dispatch = _Run(self, way.route, way.stops, way.left, way.charge).dispatch
        return Plan(way.call, dispatch=dispatch, charge=way.charge)

    def way(self, call: Call, caller: Caller) -> Way:
        """Where it would go. Raises `NotFound` for a model that is not there for this caller, `InvalidRequest` for what none of its
        providers can be asked."""
        model = self.catalogue.find(self.head.model, caller)
        if model is None:
            raise no_model()
        rooms = self.rooms
        kind, route, router, pin = self.endpoint.kind, model.route, rooms.router, self.pin
        asked = None if route.plain else question(self.head, kind, caller, model.name, route)
        able = router.stops(router.way(route, asked, caller) if pin is None else keeping(route, pin), self._has)
        if not able:
            raise InvalidRequest(f"no provider of this model offers {kind}", data={"param": "model"})
        allowed = [stop for stop in able if self.policy.allows(caller, model.name, stop.deployed.target, kind)]
        planned = router.plan(route, allowed or able, asked)
        if not planned.stops:
            lacking = ", ".join(sorted({left.why.partition(":")[2] for left in planned.left}))
            raise InvalidRequest(f"no deployment of this model can do what is asked: {lacking}", data={"param": "model"})
        left = planned.left
        if allowed and len(allowed) < len(able):
            left += tuple(Left(stop.deployed.target, "policy") for stop in able if stop not in allowed)
        shaped = msgspec.structs.replace(call, door=model.name, target=planned.stops[0].deployed.target)
        return Way(shaped, route, planned.stops, left, Charge(rooms.money, self.places, kind, self.head))

    def _has(self, target: Target) -> bool:
        place = self.places.get(target.upstream)
        return place is not None and (
            place.provider.spec.wire == self.endpoint.wire or self.endpoint.kind in ("chat", "responses", "messages")
        )


def no_model() -> NotFound:
    return NotFound("there is no such model for this key", data={"param": "model"})


class _Run:
    """A call under way."""

    def __init__(self, errand: Errand, route: Route, stops: tuple[Stop, ...], left: tuple[Left, ...], charge: Charge) -> None:
        self._errand = errand
        self._charge = charge
        self._route = route
        self._stops = stops
        self._left = left
        self._call: Call | None = None
        self._carrier: Carrier | None = None
        head, responses = errand.head, errand.endpoint.kind == "responses"
        self._background = responses and head.value("background") == b"true"
        self._kept = responses and (self._background or head.value("store") != b"false")
        """Whether the answer may be stored, so that its client can name it again."""
        self._at: Target | None = None
        """Where what `_carrier` carries goes."""
        self._response = ""
        """Its id, once that is on record."""

    async def dispatch(self, call: Call, emit: Emit) -> Served:
        errand, route = self._errand, self._route
        self._call = call
        if estimate := self._charge.shown:
            errand.extra.append((b"hub-cost-estimate", estimate.encode()))
        counted = errand.rooms.router.counted
        attempts = Attempts(route, self._stops, self._attempt, counted, streams=errand.head.stream)
        try:
            async with attempts as attempt:
                found = self._carrier
                assert found is not None
                if route.strategy == "weighted":
                    errand.extra.append((b"x-hub-variant", str(attempts.stop.deployed.target).encode()))
                if attempt.streams:
                    return await self._streamed(attempt, found.stream(), emit, attempts)
                return await self._whole(attempt, found, attempts)
        except Refusal as refusal:
            if all(one.result in _UNASKED or one.result.startswith("status:") for one in attempts.tried):
                self._charge.unsent()
            refusal.facts = facts_of(attempts.tried, self._left, None)
            raise

    async def _attempt(self, target: Target) -> Attempt:
        call = self._call
        assert call is not None
        charge = self._charge
        await charge.move(target)
        errand, place = self._errand, self._errand.places[target.upstream]
        provider = place.provider
        found = self._carrier
        if found is None or self._at is not target:  # who is asked again gets the same words
            found = self._carrier = await self._carried(place, target, call)
            self._at = target
        if provider.spec.wire == "anthropic":
            version = found.version or errand.sent.version or "2023-06-01"
            extra, bearer = lines_of(errand.sent, call, self._charge.caller, version), version >= _BEARERS_FROM
        else:
            extra, bearer = lines_of(errand.sent, call, self._charge.caller, ""), True
        request = found.request
        if place.pseudonym is not None:
            request = attributed(request, found.path, provider.spec.wire, place.quirks, place.pseudonym(charge.caller))
        charge.asking()
        return Attempt(provider, found.path, request, extra, bearer=bearer, deadline=call.deadline)

    async def _carried(self, place: Place, target: Target, call: Call) -> Carrier:
        errand = self._errand
        said = (errand.endpoint, place.provider.spec.wire, errand.head, target.name, place.quirks, errand.sent.version)
        found = carrier(*said) if len(errand.head.body) < LARGE else await asyncio.to_thread(carrier, *said)
        if found is None:
            raise InvalidRequest("this provider has no such endpoint", data={"param": "model"})
        if isinstance(found, Translating) and found.dropped:
            log.debug("hints without a counterpart were left out", extra=fields(request=call.id, members=found.dropped[:16]))
        return found

    async def _whole(self, attempt: Attempt, found: Carrier, attempts: Attempts) -> Served:
        status = checked(attempt)
        whole = found.whole(status, attempt.headers, attempt.body, self._errand.sent.request_id)
        answer = whole.answer
        headers = tuple(encoded(answer))
        usage = Usage(len(found.request), len(attempt.body), whole.tokens)
        facts = facts_of(attempts.tried, self._left, whole.tokens)
        if status != 200:
            if attempts.soonest is not None:
                headers = _waiting(headers, attempts.soonest)
            return Served(error=answer.body or b"{}", usage=usage, facts=facts, status=answer.status, headers=headers)
        if self._kept and isinstance(found, Passing) and (said := announced(answer.body)) is not None:
            running = self._background and said.status in RUNNING
            try:
                await self._keep(said, whole=True)
            except BaseException:
                if running:
                    self._later(said.id)  # the provider goes on with it
                raise
            if running:
                await self._later(said.id)
                facts["background"] = True
        return Served(result=answer.body, usage=usage, facts=facts, headers=headers)

    async def _streamed(self, attempt: Attempt, stream: Stream, emit: Emit, attempts: Attempts) -> Served:
        errand = self._errand
        keep = self._keep if self._kept and isinstance(self._carrier, Passing) else None
        assert self._carrier is not None
        amount = Amount("completions" if errand.endpoint.kind == "completions" else self._carrier.back)
        self._charge.follow(stream, amount)
        try:
            reply = await streamed(attempt, stream, emit, errand.endpoint.dialect, errand.rooms.keep_alive, amount=amount, keep=keep)
        except BaseException:
            if self._background and self._response:
                self._later(self._response)  # the provider goes on with it
            raise
        said = last_of(stream.last) if keep is not None else None
        if said is not None:
            await self._keep(said, whole=True)
        facts = facts_of(attempts.tried, self._left, stream.tokens)
        if self._background and self._response and stream.tokens is None and (said is None or said.status not in OVER):
            await self._later(self._response)  # it is only the stream that has ended
            facts["background"] = True
        return msgspec.structs.replace(reply, facts=facts)

    async def _keep(self, said: Announced, *, whole: bool = False) -> None:
        """Write whose a stored answer is; nothing where the provider says that it does not store it."""
        if said.store is False and not self._background:
            return
        charge, rooms = self._charge, self._errand.rooms
        if self._background and not whole and said.status not in OVER:  # others are to know of it, should this process die
            self._response = said.id
            await rooms.background.follow(charge.caller, said.id, charge.target, charge.due())
        await rooms.stored.keep(charge.caller, charge.target, charge.door, said, whole=whole)
        self._response = said.id

    def _later(self, response: str) -> Awaitable[None]:
        """What the answer costs is settled when it is there. Who awaits it knows that a process which dies changes nothing in that."""
        charge = self._charge
        target = charge.target
        return self._errand.rooms.background.tend(charge.caller, response, target, charge.defer())


def keeping(route: Route, pin: Pin) -> tuple[Deployed, ...]:
    """The deployment that keeps what a request refers to, or, of a model that is not there, another of the same provider.

    Raises `InvalidRequest` where the model is not to be had of that provider.
    """
    if pin.target is None:
        raise pin.refusal()
    ways = (route.deployments, *(rule.deployments for rule in route.rules))
    near = [one for way in ways for one in way if one.target.upstream == pin.target.upstream]
    found = next((one for one in near if one.target == pin.target), near[0] if near else None)
    if found is None:
        raise pin.elsewhere()
    return (found,)


def checked(attempt: Attempt) -> int:
    """The status of an answer. Raises `UpstreamFault` for one that is between the hub and the provider, or none of its API's."""
    status = attempt.response.status
    if status in (401, 403):
        raise UpstreamFault("the provider does not take the hub's credentials", detail=f"status {status}")
    if status != 200 and not 400 <= status < 600:
        raise UpstreamFault("the provider answered with a status that is none of its API's", detail=f"status {status}")
    return status


def facts_of(tried: list[Tried], left: tuple[Left, ...], tokens: Tokens | None) -> dict[str, Any]:
    """What the record of the outcome says beside how it ended."""
    found: dict[str, Any] = {"route": [_fact(one) for one in tried[-16:]]}
    if left:
        found["route_left"] = [{"upstream": one.target.upstream, "name": one.target.name, "why": one.why} for one in left[:16]]
    if tokens is not None:
        found["usage"] = msgspec.to_builtins(tokens)
    return found


def _fact(one: Tried) -> dict[str, Any]:
    found = {"upstream": one.target.upstream, "name": one.target.name, "result": one.result, "us": one.us}
    if one.queued:
        found["queued_us"] = one.queued
    return found | {"why": one.why} if one.why else found


def _waiting(headers: HEADERS, seconds: float) -> HEADERS:
    """The headers of an answer that asks to wait, with the time until the first deployment is ready, which may be another's."""
    kept = tuple((name, value) for name, value in headers if name not in (b"retry-after", b"retry-after-ms"))
    return (*kept, (b"retry-after", str(ceil(seconds)).encode()))


def lines_of(sent: Sent, call: Call, caller: Caller, version: str) -> bytes:
    """Header lines of this request alone."""
    lines: list[bytes] = []
    if (key := sent.headers.get(_IDEMPOTENCY)) is not None:
        lines.append(b"%b: %b\r\n" % (_IDEMPOTENCY, _own(caller, key)))
    if not _RELAYED.isdisjoint(sent.headers):
        given = [(name, value) for name, value in sent.headers.items() if name in _RELAYED]
        lines += [b"%b: %b\r\n" % pair for pair in given if _VISIBLE.fullmatch(pair[1])]
    if version and _VISIBLE.fullmatch(version.encode("latin-1")):
        lines.append(b"anthropic-version: " + version.encode("latin-1") + b"\r\n")
    if call.trace is not None:
        lines.append(b"traceparent: " + call.trace.traceparent.encode() + b"\r\n")
    return b"".join(lines)


def _own(caller: Caller, key: bytes) -> bytes:
    """An idempotency key that no other caller can have. Who shares a provider's key would get another's answer for the same one."""
    whose = (caller.org.encode(), caller.subject.encode(), key)
    return b"hub-" + sha256(b"".join(len(part).to_bytes(4) + part for part in whose)).hexdigest().encode()
