"""The models edge: OpenAI's and Anthropic's APIs under `/v1`, as their SDKs speak them.

It only translates: HTTP to `Call`, `Answer` to HTTP. What is decided about a call is decided on the governed path.
"""

import asyncio
import time
from collections.abc import Callable

from msgspec import Struct

from hub.audit.journal import Receipt
from hub.budget.usage_read import Reader
from hub.call import Call, Caller, Credential
from hub.capture.keeper import Keeper
from hub.config.serving import Server
from hub.edge import serve
from hub.edge.clients import Clients, Running
from hub.edge.exchange import Exchange, require_json
from hub.llm.background import Background
from hub.llm.capture import Capturing
from hub.llm.catalogue import Catalogue
from hub.llm.charge import Money
from hub.llm.counting import attempted, count
from hub.llm.delivery import Delivery, Lines, refuse
from hub.llm.dispatch import LARGE, Errand, Sent
from hub.llm.endpoints import ENDPOINTS, Endpoint, dialect_of
from hub.llm.head import read
from hub.llm.listing import Listing
from hub.llm.providers import Providers
from hub.llm.recall import PREFIX, Recall, wish
from hub.llm.references import Reference, references
from hub.llm.rehearsal import Rehearsal, dry
from hub.llm.routes import placed
from hub.llm.stored import Stored
from hub.llm.usages import LISTED, PATHS, Usages
from hub.pipeline import govern
from hub.plan import Refused, Steps
from hub.policy.decide import Policy
from hub.refusal import MethodNotFound, NotFound, Refusal
from hub.routing.router import Router
from hub.telemetry.trace import continued

CALL_TIMEOUT = 3600.0
"""Seconds until any call is given up, whatever its provider's own limits are."""

_LISTS = "/v1/models"
_NOTHING = 64 * 1024
"""Bytes that a body may have which says nothing."""


class Rooms(Struct, frozen=True):
    """What the edge asks. `present` is the catalogue and the policy of the generation in force; None until there is one."""

    providers: Providers
    router: Router
    money: Money
    stored: Stored
    background: Background
    usage: Reader
    keeper: Keeper
    present: Callable[[], tuple[Catalogue, Policy] | None]


class Edge(serve.Edge[Exchange]):
    """`/v1` as a part of the hub's one server."""

    exchange = Exchange

    def __init__(self, steps: Steps, clients: Clients, rooms: Rooms, server: Server) -> None:
        super().__init__(steps, clients)
        self._rooms = rooms
        self._max_body = server.max_model_body
        self._keep_alive = server.keep_alive

    async def handle(self, exchange: Exchange, running: Running, caller: Caller) -> None:
        path: str = exchange.scope["path"]
        present = self._rooms.present()
        if present is None:
            raise NotFound("there are no models yet")
        catalogue, policy = present
        endpoint = ENDPOINTS.get(path)
        method: str = exchange.scope["method"]
        if endpoint is None and not placed(path):
            raise NotFound("there is no such endpoint")
        if path in PATHS or (path == LISTED and method == "GET"):
            if method != "GET":
                raise MethodNotFound(f"{path} takes GET only")
            running.reading = False
            await self._account(exchange, caller, policy)
        elif endpoint is not None:
            if method != "POST":
                raise MethodNotFound(f"{path} takes POST only")
            await self._ask(exchange, running, caller, endpoint, catalogue, policy)
        elif path == _LISTS or path.startswith(_LISTS + "/"):
            if method != "GET":
                raise MethodNotFound(f"{_LISTS} takes GET only")
            running.reading = False
            listing = Listing(catalogue, policy, path[len(_LISTS) + 1 :], dialect_of(path, exchange.headers))
            call = self._call(exchange, "llm.models", "", b"")
            delivery = self._delivery(exchange)
            await delivery.finish(await govern(self.steps, policy, listing, call, caller, delivery))
        elif path.startswith(PREFIX):
            await self._recall(exchange, running, caller, catalogue, policy)
        else:
            raise NotFound("there is no such endpoint")

    async def _ask(
        self, exchange: Exchange, running: Running, caller: Caller, endpoint: Endpoint, catalogue: Catalogue, policy: Policy
    ) -> None:
        require_json(exchange)
        running.reading = True
        body = await exchange.body(self._max_body)
        running.reading = False
        head = read(body, endpoint.kind) if len(body) < LARGE else await asyncio.to_thread(read, body, endpoint.kind)
        call = self._call(exchange, f"llm.{endpoint.kind}", head.model[:256], body)
        sent = Sent(exchange.headers, exchange.request_id)
        named: tuple[Reference, ...] = ()
        if endpoint.kind == "responses":
            named = references(head) if len(body) < LARGE else await asyncio.to_thread(references, head)
        rooms, extra = self._rooms, exchange.extra
        stored, places = rooms.stored, rooms.providers.places
        pin = await stored.pin(caller, named) if named else None
        errand = Errand(
            endpoint,
            head,
            sent,
            catalogue,
            policy,
            places,
            rooms.router,
            rooms.money,
            extra,
            self._keep_alive,
            stored,
            rooms.background,
            pin,
        )
        if dry(exchange.headers):
            delivery = self._delivery(exchange)
            rehearsal = Rehearsal(errand, self.steps.limits, rooms.money.budgets)
            await delivery.finish(await govern(self.steps, policy, rehearsal, call, caller, delivery))
        else:
            await self._made(exchange, caller, call, errand)

    async def _made(self, exchange: Exchange, caller: Caller, call: Call, errand: Errand) -> None:
        """Make the call, and count what came of it."""
        keeper, models = self._rooms.keeper, self.steps.metrics.models
        view = Capturing(errand, keeper) if keeper.wants(caller.org) else errand
        began = time.perf_counter_ns()
        delivery = self._delivery(exchange)
        try:
            answer = await govern(self.steps, errand.policy, view, call, caller, delivery)
        except Refused as refused:
            attempted(models, refused.refusal.facts)
            raise
        ended = time.perf_counter_ns()
        count(models, errand.catalogue, answer, ended - began, delivery.first - began)
        await delivery.finish(answer)

    async def _account(self, exchange: Exchange, caller: Caller, policy: Policy) -> None:
        """What was used, for those who may see it."""
        query: bytes = exchange.scope.get("query_string", b"")
        call = self._call(exchange, "llm.usage", "", query)
        usages = Usages(self._rooms.usage, exchange.scope["path"], query, exchange.header(b"accept"))
        delivery = Lines(exchange, usages.file)
        self._named(exchange)
        await delivery.finish(await govern(self.steps, policy, usages, call, caller, delivery))

    async def _recall(self, exchange: Exchange, running: Running, caller: Caller, catalogue: Catalogue, policy: Policy) -> None:
        """A stored response, asked for again."""
        method: str = exchange.scope["method"]
        asked = wish(method, exchange.scope["path"], exchange.scope.get("query_string", b""))
        running.reading = True
        await exchange.body(_NOTHING)
        running.reading = False
        stored, background = self._rooms.stored, self._rooms.background
        row = await stored.find(caller, asked.response)
        call = self._call(exchange, f"llm.responses.{asked.kind}", row.door if row is not None else "", b"")
        sent = Sent(exchange.headers, exchange.request_id)
        places, router = self._rooms.providers.places, self._rooms.router
        recall = Recall(asked, row, sent, catalogue, places, router, stored, background, self._keep_alive)
        delivery = self._delivery(exchange)
        try:
            answer = await govern(self.steps, policy, recall, call, caller, delivery)
        except Refused as refused:
            attempted(self.steps.metrics.models, refused.refusal.facts)
            raise
        attempted(self.steps.metrics.models, answer.reply.facts)
        await delivery.finish(answer)

    def _delivery(self, exchange: Exchange) -> Delivery:
        self._named(exchange)
        return Delivery(exchange)

    def _named(self, exchange: Exchange) -> None:
        """The request's id under the dialect's own name for it."""
        if dialect_of(exchange.scope["path"], exchange.headers) == "messages":
            exchange.extra.append((b"request-id", exchange.request_id.encode()))

    def _call(self, exchange: Exchange, kind: str, name: str, payload: bytes) -> Call:
        trace = continued(exchange.header(b"traceparent"), exchange.header(b"tracestate"), self.steps.sampled)
        return Call(
            id=exchange.request_id,
            kind=kind,
            method=exchange.scope["path"],
            name=name,
            door=name,
            payload=payload,
            credential=_KEPT_BACK,
            deadline=time.monotonic() + CALL_TIMEOUT,
            trace=trace,
            session=exchange.header(b"x-session-id")[:256] if trace.sampled else "",
            arrived=exchange.since if trace.sampled else 0.0,
            admitted=exchange.admitted if trace.sampled else 0.0,
        )

    def stray(self, exchange: Exchange) -> Call:
        return self._call(exchange, "llm.request", "", b"")

    async def refuse(self, exchange: Exchange, running: Running | None, refusal: Refusal, receipt: Receipt | None) -> None:
        await refuse(exchange, dialect_of(exchange.scope["path"], exchange.headers), refusal, receipt)

    async def cut_stream(self, exchange: Exchange, running: Running) -> None:
        """It ends with an error: clients take an end without one for that of a whole answer. What has no events is broken off."""
        if not exchange.framed:
            await exchange.abort()
            return
        await self.refuse(exchange, running, serve.why(running), None)


_KEPT_BACK = Credential()
"""Callers are known before their calls are made, so calls carry no secret."""
