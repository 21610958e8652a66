"""Making, listing and revoking keys. Works on any open store: that of the serving hub, or one the command line has opened.

It knows neither the medium nor the live table: a serving hub notices a change by the epoch, within a poll (`hub.identity.authenticate`).
Nothing here appends to the journal: each change says beforehand what it will be (`hub.change`), and returns what is then.
"""

import time
from collections.abc import Collection, Sequence
from typing import Any, TypedDict, Unpack

import msgspec
from msgspec import Struct

from hub.call import Grant, timestamp
from hub.change import Before, Planned, unannounced
from hub.config.belonging import Units
from hub.config.callers import GrantSpec, KeySpec, role_fault
from hub.identity.entry import NO_UNITS, KeyInfo, info_of, moment, pepper_id, seal
from hub.identity.keys import MintedKey, mint, parse
from hub.identity.rows import Keys, Row, possible
from hub.refusal import InvalidRequest, NotFound

CREATE, REVOKE = "admin.key.create", "admin.key.revoke"
"""What records of these changes are called."""


class Change(Struct, frozen=True):
    """A key that was revoked. `record` is for the journal."""

    key: KeyInfo
    record: dict[str, Any]


class Created(Struct, frozen=True):
    """A key just made. `text` is the only copy of the key: show it once. It never prints itself."""

    text: str
    key: KeyInfo
    record: dict[str, Any]
    row: Row

    def __repr__(self) -> str:
        return f"Created({self.key!r})"


class Details(TypedDict, total=False):
    """What may be said of a key to be made beside its organisation and name, as in `KeySpec`."""

    subject: str
    grants: Sequence[Grant | GrantSpec]
    roles: Sequence[str]
    expires: str
    user: str
    app: str
    team: str
    project: str


class Admin:
    """Administration of the keys of one store. `pepper` is the one new keys are sealed with."""

    def __init__(self, keys: Keys, pepper: bytes) -> None:
        self._keys = keys
        self._pepper = pepper

    async def create(
        self,
        org: str,
        name: str,
        *,
        taken: Collection[str] = (),
        units: Units = NO_UNITS,
        before: Before = unannounced,
        **details: Unpack[Details],
    ) -> Created:
        """Make a key. `taken`: names and ids of declared keys, which no other is called by; `units`: what it may belong to.

        Raises `InvalidRequest` on values that do not fit and on a name a live key has; `StoreDown`.
        """
        minted = mint()
        info = _checked(minted, org, name, details)
        if info.expires and moment(info.expires) <= time.time():
            raise InvalidRequest("this key would have expired already")
        for _, sentence in units.faults(info):
            raise InvalidRequest(f"this key cannot be made: {sentence}")
        if name in taken:
            raise _named_already(name)
        made = _created(minted, self._sealed(info, minted))
        await before(Planned(org, CREATE, made.record))
        if not await self._keys.add([made.row]):
            raise _named_already(name)
        return made

    async def list(self, org: str | None, *, declared: Sequence[KeyInfo] = ()) -> list[KeyInfo]:
        """Every key of an organisation (None: of all), also revoked and expired ones: stored, then declared."""
        if not possible(org or ""):
            return []
        stored, graves = await self._keys.listed(org)
        mine = (key for key in declared if org is None or key.org == org)
        return [*stored, *(msgspec.structs.replace(key, revoked=graves.get(key.id, "")) for key in mine)]

    async def find(self, org: str | None, name_or_id: str, *, declared: Sequence[KeyInfo] = ()) -> KeyInfo | None:
        """The live key that `revoke` would end. Raises `StoreDown`."""
        if not possible(name_or_id) or not possible(org or ""):
            return None
        return await self._keys.live(org, name_or_id, declared)

    async def revoke(self, org: str | None, name_or_id: str, *, declared: Sequence[KeyInfo] = (), before: Before = unannounced) -> Change:
        """Revoke a live key of an organisation (None: of any), stored or declared.

        A declared key leaves a tombstone by its id, so that it stays revoked while it stands in the file and if it comes back.
        Raises `NotFound` where no live key has this name or id; `StoreDown`.
        """
        meant = await self.find(org, name_or_id, declared=declared)
        if meant is None:
            raise _nobody()
        await before(Planned(meant.org, REVOKE, _record(meant), closes=True))
        at = timestamp()
        found = await self._keys.revoke(org, meant.id, declared, at)  # by its id: a name may be another's by now
        if found is None:
            raise _nobody()
        key = msgspec.structs.replace(found, revoked=at)
        return Change(key, _record(key))

    async def first_start(self, *, taken: Collection[str] = (), before: Before = unannounced) -> tuple[Created, Created] | None:
        """The hub's first keys, if none was ever made: an owner's, and one for every virtual server and model of `default`.

        One transaction: of several hubs that start at once on one database, one gets the keys and the others None.
        """
        minted = (mint(), mint())
        infos = (
            _checked(minted[0], "default", _free("admin", taken), {"roles": ("owner",)}),
            _checked(minted[1], "default", _free("first", taken), {"grants": (Grant(virtual_server="*", model="*"),)}),
        )
        owner, first = (_created(text, self._sealed(info, text)) for text, info in zip(minted, infos, strict=True))
        for made in (owner, first):
            await before(Planned(made.key.org, CREATE, made.record))
        return (owner, first) if await self._keys.add((owner.row, first.row), first=True) else None

    def _sealed(self, info: KeyInfo, minted: MintedKey) -> Row:
        return Row(info, pepper_id(self._pepper), seal(self._pepper, minted.text.encode()))


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


def _checked(minted: MintedKey, org: str, name: str, details: Details) -> KeyInfo:
    """The rules of the configuration hold for stored keys too."""
    texts: dict[str, Any] = {"name": name, "org": org, **{at: text for at, text in details.items() if isinstance(text, str) and text}}
    lists = {"grants": msgspec.to_builtins(list(details.get("grants", ()))), "roles": list(details.get("roles", ()))}
    try:
        spec = msgspec.convert({**texts, **lists, "secret": {"value": ""}}, KeySpec)
        if "\n" in "".join(texts.values()):  # `$` in a pattern lets one through at the end
            raise ValueError("a line break stands in a name")
        if fault := role_fault(spec):
            raise ValueError(fault)
        return info_of(spec, minted.id, created=timestamp(), source="stored")
    except ValueError as error:  # msgspec's ValidationError is one
        raise InvalidRequest(f"this key cannot be made: {error}") from None


def _free(name: str, taken: Collection[str]) -> str:
    return name if name not in taken else next(f"{name}-{n}" for n in range(2, len(taken) + 3) if f"{name}-{n}" not in taken)


def _created(minted: MintedKey, row: Row) -> Created:
    return Created(minted.text, row.info, _record(row.info), row)


def _named_already(name: str) -> InvalidRequest:
    return InvalidRequest(f"a live key is called {name!r} already")


def _nobody() -> NotFound:
    return NotFound("no live key has this name or id")


def _record(key: KeyInfo) -> dict[str, Any]:
    return {
        "key": key.id,
        "name": key.name,
        "subject": key.subject,
        "roles": list(key.roles),
        "grants": msgspec.to_builtins(list(key.grants)),
        "expires": key.expires,
        "source": key.source,
        **{name: text for name in ("user", "app", "team", "project") if (text := getattr(key, name))},
    }
