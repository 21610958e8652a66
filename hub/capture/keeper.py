"""Sealing, opening and sweeping of captured content. Which organisations opted in, and for how many days, is in `orgs` of `hub.yaml`.

A question is durable before its call is sent; where it cannot be kept, nothing is sent. An answer is kept before it is handed back; where
that fails, the record of the call says that it is missing, for the call itself has been made and paid for.
"""

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from hub.call import Call, Caller
from hub.capture.rows import Contents, DayKey, Part, Row
from hub.change import Before, Planned, unannounced
from hub.config.callers import Capture, Org
from hub.refusal import InvalidRequest, NotFound, StoreDown
from hub.store.envelope import SIZE, BrokenSeal, Envelope, rewrap, seal, unseal
from hub.store.keks import Keks
from hub.telemetry.logs import fields

log = logging.getLogger("hub.capture")

SWEEP = 3600.0
"""Seconds between two looks for days that are over."""

_THREAD = 256 * 1024
"""Bytes from which on sealing is left to a thread."""

_NONCE = 12
_MOST_LISTED = 1000


class Shown(Struct, frozen=True):
    """One part of a call, opened. `content` is its first bytes where `cut` is true; what is not UTF-8 in it is replaced."""

    part: Part
    size: int
    cut: bool
    content: str


class Keeper:
    """Captured content of one hub. `configure`, then `open`; `wants` says whether an organisation has opted in."""

    def __init__(self, rows: Contents, keks: Keks) -> None:
        self._rows = rows
        self._keks = keks
        self._specs: dict[str, Capture] = {}
        self._days: dict[str, tuple[str, bytes]] = {}
        self._later: set[asyncio.Task[bool]] = set()
        self._sweeping: asyncio.Task[None] | None = None
        self.lost = 0
        """Answers that could not be kept."""

    def configure(self, orgs: Mapping[str, Org]) -> None:
        self._specs = {name: org.capture for name, org in orgs.items() if org.capture is not None}

    def wants(self, org: str) -> bool:
        return org in self._specs

    async def open(self) -> None:
        self._sweeping = asyncio.create_task(self._sweep_on(), name="capture-sweep")

    async def close(self) -> None:
        """Waits for what is still to be kept."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
        await asyncio.gather(*self._later)

    def most(self, org: str) -> int:
        """Bytes of a part that are kept, from its first on."""
        spec = self._specs.get(org)
        return 0 if spec is None else spec.max_bytes

    def later(self, call: Call, caller: Caller, part: Part, content: bytes, size: int | None = None) -> None:
        """Keep a part that nobody can wait for any more; a failure is logged and counted."""
        task = asyncio.create_task(self._tried(call, caller, part, content, size), name="capture")
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def answered(self, call: Call, caller: Caller, content: bytes, size: int | None = None) -> bool:
        """Keep an answer; False where that failed."""
        return await self._tried(call, caller, "answer", content, size)

    async def _tried(self, call: Call, caller: Caller, part: Part, content: bytes, size: int | None) -> bool:
        try:
            await self.keep(call, caller, part, content, size)
        except StoreDown as down:
            self.lost += 1
            log.error("content could not be kept", extra=fields(request=call.id, org=caller.org, part=part, detail=down.detail))
            return False
        return True

    async def keep(self, call: Call, caller: Caller, part: Part, content: bytes, size: int | None = None) -> None:
        """Seal and store a part of a call; durable when it returns. `size` in bytes, where more was said than `content`, which is its
        beginning then. Raises `StoreDown`."""
        spec = self._specs.get(caller.org)
        if spec is None:
            return
        now = datetime.now(UTC)
        day = now.date().isoformat()
        key = await self._key(caller.org, day, spec.days)
        kept = content[: spec.max_bytes]
        about = _about(caller.org, call.id, part)
        sealed = await asyncio.to_thread(_seal, key, kept, about) if len(kept) >= _THREAD else _seal(key, kept, about)
        whose = (call.kind, call.door[:256], caller.key_id, caller.subject)
        at = int(now.timestamp() * 1_000_000)
        said = len(content) if size is None else size
        await self._rows.put(Row(caller.org, call.id, part, day, at, *whose, said, len(kept) < said, sealed))

    async def _key(self, org: str, day: str, days: int) -> bytes:
        known = self._days.get(org)
        if known is not None and known[0] == day:
            return known[1]
        expires = (date.fromisoformat(day) + timedelta(days=days)).isoformat()
        fresh = DayKey(org, day, Envelope("", b"", b""), expires)
        made = DayKey(org, day, seal(self._keks.present, fresh.about, os.urandom(SIZE)), expires)
        key = self._opened(await self._rows.day(made))
        self._days[org] = (day, key)
        return key

    def _opened(self, day: DayKey) -> bytes:
        try:
            return unseal(self._keks.known, day.about, day.envelope)
        except BrokenSeal as broken:
            raise StoreDown("captured content cannot be opened", detail=f"the key of {day.org} for {day.day}: {broken}") from None

    async def listed(self, org: str | None, before: int | None, limit: int) -> list[Row]:
        """What there is, the newest first. Raises `InvalidRequest`, `StoreDown`."""
        if not 1 <= limit <= _MOST_LISTED:
            raise InvalidRequest(f"the limit is 1 to {_MOST_LISTED}")
        if not _possible(org or ""):
            return []
        return await self._rows.listed(org, before if before is not None else 1 << 62, limit)

    async def shown(self, org: str | None, call_id: str) -> tuple[Row, list[Shown]]:
        """What was said in one call, opened. Raises `NotFound`, `StoreDown`."""
        found = await self._rows.call(org, call_id) if _possible(call_id) else []
        if not found:
            raise _nothing()
        opened = [Shown(row.part, row.size, row.cut, self._content(row, day)) for row, day in found]
        return found[0][0], opened

    def _content(self, row: Row, day: DayKey) -> str:
        try:
            content = AESGCM(self._opened(day)).decrypt(row.sealed[:_NONCE], row.sealed[_NONCE:], _about(row.org, row.id, row.part))
        except (InvalidTag, ValueError):
            raise StoreDown("captured content cannot be opened", detail=f"{row.org}/{row.id}: it was changed, or is another's") from None
        return content.decode("utf-8", "replace")

    async def erase(self, org: str | None, call_id: str, before: Before = unannounced) -> Row:
        """Take away what is kept of one call; a part of it as it was. Raises `NotFound`, `StoreDown`."""
        found = await self._rows.call(org, call_id) if _possible(call_id) else []
        if not found:
            raise _nothing()
        row = found[0][0]
        await before(Planned(row.org, "admin.content.erase", {"call": row.id}))
        if not await self._rows.erase(org, call_id):
            raise _nothing()
        return row

    async def rotate(self) -> int:
        """Wrap the keys of all days under the present key-encryption key; how many. Raises `InvalidRequest`, having changed nothing."""
        present, known = self._keks.present, self._keks.known

        def change(day: DayKey) -> Envelope | None:
            if day.envelope.kek == present.id:
                return None
            try:
                return rewrap(known, present, day.about, day.envelope)
            except BrokenSeal as broken:
                raise InvalidRequest(f"the key of {day.org} for {day.day} cannot be opened: {broken}; nothing was changed") from None

        return await self._rows.rewrite(change)

    async def sweep(self) -> int:
        """Take away the days that are over, by what they were made with and by what is configured now; how many. Raises `StoreDown`."""
        today = datetime.now(UTC).date()
        kept = {org: (today - timedelta(days=spec.days - 1)).isoformat() for org, spec in self._specs.items()}
        return await self._rows.sweep(today.isoformat(), kept)

    async def _sweep_on(self) -> None:
        while True:
            began = time.monotonic()
            try:
                if gone := await self.sweep():
                    log.info("captured content past its days was taken away", extra=fields(days=gone))
            except StoreDown as down:
                log.warning("captured content could not be swept", extra=fields(detail=down.detail))
            await asyncio.sleep(SWEEP - (time.monotonic() - began))


def _nothing() -> NotFound:
    return NotFound("no content is kept of this call")


def _possible(text: str) -> bool:
    """Whether this can be the name of an organisation or the id of a call. Of others, stores cannot even be asked."""
    return text.isascii() and text.isprintable()


def _seal(key: bytes, content: bytes, about: bytes) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, content, about)


def _about(org: str, call_id: str, part: Part) -> bytes:
    """What a content is, as one text that no other has."""
    return b"".join(len(text).to_bytes(4) + text for text in (org.encode(), call_id.encode(), part.encode()))
