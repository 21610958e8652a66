"""A key as the hub knows it: what may be shown of it, and what is needed to recognise it. No store, no clock, no secret in any repr."""

import hashlib
import hmac
import math
from datetime import UTC, datetime
from typing import Literal

import msgspec
from msgspec import Struct

from hub.call import Caller, Ceiling, Grant
from hub.config.belonging import Units
from hub.config.callers import GrantSpec, KeySpec

Mac = bytes
"""HMAC-SHA256 (32 bytes) of a key's whole text under a pepper. The texts hold 256 random bits: nothing slower is needed."""

NO_UNITS = Units()


class KeyInfo(Struct, frozen=True):
    """What may be shown of a key. Times are RFC 3339 in UTC or empty; `declared` keys stand in the configuration."""

    id: str
    name: str
    org: str
    subject: str
    roles: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()
    created: str = ""
    expires: str = ""
    revoked: str = ""
    source: Literal["stored", "declared"] = "stored"
    user: str = ""
    app: str = ""
    team: str = ""
    project: str = ""


class Entry(Struct, frozen=True):
    """What authentication needs of a key. `expires` in Unix seconds, infinite where it never does."""

    info: KeyInfo
    caller: Caller
    expires: float
    pepper: bytes
    mac: Mac

    def __repr__(self) -> str:
        return f"Entry({self.info.id!r})"


def seal(pepper: bytes, text: bytes) -> Mac:
    """The form in which a key is kept."""
    return hmac.digest(pepper, text, "sha256")


def pepper_id(pepper: bytes) -> str:
    """A name for a pepper that says nothing of it, kept with each row so that peppers can be rotated."""
    return hmac.digest(pepper, b"pepper id", "sha256")[:6].hex()


def info_of(spec: KeySpec, key_id: str, *, created: str, source: Literal["stored", "declared"]) -> KeyInfo:
    """What a specification says of a key. Raises `ValueError` on an expiry that is not a time."""
    expires = moment(spec.expires)
    return KeyInfo(
        id=key_id,
        name=spec.name,
        org=spec.org,
        subject=spec.subject or f"key:{key_id}",
        roles=spec.roles,
        grants=grants_of(spec.grants),
        created=created,
        expires="" if math.isinf(expires) else stamp(expires),
        source=source,
        user=spec.user,
        app=spec.app,
        team=spec.team,
        project=spec.project,
    )


def grants_of(specs: tuple[GrantSpec, ...]) -> tuple[Grant, ...]:
    """Grants as callers have them."""
    return tuple(Grant(**msgspec.structs.asdict(grant)) for grant in specs)


def ceilings_of(info: KeyInfo, units: Units) -> tuple[Ceiling, ...]:
    """The bounds of what a key belongs to: of each unit that has grants, and of each that is not declared where it would have to be."""
    found: list[Ceiling] = []
    for kind, name in units.named(info).items():
        spec = units.find(kind, info.org, name)
        if spec is None and units.closed(kind, info.org):
            found.append(Ceiling(f"{kind}:{name}", None))
        elif spec is not None and spec.grants:
            found.append(Ceiling(f"{kind}:{name}", grants_of(spec.grants)))
    return tuple(found)


def entry_of(info: KeyInfo, pepper: bytes, mac: Mac, units: Units = NO_UNITS) -> Entry:
    """Everything authentication needs, built once so that a call builds nothing."""
    ceilings = ceilings_of(info, units)
    version = msgspec.json.encode(info.grants) + (msgspec.json.encode(ceilings) if ceilings else b"")
    caller = Caller(
        org=info.org,
        subject=info.subject,
        key_id=info.id,
        grants=info.grants,
        grants_version=hashlib.sha256(version).hexdigest()[:24],
        roles=info.roles,
        key_name=info.name,
        user=info.user,
        app=info.app,
        team=units.team_of(info),
        project=info.project,
        ceilings=ceilings,
    )
    return Entry(info, caller, moment(info.expires), pepper, mac)


def moment(text: str) -> float:
    """Unix seconds of an RFC 3339 time; infinity for an empty text. Raises `ValueError` where it is neither."""
    if not text:
        return math.inf
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not an RFC 3339 time") from None
    if time.tzinfo is None:
        raise ValueError(f"{text!r} names no offset from UTC: end it with Z")
    return time.timestamp()


def stamp(seconds: float) -> str:
    """The RFC 3339 form of a Unix time."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
