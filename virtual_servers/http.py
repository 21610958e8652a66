"""MCP over streamable HTTP, in both eras: one POST per message, answers as JSON or as an event stream. It does not know restarts.

Older era: `Mcp-Session-Id`, and a cancellation is a message. 2026-07-28: no session, headers mirror the body, and closing the stream
is the cancellation. Nothing is sent twice here: a session the server no longer knows is told by `SessionLost`.
"""

import asyncio
from collections.abc import Callable, Mapping

from hub.call import Trace
from hub.config.mcp import UpstreamSpec
from hub.config.values import Secret
from hub.deadlines import TICK, Deadlines, Watch
from hub.egress import Egress, Fields, Response
from hub.refusal import Unavailable, UpstreamDown, UpstreamFault, UpstreamTimeout
from hub.sse import Overflow, Parser
from virtual_servers import mirror, rpc
from virtual_servers.eras import MODERN
from virtual_servers.headers import Table
from virtual_servers.link import Ask, Notice
from virtual_servers.stdio import UNKNOWN_METHOD

JSON, STREAM = "application/json", "text/event-stream"
SESSION = "mcp-session-id"
PATIENCE = 5.0
"""Seconds a message without an answer may take: a cancellation, a session's end."""

NAMES = 512
"""Methods with names whose headers are kept made."""

LONGEST_WAIT = 3600
"""Seconds a server can have its callers told to wait, at most."""

OK, BAD_REQUEST, NOT_FOUND = 200, 400, 404
REFUSED = (401, 403)
DOWN = (429, 502, 503, 504)


class SessionLost(UpstreamFault):
    """The server does not know our session. `untouched`: it said so by 404, which means that it did not act on the request."""

    def __init__(self, *, untouched: bool) -> None:
        super().__init__("the server has forgotten the hub's session")
        self.untouched = untouched


class Refused(UpstreamFault):
    """The server does not accept the hub's credentials."""


class NotOffered(UpstreamFault):
    """The server has no stream of notifications."""


class HttpLink:
    """One server's endpoint. `version` is set by the handshake, `tables` by the catalogue (`Mcp-Param-*` per tool)."""

    def __init__(self, spec: UpstreamSpec, egress: Egress, on_notice: Notice) -> None:
        self.modern = False
        self._egress = egress
        self._url = spec.url
        self._limit = spec.max_result
        self._on_notice = on_notice
        self._own = {name: value.value if isinstance(value, Secret) else value for name, value in spec.headers.items()}
        self._traces = {"traceparent", "tracestate"}.isdisjoint(name.lower() for name in self._own)
        self._base = Fields()
        self._named: dict[tuple[str, str | None], Fields] = {}
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._deadlines = Deadlines(min(TICK, spec.timeout / 8))
        self.tables: Mapping[str, Table] = {}
        self.session = ""
        self.speak("")

    def speak(self, version: str) -> None:
        self.modern = version == MODERN
        if self.modern or not version:
            self.session = ""
        base = {"content-type": JSON, "accept": f"{JSON}, {STREAM}"}
        if version:
            base["mcp-protocol-version"] = version
        if self.session:
            base[SESSION] = self.session
        self._base = Fields(base).plus(self._own)
        self._named = {}

    async def open(self) -> None:
        """Nothing is kept open between calls but pooled connections."""

    async def ask(self, ask: Ask) -> rpc.Message:
        headers = self._headers(ask) if self.modern else self._base
        extra = _traced(ask.trace) if ask.trace is not None and self._traces else b""
        body = rpc.request(ask.ident, ask.method, ask.params)
        watch = self._deadlines.enter(ask.due())
        try:
            async with self._egress.request("POST", self._url, headers=headers, extra=extra, body=body) as response:
                return await self._answer(ask, response, watch)
        except asyncio.CancelledError:
            self._abandon(ask)
            if watch.ended():
                raise UpstreamTimeout("the server did not answer in time") from None
            raise
        finally:
            self._deadlines.leave(watch)

    async def tell(self, method: str, params: bytes) -> None:
        await self._post(rpc.notification(method, params))

    async def close(self) -> None:
        """End the session at the server, if there is one. Requests under way are left to end."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.session:
            try:
                async with asyncio.timeout(PATIENCE), self._egress.request("DELETE", self._url, headers=self._base):
                    self.session = ""
            except (Unavailable, TimeoutError):
                self.session = ""

    async def listen(self, ask: Ask | None, opened: Callable[[], None]) -> None:
        """Follow the server's notifications until the stream ends: by GET (`ask` None), or as a `subscriptions/listen`.

        `opened` is called once it stands. Raises `NotOffered`, `SessionLost`, or another `Unavailable` where it breaks.
        """
        method = "POST" if ask is not None else "GET"
        headers = self._headers(ask) if ask is not None else self._base
        body = rpc.request(ask.ident, ask.method, ask.params) if ask is not None else b""
        async with self._egress.request(method, self._url, headers=headers, body=body) as response:
            if response.status == NOT_FOUND and self.session:
                raise SessionLost(untouched=True)
            if response.status in DOWN:
                raise UpstreamDown("the server is not available")
            if response.status != OK or response.media_type != STREAM:
                raise NotOffered("the server offers no such stream", detail=f"{response.status} {response.media_type}")
            opened()
            parser = Parser(self._limit)
            async for chunk in response.chunks():
                for data in _events(parser, chunk):
                    message = _parse(data)
                    if message.method:
                        self._incoming(message)
                    elif ask is not None and message.id == ask.ident:
                        return

    # One call

    def _headers(self, ask: Ask) -> Fields:
        """The headers of a request of 2026-07-28: those of a method and a name are made once."""
        name = mirror.name_of(ask.method, ask.params)
        fields = self._named.get((ask.method, name))
        if fields is None:
            if len(self._named) >= NAMES:
                self._named.clear()
            named = () if name is None else (("mcp-name", mirror.encode(name)),)
            fields = self._named[ask.method, name] = self._base.plus((("mcp-method", mirror.encode(ask.method)), *named))
        table = self.tables.get(name) if name is not None and ask.method == "tools/call" else None
        arguments = rpc.members(ask.params).get("arguments") if table else None
        return fields.plus(mirror.params(rpc.value(arguments), table)) if table and arguments is not None else fields

    async def _answer(self, ask: Ask, response: Response, watch: Watch) -> rpc.Message:
        if response.status == OK:
            if response.media_type == JSON:
                message = _parse(await response.read(self._limit))
                if message.method or message.id != ask.ident:
                    raise UpstreamFault("the server answered another request")
                self._greeted(ask, response)
                return message
            if response.media_type == STREAM:
                return await self._stream(ask, response, watch)
            raise UpstreamFault("the server answered with a media type that is not MCP's", detail=response.media_type)
        return await self._refusal(ask, response)

    def _greeted(self, ask: Ask, response: Response) -> None:
        if ask.method == "initialize":
            session = response.headers.get(SESSION, "")
            if any(not "!" <= sign <= "~" for sign in session):
                raise UpstreamFault("the server gave a session id that cannot be used")
            self.session = session

    async def _stream(self, ask: Ask, response: Response, watch: Watch) -> rpc.Message:
        """Pass on what precedes the answer; stop at the answer."""
        self._greeted(ask, response)
        parser = Parser(self._limit)
        async for chunk in response.chunks():
            for event in _events(parser, chunk):
                message = _parse(event)
                if not message.method:
                    if message.id != ask.ident and not (message.id is None and message.error):
                        raise UpstreamFault("the server answered another request")
                    response.finish()
                    return message
                await self._before(ask, message, watch)
        raise UpstreamFault("the server's stream ended without an answer")

    async def _before(self, ask: Ask, message: rpc.Message, watch: Watch) -> None:
        if message.asks or message.method.endswith("/list_changed"):
            self._incoming(message)
            return
        params = message.params
        if message.method == "notifications/progress":
            if not ask.token or rpc.progress_of(params) != ask.ident:
                return
            watch.due = ask.due()
            params = rpc.retoken(params, ask.token)
        if ask.note is not None:
            await ask.note(message.method, params)

    async def _refusal(self, ask: Ask, response: Response) -> rpc.Message:
        """A status other than 200: the server's own JSON-RPC error where there is one, else a refusal of ours."""
        status = response.status
        if status == NOT_FOUND and self.session:
            raise SessionLost(untouched=True)
        if status in REFUSED:
            raise Refused("the server does not accept the hub's credentials", detail=f"status {status}")
        if 300 <= status < 400:
            raise UpstreamFault("the server answered with a redirect, which is not followed")
        message = await self._said(response) if status >= 400 and response.media_type == JSON else None
        if message is not None and message.id == ask.ident:
            return message
        if status == BAD_REQUEST and self.session:
            raise SessionLost(untouched=False)
        if message is not None and message.id is None:
            return message
        detail = f"status {status}"
        if status in DOWN:
            wait = response.headers.get("retry-after", "")
            raise UpstreamDown("the server is not available", detail=detail, retry_after=_seconds(wait))
        raise UpstreamFault("the server answered with an HTTP error", detail=detail)

    async def _said(self, response: Response) -> rpc.Message | None:
        try:
            message = rpc.parse(await response.read(min(self._limit, 1 << 20)))
        except (rpc.Garbage, UpstreamFault):
            return None
        return message if message.error and rpc.error_object(message.error) is not None else None

    # What surrounds calls

    def _abandon(self, ask: Ask) -> None:
        """Tell a server of the older era that the call is over; in the newer era the closed stream has told it."""
        if not self.modern and ask.method != "initialize":
            self._later(rpc.notification("notifications/cancelled", b'{"requestId":%d}' % ask.ident))

    def _incoming(self, message: rpc.Message) -> None:
        if not message.asks:
            self._on_notice(message.method, message.params)
        elif not self.modern and message.id is not None:
            ping = message.method == "ping"
            self._later(rpc.response(message.id, result=b"{}") if ping else rpc.response(message.id, error=UNKNOWN_METHOD))

    def _later(self, body: bytes) -> None:
        if len(self._tasks) < 256:
            task = self._loop.create_task(self._post(body))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _post(self, body: bytes) -> None:
        try:
            async with asyncio.timeout(PATIENCE), self._egress.request("POST", self._url, headers=self._base, body=body) as response:
                await response.read(1 << 16)
        except (Unavailable, TimeoutError):
            return


def _traced(trace: Trace) -> bytes:
    """The header lines of W3C Trace Context. The ids are hex, a state is printable ASCII (`hub.telemetry.trace`): no line breaks."""
    if trace.state:
        return f"traceparent: {trace.traceparent}\r\ntracestate: {trace.state}\r\n".encode("ascii")
    return b"traceparent: %b\r\n" % trace.traceparent.encode("ascii")


def _seconds(wait: str) -> float | None:
    """A `Retry-After` in seconds, an hour at most; None for another form of it."""
    return float(min(int(wait), LONGEST_WAIT)) if wait.isdecimal() and len(wait) < 10 else None


def _parse(data: bytes) -> rpc.Message:
    try:
        return rpc.parse(data)
    except rpc.Garbage as problem:
        raise UpstreamFault("the server's answer is not JSON-RPC", detail=str(problem)) from None


def _events(parser: Parser, chunk: bytes) -> list[bytes]:
    """The data of the message events in a chunk."""
    try:
        return [event.data for event in parser.feed(chunk) if event.data and event.event == "message"]
    except Overflow:
        raise UpstreamFault("the server's answer is too large") from None
