"""A value under envelope encryption: sealed with a data key of its own, which is wrapped under a key-encryption key. Pure; no I/O.

Both are AES-256-GCM (NIST SP 800-38D) with 96-bit random nonces, which stand before the ciphertext. What the value is about is
authenticated with each: of another organisation, name, version or purpose, or wrapped under another key, it cannot be opened.
"""

import hmac
import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

SIZE = 32
"""Bytes of either kind of key."""

_NONCE = 12


class BrokenSeal(Exception):
    """It was changed, or belongs elsewhere, or its key is not here. The message holds nothing of it."""


class Kek(Struct, frozen=True):
    """A key-encryption key. `id` names it and says nothing of it."""

    id: str
    key: bytes

    def __repr__(self) -> str:
        return f"Kek({self.id!r})"


class About(Struct, frozen=True):
    """What a value is, and whose."""

    org: str
    name: str
    version: int
    purpose: str

    def bound(self, kind: bytes, kek: str = "") -> bytes:
        """All of it as one text that no other has: each part is preceded by its length."""
        parts = (kind, kek.encode(), self.org.encode(), self.name.encode(), self.version.to_bytes(8), self.purpose.encode())
        return b"".join(len(part).to_bytes(4) + part for part in parts)


class Envelope(Struct, frozen=True):
    """A value as it may be kept: `wrapped` is its data key under the key `kek`."""

    kek: str
    wrapped: bytes
    sealed: bytes

    def __repr__(self) -> str:
        return f"Envelope(under {self.kek!r})"


def kek_of(key: bytes) -> Kek:
    """Raises `ValueError` where it is not 32 bytes."""
    if len(key) != SIZE:
        raise ValueError(f"a key-encryption key has {SIZE} bytes")
    return Kek(hmac.digest(key, b"kek id", "sha256")[:6].hex(), key)


def seal(kek: Kek, about: About, value: bytes) -> Envelope:
    """`value` under a data key made for it alone."""
    data_key = os.urandom(SIZE)
    sealed = _encrypt(data_key, value, about.bound(b"value"))
    return Envelope(kek.id, _encrypt(kek.key, data_key, about.bound(b"key", kek.id)), sealed)


def unseal(keks: Mapping[str, Kek], about: About, envelope: Envelope) -> bytes:
    """The value. `keks` are the keys at hand by id. Raises `BrokenSeal`."""
    return _decrypt(_data_key(keks, about, envelope), envelope.sealed, about.bound(b"value"))


def rewrap(keks: Mapping[str, Kek], to: Kek, about: About, envelope: Envelope) -> Envelope:
    """The same with its data key under another key. It is opened once, so that what is broken is not carried on. Raises `BrokenSeal`."""
    data_key = _data_key(keks, about, envelope)
    _decrypt(data_key, envelope.sealed, about.bound(b"value"))
    return Envelope(to.id, _encrypt(to.key, data_key, about.bound(b"key", to.id)), envelope.sealed)


def _data_key(keks: Mapping[str, Kek], about: About, envelope: Envelope) -> bytes:
    kek = keks.get(envelope.kek)
    if kek is None:
        raise BrokenSeal("it is wrapped under a key this hub does not have")
    return _decrypt(kek.key, envelope.wrapped, about.bound(b"key", kek.id))


def _encrypt(key: bytes, value: bytes, about: bytes) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, value, about)


def _decrypt(key: bytes, kept: bytes, about: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(kept[:_NONCE], kept[_NONCE:], about)
    except (InvalidTag, ValueError):  # the latter of a nonce or key that is too short
        raise BrokenSeal("it was changed, or is of another secret") from None
