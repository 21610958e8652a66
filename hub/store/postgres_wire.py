"""The few messages of PostgreSQL's protocol (version 3) that a prepared statement needs, as pure functions. Values are in binary format.

https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from collections.abc import Sequence
from itertools import chain
from struct import Struct

SYNC = b"S\x00\x00\x00\x04"
HEAD = Struct("!cI")
"""Type of a message, and its length without the type."""

BYTEA, INT2, INT4, INT8, TEXT = 17, 21, 23, 20, 25
"""Types of an array's elements (pg_type.dat)."""

_LENGTH = Struct("!i").pack
_ARRAY = Struct("!iIIii").pack
_INT2, _INT4, _INT8 = Struct("!h").pack, Struct("!i").pack, Struct("!q").pack
_EXECUTE = b"E\x00\x00\x00\x09\x00\x00\x00\x00\x00" + SYNC  # the nameless portal, all rows
_NULL = b"\xff\xff\xff\xff"
_BOUND, _READY = b"2\x00\x00\x00\x04D", b"Z\x00\x00\x00\x05I"


def prepare(name: str, query: str) -> bytes:
    """Parse and Sync: `query` under `name`, its parameters' types found by the server."""
    text = b"%b\x00%b\x00\x00\x00" % (name.encode(), query.encode())
    return b"P" + _LENGTH(4 + len(text)) + text + SYNC


def bind(name: bytes, values: Sequence[bytes]) -> bytes:
    """Bind, Execute and Sync: one run of a prepared statement, which is a transaction of its own."""
    body = _joined(values)
    return b"B%b\x00%b\x00\x00\x01\x00\x01%b%b\x00\x01\x00\x01%b" % (
        _LENGTH(4 + 1 + len(name) + 1 + 4 + 2 + len(body) + 4),
        name,
        _INT2(len(values)),
        body,
        _EXECUTE,
    )


def int2(value: int) -> bytes:
    return _INT2(value)


def int4(value: int) -> bytes:
    return _INT4(value)


def int8(value: int) -> bytes:
    return _INT8(value)


def array(kind: int, values: Sequence[bytes]) -> bytes:
    """An array of one dimension, of at least one element, none of them NULL."""
    return _ARRAY(1, 0, kind, len(values), 1) + _joined(values)


def columns(row: bytes) -> list[bytes | None]:
    """The values of a DataRow. Raises `ValueError` where it is none."""
    count, at, found = int.from_bytes(row[:2], "big"), 2, list[bytes | None]()
    for _ in range(count):
        length = int.from_bytes(row[at : at + 4], "big", signed=True)
        at += 4
        if length < 0:
            found.append(None)
            continue
        found.append(row[at : at + length])
        at += length
    if at != len(row):
        raise ValueError("a row whose lengths do not add up")
    return found


def integers(value: bytes) -> list[int | None]:
    """The elements of an array of bigint. Raises `ValueError` where it is none."""
    if len(value) < 20 or value[:4] != b"\x00\x00\x00\x01" or value[8:12] != b"\x00\x00\x00\x14":
        raise ValueError("not an array of bigint")
    at, found = 20, list[int | None]()
    while at < len(value):
        null = value[at : at + 4] == _NULL
        found.append(None if null else int.from_bytes(value[at + 4 : at + 12], "big", signed=True))
        at += 4 if null else 12
    return found


def fields(error: bytes) -> dict[str, str]:
    """Those of an ErrorResponse by their letters: `V` severity, `C` SQLSTATE, `M` message."""
    parts = error.split(b"\x00")
    return {part[:1].decode("ascii", "replace"): part[1:].decode("utf-8", "replace") for part in parts if part}


def whole(data: bytes) -> bytes | None:
    """The row of an answer that came in one piece: BindComplete, one DataRow, CommandComplete, ReadyForQuery. None for all others."""
    if data[:6] != _BOUND or data[-6:] != _READY:
        return None
    after = 6 + int.from_bytes(data[6:10], "big")
    if data[after : after + 1] != b"C" or after + 1 + int.from_bytes(data[after + 1 : after + 5], "big") != len(data) - 6:
        return None
    return data[10:after]


def _joined(values: Sequence[bytes]) -> bytes:
    """Values with their lengths."""
    lengths = map(_LENGTH, map(len, values))
    return b"".join(chain.from_iterable(zip(lengths, values, strict=True)))
