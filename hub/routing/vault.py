"""The secrets of one process, opened and in memory: who uses one holds its slot, and finds the newest value in it at every call.

What changes in the store is taken over when the epochs of its keys are looked at (`hub.identity.authenticate`), so within a second
everywhere, and at once where the change was made here. While the store is away the values stay as last known. It knows no provider.
"""

import logging
import time

from hub.change import Before, Planned, unannounced
from hub.routing.vault_admin import OVERLAP, Change, SecretInfo, VaultAdmin, moment
from hub.routing.vault_rows import Row
from hub.store.envelope import BrokenSeal
from hub.store.epochs import VAULT
from hub.store.follower import Follower
from hub.telemetry.logs import fields

logger = logging.getLogger("hub.vault")

_Name = tuple[str, str]


class Value:
    """A value in the open. It never prints itself; two of them are the same only if they are one."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return "Value(***)"


class Slot:
    """Where the value of a name is found. `present` is None where there is none that can be used."""

    __slots__ = ("_before", "_until", "present")

    def __init__(self) -> None:
        self.present: Value | None = None
        self._before: Value | None = None
        self._until = 0.0

    @property
    def before(self) -> Value | None:
        """What `present` replaced, for as long as it may still be used."""
        if self._before is not None and self._until <= time.time():
            self._before = None
        return self._before

    def fill(self, present: Value | None, before: Value | None = None, until: float = 0.0) -> None:
        """`until` in Unix seconds."""
        self.present, self._before, self._until = present, before, until


class Vault:
    """`open` it, then have `following.look` called with the epochs of the store whenever they were looked at."""

    def __init__(self, admin: VaultAdmin) -> None:
        self._admin = admin
        self._slots: dict[_Name, Slot] = {}
        self._opened: dict[tuple[str, str, int], tuple[Row, Value]] = {}
        self._broken: set[Row] = set()
        self.following = Follower(VAULT, self._read, "the vault cannot be read; values stay as last known", logger)

    def slot(self, org: str, name: str) -> Slot:
        """Where the value of this name is, also of one that does not exist yet."""
        return self._slots.setdefault((org, name), Slot())

    async def open(self) -> None:
        """Read everything. Where the store does not answer, what needs it is refused until it does: the rest can go on."""
        await self.following.look({})

    async def _read(self) -> int:
        epoch, rows = await self._admin.rows()
        self._take_over(rows)
        return epoch

    async def put(self, org: str, name: str, value: str, overlap: float = OVERLAP, before: Before = unannounced) -> Change:
        """See `VaultAdmin.put`; when it returns, this process uses the value. So it is with the others.

        Where the store goes away the moment after, it is used from the next look on: what stands is not answered as if it had failed.
        """
        return await self._announced(await self._admin.put(org, name, value, overlap, before))

    async def remove(self, org: str, name: str, before: Before = unannounced) -> Change:
        return await self._announced(await self._admin.remove(org, name, before))

    async def rotation(self) -> Planned:
        return await self._admin.rotation()

    async def rotate(self) -> Change:
        return await self._announced(await self._admin.rotate())

    async def listed(self, org: str | None) -> list[SecretInfo]:
        return await self._admin.listed(org)

    async def _announced(self, change: Change) -> Change:
        await self.following.announce()
        return change

    def _take_over(self, rows: list[Row]) -> None:
        """`rows`: the newest of a name first."""
        by_name: dict[_Name, list[Row]] = {}
        for row in rows:
            by_name.setdefault((row.org, row.name), []).append(row)
        for name, slot in self._slots.items():
            if name not in by_name:
                slot.fill(None)
        kept: dict[tuple[str, str, int], tuple[Row, Value]] = {}
        for (org, name), versions in by_name.items():
            usable = [(row, value) for row in versions if (value := self._value(row)) is not None]
            kept.update((row.key, (row, value)) for row, value in usable)
            if usable:
                (_, present), *others = usable
                row, before = others[0] if others else (usable[0][0], None)
                self.slot(org, name).fill(present, before, moment(row.expires))
            # else: what cannot be opened here does not take away what is known
        self._opened = kept
        self._broken &= set(rows)

    def _value(self, row: Row) -> Value | None:
        """The same object for as long as the version is the same."""
        known = self._opened.get(row.key)
        if known is not None and known[0].envelope == row.envelope:
            return known[1]
        try:
            text = self._admin.opened(row)
        except BrokenSeal as broken:
            if row not in self._broken:
                self._broken.add(row)
                logger.error("a value of the vault cannot be used", extra=fields(org=row.org, name=row.name, reason=str(broken)))
            return None
        return known[1] if known is not None and known[1].text == text else Value(text)
