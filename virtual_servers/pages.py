"""Cuts long lists into pages whose cursors only this hub can have made. Knows no view and no caller."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256

from hub.refusal import InvalidParams

_MAC = 16
_OFFSET = 4
_MARK = 8
_LENGTH = _OFFSET + _MARK + _MAC


class Pages:
    """Cursors are base64url of offset (4 bytes), 8 bytes that stand for the list, and an HMAC-SHA256 cut to 16 bytes.

    `key` is at least 16 secret bytes, the same in all replicas. `size` is the number of items on a page.
    """

    def __init__(self, key: bytes, size: int = 1000) -> None:
        if len(key) < 16 or size < 1:
            raise ValueError("pages need a key of 16 bytes and a size of 1")
        self._key = key
        self._size = size

    def window(self, stamp: str, total: int, cursor: str | None = None) -> tuple[int, int, str | None]:
        """(start, stop, cursor of what follows) in a list of `total` items; `stamp` names the list and its revision.

        Raises `InvalidParams` for a cursor that was not made here, or was made for another list or revision.
        """
        if cursor is None and total <= self._size:
            return 0, total, None
        mark = sha256(stamp.encode()).digest()[:_MARK]
        start = 0 if cursor is None else self._read(cursor, mark)
        stop = min(start + self._size, total)
        return min(start, stop), stop, self._write(stop, mark) if stop < total else None

    def _write(self, offset: int, mark: bytes) -> str:
        body = offset.to_bytes(_OFFSET) + mark
        return urlsafe_b64encode(body + self._mac(body)).decode().rstrip("=")

    def _read(self, cursor: str, mark: bytes) -> int:
        body, mac = _split(cursor)
        if not hmac.compare_digest(mac, self._mac(body)):
            raise InvalidParams("the cursor is not one this hub gave out")
        if body[_OFFSET:] != mark:
            raise InvalidParams("the list has changed since the cursor was given out: start again without a cursor")
        return int.from_bytes(body[:_OFFSET])

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, b"cursor" + body, "sha256")[:_MAC]


def _split(cursor: str) -> tuple[bytes, bytes]:
    """Body and MAC. A text that is not ours gives an empty MAC, which no body has."""
    if len(cursor) != (_LENGTH * 4 + 2) // 3 or not cursor.isascii():
        return b"", b""
    try:
        raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        return b"", b""
    if urlsafe_b64encode(raw).decode().rstrip("=") != cursor:
        return b"", b""  # another spelling of the same bytes
    return raw[:-_MAC], raw[-_MAC:]
