"""Setting, listing, removing and re-wrapping secrets. Works on any open store: that of the serving hub, or one the command line has opened.

No value comes out of here: `listed` shows the last four characters of long ones. Nothing here appends to the journal: each change says
beforehand what it will be (`hub.change`), and returns what is then. It does not know who uses the values (`hub.routing.vault`).
"""

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from hub.call import timestamp
from hub.change import Before, Planned, unannounced
from hub.config.values import NAME
from hub.refusal import InvalidRequest, NotFound
from hub.routing.vault_rows import PURPOSE, Row, Rows
from hub.store.envelope import About, BrokenSeal, rewrap, seal, unseal
from hub.store.keks import Keks

OVERLAP = 600.0
"""Seconds for which a value that is replaced is kept, should its successor be refused where it is used."""

_SHORTEST, _LONGEST = 8, 2048
_SHOWN_FROM = 16
"""Characters from which the last four of a value may be shown."""

_FURTHEST = 30 * 86400


class SecretInfo(Struct, frozen=True):
    """What may be shown of a secret. `kek` is the id of the key it is wrapped under; `overlap` until when its predecessor is kept."""

    org: str
    name: str
    version: int
    created: str
    kek: str
    last4: str = ""
    overlap: str = ""
    problem: str = ""
    """Why its value cannot be used; empty where it can."""


class Change(Struct, frozen=True):
    """What was changed. `record` is for the journal."""

    shown: dict[str, Any]
    record: dict[str, Any]


class VaultAdmin:
    """Administration of the secrets of one store."""

    def __init__(self, rows: Rows, keks: Keks) -> None:
        self._rows = rows
        self._keks = keks

    async def put(self, org: str, name: str, value: str, overlap: float = OVERLAP, before: Before = unannounced) -> Change:
        """Store a value as the newest version of a name. `overlap` in seconds. Raises `InvalidRequest`, `StoreDown`."""
        for what, text in (("organisation", org), ("name", name)):
            if not re.fullmatch(NAME, text) or "\n" in text:
                raise InvalidRequest(f"the {what} must match {NAME}")
        if not _SHORTEST <= len(value) <= _LONGEST or any(not 33 <= ord(character) <= 126 for character in value):
            raise InvalidRequest(f"a value has {_SHORTEST} to {_LONGEST} visible ASCII characters, without spaces")
        if not 0 <= overlap <= _FURTHEST:
            raise InvalidRequest(f"the overlap is 0 to {_FURTHEST} seconds")
        keep = datetime.fromtimestamp(time.time() + overlap, UTC).isoformat().replace("+00:00", "Z") if overlap else ""

        def make(version: int) -> Row:
            envelope = seal(self._keks.present, About(org, name, version, PURPOSE), value.encode())
            return Row(org, name, version, envelope, timestamp())

        asked = {"name": name, "overlap_s": int(overlap)}
        await before(Planned(org, "admin.vault.set", asked))
        row = await self._rows.put(org, name, make, keep)
        return Change({"org": org, "name": name, "version": row.version}, {**asked, "version": row.version})

    async def listed(self, org: str | None) -> list[SecretInfo]:
        """See `shown`. Raises `StoreDown`."""
        return shown((await self._rows.all())[1], self._keks, org)

    async def remove(self, org: str, name: str, before: Before = unannounced) -> Change:
        """Take every value of a name away, at once. Raises `NotFound`, `StoreDown`."""
        if not any((row.org, row.name) == (org, name) for row in (await self._rows.all())[1]):
            raise _nothing()
        await before(Planned(org, "admin.vault.remove", {"name": name}, closes=True))
        version = await self._rows.remove(org, name)
        if not version:
            raise _nothing()
        return Change({"org": org, "name": name, "version": version}, {"name": name, "version": version})

    async def rotation(self) -> Planned:
        """What `rotate` is about to do, beside what else is wrapped anew with it. Raises `InvalidRequest` where it could not, so that
        nothing of it is done; `StoreDown`."""
        for row in (await self._rows.all())[1]:
            self._rewrapped(row)
        return Planned("default", "admin.vault.rotate", {"kek": self._keks.present.id})

    async def rotate(self) -> Change:
        """Wrap everything under the present key, in one transaction; `rotation` says so beforehand. Raises `InvalidRequest`, having changed
        nothing, where a value cannot be opened; `StoreDown`."""
        count = await self._rows.rewrite(self._rewrapped)
        told = {"kek": self._keks.present.id, "rewrapped": count}
        return Change(told, told)

    def _rewrapped(self, row: Row) -> Row | None:
        """It under the present key; None where it is so already."""
        present = self._keks.present
        if row.envelope.kek == present.id:
            return None
        try:
            envelope = rewrap(self._keks.known, present, row.about, row.envelope)
        except BrokenSeal as broken:
            raise InvalidRequest(f"{row.org}/{row.name} cannot be opened: {broken}; nothing was changed") from None
        return Row(row.org, row.name, row.version, envelope, row.created, row.expires)

    def opened(self, row: Row) -> str:
        """The value of a row. Raises `BrokenSeal`."""
        return unseal(self._keks.known, row.about, row.envelope).decode()

    async def rows(self) -> tuple[int, list[Row]]:
        """See `Rows.all`."""
        return await self._rows.all()


def _nothing() -> NotFound:
    return NotFound("the vault has no value of this name")


def with_days(rotated: Change, days: int) -> Change:
    """A rotation with which the keys of so many days of captured content were wrapped anew as well."""
    told = {**rotated.record, "days": days}
    return replace(rotated, shown=told, record=told)


def shown(rows: Sequence[Row], keks: Keks, org: str | None) -> list[SecretInfo]:
    """The newest version of every name of an organisation (None: of all). `rows`: the newest of a name first."""
    found: dict[tuple[str, str], SecretInfo] = {}
    for row in rows:
        name = (row.org, row.name)
        if org not in (None, row.org):
            continue
        if name not in found:
            found[name] = _info(row, keks)
        elif not found[name].overlap and moment(row.expires) > time.time():
            found[name] = replace(found[name], overlap=row.expires)
    return list(found.values())


def _info(row: Row, keks: Keks) -> SecretInfo:
    try:
        value, problem = unseal(keks.known, row.about, row.envelope).decode(), ""
    except BrokenSeal as broken:
        value, problem = "", str(broken)
    last4 = value[-4:] if len(value) >= _SHOWN_FROM else ""
    return SecretInfo(row.org, row.name, row.version, row.created, row.envelope.kek, last4, "", problem)


def moment(text: str) -> float:
    """Unix seconds of an RFC 3339 time the vault wrote; 0 of an empty text."""
    return datetime.fromisoformat(text).timestamp() if text else 0.0
