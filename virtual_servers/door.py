"""A virtual server of one configuration generation, as the governed path resolves by it. Immutable; knows no HTTP.

`resolve` turns an advertised name into the stable target and puts the upstream's own name into what is sent; the rest of `params` goes
on as it came. Hidden means uncallable: what is not in the view does not exist here.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

import msgspec
from msgspec import Raw, Struct, field

from hub.call import Call, Caller, Emit, Reply
from hub.grants import granted, may_enter
from hub.plan import Plan
from hub.policy.decide import Policy
from hub.refusal import InvalidParams, NotFound, UpstreamFault
from virtual_servers import modern
from virtual_servers.envelope import Message, members
from virtual_servers.eras import translate
from virtual_servers.lists import Lists
from virtual_servers.view import Route, View
from virtual_servers.wire import Exchange

REMEMBERED = 4096
"""Callers a door remembers."""

_members = msgspec.json.Decoder(dict[str, Raw])


class Sender(Protocol):
    """The upstream of a target (`hub.call.Upstream`), with the era it speaks."""

    @property
    def era(self) -> str: ...

    async def send(self, call: Call, emit: Emit) -> Reply: ...


class Door(Struct, frozen=True):
    """Everything one virtual server needs to serve."""

    view: View
    policy: Policy
    lists: Lists
    sender: Callable[[str], Sender]

    known: dict[str, Caller] = field(default_factory=dict[str, Caller])
    """By key, callers this door is open for. A changed key has a new caller."""

    def visible(self, caller: Caller) -> bool:
        if self.known.get(caller.key_id) is caller:
            return True
        if not may_enter(caller, self.view.org, self.view.shared) or not granted(caller, "virtual_server", self.view.name, None).allowed:
            return False
        if len(self.known) >= REMEMBERED:
            self.known.clear()
        self.known[caller.key_id] = caller
        return True


class Nowhere:
    """What an unknown name resolves by, and a known one for a caller it is hidden from: the two look the same."""

    def resolve(self, call: Call, caller: Caller) -> Plan:
        raise NotFound("there is no such virtual server for this key")


class Entry(Struct):
    """How one message resolves at a door (`hub.plan.View`)."""

    door: Door
    message: Message
    exchange: Exchange
    modern: bool

    def resolve(self, call: Call, caller: Caller) -> Plan:
        _check_members(self.message.values)
        match call.method:
            case "tools/call":
                return self._tool(call, caller.org)
            case "prompts/get":
                return self._prompt(call, caller.org)
            case "resources/read":
                return self._resource(call, caller.org)
            case _:
                return self._list(call)

    def _tool(self, call: Call, org: str) -> Plan:
        name = _text(self.message.values, "name")
        route = self.door.view.resolve("tool", name)
        if route is None:
            raise InvalidParams(f"unknown tool: {name[:128]}")
        arguments = self.message.values.get("arguments", {})
        if not isinstance(arguments, dict):
            raise InvalidParams("arguments must be an object")
        if self.modern and route.headers:
            modern.check_params(self.exchange, route.headers, arguments)
        return self._sent(call, org, route, name, arguments, inspect=route.check)

    def _prompt(self, call: Call, org: str) -> Plan:
        name = _text(self.message.values, "name")
        route = self.door.view.resolve("prompt", name)
        if route is None:
            raise InvalidParams(f"unknown prompt: {name[:128]}")
        arguments = self.message.values.get("arguments", {})
        if not isinstance(arguments, dict) or not all(isinstance(value, str) for value in cast("dict[str, Any]", arguments).values()):
            raise InvalidParams("arguments must be an object of strings")
        return self._sent(call, org, route, name, arguments)

    def _resource(self, call: Call, org: str) -> Plan:
        uri = _text(self.message.values, "uri")
        route = self.door.view.resolve("resource", uri)
        if route is None:
            raise InvalidParams("resource not found", data={"uri": uri[:1024]})
        return self._sent(call, org, route, uri, {})

    def _list(self, call: Call) -> Plan:
        async def answer(caller: Caller) -> Reply:
            door, cursor = self.door, self.message.values.get("cursor")
            return Reply(result=await door.lists.page(call.method, door.view, door.policy, caller, cursor, modern=self.modern))

        return Plan(call, answer=answer)

    def _sent(self, call: Call, org: str, route: Route, name: str, arguments: Any, inspect: Callable[[Any], None] | None = None) -> Plan:
        slices = members(self.message.params)
        committed = bytes(slices.get("arguments", b"")) or (name.encode() if call.method == "resources/read" else b"{}")
        payload = call.payload
        if call.method != "resources/read" and route.target.name != name:
            slices["name"] = Raw(msgspec.json.encode(route.target.name))
            payload = msgspec.json.encode(slices)
        shaped = msgspec.structs.replace(
            call, name=name, org=org, target=route.target, arguments=arguments, committed=committed, payload=payload
        )
        return Plan(shaped, dispatch=self._dispatch(route.target.upstream), inspect=inspect)

    def _dispatch(self, upstream: str) -> Callable[[Call, Emit], Awaitable[Reply]]:
        sender = self.door.sender(upstream)

        async def dispatch(call: Call, emit: Emit) -> Reply:
            reply = await sender.send(call, emit)
            if reply.error:
                return reply
            _refuse_interim(reply.result)
            result = translate(reply.result, sender.era, call.era, cacheable=call.method == "resources/read")
            return reply if result is reply.result else msgspec.structs.replace(reply, result=result)

        return dispatch


def kind_of(method: str) -> str:
    """The operation's name in records and metrics: `tools/call` is `mcp.tools.call`."""
    return "mcp." + method.replace("/", ".")


def _text(values: dict[str, Any], member: str) -> str:
    value = values.get(member)
    if not isinstance(value, str):
        raise InvalidParams(f"{member} must be a string")
    return value


_OWN = frozenset({"name", "arguments", "uri", "cursor", "_meta"})
"""Members of `params` that decide what a request does."""


def _check_members(values: dict[str, Any]) -> None:
    """Refuse what another reader could take for a member that was decided on: many JSON libraries ignore case, some end at a NUL."""
    _check_spelling(values, _OWN)
    meta = values.get("_meta")
    if meta is None and "_meta" not in values:
        return
    if not isinstance(meta, dict):
        raise InvalidParams("_meta must be an object")
    _check_spelling(cast("dict[str, Any]", meta), _TOKEN)


_TOKEN = frozenset({"progressToken"})
_INITIALS = frozenset("aAcCnNpPuU_")
"""How a spelling of one of them can begin: nearly every other member is told by it."""
_FOLDED = {_OWN: frozenset(name.casefold() for name in _OWN), _TOKEN: frozenset(name.casefold() for name in _TOKEN)}


def _check_spelling(values: dict[str, Any], own: frozenset[str]) -> None:
    for key in values:
        if key not in own and key[:1] in _INITIALS and key.partition("\0")[0].casefold() in _FOLDED[own]:
            raise InvalidParams(f"{json.dumps(key[:64])} differs only in spelling from a member of the protocol")


def _refuse_interim(result: bytes) -> None:
    """The hub declares no capability that would let an upstream ask the client for input, so such a result is a fault of its."""
    if b'"input_required"' in result and _members.decode(result).get("resultType") == b'"input_required"':
        raise UpstreamFault("the server asked for input from the client, which this hub does not pass on")
