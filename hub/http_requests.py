"""Requests as they arrive on a connection: taken apart, their heads bounded and put the way ASGI has them. It answers nothing."""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import httptools

from hub.http_exchange import Exchange, Scope

MAX_HEAD = 64 * 1024
"""Bytes of a request line and its headers."""

MAX_FRAMING = MAX_HEAD + 256 * 1024
"""Bytes that may arrive without completing a head or bringing a part of a body: as much as a head, after the rest of one read."""

MAX_FIELDS = 1000
"""Header fields of one request: each costs more than its bytes."""

_BODY = (b"content-length", b"transfer-encoding")
"""Headers that announce a body."""


class Unreadable(Exception):
    """What arrived is no request, or one the hub does not take. Nothing after it can be read."""


class Requests:
    """`begin` is called for each head that is complete, with its scope and whether the connection can be kept, and makes the exchange.

    `begun`: a head has begun to arrive and is not complete. `incoming`: the exchange whose body is arriving.
    """

    __slots__ = ("_begin", "_fed", "_fixed", "_headers", "_parser", "_read", "_url", "begun", "incoming")

    def __init__(self, fixed: Scope, begin: Callable[[Scope, bool], Exchange]) -> None:
        """`fixed`: what the scopes of all requests of the connection have in common."""
        self.begun = False
        self.incoming: Exchange | None = None
        self._begin = begin
        self._fixed = fixed
        self._parser = httptools.HttpRequestParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._url = b""
        self._fed = 0
        """Bytes since something was found complete, from the start of the read in which that was."""
        self._read = 0

    def feed(self, data: bytes) -> bytes:
        """Take apart what has arrived. Returns what to feed next, mostly nothing. Raises `Unreadable`."""
        self._read = len(data)
        self._fed += self._read
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # None is offered: that request is answered like any other, and what follows it is the next one.
            return data[upgrade.args[0] :]
        except httptools.HttpParserError as problem:
            raise Unreadable from problem
        if self._fed > MAX_FRAMING:
            raise Unreadable
        return b""

    def end(self) -> None:
        """Nothing more arrives. The parser is let go of: it refers to this, and this to the connection."""
        self.incoming = None
        del self._parser, self._begin

    # What the parser finds. An exception raised here ends it.

    def on_message_begin(self) -> None:
        self.begun = True
        self._headers = []
        self._url = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.begun:  # what comes after the body are trailers: never headers (RFC 9110, section 6.5.1)
            self._headers.append((name.lower(), value))
            if len(self._headers) > MAX_FIELDS:
                raise Unreadable("the request has too many header fields")

    def on_headers_complete(self) -> None:
        parser, headers = self._parser, self._headers
        if self._fed > MAX_HEAD and self._size() > MAX_HEAD:
            raise Unreadable("the request line and headers are too large")
        if parser.should_upgrade() and any(name in _BODY for name, _ in headers):
            raise Unreadable("the parser takes such a body for the next request")
        raw_path, query = _target(self._url)
        path = raw_path.decode("ascii")
        scope = self._fixed.copy()
        scope["http_version"] = version = parser.get_http_version()
        scope["method"] = parser.get_method().decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = raw_path
        scope["query_string"] = query
        scope["headers"] = headers
        self.begun = False
        self._fed = self._read
        self.incoming = self._begin(scope, version == "1.1" and parser.should_keep_alive())

    def _size(self) -> int:
        """Of the head, as it came."""
        return len(self._url) + sum(len(name) + len(value) + 4 for name, value in self._headers)

    def on_body(self, body: bytes) -> None:
        self._fed = self._read
        if self.incoming is not None:
            self.incoming.arrive(body)

    def on_message_complete(self) -> None:
        self._fed = self._read
        incoming, self.incoming = self.incoming, None
        if incoming is not None:
            incoming.finish()


def _target(url: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request's target. Raises where it has no path."""
    if url[0] == 0x2F and b"#" not in url:
        path, _, query = url.partition(b"?")
        return path, query
    parsed: Any = httptools.parse_url(url)
    if parsed.path is None:
        raise Unreadable("the request's target has no path")
    return parsed.path, parsed.query or b""
