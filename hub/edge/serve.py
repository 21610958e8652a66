"""What every edge of the governed path does alike: a request gets an id, its caller is established, and whatever is raised or cuts it off
becomes a typed answer in the edge's own dialect.
"""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from hub.audit.journal import Receipt
from hub.call import Call, Caller, new_id
from hub.edge.clients import Clients, Running
from hub.edge.exchange import ClientGone, Exchange, Receive, Scope, Send, credential_of, source_of
from hub.pipeline import authenticate, reject
from hub.plan import Refused, Steps
from hub.refusal import Draining, Internal, Refusal, StoreDown, TimedOutReading, Unauthenticated
from hub.telemetry.logs import fields

log = logging.getLogger("hub.edge")

FAREWELL = 0.5
"""Seconds a client that was cut off has to take the last bytes."""

AnExchange = TypeVar("AnExchange", bound=Exchange)


class Edge(ABC, Generic[AnExchange]):
    """An ASGI application for one protocol."""

    exchange: type[AnExchange]

    def __init__(self, steps: Steps, clients: Clients) -> None:
        self.steps = steps
        self.clients = clients

    @abstractmethod
    async def handle(self, exchange: AnExchange, running: Running, caller: Caller) -> None:
        """Serve a request of a caller who is known. May raise whatever there is to say."""
        ...

    @abstractmethod
    def stray(self, exchange: AnExchange) -> Call:
        """The call that stands in the record of a request which never became one."""
        ...

    @abstractmethod
    async def refuse(self, exchange: AnExchange, running: Running | None, refusal: Refusal, receipt: Receipt | None) -> None:
        """Answer with a refusal; inside a stream it is the last frame. Without `running` the headers could not even be read."""
        ...

    async def cut_stream(self, exchange: AnExchange, running: Running) -> None:
        """End a stream that was cut off: it ends without its last frame."""
        await exchange.last(b"")

    async def cut_by_itself(self, exchange: AnExchange) -> None:
        """End a request that its own client has cancelled elsewhere."""
        await exchange.empty(202)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_id()
        try:
            exchange = self.exchange(scope, receive, send, request_id)
        except Refusal as refusal:
            bare = self.exchange({**scope, "headers": []}, receive, send, request_id)
            await self.refuse(bare, None, refusal, None)
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

    async def _guarded(self, exchange: AnExchange, running: Running) -> None:
        """Handle the request; whatever is raised becomes a typed answer."""
        try:
            await self._admitted(exchange, running)
        except ClientGone:
            return
        except Refused as refused:
            if refused.refusal.code == "internal":
                log.error("a call failed inside the hub", exc_info=refused, extra=fields(request=exchange.request_id))
            await self.refuse(exchange, running, refused.refusal, refused.receipt)
        except Refusal as refusal:
            await self.refuse(exchange, running, refusal, None)
        except Exception:
            log.exception("a request failed inside the hub", extra=fields(request=exchange.request_id))
            await self.refuse(exchange, running, Internal("the hub failed to handle this request"), None)

    async def _admitted(self, exchange: AnExchange, running: Running) -> None:
        if self.clients.draining:
            exchange.extra.append((b"connection", b"close"))  # the next attempt needs another connection, which another hub may take
            raise Draining("the hub is stopping", retry_after=1)
        caller = await authenticate(self.steps, credential_of(exchange), source_of(exchange))
        if self.steps.watch is not None:
            exchange.admitted = time.monotonic()
        running.key_id = caller.key_id
        try:
            await self.handle(exchange, running, caller)
        except Refusal as refusal:
            raise await reject(self.steps, caller, self.stray(exchange), refusal) from refusal
        except (Refused, ClientGone):
            raise
        except Exception as error:
            fault = Internal("the hub failed to handle this request")
            raise await reject(self.steps, caller, self.stray(exchange), fault) from error

    async def _farewell(self, exchange: AnExchange, running: Running) -> None:
        """End a request that was cut. A client that does not even take the end has its connection closed under it."""
        try:
            async with asyncio.timeout(FAREWELL):
                await self._cut_off(exchange, running)
        except TimeoutError:
            await exchange.abort()

    async def _cut_off(self, exchange: AnExchange, running: Running) -> None:
        """What a request that was cut gets: nothing when its client has left, else a typed end."""
        if running.reason == "client_gone" or exchange.finished:
            return
        if exchange.streaming:
            await self.cut_stream(exchange, running)
        elif running.reason == "cancelled":
            await self.cut_by_itself(exchange)
        else:
            await self.refuse(exchange, running, why(running), None)


def why(running: Running) -> Refusal:
    """What a request that was cut off is told."""
    if running.reason == "key_revoked":
        return Unauthenticated()
    if running.reason == "keys_unchecked":
        return StoreDown("whether the key still counts cannot be known at the moment")
    if running.reason == "body_timeout":
        return TimedOutReading("the body did not arrive in time")
    return Draining("the hub is stopping", retry_after=1)
