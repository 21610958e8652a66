"""The text form of a hub key, made and read. Pure but for the randomness; it knows neither a store nor who a key belongs to.

A key reads `hub_<id>_<secret><check>`: 12 base62 digits that name it and may be shown, 43 that hold 256 random bits, and 6 that are
the CRC-32 of all before them, so that scanners and people find a mistyped or truncated key without asking the hub.
"""

import re
import secrets
import zlib

from msgspec import Struct

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID, SECRET, CHECK = 12, 43, 6
LENGTH = len("hub_") + ID + len("_") + SECRET + CHECK

_SHAPE = re.compile(r"hub_([0-9A-Za-z]{12})_[0-9A-Za-z]{49}")
_PAIRS = tuple(a + b for a in DIGITS for b in DIGITS)


class MintedKey(Struct, frozen=True):
    """A new key. `text` is the whole of it, to be shown once; it never prints itself."""

    text: str
    id: str

    def __repr__(self) -> str:
        return f"MintedKey(id={self.id!r})"


class ParsedKey(Struct, frozen=True):
    """A text that has the form of a key and the right checksum. Nothing says yet that the hub knows it."""

    text: str
    id: str

    def __repr__(self) -> str:
        return f"ParsedKey(id={self.id!r})"


def mint() -> MintedKey:
    """A new key with 256 random bits of secret and an id of 71."""
    name = _base62(secrets.randbelow(62**ID), ID)
    body = f"hub_{name}_{_base62(int.from_bytes(secrets.token_bytes(32)), SECRET)}"
    return MintedKey(body + _check(body), name)


def parse(text: str) -> ParsedKey | None:
    """Read a key, or None where the text is not one."""
    shape = _SHAPE.fullmatch(text)
    if shape is None or _check(text[:-CHECK]) != text[-CHECK:]:
        return None
    return ParsedKey(text, shape[1])


def _check(body: str) -> str:
    rest, low = divmod(zlib.crc32(body.encode()), 3844)
    high, middle = divmod(rest, 3844)
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]


def _base62(value: int, width: int) -> str:
    digits: list[str] = []
    for _ in range(width):
        value, digit = divmod(value, 62)
        digits.append(DIGITS[digit])
    return "".join(reversed(digits))
