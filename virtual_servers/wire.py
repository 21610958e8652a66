"""The HTTP side of an MCP exchange: a bounded read, one answer, lazily upgraded to an event stream. Knows ASGI, knows no MCP method.

An answer is one JSON object unless a message precedes it and the client takes `text/event-stream`; then it becomes a stream whose
last frame is the response.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from hub.refusal import InvalidRequest, NotAcceptable, TooLarge, WrongMediaType

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_JSON = (b"content-type", b"application/json")
_STREAM = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
_KEEP_ALIVE = b":\n\n"


class ClientGone(Exception):
    """The client closed its connection before its request was read."""


class Exchange:
    """One HTTP request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        self.scope = scope
        fields: dict[bytes, bytes] | None = scope.get("hub.fields")
        self.headers = _headers(scope) if fields is None else fields
        self.request_id = request_id
        self.extra: Headers = [(b"x-request-id", request_id.encode())]
        self.streaming = False
        self.finished = False
        self._receive = receive
        self._send = send

    def header(self, name: bytes) -> str:
        """The value of a header (lower-case name), empty when absent."""
        value = self.headers.get(name)
        return value.decode("latin-1") if value is not None else ""

    @property
    def door(self) -> str:
        """The virtual server's name: what stands behind `/mcp/` in the path."""
        path: str = self.scope["path"]
        return path[len("/mcp/") :].rstrip("/")[:128]

    async def body(self, limit: int) -> bytes:
        """The whole body. Raises `TooLarge` or `ClientGone`. How long it may take is the caller's to watch."""
        declared = self.headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > limit:
            raise TooLarge(f"the body must not be larger than {limit} bytes")
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body: bytes = message.get("body", b"")
            if len(body) > limit:
                raise TooLarge(f"the body must not be larger than {limit} bytes")
            return body
        parts: list[bytes] = []
        size = 0
        while True:
            if message["type"] == "http.disconnect":
                raise ClientGone
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise TooLarge(f"the body must not be larger than {limit} bytes")
            if not message.get("more_body"):
                return b"".join(parts)
            message = await self._receive()

    async def gone(self) -> None:
        """Wait until the client has left. Only after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def abort(self) -> None:
        """Close the connection at once, whatever of the answer was not taken. Needs the hub's own HTTP server."""
        abort: Callable[[], None] | None = self.scope.get("hub.abort")
        if abort is not None:
            abort()
            await self.gone()

    @property
    def takes_stream(self) -> bool:
        return _accepts(self.headers.get(b"accept"), b"text/event-stream", b"text/*")

    async def json(self, status: int, body: bytes) -> None:
        """Answer with one JSON text."""
        await self._whole(status, [_JSON], body)

    async def empty(self, status: int, *headers: tuple[bytes, bytes]) -> None:
        await self._whole(status, list(headers), b"")

    async def _whole(self, status: int, headers: Headers, body: bytes) -> None:
        self.finished = True
        headers = [*headers, (b"content-length", str(len(body)).encode()), *self.extra]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def start_stream(self) -> None:
        self.streaming = True
        await self._send({"type": "http.response.start", "status": 200, "headers": [*_STREAM, *self.extra]})

    async def event(self, data: bytes) -> None:
        """Send one event, starting the stream when this is the first."""
        if not self.streaming:
            await self.start_stream()
        await self._send({"type": "http.response.body", "body": frame(data), "more_body": True})

    async def comment(self, text: str = "") -> None:
        body = f": {text}\n\n".encode() if text else _KEEP_ALIVE
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end_stream(self, last: bytes | None = None, comment: str = "") -> None:
        """End the stream: an optional comment, then an optional last event, in one send."""
        self.finished = True
        body = (f": {comment}\n\n".encode() if comment else b"") + (frame(last) if last is not None else b"")
        await self._send({"type": "http.response.body", "body": body})


def frame(data: bytes) -> bytes:
    """One server-sent event. JSON may hold line breaks between its tokens, so each line becomes a `data` line."""
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(data.splitlines())
    return b"event: message\ndata: " + data + b"\n\n"


_SINGLE = frozenset({b"mcp-protocol-version", b"mcp-method", b"mcp-name", b"mcp-session-id", b"authorization", b"content-type", b"host"})


def _headers(scope: Scope) -> dict[bytes, bytes]:
    """Headers by lower-case name. One that must be single is marked by a NUL when it came twice, so that it matches nothing."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in headers:
            if name in _SINGLE or name.startswith(b"mcp-param-"):
                raise InvalidRequest(f"the header {name.decode('latin-1')} must be sent once")
            value = headers[name] + b", " + value
        headers[name] = value
    return headers


def require_json(exchange: Exchange) -> None:
    """Raises `WrongMediaType` unless the body is declared to be JSON."""
    kind = exchange.headers.get(b"content-type", b"")
    if kind != b"application/json" and kind.partition(b";")[0].strip().lower() != b"application/json":
        raise WrongMediaType("the content type must be application/json")


def require_accept(exchange: Exchange) -> None:
    """Raises `NotAcceptable` when the client takes no JSON: the hub may always answer with it."""
    if not _accepts(exchange.headers.get(b"accept"), b"application/json", b"application/*"):
        raise NotAcceptable("the Accept header must include application/json and text/event-stream")


def _accepts(accept: bytes | None, kind: bytes, any_of_it: bytes) -> bool:
    return not accept or kind in accept or b"*/*" in accept or any_of_it in accept
