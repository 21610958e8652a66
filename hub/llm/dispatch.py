"""One model call on the governed path: which deployments it may go to, and what comes back from the one that answers."""

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from hub.call import Call, Caller, Chunk, Emit, Target, Tokens, Usage
from hub.llm.carry import Carrier, Stream, carrier
from hub.llm.catalogue import Catalogue
from hub.llm.delivery import Served
from hub.llm.endpoints import Endpoint
from hub.llm.head import Head
from hub.llm.providers import Place
from hub.pipeline import Plan
from hub.policy.decide import Policy
from hub.refusal import InvalidRequest, NotFound, UpstreamFault
from hub.routing.attempts import Attempts, Tried
from hub.routing.provider import Attempt

_VISIBLE = re.compile(rb"[\x20-\x7e]*")
_RELAYED = (b"anthropic-beta", b"openai-beta", b"idempotency-key")
_BEARERS_FROM = "2026-10-21"
"""From this version on Anthropic's API takes its key as a bearer (research note on its versions)."""


class Sent(Struct, frozen=True):
    """What of a request over HTTP is of use to a provider."""

    headers: Mapping[bytes, bytes]
    request_id: str

    @property
    def version(self) -> str:
        return self.headers.get(b"anthropic-version", b"").decode("latin-1")[:32]


class Errand(Struct, frozen=True):
    """How one call resolves (`hub.pipeline.View`)."""

    endpoint: Endpoint
    head: Head
    sent: Sent
    catalogue: Catalogue
    policy: Policy
    places: Mapping[str, Place]

    def resolve(self, call: Call, caller: Caller) -> Plan:
        """Raises `NotFound` for a model that is not there for this caller, `InvalidRequest` for what none of its providers can be asked."""
        model = self.catalogue.find(self.head.model, caller)
        if model is None:
            raise NotFound("there is no such model for this key", data={"param": "model"})
        kind = self.endpoint.kind
        able = [target for target in model.targets if self._has(target)]
        if not able:
            raise InvalidRequest(f"no provider of this model offers {kind}", data={"param": "model"})
        allowed = [target for target in able if self.policy.allows(caller, model.name, target, kind)] or able
        shaped = msgspec.structs.replace(call, door=model.name, target=allowed[0])
        run = _Run(self, tuple(allowed))
        return Plan(shaped, dispatch=run.dispatch)

    def _has(self, target: Target) -> bool:
        place = self.places.get(target.upstream)
        return place is not None and (
            place.provider.spec.wire == self.endpoint.wire or self.endpoint.kind in ("chat", "responses", "messages")
        )


class _Run:
    """A call under way."""

    def __init__(self, errand: Errand, targets: tuple[Target, ...]) -> None:
        self._errand = errand
        self._targets = targets
        self._carriers: dict[Target, Carrier] = {}

    async def dispatch(self, call: Call, emit: Emit) -> Served:
        attempts = Attempts(self._targets, lambda target: self._attempt(target, call))
        async with attempts as attempt:
            found = self._carriers[attempts.tried[-1].target]
            if attempt.streams:
                return await self._streamed(attempt, found.stream(), emit, attempts.tried)
            return self._whole(attempt, found, attempts.tried)

    def _attempt(self, target: Target, call: Call) -> Attempt:
        errand, place = self._errand, self._errand.places[target.upstream]
        provider = place.provider
        found = carrier(errand.endpoint, provider.spec.wire, errand.head, target.name, place.quirks, errand.sent.version)
        if found is None:
            raise UpstreamFault("this provider has no such endpoint")
        self._carriers[target] = found
        version = found.version or errand.sent.version or "2023-06-01"
        anthropic = provider.spec.wire == "anthropic"
        extra = _lines(errand.sent, call, version if anthropic else "")
        bearer = not anthropic or version >= _BEARERS_FROM
        return Attempt(provider, found.path, found.request, extra, bearer=bearer, deadline=call.deadline)

    def _whole(self, attempt: Attempt, found: Carrier, tried: list[Tried]) -> Served:
        status = attempt.response.status
        if status in (401, 403):
            raise UpstreamFault("the provider does not take the hub's credentials", detail=f"status {status}")
        if status != 200 and not 400 <= status < 600:
            raise UpstreamFault("the provider answered with a status that is none of its API's", detail=f"status {status}")
        whole = found.whole(status, attempt.response.headers, attempt.body, self._errand.sent.request_id)
        answer = whole.answer
        headers = tuple((name.encode(), value.encode("latin-1", "replace")) for name, value in answer.headers)
        usage = Usage(len(found.request), len(attempt.body), whole.tokens)
        facts = _facts(tried, whole.tokens)
        if status != 200:
            return Served(error=answer.body or b"{}", usage=usage, facts=facts, status=answer.status, headers=headers)
        return Served(result=answer.body, usage=usage, facts=facts, headers=headers)

    async def _streamed(self, attempt: Attempt, stream: Stream, emit: Emit, tried: list[Tried]) -> Served:
        digest, size = sha256(), 0
        chunk = attempt.body
        while chunk:
            size += len(chunk)
            if out := stream.feed(chunk):
                digest.update(out)
                await emit(Chunk("", out))
            chunk = await attempt.more()
        stream.finish()
        digest.update(stream.last)
        if not size:
            raise UpstreamFault("the provider's stream was empty")
        usage = Usage(0, size, stream.tokens)
        whole = b"sha256:" + digest.hexdigest().encode()
        return Served(result=stream.last, is_error=stream.failed, usage=usage, facts=_facts(tried, stream.tokens), committed=whole)


def _facts(tried: list[Tried], tokens: Tokens | None) -> dict[str, Any]:
    """What the record of the outcome says beside how it ended."""
    found: dict[str, Any] = {
        "route": [{"upstream": one.target.upstream, "name": one.target.name, "result": one.result, "us": one.us} for one in tried[-16:]]
    }
    if tokens is not None:
        found["usage"] = msgspec.to_builtins(tokens)
    return found


def _lines(sent: Sent, call: Call, version: str) -> bytes:
    """Header lines of this request alone."""
    lines = [
        b"%b: %b\r\n" % (name, sent.headers[name]) for name in _RELAYED if name in sent.headers and _VISIBLE.fullmatch(sent.headers[name])
    ]
    if version and _VISIBLE.fullmatch(version.encode("latin-1")):
        lines.append(b"anthropic-version: " + version.encode("latin-1") + b"\r\n")
    if call.trace is not None:
        lines.append(b"traceparent: " + call.trace.traceparent.encode() + b"\r\n")
    return b"".join(lines)
