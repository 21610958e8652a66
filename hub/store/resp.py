"""The Redis serialization protocol, version 2: commands as bytes, replies as values. Pure; it knows no connection.

Source: https://redis.io/docs/latest/develop/reference/protocol-spec/. Every Redis since 1.2 and every Valkey speaks it.
"""

import re
from typing import Any

MAX_REPLY = 4 * 1024 * 1024
"""Bytes of one reply taken from a server. The hub stores nothing of that size: more is a server gone wrong."""
MAX_ITEMS = 20_000
"""Items of one array: a map of a cluster has up to 16,384."""
_DEEPEST = 32

_PLUS, _MINUS, _COLON, _DOLLAR, _STAR = b"+-:$*"


class Garbled(Exception):
    """What came is not RESP, or more than any reply the hub asks for."""


_OF_A_SCRIPT = re.compile(r"@user_script: ?[0-9]+: -?([A-Z]{2,}) ")
"""What a command inside a script was refused with, as Redis 6 says it: within an `ERR`. Later ones put it first."""


class ReplyError(Exception):
    """The server's own no. `code` is its first word, such as `WRONGTYPE`."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        within = _OF_A_SCRIPT.search(text) if text.startswith("ERR ") else None
        self.code = within[1] if within else text.partition(" ")[0]


def pack(*arguments: bytes | str | int) -> bytes:
    """One command."""
    return b"*%d\r\n" % len(arguments) + strings(*arguments)


def strings(*arguments: bytes | str | int) -> bytes:
    """Arguments without the head of a command, which says how many there are."""
    parts: list[bytes] = []
    for argument in arguments:
        data = argument if isinstance(argument, bytes) else str(argument).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def read(data: bytes | bytearray, at: int, deep: int = 0) -> tuple[Any, int]:
    """The reply that begins at `at`, and where the next one does.

    Strings are bytes, nil is None, an error is a `ReplyError` (returned, not raised: one may stand inside an array). Where the reply is not
    complete the second value is negative: minus the length `data` must have at least. Raises `Garbled`.
    """
    end = data.find(b"\r\n", at)
    if end < 0:
        if len(data) - at > 65536:
            raise Garbled("a line without an end")
        return None, -(len(data) + 1)
    kind = data[at]
    if kind == _COLON:
        return _number(data, at, end), end + 2
    if kind == _DOLLAR:
        return _string(data, at, end)
    if kind == _STAR:
        return _array(data, at, end, deep)
    if kind == _PLUS:
        return bytes(data[at + 1 : end]), end + 2
    if kind == _MINUS:
        return ReplyError(bytes(data[at + 1 : end]).decode(errors="replace")), end + 2
    raise Garbled("a reply of no known kind")


def _number(data: bytes | bytearray, at: int, end: int) -> int:
    try:
        return int(data[at + 1 : end])
    except ValueError:
        raise Garbled("a number that is none") from None


def _string(data: bytes | bytearray, at: int, end: int) -> tuple[Any, int]:
    length = _number(data, at, end)
    if length < 0:
        return None, end + 2
    if length > MAX_REPLY:
        raise Garbled("a string longer than any the hub asks for")
    after = end + 4 + length
    if len(data) < after:
        return None, -after
    if data[after - 2 : after] != b"\r\n":
        raise Garbled("a string that does not end where it says")
    return bytes(data[end + 2 : after - 2]), after


def _array(data: bytes | bytearray, at: int, end: int, deep: int) -> tuple[Any, int]:
    count, after = _number(data, at, end), end + 2
    if count < 0:
        return None, after
    if count > MAX_ITEMS or deep > _DEEPEST:
        raise Garbled("an array larger or deeper than any the hub asks for")
    items: list[Any] = []
    for _ in range(count):
        item, after = read(data, after, deep + 1)
        if after < 0:
            return None, after
        items.append(item)
    return items, after
