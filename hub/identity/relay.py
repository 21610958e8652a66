"""Word between the processes of one hub that the keys in their store have changed, so that a revocation holds everywhere at once.

Told by signals, so heard at once or never (`hub.store.signals`): who missed one sees the change with the next poll. No signal says what
has changed, and none is believed: whoever hears one asks the store, and then says that he has. Imported only where Redis is configured.
"""

import asyncio
import contextlib
from functools import partial
from math import inf

from hub.identity.authenticate import Identity
from hub.identity.looks import STALE
from hub.refusal import StoreDown
from hub.store.redis import Redis
from hub.store.resp import ReplyError
from hub.store.signals import Signals, publish_once

CHANGED = "keys"
"""The topic of changes. A message is eight bytes for which change of its sender it is; empty where nobody waits for an answer."""

TAKEN = "keys-taken"
"""The topic of answers, by who has asked the store since. A message is the name of the sender that made him, and which change it was."""

_CHANGE = 8


class Relay:
    """Tells the others what `identity` changes, and has it look at what they change."""

    def __init__(self, signals: Signals, identity: Identity) -> None:
        self._signals = signals
        self._identity = identity
        self._changes = 0
        self._told_at = 0.0
        self._taken: dict[bytes, int] = {}
        """The others, by the latest of these changes they have taken over."""
        self._progress = asyncio.Event()
        identity.on_change(self._tell, self.everywhere)
        signals.subscribe(CHANGED, self._heard)
        signals.subscribe(TAKEN, self._answered)

    async def everywhere(self) -> None:
        """Return when every other process has taken over what was changed here by now, or a second after it was changed: from then on a
        process that has not asked the store lets nobody in."""
        change = self._changes
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._told_at + STALE):
                others: float
                try:
                    others = await self._signals.listening(CHANGED) - 1
                except StoreDown:
                    others = inf  # nobody will answer
                while sum(taken >= change for taken in self._taken.values()) < others:
                    self._progress.clear()
                    await self._progress.wait()

    def _tell(self) -> None:
        self._changes += 1
        self._told_at = asyncio.get_running_loop().time()
        self._taken.clear()  # who still has to answer an earlier one answers this one too
        self._signals.publish(CHANGED, self._changes.to_bytes(_CHANGE))

    def _heard(self, sender: bytes, data: bytes) -> None:
        self._identity.look(partial(self._signals.publish, TAKEN, sender + data[:_CHANGE]))

    def _answered(self, who: bytes, data: bytes) -> None:
        change = int.from_bytes(data[-_CHANGE:])
        if data[:-_CHANGE] == self._signals.name and change <= self._changes:
            self._taken[who] = max(change, self._taken.get(who, 0))
            self._progress.set()


async def tell(redis: str) -> None:
    """The same from a command, which has changed the database itself. `redis` is the address; where nobody answers, the polls find it."""
    with contextlib.suppress(StoreDown, ReplyError, OSError):
        await publish_once(Redis(redis), CHANGED, b"")
