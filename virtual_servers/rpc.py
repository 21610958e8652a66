"""Cutting JSON-RPC envelopes open and closing them again, without touching what is inside. It does not know any transport.

`result`, `error` and `params` are the exact bytes the peer sent. Members are replaced in the parsed shape `dict[str, Raw]`, so values
that are not ours are never re-encoded; where nothing needs replacing, text is spliced.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from hub import __version__
from hub.call import Trace
from virtual_servers.eras import MODERN

ABSENT = Raw(b"")
RESERVED = "io.modelcontextprotocol/"
OWNED = (f"{RESERVED}protocolVersion", f"{RESERVED}clientInfo", f"{RESERVED}clientCapabilities")
"""`_meta` keys that speak of the connection between hub and server, never of the client's (2026-07-28, basic, `_meta`)."""

IMPLEMENTATION = f'{{"name":"countersign","version":"{__version__}"}}'.encode()
"""Who the hub says it is towards servers."""

Members = dict[str, Raw]


class Garbage(ValueError):
    """The bytes are not one JSON-RPC message."""


class Message(Struct, frozen=True):
    """One message. Absent members are empty. `id` is an int where the peer sent one, a str, or None (also where absent)."""

    id: int | str | None = None
    method: str = ""
    params: bytes = b""
    result: bytes = b""
    error: bytes = b""
    asks: bool = False
    """It is a request: it has a method and an id."""


class ErrorObject(Struct, frozen=True):
    """The `error` member of a JSON-RPC response."""

    code: int
    message: str
    data: Raw = ABSENT


class _Envelope(Struct):
    id: Raw = ABSENT
    method: str = ""
    params: Raw = ABSENT
    result: Raw = ABSENT
    error: Raw = ABSENT


class _Flag(Struct):
    isError: bool = False  # noqa: N815 - the name on the wire


_envelope = msgspec.json.Decoder(_Envelope)
_members = msgspec.json.Decoder(Members)
_flag = msgspec.json.Decoder(_Flag)
_error = msgspec.json.Decoder(ErrorObject)
_any = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode


def parse(data: bytes) -> Message:
    """One response, notification or request. Raises `Garbage` (not JSON, not UTF-8, nested too deeply, no JSON-RPC message)."""
    try:
        if not data.isascii():
            data.decode()
        seen = _envelope.decode(data)
        ident = _ident(bytes(seen.id)) if seen.id else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise Garbage(type(problem).__name__) from None
    if seen.method:
        return Message(ident, seen.method, bytes(seen.params), asks=bool(seen.id))
    if bool(seen.result) == bool(seen.error):
        raise Garbage("neither a result nor an error")
    return Message(ident, result=bytes(seen.result), error=bytes(seen.error))


def _ident(raw: bytes) -> int | str | None:
    if raw.isdigit():
        return int(raw) if len(raw) < 20 else None
    value = _any.decode(raw)
    return value if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)) else None


def error_object(raw: bytes) -> ErrorObject | None:
    """The error object, or None where it lacks an integer code or a text."""
    try:
        return _error.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return None


def members(raw: bytes | Raw) -> Members:
    """The members of an object as slices, the last of equal keys. Raises `Garbage`."""
    try:
        return _members.decode(raw)
    except (msgspec.MsgspecError, RecursionError) as problem:
        raise Garbage(type(problem).__name__) from None


def value(raw: bytes | Raw) -> Any:
    """The parsed value. Raises `Garbage`."""
    try:
        return _any.decode(raw)
    except (msgspec.MsgspecError, RecursionError) as problem:
        raise Garbage(type(problem).__name__) from None


def says_error(result: bytes) -> bool:
    """Whether a tool's result has `isError: true`."""
    if b"isError" not in result and b"\\u" not in result:
        return False
    try:
        return _flag.decode(result).isError
    except (msgspec.MsgspecError, RecursionError):
        return False


def request(ident: int, method: str, params: bytes = b"") -> bytes:
    """The bytes of a request around raw `params`. `method` may hold anything."""
    if params:
        return b'{"jsonrpc":"2.0","id":%d,"method":%b,"params":%b}' % (ident, _text(method), params)
    return b'{"jsonrpc":"2.0","id":%d,"method":%b}' % (ident, _text(method))


def notification(method: str, params: bytes = b"") -> bytes:
    """The bytes of a notification around raw `params`."""
    if params:
        return b'{"jsonrpc":"2.0","method":%b,"params":%b}' % (_text(method), params)
    return b'{"jsonrpc":"2.0","method":%b}' % _text(method)


def response(ident: int | str, *, result: bytes = b"", error: bytes = b"") -> bytes:
    """The bytes of a response to a server's own request."""
    if error:
        return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (_encode(ident), error)
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (_encode(ident), result)


_texts: dict[str, bytes] = {}


def _text(method: str) -> bytes:
    text = _texts.get(method)
    if text is None:
        text = _encode(method)
        if len(_texts) < 256:
            _texts[method] = text
    return text


def meta(raw: bytes, changes: Members, *, drop: tuple[str, ...] = (), token: bytes = b"") -> tuple[bytes, bytes]:
    """`raw` (an object, or empty for none) with `changes` set and `drop` removed in its `_meta`, and the client's own progress token.

    Where the client gave a progress token, `token` takes its place; where it gave none, none is set and the second value is empty.
    Nothing else is re-encoded. Raises `Garbage` where `raw` or its `_meta` is no object.
    """
    if b"_meta" not in raw and b"\\u" not in raw:
        return _insert(raw, changes), b""
    whole = members(raw)
    inner = whole.get("_meta")
    if inner is None:
        return _insert(raw, changes), b""
    kept = members(inner)
    for key in drop:
        kept.pop(key, None)
    kept.update(changes)
    theirs = kept.get("progressToken") if token else None
    if theirs is not None:
        kept["progressToken"] = Raw(token)
    whole["_meta"] = Raw(_encode(kept))
    return _encode(whole), bytes(theirs) if theirs is not None else b""


def _insert(raw: bytes, changes: Members) -> bytes:
    if not changes:
        return raw
    added = b'{"_meta":' + _encode(changes)
    if not raw:
        return added + b"}"
    start = raw.find(b"{")
    if start < 0 or raw[:start].strip():
        raise Garbage("no object")
    rest = raw[start + 1 :]
    return added + (rest if rest.lstrip()[:1] == b"}" else b"," + rest)


def progress_of(params: bytes) -> int | None:
    """The token a progress notification names, where it can be one of ours."""
    try:
        token = _members.decode(params).get("progressToken")
    except (msgspec.MsgspecError, RecursionError):
        return None
    raw = bytes(token) if token is not None else b""
    return int(raw) if raw.isdigit() and len(raw) < 20 else None


def retoken(params: bytes, token: bytes) -> bytes:
    """The parameters of a progress notification with the client's own `token` in place of ours."""
    whole = members(params)
    whole["progressToken"] = Raw(token)
    return _encode(whole)


def trace_members(trace: Trace | None) -> Members:
    """The `_meta` members that carry the trace context (SEP-414)."""
    if trace is None:
        return {}
    found = {"traceparent": Raw(_encode(trace.traceparent))}
    if trace.state:
        found["tracestate"] = Raw(_encode(trace.state))
    return found


def modern_members(capabilities: bytes = b"{}") -> Members:
    """The `_meta` members each request of 2026-07-28 must carry."""
    return {OWNED[0]: Raw(b'"' + MODERN.encode() + b'"'), OWNED[1]: Raw(IMPLEMENTATION), OWNED[2]: Raw(capabilities)}
