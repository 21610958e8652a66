"""The stateless era, 2026-07-28: each request stands alone. `server/discover`, `subscriptions/listen`, and the governed methods.

Source: MCP 2026-07-28 server/discover, basic/patterns/subscriptions, basic/transports/streamable-http.
"""

from typing import TYPE_CHECKING, Any, cast

import msgspec
from msgspec import Struct

from hub.call import Call, Caller, Emit, Reply
from hub.edge.clients import Running
from hub.plan import Plan
from hub.refusal import InvalidParams, MethodNotFound
from virtual_servers import modern
from virtual_servers.answers import Delivery, notification
from virtual_servers.door import Door, Entry
from virtual_servers.envelope import Message
from virtual_servers.eras import MODERN, SUBSCRIPTION_KEY
from virtual_servers.greeting import CHANGES, GOVERNED, Greeting
from virtual_servers.streams import Listener, Switchboard
from virtual_servers.wire import Exchange

if TYPE_CHECKING:
    from virtual_servers.serve import Edge

_FILTER = {"toolsListChanged": CHANGES["tools"], "promptsListChanged": CHANGES["prompts"], "resourcesListChanged": CHANGES["resources"]}


class Newer:
    """The newer era of one edge."""

    def __init__(self, edge: "Edge", greeting: Greeting, switchboard: Switchboard) -> None:
        self._edge = edge
        self._greeting = greeting
        self._switchboard = switchboard

    async def handle(self, exchange: Exchange, running: Running, caller: Caller, message: Message) -> None:
        if not message.id:  # this era defines no notification from the client over HTTP
            self._edge.steps.metrics.message("notification")
            await exchange.empty(202)
            return
        modern.check(exchange, message)
        call = self._edge.call(exchange, message, exchange.door, MODERN)
        if message.method not in GOVERNED and message.method not in ("server/discover", "subscriptions/listen"):
            raise MethodNotFound(f"there is no method {message.method[:128]}")
        door = await self._edge.entered(exchange, caller, call)
        delivery = Delivery(exchange, message.id)
        match message.method:
            case "server/discover":
                await self._edge.govern(_Discover(self._greeting, door), door.policy, call, caller, delivery)
            case "subscriptions/listen":
                await self._listen(exchange, caller, call, door, message, delivery)
            case _:
                await self._edge.govern(Entry(door, message, exchange, modern=True), door.policy, call, caller, delivery)

    async def _listen(self, exchange: Exchange, caller: Caller, call: Call, door: Door, message: Message, delivery: Delivery) -> None:
        asked = message.values.get("notifications")
        if not isinstance(asked, dict):
            raise InvalidParams("notifications must be an object")
        wanted = {key: method for key, method in _FILTER.items() if cast("dict[str, Any]", asked).get(key) is True}
        listener = self._switchboard.join(call.door, wanted.values())
        try:
            resolver = _Subscription(listener, exchange, message.id, dict.fromkeys(wanted, True), delivery)
            await self._edge.govern(resolver, door.policy, call, caller, delivery)
        finally:
            self._switchboard.leave(call.door, listener)


class _Discover(Struct):
    greeting: Greeting
    door: Door

    def resolve(self, call: Call, caller: Caller) -> Plan:
        async def answer(caller: Caller) -> Reply:
            return Reply(result=self.greeting.discover(self.door.view))

        return Plan(call, answer=answer)


class _Subscription(Struct):
    """A stream of change notifications; it ends with a result when the hub ends it, and is recorded at both ends."""

    listener: Listener
    exchange: Exchange
    id: bytes
    honoured: dict[str, bool]
    delivery: Delivery

    def resolve(self, call: Call, caller: Caller) -> Plan:
        return Plan(call, dispatch=self._run)

    async def _run(self, call: Call, emit: Emit) -> Reply:
        meta = {SUBSCRIPTION_KEY: msgspec.Raw(self.id)}
        acknowledged = msgspec.json.encode({"_meta": meta, "notifications": self.honoured})
        await self.delivery.send(notification("notifications/subscriptions/acknowledged", acknowledged))
        params = msgspec.json.encode({"_meta": meta})
        async for method in self.listener.changes():
            if method:
                await self.delivery.send(notification(method, params))
            else:
                await self.exchange.comment()
        return Reply(result=msgspec.json.encode({"resultType": "complete", "_meta": meta}))
