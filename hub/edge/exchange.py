"""The HTTP side of a governed exchange: a bounded read, then one answer or a stream. Knows ASGI, knows no protocol of an edge."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from hub.call import Credential
from hub.refusal import InvalidRequest, TooLarge, WrongMediaType

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
STREAM: Headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
_SINGLE = frozenset({b"authorization", b"content-type", b"host"})


class ClientGone(Exception):
    """The client closed its connection before its request was read."""


class Exchange:
    """One HTTP request and its answer."""

    admitted = 0.0
    """When its caller was known, in monotonic seconds; told only where somebody looks on at calls."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        """Raises `InvalidRequest` where a header that must be single came twice."""
        self.scope = scope
        fields: dict[bytes, bytes] | None = scope.get("hub.fields")
        self.headers = headers_of(scope["headers"], self.must_be_single) if fields is None else fields
        self.request_id = request_id
        self.extra: Headers = [(b"x-request-id", request_id.encode())]
        self.streaming = False
        self.framed = True
        """Whether a stream has room for an error. One that has none is broken off where something fails: nobody is to take it for whole."""
        self.finished = False
        self.since = 0.0
        """When it came, in monotonic seconds (`hub.edge.clients`)."""
        self._receive = receive
        self._send = send

    @staticmethod
    def must_be_single(name: bytes) -> bool:
        """Whether a second header of this name makes the request ambiguous."""
        return name in _SINGLE

    def header(self, name: bytes) -> str:
        """The value of a header (lower-case name), empty when absent."""
        value = self.headers.get(name)
        return value.decode("latin-1") if value is not None else ""

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

    async def json(self, status: int, body: bytes) -> None:
        """Answer with one JSON text."""
        await self.whole(status, [JSON], body)

    async def empty(self, status: int, *headers: tuple[bytes, bytes]) -> None:
        await self.whole(status, list(headers), b"")

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer at once, with these headers and those of `extra`."""
        self.finished = True
        headers = [*headers, (b"content-length", str(len(body)).encode()), *self.extra]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def start_stream(self, headers: Headers = STREAM) -> None:
        """Begin a stream: of events, where nothing else is said."""
        self.streaming = True
        await self._send({"type": "http.response.start", "status": 200, "headers": [*headers, *self.extra]})

    async def part(self, body: bytes) -> None:
        """Send these bytes of the stream. Awaiting it applies back pressure."""
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def last(self, body: bytes) -> None:
        """Send the last bytes of the stream."""
        self.finished = True
        await self._send({"type": "http.response.body", "body": body})


def headers_of(pairs: Headers, single: Callable[[bytes], bool]) -> dict[bytes, bytes]:
    """Headers by lower-case name; several of one name are joined by a comma. Raises `InvalidRequest` for those that must be single."""
    headers: dict[bytes, bytes] = {}
    for name, value in pairs:
        if name in headers:
            if single(name):
                raise InvalidRequest(f"the header {name.decode('latin-1')} must be sent once")
            value = headers[name] + b", " + value
        headers[name] = value
    return headers


def require_json(exchange: Exchange) -> None:
    """Raises `WrongMediaType` unless the body is declared to be JSON."""
    kind = exchange.headers.get(b"content-type", b"")
    if kind != b"application/json" and kind.partition(b";")[0].strip().lower() != b"application/json":
        raise WrongMediaType("the content type must be application/json")


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
    """The peer's address, empty where the server does not say."""
    client = exchange.scope.get("client")
    return client[0] if client else ""
