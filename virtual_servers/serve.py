"""The MCP edge: `POST | GET | DELETE /mcp/{virtual_server}`, both eras on one address, chosen by the request.

It only translates: HTTP to `Call`, `Answer` to HTTP. What is decided about a call is decided on the governed path.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from hub.call import Call, Caller, Credential, new_id
from hub.pipeline import Refused, Steps, authenticate, govern, reject
from hub.pipeline import View as Resolver
from hub.policy.decide import Policy
from hub.refusal import Draining, Internal, InvalidRequest, Refusal, TimedOutReading, Unauthenticated
from hub.telemetry.logs import fields
from hub.telemetry.trace import continued
from virtual_servers.answers import Delivery, refuse
from virtual_servers.clients import Clients, Running
from virtual_servers.door import Door, Nowhere, kind_of
from virtual_servers.envelope import Message, is_batch, read
from virtual_servers.eras import MODERN
from virtual_servers.legacy import Legacy
from virtual_servers.mirror import NAMED
from virtual_servers.modern import is_modern_request
from virtual_servers.newer import Newer
from virtual_servers.wire import ClientGone, Exchange, Receive, Scope, Send, require_accept, require_json

log = logging.getLogger("hub.mcp")

FAREWELL = 0.5
"""Seconds a client that was cut off has to take the last bytes."""


LARGE = 256 * 1024
"""Bytes of a body from which on it is read in a thread, one at a time: half a second in which others have their turn."""

CALL_TIMEOUT = 3600.0
"""Seconds until any call is given up, whatever its upstream's own limits are."""


class Edge:
    """The ASGI application of the MCP edge. `door` finds a virtual server of the present generation by name."""

    def __init__(self, steps: Steps, door: Callable[[str], Door | None], clients: Clients, max_body: int) -> None:
        self.steps = steps
        self.door = door
        self.clients = clients
        self.max_body = max_body
        self.draining = False
        self._bulk = asyncio.Semaphore(1)
        self.more: Callable[[str], Awaitable[bool]] | None = None
        """Waits until a virtual server may show more than it does; False when it will not, at least not soon."""
        self.newer: Newer
        self.legacy: Legacy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_id()
        try:
            exchange = Exchange(scope, receive, send, request_id)
        except Refusal as refusal:
            bare = Exchange({**scope, "headers": []}, receive, send, request_id)
            await refuse(bare, b"", refusal, None, "")
            return
        running = self.clients.enter(exchange)
        try:
            await self._guarded(exchange, running)
        except asyncio.CancelledError:
            if not running.reason:
                raise
            running.task.uncancel()
            await self._farewell(exchange, running)
        finally:
            self.clients.leave(running)

    async def _guarded(self, exchange: Exchange, running: Running) -> None:
        """Handle the request; whatever is raised becomes a typed answer."""
        try:
            await self._admitted(exchange, running)
        except ClientGone:
            return
        except Refused as refused:
            if refused.refusal.code == "internal":
                log.error("a call failed inside the hub", exc_info=refused, extra=fields(request=exchange.request_id))
            await refuse(exchange, running.message_id, refused.refusal, refused.receipt, running.version)
        except Refusal as refusal:
            await refuse(exchange, running.message_id, refusal, None, running.version)
        except Exception:
            log.exception("a request failed inside the hub", extra=fields(request=exchange.request_id))
            await refuse(exchange, running.message_id, Internal("the hub failed to handle this request"), None, running.version)

    async def _admitted(self, exchange: Exchange, running: Running) -> None:
        if self.draining:
            exchange.extra.append((b"connection", b"close"))  # the next attempt needs another connection, which another hub may take
            raise Draining("the hub is stopping", retry_after=1)
        caller = authenticate(self.steps, credential_of(exchange), source_of(exchange))
        running.key_id = caller.key_id
        try:
            await self._by_method(exchange, running, caller)
        except Refusal as refusal:
            raise await self._stray(exchange, caller, refusal) from refusal
        except (Refused, ClientGone):
            raise
        except Exception as error:
            raise await self._stray(exchange, caller, Internal("the hub failed to handle this request")) from error

    async def _stray(self, exchange: Exchange, caller: Caller, refusal: Refusal) -> Refused:
        """Record a refusal of what never became a call; return what to raise."""
        call = self.call(exchange, Message("", b"", b"", {}), exchange.door, "", kind="mcp.request")
        return await reject(self.steps, caller, call, refusal)

    async def _by_method(self, exchange: Exchange, running: Running, caller: Caller) -> None:
        running.reading = exchange.scope["method"] == "POST"
        match exchange.scope["method"]:
            case "POST":
                await self._post(exchange, running, caller)
            case "GET":
                await self.legacy.listen(exchange, running, caller)
            case "DELETE":
                await self.legacy.end(exchange, caller)
            case _:
                await exchange.empty(405, (b"allow", b"POST, GET, DELETE"))

    async def _post(self, exchange: Exchange, running: Running, caller: Caller) -> None:
        require_json(exchange)
        require_accept(exchange)
        body = await exchange.body(self.max_body)
        running.reading = False
        if is_batch(body):
            await self.legacy.batch(exchange, running, caller, body)
            return
        if len(body) < LARGE:
            message = read(body)
        else:
            async with self._bulk:
                message = await asyncio.to_thread(read, body)
        running.message_id = message.id
        if is_modern_request(exchange, message):
            running.version = MODERN
            await self.newer.handle(exchange, running, caller, message)
        else:
            await self.legacy.handle(exchange, running, caller, message)

    async def _farewell(self, exchange: Exchange, running: Running) -> None:
        """End a request that was cut. A client that does not even take the end has its connection closed under it."""
        try:
            async with asyncio.timeout(FAREWELL):
                await self._cut_off(exchange, running)
        except TimeoutError:
            await exchange.abort()

    async def _cut_off(self, exchange: Exchange, running: Running) -> None:
        """What a request that was cut gets: nothing when its client has left, else a typed end."""
        if running.reason == "client_gone" or exchange.finished:
            return
        if exchange.streaming:
            await exchange.end_stream()
        elif running.reason == "key_revoked":
            await refuse(exchange, running.message_id, Unauthenticated(), None, running.version)
        elif running.reason == "body_timeout":
            await refuse(exchange, b"", TimedOutReading("the body did not arrive in time"), None, running.version)
        elif running.reason == "cancelled":
            await exchange.empty(202)
        else:
            await refuse(exchange, running.message_id, Draining("the hub is stopping", retry_after=1), None, running.version)

    def call(self, exchange: Exchange, message: Message, door: str, era: str, *, kind: str = "", call_id: str = "") -> Call:
        """The call a message asks for. Trace context comes from `_meta`, else from the HTTP headers (MCP 2026-07-28 basic/index)."""
        meta = message.values.get("_meta")
        found: dict[str, Any] = cast("dict[str, Any]", meta) if isinstance(meta, dict) else {}
        parent = found.get("traceparent") or exchange.header(b"traceparent")
        state = found.get("tracestate") or exchange.header(b"tracestate")
        name = message.values.get(NAMED.get(message.method, ""), "")
        return Call(
            id=call_id or exchange.request_id,
            kind=kind or kind_of(message.method),
            method=message.method,
            name=name if isinstance(name, str) else "",
            door=door,
            payload=message.params,
            credential=_KEPT_BACK,
            deadline=time.monotonic() + CALL_TIMEOUT,
            era=era,
            client_id=message.id.decode("utf-8", "replace"),
            trace=continued(parent if isinstance(parent, str) else "", state if isinstance(state, str) else ""),
        )

    async def govern(self, resolver: Resolver, policy: Policy, call: Call, caller: Caller, delivery: Delivery) -> None:
        """Take the call along the path and write its answer."""
        answer = await govern(self.steps, policy, resolver, call, caller, delivery)
        await delivery.finish(answer, call.era)

    async def entered(self, exchange: Exchange, caller: Caller, call: Call) -> Door:
        """The door a request came to. Raises `Refused` (recorded) where there is none for this caller."""
        door = self.door(call.door)
        while door is not None and door.view.absent and door.visible(caller) and _may_be_late(door, call):
            if self.more is None or not await self.more(call.door):
                break
            door = self.door(call.door)
        if door is None or not door.visible(caller):
            try:
                Nowhere().resolve(call, caller)
            except Refusal as refusal:
                raise await reject(self.steps, caller, call, refusal) from refusal
        assert door is not None
        return door


def _may_be_late(door: Door, call: Call) -> bool:
    """Whether what is asked for may stand in a catalogue that has never been fetched: a name not known, or a list with nothing in it."""
    if call.method not in NAMED:
        view = door.view
        return call.method.endswith("/list") and not (view.tools or view.prompts or view.resources or view.templates)
    kind = "tool" if call.method == "tools/call" else "prompt" if call.method == "prompts/get" else "resource"
    return door.view.resolve(kind, call.name) is None


_KEPT_BACK = Credential()
"""Callers are known before their calls are made, so calls carry no secret."""


def credential_of(exchange: Exchange) -> Credential:
    """The one credential of a request. Two different ones are refused: it would be a guess which of them was meant."""
    if b"x-api-key" not in exchange.headers and b"hub-key" not in exchange.headers:
        value = exchange.headers.get(b"authorization", b"")
        if value.startswith(b"Bearer "):
            return Credential(value[7:].strip().decode("latin-1"))
    scheme, _, token = exchange.header(b"authorization").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    found = {value for value in (bearer, exchange.header(b"x-api-key"), exchange.header(b"hub-key")) if value}
    if len(found) > 1:
        raise InvalidRequest("the request carries two different credentials")
    return Credential(found.pop() if found else "")


def source_of(exchange: Exchange) -> str:
    client = exchange.scope.get("client")
    return client[0] if client else ""
