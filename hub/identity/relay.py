"""Word between the processes of one hub that the keys in their store have changed, so that a revocation holds everywhere at once.

Told by signals, so heard at once or never (`hub.store.signals`): who missed one sees the change with the next poll. No signal says what
has changed, and none is believed: whoever hears one asks the store. Imported only where Redis is configured.
"""

import contextlib
import secrets

from hub.identity.authenticate import Identity
from hub.refusal import StoreDown
from hub.store.redis import Redis
from hub.store.resp import ReplyError
from hub.store.signals import Signals, publish_once

CHANGED = "keys"
"""The topic. The message names its sender, at random for each life of a process, and nothing else."""


class Relay:
    """Tells the others what `identity` changes, and has it look at what they change."""

    def __init__(self, signals: Signals, identity: Identity) -> None:
        self._signals = signals
        self._identity = identity
        self._sender = secrets.token_bytes(8)
        identity.on_change(self._tell)
        signals.subscribe(CHANGED, self._heard)

    def _tell(self) -> None:
        self._signals.publish(CHANGED, self._sender)

    def _heard(self, data: bytes) -> None:
        if data != self._sender:
            self._identity.look()


async def tell(redis: str) -> None:
    """The same from a command, which has changed the database itself. `redis` is the address; where nobody answers, the polls find it."""
    with contextlib.suppress(StoreDown, ReplyError, OSError):
        await publish_once(Redis(redis), CHANGED, secrets.token_bytes(8))
