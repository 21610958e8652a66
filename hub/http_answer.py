"""The bytes of an answer's head, and whole answers the server gives itself. Pure: it knows neither connections nor ASGI."""

import re
from collections.abc import Iterable
from http import HTTPStatus

import orjson

_STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode() for status in HTTPStatus}
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = bytes(sign for sign in (*range(0x20), 0x7F) if sign != 0x09)
_LENGTH, _CODING, _CONNECTION = b"\r\ncontent-length: ", b"\r\ntransfer-encoding: ", b"\r\nconnection: "
_KNOWN = (_LENGTH, _CODING, _CONNECTION)
"""The beginnings of lines that are the server's concern, known by identity."""

_MOST_NAMES = 256

_starts: dict[bytes, bytes] = {}
"""How the line of a header begins, by the name as it is given: what stands here has been checked."""


def status_line(status: int) -> bytes:
    """Without the end of the line. Raises `ValueError` for what is no final answer."""
    line = _STATUS.get(status)
    if status < 200 or (line is None and status > 999):
        raise ValueError(f"{status} is not the status of an answer")
    return line or b"HTTP/1.1 %d " % status


def lines(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, int, bool]:
    """Headers as lines, each with the end of the line before it; the length they announce, or -1; whether they end the connection.

    How the answer is framed and what becomes of the connection is the server's to say: `transfer-encoding` and `connection` are left
    out. Raises `ValueError` for what would read as something else: names that are no tokens, control characters, two lengths.
    """
    found: list[bytes] = []
    length, closes = -1, False
    for name, value in headers:
        start = _starts.get(name) or _learnt(name)
        if start is _LENGTH:
            if length >= 0 or not value.isdigit():
                raise ValueError("a content-length that is no number, or a second one")
            length = int(value)
        elif start is _CONNECTION:
            closes = closes or b"close" in [token.strip() for token in value.lower().split(b",")]
            continue
        elif start is _CODING:
            continue
        found.append(start + value)
    joined = b"".join(found)
    if len(joined) - len(joined.translate(None, _CONTROL)) != 2 * len(found):  # each line has the two before its name, and no other
        raise ValueError("a header's value holds a control character")
    return joined, length, closes


def _learnt(name: bytes) -> bytes:
    if not _NAME.fullmatch(name):
        raise ValueError(f"not the name of a header: {name[:80]!r}")
    start = b"\r\n" + name.lower() + b": "
    start = next((known for known in _KNOWN if known == start), start)
    if len(_starts) < _MOST_NAMES:
        _starts[bytes(name)] = start
    return start


def bare(status: int, code: int, why: str, message: str) -> bytes:
    """An answer in the hub's shape where no application gives one; the connection ends with it."""
    error = {"code": code, "message": message, "data": {"code": why}}
    body = orjson.dumps({"jsonrpc": "2.0", "id": None, "error": error})
    head = b"%b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
    return head % (status_line(status), len(body)) + body


UNREADABLE = bare(400, -32600, "invalid_request", "the HTTP request cannot be read")
TOO_SLOW = bare(408, -31408, "request_timeout", "the headers did not arrive in time")
FAILED = bare(500, -32603, "internal", "the hub failed to handle this request")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
