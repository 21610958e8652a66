"""The older era, 2024-11-05 to 2025-11-25: `initialize`, sessions, the GET stream, DELETE, ping, cancellation, batches of 2025-03-26.

Source: MCP 2025-11-25 basic/lifecycle, basic/transports, basic/utilities/cancellation; 2025-03-26 basic (batching).
"""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from hub.call import Call, Caller, Emit, Reply, new_id
from hub.edge.clients import Running
from hub.pipeline import govern, reject
from hub.plan import Plan, Refused
from hub.refusal import InvalidParams, InvalidRequest, MethodNotFound, NotAcceptable, Refusal, StoreDown
from virtual_servers.answers import Delivery, error_body, notification, refusal_error, result_body
from virtual_servers.door import Entry
from virtual_servers.envelope import Message, members, read, read_batch
from virtual_servers.eras import BATCHES, OLDER
from virtual_servers.greeting import CHANGES, GOVERNED, Greeting
from virtual_servers.sessions import Session, SessionStore, declared
from virtual_servers.streams import Listener, Switchboard
from virtual_servers.underway import Underway
from virtual_servers.wire import Exchange

if TYPE_CHECKING:
    from virtual_servers.serve import Edge

MAX_BATCH = 50


class Legacy:
    """The older era of one edge."""

    def __init__(self, edge: "Edge", greeting: Greeting, switchboard: Switchboard, sessions: SessionStore, underway: Underway) -> None:
        self._edge = edge
        self._greeting = greeting
        self._switchboard = switchboard
        self._sessions = sessions
        self._underway = underway

    async def handle(self, exchange: Exchange, running: Running, caller: Caller, message: Message) -> None:
        door_name = exchange.door
        if message.method == "initialize":
            await self._initialize(exchange, caller, message, door_name)
            return
        found = self._session(exchange, caller, door_name)
        session = found if isinstance(found, Session) else await found
        running.version = session.version
        if not message.id:
            self._notified(session, message)
            await exchange.empty(202)
        elif message.method == "ping":
            self._edge.steps.metrics.message("ping")
            await exchange.json(200, result_body(message.id, b"{}"))
        else:
            await self._governed(exchange, running, caller, message, session)

    async def _initialize(self, exchange: Exchange, caller: Caller, message: Message, door_name: str) -> None:
        if not message.id:
            raise InvalidRequest("initialize is a request and needs an id")
        call = self._edge.call(exchange, message, door_name, "")
        door = await self._edge.entered(exchange, caller, call)
        asked = message.values.get("protocolVersion")
        if not isinstance(asked, str):
            raise InvalidParams("protocolVersion must be a string")
        version, result = self._greeting.initialize(door.view, asked)
        opening = _Opening(self._sessions, door_name, version, declared(message.values), result)
        try:
            answer = await govern(self._edge.steps, door.policy, opening, call, caller, Delivery(exchange, message.id))
        except BaseException:
            if opening.session is not None:  # it could not be recorded: nobody learns of it
                with suppress(StoreDown):
                    await self._sessions.close(opening.session)
            raise
        assert opening.session is not None
        exchange.extra.append((b"mcp-session-id", opening.session.id.encode()))
        await Delivery(exchange, message.id).finish(answer, version)

    async def _governed(self, exchange: Exchange, running: Running, caller: Caller, message: Message, session: Session) -> None:
        if message.method not in GOVERNED:
            raise MethodNotFound(f"there is no method {message.method[:128]}")
        call = self._edge.call(exchange, message, session.door, session.version)
        self._underway.enter(session.id, message.id, running)
        try:
            door = await self._edge.entered(exchange, caller, call)
            entry = Entry(door, message, exchange, modern=False)
            await self._edge.govern(entry, door.policy, call, caller, Delivery(exchange, message.id))
        finally:
            self._underway.leave(session.id, message.id)

    def _session(self, exchange: Exchange, caller: Caller, door_name: str) -> Session | Awaitable[Session]:
        """The session a request names; at once where nothing has to be asked for it."""
        session_id = exchange.header(b"mcp-session-id")
        if not session_id:
            raise InvalidRequest("the Mcp-Session-Id header is missing: initialize first")
        found = self._sessions.find(session_id, door_name, caller.key_id)
        return _of_version(exchange, found) if isinstance(found, Session) else _awaited(exchange, found)

    def _notified(self, session: Session, message: Message) -> None:
        self._edge.steps.metrics.message("notification")
        if message.method != "notifications/cancelled":
            return
        request_id = bytes(members(message.params).get("requestId", b""))
        if request_id:
            self._underway.cancel(session.id, request_id)

    async def batch(self, exchange: Exchange, running: Running, caller: Caller, body: bytes) -> None:
        """Each message of a batch is a governed call of its own; the answers come together."""
        found = self._session(exchange, caller, exchange.door)
        session = found if isinstance(found, Session) else await found
        running.version = session.version
        if session.version != BATCHES:
            raise InvalidRequest(f"batches exist in protocol version {BATCHES} only")
        raws = read_batch(body)
        if not 0 < len(raws) <= MAX_BATCH:
            raise InvalidRequest(f"a batch holds 1 to {MAX_BATCH} messages")
        answers = await asyncio.gather(*(self._one_of_batch(exchange, caller, session, raw) for raw in raws))
        found = [answer for answer in answers if answer]
        if found:
            await exchange.json(200, b"[" + b",".join(found) + b"]")
        else:
            await exchange.empty(202)

    async def _one_of_batch(self, exchange: Exchange, caller: Caller, session: Session, raw: bytes) -> bytes:
        message_id = b"null"
        try:
            message = read(raw)
            if not message.id:
                self._notified(session, message)
                return b""
            message_id = message.id
            return await self._answer_of_batch(exchange, caller, session, message)
        except Refused as refused:
            return error_body(message_id, refusal_error(refused.refusal))
        except Refusal as refusal:
            return error_body(message_id, refusal_error(await self._recorded(exchange, caller, session, refusal)))

    async def _recorded(self, exchange: Exchange, caller: Caller, session: Session, refusal: Refusal) -> Refusal:
        """Record a refusal of one message of a batch; what to answer, which is another one where the journal is down."""
        stray = self._edge.call(exchange, Message("", b"", b"", {}), session.door, session.version, kind="mcp.request", call_id=new_id())
        try:
            return (await reject(self._edge.steps, caller, stray, refusal)).refusal
        except Refused as unrecorded:
            return unrecorded.refusal

    async def _answer_of_batch(self, exchange: Exchange, caller: Caller, session: Session, message: Message) -> bytes:
        if message.method == "ping":
            return result_body(message.id, b"{}")
        if message.method == "initialize":
            raise InvalidRequest("initialize must not be part of a batch")
        if message.method not in GOVERNED:
            raise MethodNotFound(f"there is no method {message.method[:128]}")
        call = self._edge.call(exchange, message, session.door, session.version, call_id=new_id())
        self._underway.enter(session.id, message.id, None)
        try:
            door = await self._edge.entered(exchange, caller, call)
            entry = Entry(door, message, exchange, modern=False)
            answer = await govern(self._edge.steps, door.policy, entry, call, caller, _Silent())
        finally:
            self._underway.leave(session.id, message.id)
        return error_body(message.id, answer.reply.error) if answer.reply.error else result_body(message.id, answer.reply.result)

    async def listen(self, exchange: Exchange, running: Running, caller: Caller) -> None:
        """GET: the stream for changes that belong to no request."""
        if not exchange.takes_stream or not exchange.header(b"accept"):
            raise NotAcceptable("the Accept header must include text/event-stream")
        found = self._session(exchange, caller, exchange.door)
        session = found if isinstance(found, Session) else await found
        running.version = session.version
        message = Message("", b"", b"", {})
        call = self._edge.call(exchange, message, session.door, session.version, kind="mcp.stream")
        door = await self._edge.entered(exchange, caller, call)
        listener = self._switchboard.join(session.door, CHANGES.values())
        try:
            delivery = Delivery(exchange, b"null")
            await self._edge.govern(_Stream(listener, exchange, delivery), door.policy, call, caller, delivery)
        finally:
            self._switchboard.leave(session.door, listener)

    async def end(self, exchange: Exchange, caller: Caller) -> None:
        """DELETE: the client needs its session no longer."""
        found = self._session(exchange, caller, exchange.door)
        await self._sessions.close(found if isinstance(found, Session) else await found)
        await exchange.empty(204)


async def _awaited(exchange: Exchange, session: Awaitable[Session]) -> Session:
    return _of_version(exchange, await session)


def _of_version(exchange: Exchange, session: Session) -> Session:
    """Raises `InvalidRequest` where the request names a version no session can have."""
    version = exchange.header(b"mcp-protocol-version")
    if version and version not in OLDER:
        raise InvalidRequest(f"MCP-Protocol-Version {version[:32]} is not supported")
    return session


class _Opening(Struct):
    """Resolves to the greeting, and to a new session: where there can be none, the call is recorded as refused."""

    sessions: SessionStore
    door: str
    version: str
    capabilities: tuple[str, ...]
    result: bytes
    session: Session | None = None

    def resolve(self, call: Call, caller: Caller) -> Plan:
        return Plan(call, answer=self._answer)

    async def _answer(self, caller: Caller) -> Reply:
        self.session = await self.sessions.open(caller, self.door, self.version, self.capabilities)
        return Reply(result=self.result)


class _Stream(Struct):
    """The GET stream: recorded when it opens and when it closes."""

    listener: Listener
    exchange: Exchange
    delivery: Delivery

    def resolve(self, call: Call, caller: Caller) -> Plan:
        return Plan(call, dispatch=self._run)

    async def _run(self, call: Call, emit: Emit) -> Reply:
        await self.delivery.start()
        await self.exchange.comment()
        async for method in self.listener.changes():
            if method:
                await self.delivery.send(notification(method, b""))
            else:
                await self.exchange.comment()
        return Reply()


class _Silent:
    """The delivery of one call of a batch: nothing can precede its reply."""

    def opened(self, receipt: Any) -> None:
        return

    async def emit(self, chunk: Any) -> None:
        return
