"""The MCP edge: `POST | GET | DELETE /mcp/{virtual_server}`, both eras on one address, chosen by the request.

It only translates: HTTP to `Call`, `Answer` to HTTP. What is decided about a call is decided on the governed path.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from hub.audit.journal import Receipt
from hub.call import Call, Caller, Credential
from hub.edge import serve
from hub.edge.clients import Clients, Running
from hub.edge.exchange import require_json
from hub.pipeline import govern, reject
from hub.plan import Steps
from hub.plan import View as Resolver
from hub.policy.decide import Policy
from hub.refusal import Refusal
from hub.telemetry.trace import continued
from virtual_servers.answers import Delivery, refuse
from virtual_servers.door import Door, Nowhere, kind_of
from virtual_servers.envelope import Message, is_batch, read
from virtual_servers.eras import MODERN
from virtual_servers.legacy import Legacy
from virtual_servers.mirror import NAMED
from virtual_servers.modern import is_modern_request
from virtual_servers.newer import Newer
from virtual_servers.wire import Exchange, require_accept

LARGE = 256 * 1024
"""Bytes of a body from which on it is read in a thread, one at a time: half a second in which others have their turn."""

CALL_TIMEOUT = 3600.0
"""Seconds until any call is given up, whatever its upstream's own limits are."""


class Edge(serve.Edge[Exchange]):
    """The ASGI application of the MCP edge. `door` finds a virtual server of the present generation by name."""

    exchange = Exchange

    def __init__(self, steps: Steps, door: Callable[[str], Door | None], clients: Clients, max_body: int) -> None:
        super().__init__(steps, clients)
        self.door = door
        self.max_body = max_body
        self._bulk = asyncio.Semaphore(1)
        self.more: Callable[[str], Awaitable[bool]] | None = None
        """Waits until a virtual server may show more than it does; False when it will not, at least not soon."""
        self.newer: Newer
        self.legacy: Legacy

    async def refuse(self, exchange: Exchange, running: Running | None, refusal: Refusal, receipt: Receipt | None) -> None:
        if running is None or running.reason == "body_timeout":
            await refuse(exchange, b"", refusal, receipt, "" if running is None else running.version)
        else:
            await refuse(exchange, running.message_id, refusal, receipt, running.version)

    def stray(self, exchange: Exchange) -> Call:
        return self.call(exchange, Message("", b"", b"", {}), exchange.door, "", kind="mcp.request")

    async def handle(self, exchange: Exchange, running: Running, caller: Caller) -> None:
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

    def call(self, exchange: Exchange, message: Message, door: str, era: str, *, kind: str = "", call_id: str = "") -> Call:
        """The call a message asks for. Trace context comes from `_meta`, else from the HTTP headers (MCP 2026-07-28 basic/index)."""
        meta = message.values.get("_meta")
        found: dict[str, Any] = cast("dict[str, Any]", meta) if isinstance(meta, dict) else {}
        parent = found.get("traceparent") or exchange.header(b"traceparent")
        state = found.get("tracestate") or exchange.header(b"tracestate")
        trace = continued(parent if isinstance(parent, str) else "", state if isinstance(state, str) else "", self.steps.sampled)
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
            trace=trace,
            session=exchange.header(b"mcp-session-id")[:256] if trace.sampled else "",
            arrived=exchange.since if trace.sampled else 0.0,
            admitted=exchange.admitted if trace.sampled else 0.0,
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
