"""Who is asking: a credential becomes a `Caller`, or is refused without a hint why. Every key is held in memory; no call does I/O.

What is in memory is at most a second old: the store is asked every quarter of one what has changed, and at once when another process says
so. Where it has not answered for a second nobody is let in, because a key may have been revoked meanwhile; where it was this process that
had no time to ask, who comes waits until it has asked. It knows keys, not grants' meaning, nor any wire.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Unpack

from hub.call import Caller, Credential
from hub.change import Before, unannounced
from hub.config.belonging import Units
from hub.config.callers import KeySpec
from hub.identity import looks
from hub.identity.admin import Admin, Change, Created, Details, declared
from hub.identity.cuts import Cuts
from hub.identity.entry import NO_UNITS, Entry, KeyInfo, Mac, entry_of, pepper_id, seal
from hub.identity.looks import Looks, Unheard
from hub.identity.recognise import Recogniser
from hub.identity.rows import Changes, Keys, Row

__all__ = ["Identity", "Unheard"]

logger = logging.getLogger(__name__)


class Identity:
    """The live table of keys of one process.

    `pepper` seals new keys; `retired` are earlier peppers whose keys still count. `mac(pepper, text)`, `clock` (monotonic seconds) and
    `wall` (Unix seconds) are there to be observed and moved.
    """

    def __init__(
        self,
        keys: Keys,
        pepper: bytes,
        *,
        retired: Sequence[bytes] = (),
        mac: Callable[[bytes, bytes], Mac] = seal,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.admin = Admin(keys, pepper)
        self._keys = keys
        self._pepper = pepper
        self._peppers = {pepper_id(p): p for p in (*retired, pepper)}
        self._clock = clock
        self._wall = wall
        self._stored: dict[str, Entry] = {}
        self._declared: dict[str, Entry] = {}
        self._infos: tuple[KeyInfo, ...] = ()
        self._specs: tuple[Entry, ...] = ()
        self._units = NO_UNITS
        self._buried: set[str] = set()
        self._epochs: dict[str, int] = {}
        self._recogniser = Recogniser(self._live, pepper, mac, wall)
        self._known = self._recogniser.caller
        self._cuts = Cuts(self._live, wall)
        self._changed: Callable[[], None] | None = None
        self._everywhere: Callable[[], Awaitable[None]] | None = None
        self._followers: list[Callable[[Mapping[str, int]], Awaitable[None]]] = []
        self._looks = Looks(self._look, clock)
        self._turn = asyncio.Lock()  # what is read of the store is taken over in the order in which it was true

    async def open(self) -> None:
        """Load every key and begin to poll. Raises `StoreDown`, and `ValueError` where a declared key clashes with a stored one."""
        await self.refresh()
        self._reconcile(self._specs)
        self._looks.begin()

    async def close(self) -> None:
        """Stop polling. From a second later nobody is let in."""
        await self._looks.close()

    @property
    def barred(self) -> bool:
        """Whether nobody is let in because this process may not be the one that is to serve."""
        return self._looks.barred

    @property
    def fresh(self) -> bool:
        """Whether callers can be let in at all: the store answered within the last second."""
        return self._looks.fresh

    def authenticate(self, credential: Credential) -> Caller:
        """The caller this credential stands for.

        Raises `Unauthenticated`, in one shape and after the same work whether the key is absent, malformed, unknown, wrong, expired or
        revoked; `Unheard`, for everybody, while what is known may be out of date.
        """
        if self._clock() - self._looks.seen > looks.STALE:  # `fresh`, with a call less for each call of everybody
            raise Unheard
        return self._known(credential)

    async def authenticate_anew(self, credential: Credential) -> Caller:
        """The same by a look at the store that begins now: for when the last is a second old. Raises `Unheard` where the store does not
        answer; where it did not answer the last time, at once.

        A process that has more to do than it can do looks late. What it finds then is as good as ever for who waited for it.
        """
        await self._looks.anew()
        return self._known(credential)

    def declare(self, keys: tuple[KeySpec, ...], units: Units = NO_UNITS) -> None:
        """Replace the declared keys and what keys may belong to, all at once. Who is no longer among them is revoked, and cut at once.

        Raises `ValueError`, having changed nothing, where a secret is not a hub key, or a name or id is taken; the message names keys
        by their names only.
        """
        infos, entries = self.vet(keys, units)
        self._specs, self._infos = entries, infos
        if units != self._units:
            self._units = units
            self._stored = {key_id: entry_of(old.info, old.pepper, old.mac, units) for key_id, old in self._stored.items()}
            for entry in self._stored.values():
                self._warn(entry.info)
        before, self._declared = self._declared, {e.info.id: e for e in entries if e.info.id not in self._buried}
        self._recogniser.forget()
        for entry in self._declared.values():
            self._cuts.watch(entry)
        for key_id, entry in before.items():
            if not _same_caller(entry, self._declared.get(key_id)):
                self._cuts.cut(key_id)

    def vet(self, keys: tuple[KeySpec, ...], units: Units = NO_UNITS) -> tuple[tuple[KeyInfo, ...], tuple[Entry, ...]]:
        """What `declare` would make of them. Raises as it does, and changes nothing."""
        infos = declared(keys)
        entries = tuple(
            entry_of(info, self._pepper, seal(self._pepper, spec.secret.value.encode()), units)
            for info, spec in zip(infos, keys, strict=True)
        )
        self._reconcile(entries)
        return infos, entries

    def on_revoke(self, cut: Callable[[str], None]) -> None:
        """Have `cut(key id)` called when a key stops counting (revoked, expired, no longer declared), so that its streams are ended."""
        self._cuts.add(cut)

    def on_silence(self, cut: Callable[[], None]) -> None:
        """Have `cut()` called, again and again, while the store has not answered for a second: others may have revoked any key meanwhile.

        For a store that others can reach while this process cannot. Said before `open`.
        """
        self._looks.on_silence(cut)

    def on_change(self, changed: Callable[[], None], everywhere: Callable[[], Awaitable[None]]) -> None:
        """Have `changed()` called when this process has changed the keys in the store, so that others can be told to `look`; `everywhere()`
        returns when they have."""
        self._changed, self._everywhere = changed, everywhere

    def on_epochs(self, follow: Callable[[Mapping[str, int]], Awaitable[None]]) -> None:
        """Have `follow(epochs)` called whenever the store was looked at, before that is said to be done: for what else changes there. It
        never raises."""
        self._followers.append(follow)

    def announce(self) -> None:
        """Have others look at the store: this process has changed something there."""
        if self._changed is not None:
            self._changed()

    async def everywhere(self) -> None:
        """Return when what was changed here holds in every process."""
        if self._everywhere is not None:
            await self._everywhere()

    def look(self, then: Callable[[], object] | None = None) -> None:
        """The keys in the store have changed, or may have: take it over soon, and then call `then`. However often this is called, one look
        is under way and one more to come."""
        self._looks.soon(then)

    async def create(self, org: str, name: str, *, before: Before = unannounced, **details: Unpack[Details]) -> Created:
        """See `Admin.create`; when it returns, this process knows the key."""
        taken = {name for info in self._infos for name in (info.name, info.id)}
        made = await self.admin.create(org, name, taken=taken, units=self._units, before=before, **details)
        await self._take_up(made.row)
        return made

    async def list(self, org: str | None) -> list[KeyInfo]:
        """See `Admin.list`."""
        return await self.admin.list(org, declared=self._infos)

    async def find(self, org: str | None, name_or_id: str) -> KeyInfo | None:
        """See `Admin.find`."""
        return await self.admin.find(org, name_or_id, declared=self._infos)

    def key(self, key_id: str) -> KeyInfo | None:
        """What is known of a key that counts."""
        entry = self._live(key_id)
        return None if entry is None else entry.info

    def _live(self, key_id: str) -> Entry | None:
        return self._stored.get(key_id) or self._declared.get(key_id)

    async def revoke(self, org: str | None, name_or_id: str, before: Before = unannounced) -> Change:
        """See `Admin.revoke`; when it returns, this process refuses the key and has cut its streams."""
        change = await self.admin.revoke(org, name_or_id, declared=self._infos, before=before)
        self.announce()
        async with self._turn:  # a poll under way may have been told that the key is good
            self._end(change.key.id, buried=change.key.source == "declared")
        return change

    async def begun(self) -> bool:
        """Whether a key was ever stored, by this process or another. Raises `StoreDown`."""
        return await self._keys.begun()

    async def first_start(self, before: Before = unannounced) -> tuple[Created, Created] | None:
        """See `Admin.first_start`; when it returns, this process knows the keys."""
        made = await self.admin.first_start(taken={info.name for info in self._infos}, before=before)
        await self._take_up(*(created.row for created in made or ()))
        return made

    def bar(self) -> None:
        """Let nobody in, at once, until `unbar`: this process may not be the one that is to serve."""
        self._looks.bar()

    async def unbar(self) -> None:
        """Let callers in again. Raises `StoreDown`, and then they are let in once the store is heard of."""
        self._looks.unbar()
        await self.refresh()

    async def refresh(self) -> None:
        """Take over what has changed in the store, and cut what has been revoked or has expired. Raises `StoreDown`."""
        await self._looks.now()

    async def _look(self) -> None:
        async with self._turn:
            changes = await self._keys.changes(self._epochs, self._clock)
            if changes.rows or changes.tombstones:
                self._recogniser.forget()
            for row in changes.rows:
                self._apply(row)
            self._forget(changes)
            for key_id in changes.tombstones:
                self._end(key_id, buried=True)
            self._epochs = changes.epochs  # last: what could not be taken over is asked for again
            self._looks.answered(changes.at)
        self._cuts.cut_expired()
        for follow in self._followers:
            await follow(changes.epochs)

    def _forget(self, changes: Changes) -> None:
        """Stop knowing keys that the store has lost: nobody could revoke them."""
        if changes.anew:
            logger.warning("the store has lost changes of keys that were known here; keys it does not know are refused")
            kept = {row.info.id for row in changes.rows}
            for key_id in [key_id for key_id, entry in self._stored.items() if entry.info.org in changes.anew and key_id not in kept]:
                self._end(key_id)

    async def _take_up(self, *rows: Row) -> None:
        """Know keys that were just stored, without asking the store again."""
        if rows:
            self.announce()
        async with self._turn:
            for row in rows:
                self._apply(row)

    def _apply(self, row: Row) -> None:
        key_id, pepper = row.info.id, self._peppers.get(row.pepper)
        if row.info.revoked:
            self._end(key_id)
        elif pepper is None:
            logger.warning("key %s was made with a master secret this hub does not have: it is refused", key_id)
        elif key_id not in self._stored:  # a row is never changed but to be revoked
            try:
                entry = entry_of(row.info, pepper, row.mac, self._units)
            except ValueError:
                logger.warning("key %s cannot be read from the store: it is refused", key_id)
                return
            self._stored[key_id] = entry
            self._cuts.watch(entry)
            self._warn(entry.info)

    def _end(self, key_id: str, *, buried: bool = False) -> None:
        """Stop knowing a key; `buried` for one that was declared, which must not come back with the file."""
        if buried:
            self._buried.add(key_id)
        entry = (self._declared if buried else self._stored).pop(key_id, None)
        if entry is not None:
            self._recogniser.forget()
            self._cuts.cut(key_id)

    def _reconcile(self, entries: tuple[Entry, ...]) -> None:
        names = {entry.info.name for entry in self._stored.values() if entry.expires > self._wall()}
        for entry in entries:
            if entry.info.id in self._stored or entry.info.name in names:
                raise ValueError(f"the declared key {entry.info.name!r} has the name or the id of a stored key: revoke one of them")

    def _warn(self, info: KeyInfo) -> None:
        for _, sentence in self._units.faults(info) if self._units else ():
            logger.warning("key %s may use nothing: %s", info.id, sentence)


def _same_caller(before: Entry, after: Entry | None) -> bool:
    """Whether streams of a declared key may go on after a reload: it is the same key, of the same subject and organisation."""
    return after is not None and (before.mac, before.info.org, before.info.subject) == (after.mac, after.info.org, after.info.subject)
