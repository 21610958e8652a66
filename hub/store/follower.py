"""What a process has in memory of rows that any process may change, kept as the store has it. What the rows are is their owner's matter."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from logging import Logger

from hub.refusal import Refusal


class Follower:
    """`read()` asks the store, takes over what it says and returns the epoch at which that was so; `epoch` names it (`hub.store.epochs`).

    `lost`: what the log says, once, where the store cannot be read. What was known stays then.
    """

    def __init__(self, epoch: str, read: Callable[[], Awaitable[int]], lost: str, logger: Logger) -> None:
        self._epoch = epoch
        self._read = read
        self._lost = lost
        self._logger = logger
        self._seen = -1
        self._away = False
        self._turn = asyncio.Lock()  # what is read of the store is taken over in the order in which it was true
        self._changed: Callable[[], None] | None = None

    def on_change(self, changed: Callable[[], None]) -> None:
        """Have `changed()` called when this process has changed what the store holds, so that others can be told to look."""
        self._changed = changed

    async def refresh(self) -> None:
        """Raises `StoreDown`."""
        async with self._turn:
            self._seen = await self._read()

    async def look(self, epochs: Mapping[str, int]) -> None:
        """Take over what has changed, if anything has. Never raises: what could not be read is read the next time."""
        if epochs.get(self._epoch, 0) != self._seen:
            await self._try()

    async def announce(self) -> None:
        """This process has made a change: tell the others, and take it over. Never raises, as the change stands whatever happens now."""
        if self._changed is not None:
            self._changed()
        await self._try()

    async def _try(self) -> None:
        try:
            await self.refresh()
        except Refusal as refusal:
            if not self._away:
                self._logger.warning("%s: %s", self._lost, refusal.detail or refusal.message)
            self._away = True
        except Exception:  # nobody thought of it: keys, which are looked at with it, must go on all the same
            if not self._away:
                self._logger.exception(self._lost)
            self._away = True
        else:
            self._away = False
