"""Spans as one request of OTLP over HTTP, in its binary encoding, written by hand: the few messages there are need no library. Pure.

Source: opentelemetry-proto (collector/trace/v1, trace/v1, common/v1, resource/v1; the field numbers below are theirs) and the encoding of
Protocol Buffers: a field is its number and wire type as one varint, then its value;
messages, texts and bytes bear their length ahead. What has its default value is left out, but for the members of `AnyValue`, a oneof.
"""

import struct
from collections.abc import Iterable, Mapping

from hub.telemetry.otlp import ERROR, KINDS, SAMPLED
from hub.telemetry.span import Span, Value

MEDIA_TYPE = "application/x-protobuf"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types."""
_64_BITS = (1 << 64) - 1


def encoded(spans: Iterable[Span], resource: Mapping[str, Value], version: str) -> bytes:
    """An `ExportTraceServiceRequest`. `resource` says who speaks, `version` which hub made the spans."""
    scope = _text(1, "countersign") + _text(2, version)
    scoped = _field(1, scope) + b"".join(_field(2, _span(span)) for span in spans)
    return _field(1, _field(1, _attributes(1, resource)) + _field(2, scoped))


def rejected(body: bytes) -> int:
    """How many spans an `ExportTraceServiceResponse` says were not taken; 0 where it says nothing that can be read."""
    partial = _members(body).get(1)
    found = _members(partial).get(1) if isinstance(partial, bytes) else None
    return found if isinstance(found, int) and found < 1 << 63 else 0


def _span(span: Span) -> bytes:
    parts = [
        _field(1, bytes.fromhex(span.trace_id)),
        _field(2, bytes.fromhex(span.span_id)),
        _text(3, span.state),
        _field(4, bytes.fromhex(span.parent_id)) if span.parent_id else b"",
        _text(5, span.name),
        _number(6, KINDS[span.kind]),
        _key(7, _FIXED64) + struct.pack("<Q", span.start),
        _key(8, _FIXED64) + struct.pack("<Q", span.end),
        _attributes(9, span.attributes),
        _field(15, _number(3, ERROR)) if span.error else b"",
        _key(16, _FIXED32) + struct.pack("<I", SAMPLED),
    ]
    return b"".join(parts)


def _attributes(number: int, values: Mapping[str, Value]) -> bytes:
    return b"".join(_field(number, _text(1, key) + _field(2, _value(value))) for key, value in values.items())


def _value(value: Value) -> bytes:
    """An `AnyValue`: which member is set says the type, so that it is there even where it is empty or 0."""
    match value:
        case bool():
            return _number(2, value)
        case str():
            return _field(1, _utf8(value))
        case int():
            return _number(3, value)
        case float():
            return _key(4, _FIXED64) + struct.pack("<d", value)
        case list():
            return _field(5, b"".join(_field(1, _field(1, _utf8(one))) for one in value))


def _field(number: int, content: bytes) -> bytes:
    return _key(number, _BYTES) + _varint(len(content)) + content


def _text(number: int, text: str) -> bytes:
    return _field(number, _utf8(text)) if text else b""


def _number(number: int, value: int) -> bytes:
    """An int64 or an enum: a negative one is its two's complement of 64 bits."""
    return _key(number, _VARINT) + _varint(value & _64_BITS)


def _key(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last have the highest bit set."""
    if value < 0x80:
        return bytes((value,))
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _utf8(text: str) -> bytes:
    """Half of a pair, which no text of Protocol Buffers may hold, becomes a question mark."""
    return text.encode("utf-8", "replace")


def _members(message: bytes) -> dict[int, int | bytes]:
    """The last value of each field of a message, by number: whole numbers and bytes. What cannot be read ends it."""
    found: dict[int, int | bytes] = {}
    at = 0
    try:
        while at < len(message):
            key, at = _read(message, at)
            value, at = _read(message, at) if key & 7 in (_VARINT, _BYTES) else (4 if key & 7 == _FIXED32 else 8, at)
            if key & 7 == _VARINT:
                found[key >> 3] = value
                continue
            if at + value > len(message):
                break
            found[key >> 3] = message[at : at + value]
            at += value
    except IndexError:
        pass
    return found


def _read(message: bytes, at: int) -> tuple[int, int]:
    """A varint and where it ends. Raises `IndexError` where it does not, or is longer than any."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _64_BITS, at
    raise IndexError
