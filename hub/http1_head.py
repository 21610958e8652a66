"""What a request says before its body, as bytes that can be read in one way only. It sends nothing and connects to nothing."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import cast
from urllib.parse import quote, urlsplit

from msgspec import Struct

from hub import __version__
from hub.refusal import UpstreamFault

Headers = Mapping[str, str] | Iterable[tuple[str, str]]

METHODS = {name: name.encode() for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
"""Methods that may be sent again when nothing came back (RFC 9110, 9.2.2)."""

_WITH_LENGTH = frozenset({"POST", "PUT", "PATCH"})
_OURS = frozenset(
    {"connection", "content-length", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""They say where a message ends and what becomes of the connection: never a caller's to set."""

_DEFAULTS = (("user-agent", f"countersign/{__version__}"), ("accept-encoding", "identity"))
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_HOST = re.compile(r"[a-z0-9._-]{1,253}", re.ASCII)
_KEPT = "!$&'()*+,;=:@/-._~%"
"""Signs of a path that stand for themselves (RFC 3986, 3.3), and the one that begins an encoded sign."""


class Unsendable(UpstreamFault):
    """A method, URL or header that cannot be put into a request. Neither message nor detail shows a value."""

    def __init__(self, what: str) -> None:
        super().__init__("the request cannot be sent: its address or a header is not usable", detail=what)


class Target(Struct, frozen=True):
    """Where a request goes. `host` is an ASCII name or an address without brackets; `line` follows the method on the wire."""

    secure: bool
    host: str
    port: int
    line: bytes
    authority: bytes
    credentials: bool
    """The URL held a user or password. They are dropped: they never reach the wire."""

    def __repr__(self) -> str:
        """Without the path and the query, which may hold a secret."""
        return f"Target({self.host}:{self.port})"


class Fields:
    """Header fields, checked and encoded once: to be given as `headers` for every request that has the same ones.

    Names given replace the hub's own `user-agent`, `accept-encoding` and `host`. Names that are no tokens, names that frame the message,
    and values with control characters are a `problem`, which each request with these fields meets.
    """

    __slots__ = ("_given", "_last", "names", "problem", "wire")

    def __init__(self, headers: Headers = ()) -> None:
        self._last: tuple[str, Target, bytes] | None = None
        self._given = _pairs(headers)
        self.names = frozenset(name.lower() for name, _ in self._given)
        own = tuple(pair for pair in _DEFAULTS if pair[0] not in self.names)
        self.wire, self.problem = _encode(own + self._given)

    def plus(self, headers: Headers) -> "Fields":
        """These and `headers`; where both have a name, only what `headers` says."""
        given = _pairs(headers)
        names = frozenset([name.lower() for name, _ in given])
        if not names.isdisjoint(self.names) or "accept-encoding" in names or "user-agent" in names:
            return Fields((*(pair for pair in self._given if pair[0].lower() not in names), *given))
        made = Fields.__new__(Fields)
        made._last = None
        made._given = self._given + given
        made.names = self.names | names
        wire, problem = _encode(given)
        made.wire = self.wire + wire
        made.problem = self.problem or problem
        return made

    def head(self, method: str, target: Target, length: int, extra: bytes = b"") -> bytes:
        """The request line and the fields, to the empty line, for a body of `length` bytes. Raises `Unsendable`.

        `extra` are lines for this request alone, each with its end. They are sent as they are: whoever gives them has checked them.
        """
        last = self._last
        if last is not None and last[1] is target and last[0] == method:
            start = last[2]
        else:
            start = self._start(method, target)
            self._last = (method, target, start)
        if length or method in _WITH_LENGTH:
            return b"%b%bcontent-length: %d\r\n\r\n" % (start, extra, length)
        return b"%b%b\r\n" % (start, extra)

    def _start(self, method: str, target: Target) -> bytes:
        if method not in METHODS:
            raise Unsendable("method")
        if self.problem is not None:
            raise self.problem
        host = b"" if "host" in self.names else target.authority
        return METHODS[method] + target.line + host + self.wire


def _pairs(headers: Headers) -> tuple[tuple[str, str], ...]:
    return tuple(cast("Mapping[str, str]", headers).items() if isinstance(headers, Mapping) else headers)


def _encode(pairs: Iterable[tuple[str, str]]) -> tuple[bytes, Unsendable | None]:
    lines: list[str] = []
    for name, value in pairs:
        if not _NAME.fullmatch(name) or name.lower() in _OURS:
            return b"", Unsendable(f"header name {name[:80]!r}")
        if _CONTROL.search(value):
            return b"", Unsendable(f"value of header {name[:80]!r}")
        lines.append(f"{name}: {value}\r\n")
    try:
        return "".join(lines).encode(), None
    except UnicodeEncodeError:
        return b"", Unsendable("value of a header")


def parse(url: str) -> Target:
    """Take a URL apart. Raises `Unsendable` for what is not an absolute http or https URL with a usable host and port."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise Unsendable("URL") from None
    secure = parts.scheme == "https"
    if not host or port == 0 or parts.scheme not in ("http", "https"):
        raise Unsendable("URL")
    name, shown = _literal(host) if "[" in parts.netloc or ":" in host else _name(host)
    if port is not None and port != (443 if secure else 80):
        shown = f"{shown}:{port}"
    path = quote(parts.path or "/", safe=_KEPT)
    query = "?" + quote(parts.query, safe=_KEPT + "?") if parts.query else ""
    line = f" {path}{query} HTTP/1.1\r\n".encode("ascii")
    authority = f"host: {shown}\r\n".encode("ascii")
    return Target(secure, name, port or (443 if secure else 80), line, authority, "@" in parts.netloc)


def _literal(host: str) -> tuple[str, str]:
    """An IPv6 address, with its zone for connecting and without it for the `host` field."""
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise Unsendable("host") from None
    return host, f"[{host.partition('%')[0]}]"


def _name(host: str) -> tuple[str, str]:
    try:
        name = host if host.isascii() else host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise Unsendable("host") from None
    if not _HOST.fullmatch(name):
        raise Unsendable("host")
    return name, name
