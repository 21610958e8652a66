"""The few messages of PostgreSQL's protocol (version 3) that a prepared statement needs, as pure functions. Values are in binary format.

https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from collections.abc import Sequence
from struct import Struct

SYNC = b"S\x00\x00\x00\x04"
HEAD = Struct("!cI")
"""Type of a message, and its length without the type."""

BYTEA, INT2, INT4, INT8, TEXT = 17, 21, 23, 20, 25
"""Types of an array's elements (pg_type.dat)."""

_LENGTH = Struct("!i").pack
_ARRAY = Struct("!iIIii").pack
_INT2, _INT4, _INT8 = Struct("!h").pack, Struct("!i").pack, Struct("!q").pack
_EXECUTE = b"E\x00\x00\x00\x09\x00\x00\x00\x00\x00"  # the nameless portal, all rows
_NULL = b"\xff\xff\xff\xff"


def prepare(name: str, query: str) -> bytes:
    """Parse and Sync: `query` under `name`, its parameters' types found by the server."""
    text = b"%b\x00%b\x00\x00\x00" % (name.encode(), query.encode())
    return b"P" + _LENGTH(4 + len(text)) + text + SYNC


def bind(name: bytes, values: Sequence[bytes | None]) -> bytes:
    """Bind, Execute and Sync: one run of a prepared statement, which is a transaction of its own."""
    parts = [b"\x00%b\x00\x00\x01\x00\x01" % name, _INT2(len(values))]
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            parts += (_LENGTH(len(value)), value)
    parts.append(b"\x00\x01\x00\x01")
    body = b"".join(parts)
    return b"".join((b"B", _LENGTH(4 + len(body)), body, _EXECUTE, SYNC))


def int2(value: int) -> bytes:
    return _INT2(value)


def int4(value: int) -> bytes:
    return _INT4(value)


def int8(value: int) -> bytes:
    return _INT8(value)


def array(kind: int, values: Sequence[bytes]) -> bytes:
    """An array of one dimension, of at least one element, none of them NULL."""
    parts = [_ARRAY(1, 0, kind, len(values), 1)]
    for value in values:
        parts += (_LENGTH(len(value)), value)
    return b"".join(parts)


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
