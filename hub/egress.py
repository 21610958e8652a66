"""The one way out over HTTP: a shared pool of connections with bounds. It does not know what is said over it.

Destinations the operator wrote are connected to as written. With `public_only` (destinations that came from a caller or from a
peer's document) every address a name resolves to must be public, and the connection goes to an address that was checked, so that a
second resolution cannot change it. Redirects are never followed, cookies never kept, proxies of the environment never used.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from types import TracebackType

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDictProxy
from yarl import URL

from hub import __version__
from hub.config.model import Egress as EgressSpec
from hub.refusal import Unavailable, UpstreamDown, UpstreamFault, UpstreamTimeout

Headers = Mapping[str, str] | Iterable[tuple[str, str]]

FAILURES = (aiohttp.ClientError, TimeoutError, OSError, ValueError)
TOO_LARGE = "the server's answer is too large"
REFUSED = "the destination is not a public address"

KEEP_ALIVE = 4.0
"""Seconds an idle connection is kept: below the five after which common servers close it, so that a request rarely meets a close."""

LINGER = 1.0
"""Seconds a stream whose answer is complete may take to end, so that its connection can be used again."""

_NOT_PUBLIC_6 = tuple(ipaddress.IPv6Network(net) for net in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
_GLOBAL_6 = ipaddress.IPv6Network("2000::/3")


class _NotPublic(OSError):
    """A name that resolves to an address that is not public."""


def is_public(address: str) -> bool:
    """Whether `address` is one of the public internet. Forms that embed an IPv4 address (mapped, NAT64, 6to4, Teredo) are not."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        return parsed.scope_id is None and parsed in _GLOBAL_6 and not any(parsed in net for net in _NOT_PUBLIC_6)
    return parsed.is_global and not (parsed.is_multicast or parsed.is_reserved or parsed in ipaddress.IPv4Network("192.0.0.0/24"))


class _PublicResolver(AbstractResolver):
    """Resolves a name and refuses it when any of its addresses is not public."""

    def __init__(self, inner: AbstractResolver | None = None) -> None:
        self._inner = inner or aiohttp.ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if not found or not all(is_public(entry["host"]) for entry in found):
            raise _NotPublic("not a public address")
        return found

    async def close(self) -> None:
        await self._inner.close()


class Response:
    """A reply whose body is still to be read. `headers` compare names without case; `media_type` is bare and in lower case."""

    __slots__ = ("_raw", "headers", "kept", "media_type", "status")

    def __init__(self, raw: aiohttp.ClientResponse) -> None:
        self._raw = raw
        self.status = raw.status
        self.headers: CIMultiDictProxy[str] = raw.headers
        self.media_type = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        self.kept = False

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises `UpstreamFault` when it is longer than `limit` bytes, or ends early."""
        content = self._raw.content
        if (self._raw.content_length or 0) > limit:
            raise UpstreamFault(TOO_LARGE)
        parts: list[bytes] = []
        size = 0
        try:
            while part := await content.readany():
                parts.append(part)
                size += len(part)
                if size > limit:
                    raise UpstreamFault(TOO_LARGE)
        except FAILURES as problem:
            raise _translate(problem, answering=True) from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises `UpstreamFault` when it ends early."""
        try:
            while part := await self._raw.content.readany():
                yield part
        except FAILURES as problem:
            raise _translate(problem, answering=True) from None

    def finish(self) -> None:
        """The caller has what it came for: keep the connection if the stream ends within `LINGER` seconds, else close it."""
        if not self._raw.content.is_eof():
            self.kept = True
            asyncio.get_running_loop().call_later(LINGER, self._raw.close)


class Exchange:
    """`async with` it for the `Response`. Leaving before the body's end closes the connection, unless `finish` was called."""

    __slots__ = ("_raw", "_request", "_response")

    def __init__(self, request: Callable[[], Awaitable[aiohttp.ClientResponse]]) -> None:
        self._request = request

    async def __aenter__(self) -> Response:
        try:
            self._raw = await self._request()
        except FAILURES as problem:
            raise _translate(problem, answering=False) from None
        self._response = Response(self._raw)
        return self._response

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._raw.content.is_eof():
            self._raw.release()
        elif kind is not None or not self._response.kept:
            self._raw.close()


class Egress:
    """Opened once, inside the loop that uses it. Each kind of destination has its own pool."""

    def __init__(self, spec: EgressSpec, *, resolver: AbstractResolver | None = None) -> None:
        self._spec = spec
        self._resolver = resolver
        self._named: aiohttp.ClientSession | None = None
        self._public: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Read the trusted certificates, make the pools. Raises `OSError` or `ssl.SSLError` where `ca_file` cannot be used."""
        trust = ssl.create_default_context(cafile=self._spec.ca_file or None)
        self._named = self._session(trust, self._resolver)
        self._public = self._session(trust, _PublicResolver(self._resolver))

    async def close(self) -> None:
        """Close every connection, also those in use."""
        for session in (self._named, self._public):
            if session is not None:
                await session.close()
        self._named = self._public = None

    def request(self, method: str, url: str | URL, *, headers: Headers = (), body: bytes = b"", public_only: bool = False) -> Exchange:
        """One request, to be entered with `async with`. It has no time limit beyond that of connecting: the caller sets its own.

        Raises on entering: `UpstreamDown` (no connection, or closed before an answer), `UpstreamTimeout` (connecting took too long),
        `UpstreamFault` (what came back is not HTTP, or the destination is not allowed).
        """
        target = URL(url) if isinstance(url, str) else url
        session = self._public if public_only else self._named
        if session is None:
            raise UpstreamDown("the hub is not connected")
        if public_only:
            _check(target)
        data = aiohttp.BytesPayload(body) if body else None
        return Exchange(lambda: session.request(method, target, headers=headers, data=data, allow_redirects=False))

    def _session(self, trust: ssl.SSLContext, resolver: AbstractResolver | None) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=trust, limit=0, limit_per_host=self._spec.connections, keepalive_timeout=KEEP_ALIVE, resolver=resolver
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._spec.connect_timeout),
            headers={"user-agent": f"countersign/{__version__}", "accept-encoding": "identity"},
        )


def _check(url: URL) -> None:
    """Refuse what no resolver gets to see: other schemes, credentials in the address, literal addresses that are not public."""
    host = url.raw_host or ""
    literal = ":" in host or host.replace(".", "").isdigit()
    if url.scheme not in ("http", "https") or not host or url.raw_user or url.raw_password or (literal and not is_public(host)):
        raise UpstreamFault(REFUSED)


def _translate(problem: Exception, *, answering: bool) -> Unavailable:
    """What went wrong, as a refusal that shows no address."""
    cause = getattr(problem, "os_error", None) or problem.__cause__
    detail = f"{type(problem).__name__}: {problem}"
    if isinstance(problem, _NotPublic) or isinstance(cause, _NotPublic):
        return UpstreamFault(REFUSED, detail=detail)
    if isinstance(problem, TimeoutError):
        return UpstreamTimeout("the server could not be connected to in time", detail=detail)
    if isinstance(problem, (aiohttp.ClientPayloadError, aiohttp.ClientResponseError, aiohttp.InvalidURL, ValueError)):
        return UpstreamFault("the server's answer is broken off or not HTTP", detail=detail)
    if answering:
        return UpstreamFault("the server broke off its answer", detail=detail)
    if isinstance(problem, aiohttp.ClientSSLError):
        return UpstreamDown("the server's certificate is not trusted", detail=detail)
    if isinstance(problem, aiohttp.ClientConnectorError):
        return UpstreamDown("the server cannot be connected to", detail=detail)
    return UpstreamDown("the server closed the connection without an answer", detail=detail)
