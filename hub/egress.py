"""The one way out over HTTP: shared pools of connections with bounds. It does not know what is said over it.

Destinations the operator wrote are connected to as written. With `public_only` (destinations that came from a caller or from a
peer's document) every address a name resolves to must be public, and the connection goes to an address that was checked, so that a
second resolution cannot change it. Redirects are never followed, cookies never kept, proxies of the environment never used; a user,
password or fragment of a URL is never sent. Answers are asked for without a content coding, and one that has one is a fault.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import lru_cache, partial
from types import TracebackType

from hub.config.serving import Egress as EgressSpec
from hub.dial import Dialer, NotPublic, Resolver, is_public
from hub.http1 import ONE_WRITE, Connection
from hub.http1_head import IDEMPOTENT, Fields, Headers, Target, parse
from hub.incoming import Broken, Gone, Incoming, Stalled
from hub.pool import KEEP_ALIVE, Pool
from hub.refusal import Unavailable, UpstreamDown, UpstreamFault, UpstreamTimeout

__all__ = ["KEEP_ALIVE", "LINGER", "Egress", "Exchange", "Fields", "Headers", "Response", "Unreached", "is_public"]

FAILURES = (Broken, Gone, Stalled, OSError, ValueError)
TOO_LARGE = "the server's answer is too large"
REFUSED = "the destination is not a public address"

LINGER = 1.0
"""Seconds a stream whose answer is complete may take to end, so that its connection can be used again."""

MOST_ROUTES = 1024
"""URLs remembered with their pools."""

_Route = tuple[Target, Pool]


class Unreached(UpstreamDown):
    """No connection could be made: nothing was sent."""


class UnreachedInTime(UpstreamTimeout):
    """No connection could be made in time: nothing was sent."""


class ResponseHeaders(Mapping[str, str]):
    """Header fields of an answer. Names compare without case; fields of one name are joined by a comma."""

    __slots__ = ("_fields",)

    def __init__(self, fields: dict[bytes, bytes]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower().encode("utf-8", "replace")].decode("utf-8", "replace")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower().encode("utf-8", "replace") in self._fields

    def joined(self) -> bytes:
        """All values, to be looked through at once; no value has a line end in it."""
        return b"\n".join(self._fields.values())

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._fields)

    def __len__(self) -> int:
        return len(self._fields)


class Response:
    """A reply whose body is still to be read. `headers` compare names without case; `media_type` is bare and in lower case."""

    __slots__ = ("_incoming", "kept", "media_type", "status")

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming
        self.status = incoming.status
        self.media_type = _media_type(incoming.fields.get(b"content-type", b""))
        self.kept = False

    @property
    def headers(self) -> ResponseHeaders:
        return ResponseHeaders(self._incoming.fields)

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises `UpstreamFault` when it is longer than `limit` bytes, or ends early."""
        incoming = self._incoming
        if not incoming.ended and int(incoming.fields.get(b"content-length", b"0")) > limit:
            raise UpstreamFault(TOO_LARGE)
        parts: list[bytes] = []
        size = 0
        while True:
            size += incoming.held
            if size > limit:
                raise UpstreamFault(TOO_LARGE)
            taken = self._take()
            parts += taken
            if incoming.ended:
                return parts[0] if len(parts) == 1 else b"".join(parts)
            if not taken:
                await incoming.wait()

    async def some(self) -> bytes:
        """What has arrived since the last time, at least one byte; nothing at the body's end. Raises `UpstreamFault` when it ends early."""
        incoming = self._incoming
        while True:
            parts = self._take()
            if parts:
                return parts[0] if len(parts) == 1 else b"".join(parts)
            if incoming.ended:
                return b""
            await incoming.wait()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises `UpstreamFault` when it ends early."""
        while part := await self.some():
            yield part

    def finish(self) -> None:
        """The caller has what it came for: keep the connection if the stream ends within `LINGER` seconds, else close it."""
        if not self._incoming.ended:
            self.kept = True
            self._incoming.spare(LINGER)

    def _take(self) -> list[bytes]:
        """What has arrived; where nothing is left of an answer that broke off, the fault."""
        incoming = self._incoming
        parts = incoming.take()
        if parts:
            if incoming.fields.get(b"content-encoding", b"identity").lower() != b"identity":
                raise UpstreamFault("the server's answer has a content coding that was not asked for")
        elif incoming.error is not None:
            raise _translate(incoming.error, answering=True) from None
        return parts


class Exchange:
    """`async with` it for the `Response`. Leaving before the body's end closes the connection, unless `finish` was called."""

    __slots__ = ("_again", "_body", "_head", "_incoming", "_method", "_pool", "_response")

    def __init__(self, pool: Pool, method: str, head: bytes, body: bytes, *, again: bool) -> None:
        self._pool = pool
        self._method = method
        self._again = again
        self._head = head
        self._body = body

    async def __aenter__(self) -> Response:
        try:
            connection = self._pool.take() or await self._pool.get()
            try:
                incoming = await self._ask(connection)
            except Gone:
                if not connection.answered or not self._again:
                    raise
                incoming = await self._ask(await self._pool.get(fresh=True))
        except FAILURES as problem:
            raise _translate(problem, answering=False) from None
        self._incoming = incoming
        self._response = response = Response(incoming)
        return response

    async def _ask(self, connection: Connection) -> Incoming:
        incoming = connection.begin(self._head, self._body, no_body=self._method == "HEAD")
        try:
            if len(self._body) > ONE_WRITE:
                await connection.pour(incoming, self._body)
            while not incoming.status:
                if incoming.error is not None:
                    raise incoming.error
                await incoming.wait()
        except BaseException:
            incoming.drop()
            raise
        return incoming

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._incoming.ended and (kind is not None or not self._response.kept):
            self._incoming.drop()


class Egress:
    """Opened once, inside the loop that uses it. Each kind of destination has its own pools.

    A request that a kept connection's end met before any byte of the answer is sent once more, on a new connection, if its method is
    idempotent (RFC 9110, 9.2.2; RFC 9112, 9.3.1). Any other is `UpstreamDown`: the server may have acted on it.
    """

    def __init__(self, spec: EgressSpec, *, resolver: Resolver | None = None) -> None:
        self._spec = spec
        self._resolver = resolver
        self._dialer: Dialer | None = None
        self._routes: tuple[dict[str, _Route], dict[str, _Route]] = ({}, {})
        self._pools: dict[tuple[bool, bool, str, int], Pool] = {}

    async def open(self) -> None:
        """Read the trusted certificates of `ca_file`. Raises `OSError` or `ssl.SSLError` where it cannot be used."""
        self._dialer = Dialer(self._spec.connect_timeout, self._spec.ca_file, self._resolver)

    async def close(self) -> None:
        """Close every connection, also those in use."""
        self._dialer = None
        await asyncio.gather(*(pool.close() for pool in list(self._pools.values())))
        self._pools.clear()
        for routes in self._routes:
            routes.clear()

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Headers | Fields = (),
        extra: bytes = b"",
        body: bytes = b"",
        public_only: bool = False,
        harmless: bool = False,
    ) -> Exchange:
        """One request, to be entered with `async with`. It has no time limit beyond that of connecting: the caller sets its own.

        `headers` that are the same for many requests are given as `Fields`, which are encoded once. `extra` are ready header lines of
        this request alone, each ended by CR and LF, made of checked values only and under no name that `headers` has. One that is
        idempotent, or `harmless` should it be done twice, is sent once more on a new connection where a kept one ended without a byte of
        an answer (RFC 9110, section 9.2.2).
        Raises `UpstreamDown` (no connection, or closed before an answer), `UpstreamTimeout` (connecting took too long, or the server
        does not take the request), `UpstreamFault` (what came back is not HTTP, the destination is not allowed, or the URL or a
        header cannot be sent).
        """
        target, pool = self._routes[public_only].get(url) or self._route(url, public_only=public_only)
        fields = headers if isinstance(headers, Fields) else Fields(headers)
        return Exchange(pool, method, fields.head(method, target, len(body), extra), body, again=harmless or method in IDEMPOTENT)

    def _route(self, url: str, *, public_only: bool) -> _Route:
        """Found out once per URL."""
        if self._dialer is None:
            raise UpstreamDown("the hub is not connected")
        target = parse(url)
        if public_only and target.credentials:
            raise UpstreamFault(REFUSED)
        routes = self._routes[public_only]
        if len(routes) >= MOST_ROUTES:
            routes.clear()
            self._pools = {key: pool for key, pool in self._pools.items() if not pool.empty}
        key = (public_only, target.secure, target.host, target.port)
        pool = self._pools.get(key)
        if pool is None:
            dial = partial(self._dialer.dial, target, public_only=public_only)
            self._pools[key] = pool = Pool(self._spec.connections, dial)
        routes[url] = (target, pool)
        return target, pool


@lru_cache(256)
def _media_type(value: bytes) -> str:
    return value[:256].partition(b";")[0].strip().lower().decode("latin-1")


def _translate(problem: Exception, *, answering: bool) -> Unavailable:
    """What went wrong, as a refusal that shows no address."""
    detail = f"{type(problem).__name__}: {problem}"
    match problem:
        case NotPublic():
            return UpstreamFault(REFUSED, detail=detail)
        case Stalled():
            return UpstreamTimeout("the server does not take the request", detail=detail)
        case ssl.SSLCertVerificationError():
            return UpstreamDown("the server's certificate is not trusted", detail=detail)
        case ssl.SSLError():
            return UpstreamDown("no secure connection to the server can be made", detail=detail)
        case TimeoutError():
            return UnreachedInTime("the server could not be connected to in time", detail=detail)
        case Gone() if not answering:
            return UpstreamDown("the server closed the connection without an answer", detail=detail)
        case Broken() | Gone():
            return UpstreamFault("the server's answer is broken off or not HTTP", detail=detail)
        case OSError() if not answering:
            return Unreached("the server cannot be connected to", detail=detail)
        case _:
            return UpstreamDown("the server cannot be connected to", detail=detail)
