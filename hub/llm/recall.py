"""A stored response asked for again: read, deleted, cancelled, its input listed. The provider that keeps it answers, in its own words.

The caller must be the one who made it, and may then do so only as far as its grants and policy let it use that model now.
"""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from hub.call import Call, Caller, Emit, Target, Usage
from hub.grants import may_enter
from hub.llm.carry import Passed, kept_headers
from hub.llm.catalogue import Catalogue, Model
from hub.llm.delivery import Served
from hub.llm.dispatch import Sent, checked, facts_of, lines_of
from hub.llm.providers import Place
from hub.llm.rooms import Rooms
from hub.llm.stored_rows import Row
from hub.llm.streaming import streamed
from hub.plan import Plan
from hub.refusal import InvalidRequest, MethodNotFound, NotFound, Refusal
from hub.routing.attempts import Attempts
from hub.routing.plan import Stop
from hub.routing.provider import Attempt
from hub.routing.route import Deployed, Route

PREFIX = "/v1/responses/"
_ID = re.compile(r"[A-Za-z0-9._-]{1,256}")
_QUERY = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:@/?%\[\]-]{0,4096}")
_STREAMS = re.compile(rb"(?:^|&)stream=(?:true|True|1)(?:&|$)")
_KINDS = {
    ("GET", ""): "get",
    ("DELETE", ""): "delete",
    ("POST", "cancel"): "cancel",
    ("GET", "input_items"): "input_items",
}


class Wish(Struct, frozen=True):
    """What is asked of which response. `kind` is `get`, `delete`, `cancel` or `input_items`."""

    kind: str
    method: str
    response: str
    path: str
    """Behind the provider's `base_url`, with the query as it came."""
    streams: bool


def wish(method: str, path: str, query: bytes) -> Wish:
    """`path` is one of this API's (`hub.llm.routes`). Raises `MethodNotFound` for no method of it, `NotFound` for what can be no id,
    `InvalidRequest` for a bad query."""
    response, _, rest = path.removeprefix(PREFIX).partition("/")
    kind = _KINDS.get((method, rest))
    if kind is None:
        raise MethodNotFound(f"{method} is not to be had here")
    if _ID.fullmatch(response) is None or not response.strip("."):
        raise unknown()
    if _QUERY.fullmatch(query) is None:
        raise InvalidRequest("the query cannot be read")
    asked = "?" + query.decode() if query else ""
    behind = f"/responses/{response}{'/' if rest else ''}{rest}{asked}"
    return Wish(kind, method, response, behind, kind == "get" and _STREAMS.search(query) is not None)


def unknown() -> NotFound:
    """The same whether it never was, is gone, or is somebody else's."""
    return NotFound("there is no such response for this key")


class Recall(Struct, frozen=True):
    """How it resolves (`hub.plan.View`): the database says which provider keeps it, and under which model it was made."""

    wish: Wish
    sent: Sent
    catalogue: Catalogue
    places: Mapping[str, Place]
    rooms: Rooms

    def resolve(self, call: Call, caller: Caller) -> Plan:
        async def locate() -> Plan:
            return self._plan(call, caller, await self.rooms.stored.find(caller, self.wish.response))

        return Plan(call, locate=locate)

    def _plan(self, call: Call, caller: Caller, row: Row | None) -> Plan:
        """Raises `NotFound` where the response, its model or its provider is not there for this caller."""
        model = self.catalogue.find(row.door, caller) if row is not None else None
        if row is None or model is None or not self._there(model, row.target, caller):
            raise unknown()
        ways = (model.route.deployments, *(rule.deployments for rule in model.route.rules))
        deployed = next((one for way in ways for one in way if one.target == row.target), Deployed(row.target))
        [stop] = self.rooms.router.stops((deployed,), lambda _: True)
        shaped = replace(call, name=row.door, door=row.door, target=row.target, committed=self.wish.path.encode())
        return Plan(shaped, dispatch=_Asking(self, row, model.route, stop, caller).dispatch)

    def _there(self, model: Model, target: Target, caller: Caller) -> bool:
        """A deployment that has been taken out of its route still answers for what it keeps, if its provider is there for the caller."""
        place, owner = self.places.get(target.upstream), self.catalogue.providers.get(target.upstream)
        if place is None or owner is None or place.provider.spec.wire != "openai":
            return False
        return target in model.route.targets or may_enter(caller, owner.org, owner.shared)


class _Asking:
    """One such call under way."""

    def __init__(self, recall: Recall, row: Row, route: Route, stop: Stop, caller: Caller) -> None:
        self._recall = recall
        self._row = row
        self._route = route
        self._stop = stop
        self._caller = caller

    async def dispatch(self, call: Call, emit: Emit) -> Served:
        recall, background = self._recall, self._recall.rooms.background
        if recall.wish.kind == "delete":
            await background.look(self._caller, self._row.response)
        attempts = Attempts(
            self._route, (self._stop,), lambda target: self._attempt(target, call), recall.rooms.router.counted, streams=recall.wish.streams
        )
        try:
            async with attempts as attempt:
                if attempt.streams:
                    stream = Passed("responses", strip=False)
                    reply = await streamed(attempt, stream, emit, "responses", recall.rooms.keep_alive)
                    settled = await background.told(self._caller, self._row.response, stream.tokens, failed=stream.failed)
                    return replace(reply, usage=Usage(0, reply.usage.bytes_out), facts=self._facts(attempts, settled))
                return await self._whole(attempt, attempts)
        except Refusal as refusal:
            refusal.facts = facts_of(attempts.tried, (), None)
            raise

    async def _attempt(self, target: Target, call: Call) -> Attempt:
        recall, wish = self._recall, self._recall.wish
        provider = recall.places[target.upstream].provider
        extra = lines_of(recall.sent, call, self._caller, "")
        return Attempt(provider, wish.path, b"", extra, bearer=True, deadline=call.deadline, method=wish.method)

    async def _whole(self, attempt: Attempt, attempts: Attempts) -> Served:
        """The provider's answer as it came. What it deleted is forgotten here before the client hears of it."""
        status, body = checked(attempt), attempt.body
        headers, recall, row = kept_headers(attempt.headers), self._recall, self._row
        usage = Usage(0, len(body))
        if status != 200:
            return Served(error=body or b"{}", usage=usage, facts=self._facts(attempts, None), status=status, headers=headers)
        settled = None
        if recall.wish.kind in ("get", "cancel"):
            settled = await recall.rooms.background.seen(self._caller, row.response, body, plain="?" not in recall.wish.path)
        elif recall.wish.kind == "delete":
            settled = await recall.rooms.background.gone(self._caller, row.response)
            await recall.rooms.stored.forget(row)
        return Served(result=body, usage=usage, facts=self._facts(attempts, settled), headers=headers)

    def _facts(self, attempts: Attempts, settled: dict[str, Any] | None) -> dict[str, Any]:
        """For the record: the attempts, and what this call settled of the one that made the response."""
        found = facts_of(attempts.tried, (), None)
        return found if settled is None else found | {"settled": settled}
