"""Making, listing and revoking keys. Works on any open database: that of the serving hub, or one the command line has opened.

It knows rows, not the live table: a serving hub notices a change by the epoch, within a poll (`hub.identity.authenticate`).
Nothing here appends to the journal: each change returns what its `admin.*` record says, and the caller appends it.
"""

import sqlite3
import time
from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from hub.call import Grant, timestamp
from hub.config.model import GrantSpec, KeySpec
from hub.identity import rows
from hub.identity.entry import KeyInfo, info_of, moment, pepper_id, seal
from hub.identity.keys import MintedKey, mint, parse
from hub.refusal import InvalidRequest, NotFound
from hub.store.sqlite import Database


class Change(Struct, frozen=True):
    """A key made or revoked. `kind` and `record` are for the journal: `admin.key.create` or `admin.key.revoke`, and its fields."""

    key: KeyInfo
    kind: str
    record: dict[str, Any]


class Created(Struct, frozen=True):
    """A key just made. `text` is the only copy of the key: show it once. It never prints itself."""

    text: str
    key: KeyInfo
    kind: str
    record: dict[str, Any]

    def __repr__(self) -> str:
        return f"Created({self.key!r})"


class Admin:
    """Administration of keys on one database. `pepper` is the one new keys are sealed with."""

    def __init__(self, database: Database, pepper: bytes) -> None:
        self._database = database
        self._pepper = pepper

    async def create(
        self,
        org: str,
        name: str,
        *,
        subject: str = "",
        grants: Sequence[Grant | GrantSpec] = (),
        roles: Sequence[str] = (),
        expires: str = "",
        taken: Collection[str] = (),
    ) -> Created:
        """Make a key. `taken`: names of declared keys, which are names of the hub too.

        Raises `InvalidRequest` on values that do not fit and on a name a live key has; `StoreDown`.
        """
        minted = mint()
        info = _checked(minted, org, name, subject, grants, roles, expires)
        if info.expires and moment(info.expires) <= time.time():
            raise InvalidRequest("this key would have expired already")
        if name in taken or not await self._database.write(lambda connection: self._store(connection, info, minted)):
            raise InvalidRequest(f"a live key is called {name!r} already")
        return _created(minted, info)

    async def list(self, org: str | None, *, declared: Sequence[KeyInfo] = ()) -> list[KeyInfo]:
        """Every key of an organisation (None: of all), also revoked and expired ones: stored, then declared."""
        stored, graves = await self._database.read(lambda connection: (rows.every(connection, org), rows.buried(connection)))
        mine = (key for key in declared if org is None or key.org == org)
        return [*stored, *(msgspec.structs.replace(key, revoked=graves.get(key.id, "")) for key in mine)]

    async def revoke(self, org: str | None, name_or_id: str, *, declared: Sequence[KeyInfo] = ()) -> Change:
        """Revoke a live key of an organisation (None: of any), stored or declared.

        A declared key leaves a tombstone by its id, so that it stays revoked while it stands in the file and if it comes back.
        Raises `NotFound` where no live key has this name or id; `StoreDown`.
        """
        at = timestamp()

        def run(connection: sqlite3.Connection) -> KeyInfo | None:
            stored = rows.live(connection, name_or_id)
            if stored is not None and org in (None, stored.org):
                rows.revoke(connection, stored, at)
                return stored
            for key in declared:
                if name_or_id in (key.id, key.name) and org in (None, key.org) and rows.bury(connection, key, at):
                    return key
            return None

        found = await self._database.write(run)
        if found is None:
            raise NotFound("no live key has this name or id")
        key = msgspec.structs.replace(found, revoked=at)
        return Change(key, "admin.key.revoke", _record(key))

    async def first_start(self, *, taken: Collection[str] = ()) -> tuple[Created, Created] | None:
        """The hub's first keys, if none was ever made: an administrator's, and one for every virtual server of `default`.

        One transaction: of several hubs that start at once on one database, one gets the keys and the others None.
        """
        minted = (mint(), mint())
        infos = (
            _checked(minted[0], "default", _free("admin", taken), "", (), ("admin",), ""),
            _checked(minted[1], "default", _free("first", taken), "", (Grant(virtual_server="*"),), (), ""),
        )

        def run(connection: sqlite3.Connection) -> bool:
            return not rows.any_made(connection) and all(self._store(connection, i, m) for i, m in zip(infos, minted, strict=True))

        if not await self._database.write(run):
            return None
        return _created(minted[0], infos[0]), _created(minted[1], infos[1])

    def _store(self, connection: sqlite3.Connection, info: KeyInfo, minted: MintedKey) -> bool:
        """False where a live key has the name. A key that has expired gives its name up."""
        rival = rows.live(connection, info.name)
        if rival is not None:
            if moment(rival.expires) > time.time():
                return False
            rows.revoke(connection, rival, info.created)
        rows.insert(connection, info, pepper_id(self._pepper), seal(self._pepper, minted.text.encode()))
        return True


def declared(specs: Sequence[KeySpec]) -> tuple[KeyInfo, ...]:
    """What may be shown of the keys a configuration declares. Raises `ValueError`, naming a key by its name only."""
    infos: list[KeyInfo] = []
    for spec in specs:
        parsed = parse(spec.secret.value)
        if parsed is None:
            raise ValueError(f"the secret of the declared key {spec.name!r} is not a hub key: `hub keys mint` prints one")
        try:
            infos.append(info_of(spec, parsed.id, created="", source="declared"))
        except ValueError as error:
            raise ValueError(f"the declared key {spec.name!r}: {error}") from None
    for what, values in (("name", [info.name for info in infos]), ("id", [info.id for info in infos])):
        for index, value in enumerate(values):
            if value in values[:index]:
                raise ValueError(f"two declared keys have the {what} {value!r}")
    return tuple(infos)


def _checked(
    minted: MintedKey,
    org: str,
    name: str,
    subject: str,
    grants: Sequence[Grant | GrantSpec],
    roles: Sequence[str],
    expires: str,
) -> KeyInfo:
    """The rules of the configuration hold for stored keys too."""
    values = {"name": name, "org": org, "grants": msgspec.to_builtins(list(grants)), "roles": list(roles), "expires": expires}
    if subject:
        values["subject"] = subject
    try:
        spec = msgspec.convert({**values, "secret": {"value": ""}}, KeySpec)
        if "\n" in name + org + subject:  # `$` in a pattern lets one through at the end
            raise ValueError("a line break stands in a name")
        return info_of(spec, minted.id, created=timestamp(), source="stored")
    except ValueError as error:  # msgspec's ValidationError is one
        raise InvalidRequest(f"this key cannot be made: {error}") from None


def _free(name: str, taken: Collection[str]) -> str:
    return name if name not in taken else next(f"{name}-{n}" for n in range(2, len(taken) + 3) if f"{name}-{n}" not in taken)


def _created(minted: MintedKey, info: KeyInfo) -> Created:
    return Created(minted.text, info, "admin.key.create", _record(info))


def _record(key: KeyInfo) -> dict[str, Any]:
    return {
        "key": key.id,
        "name": key.name,
        "subject": key.subject,
        "roles": list(key.roles),
        "grants": msgspec.to_builtins(list(key.grants)),
        "expires": key.expires,
        "source": key.source,
    }
