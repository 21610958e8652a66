"""The models edge: OpenAI's and Anthropic's APIs under `/v1`, as their SDKs speak them.

It only translates: HTTP to `Call`, `Answer` to HTTP. What is decided about a call is decided on the governed path.
"""

import asyncio
import time
from collections.abc import Callable

from hub.audit.journal import Receipt
from hub.budget.usage_read import Reader
from hub.call import Call, Caller, Credential
from hub.capture.keeper import Keeper
from hub.edge import serve
from hub.edge.clients import Clients, Running
from hub.edge.exchange import Exchange, require_json
from hub.llm.capture import Capturing
from hub.llm.catalogue import Catalogue
from hub.llm.counting import attempted, count
from hub.llm.delivery import Delivery, Lines, refuse
from hub.llm.dispatch import LARGE, Errand, Sent
from hub.llm.endpoints import ENDPOINTS, Endpoint, asked_with, dialect_of
from hub.llm.following import Following
from hub.llm.head import read
from hub.llm.listing import Listing
from hub.llm.recall import PREFIX, Recall, wish
from hub.llm.references import Reference, references
from hub.llm.rehearsal import Rehearsal, dry
from hub.llm.rooms import Rooms
from hub.llm.routes import placed
from hub.llm.usages import LISTED, Usages
from hub.pipeline import govern
from hub.plan import Refused, Steps, View
from hub.policy.decide import Policy
from hub.refusal import MethodNotFound, NotFound, Refusal
from hub.telemetry.trace import continued

CALL_TIMEOUT = 3600.0
"""Seconds until any call is given up, whatever its provider's own limits are."""

_LISTS = "/v1/models"
_NOTHING = 64 * 1024
"""Bytes that a body may have which says nothing."""


Present = Callable[[], tuple[Catalogue, Policy] | None]
"""The catalogue and the policy of the generation in force; None until there is one."""


class Edge(serve.Edge[Exchange]):
    """`/v1` as a part of the hub's one server. `usage` is shown to who may see it; `keeper` keeps content for who wants it kept."""

    exchange = Exchange

    def __init__(
        self, steps: Steps, clients: Clients, rooms: Rooms, present: Present, *, usage: Reader, keeper: Keeper, max_body: int
    ) -> None:
        super().__init__(steps, clients)
        self._rooms = rooms
        self._present = present
        self._usage = usage
        self._keeper = keeper
        self._max_body = max_body

    async def handle(self, exchange: Exchange, running: Running, caller: Caller) -> None:
        path: str = exchange.scope["path"]
        present = self._present()
        if present is None:
            raise NotFound("there are no models yet")
        catalogue, policy = present
        method: str = exchange.scope["method"]
        endpoint = ENDPOINTS.get(path)
        if endpoint is not None and (method != "GET" or path != LISTED):
            if method != "POST":
                raise MethodNotFound(f"{path} takes POST only")
            if query := exchange.scope.get("query_string"):
                endpoint = asked_with(endpoint, query)
            await self._ask(exchange, running, caller, endpoint, catalogue, policy)
        elif not placed(path):
            raise NotFound("there is no such endpoint")
        elif path.startswith(PREFIX):
            await self._recall(exchange, running, caller, catalogue, policy)
        elif method != "GET":
            raise MethodNotFound("this path takes GET only")
        else:
            running.reading = False
            await (self._list(exchange, caller, catalogue, policy) if path.startswith(_LISTS) else self._account(exchange, caller, policy))

    async def _ask(
        self, exchange: Exchange, running: Running, caller: Caller, endpoint: Endpoint, catalogue: Catalogue, policy: Policy
    ) -> None:
        require_json(exchange)
        running.reading = True
        body = await exchange.body(self._max_body)
        running.reading = False
        head = read(body, endpoint.kind) if len(body) < LARGE else await asyncio.to_thread(read, body, endpoint.kind)
        call = self._call(exchange, f"llm.{endpoint.kind}", head.model[:256], body)
        rooms, sent = self._rooms, Sent(exchange.headers, exchange.request_id)
        errand = Errand(endpoint, head, sent, catalogue, policy, rooms.providers.places, rooms, exchange.extra)
        named = () if endpoint.kind != "responses" else references(head) if len(body) < LARGE else await asyncio.to_thread(references, head)
        if dry(exchange.headers):
            await self._rehearsed(exchange, caller, call, errand, named)
        else:
            await self._made(exchange, caller, call, errand, Following(errand, named, lambda errand: errand) if named else errand)

    async def _rehearsed(self, exchange: Exchange, caller: Caller, call: Call, errand: Errand, named: tuple[Reference, ...]) -> None:
        """Say what would become of the call."""

        def rehearsal(errand: Errand) -> Rehearsal:
            return Rehearsal(errand, self.steps.limits, self._rooms.money.budgets)

        view = Following(errand, named, rehearsal) if named else rehearsal(errand)
        delivery = self._delivery(exchange)
        await delivery.finish(await govern(self.steps, errand.policy, view, call, caller, delivery))

    async def _made(self, exchange: Exchange, caller: Caller, call: Call, errand: Errand, view: View) -> None:
        """Make the call, and count what came of it."""
        keeper, models = self._keeper, self.steps.metrics.models
        if keeper.wants(caller.org):
            view = Capturing(view, keeper)
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

    async def _list(self, exchange: Exchange, caller: Caller, catalogue: Catalogue, policy: Policy) -> None:
        """The models that the caller may use, or one of them."""
        path: str = exchange.scope["path"]
        listing = Listing(catalogue, policy, path[len(_LISTS) + 1 :], dialect_of(path, exchange.headers))
        call = self._call(exchange, "llm.models", "", b"")
        delivery = self._delivery(exchange)
        await delivery.finish(await govern(self.steps, policy, listing, call, caller, delivery))

    async def _account(self, exchange: Exchange, caller: Caller, policy: Policy) -> None:
        """What was used, for those who may see it."""
        query: bytes = exchange.scope.get("query_string", b"")
        call = self._call(exchange, "llm.usage", "", query)
        usages = Usages(self._usage, exchange.scope["path"], query, exchange.header(b"accept"))
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
        call = self._call(exchange, f"llm.responses.{asked.kind}", "", b"")
        rooms = self._rooms
        recall = Recall(asked, Sent(exchange.headers, exchange.request_id), catalogue, rooms.providers.places, rooms)
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
