"""One server to which commands go: it keeps a link to it, and while there is none it says no at once and tries by itself.

After a loss one attempt is made immediately, and who asks meanwhile waits for it, unless the server was lost because it did not answer: a
connection that was merely closed costs nobody a refusal. From the first failure on everybody is refused at once, while a single task
tries again after ever longer, uneven pauses; the first success opens the way for all.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from hub import backoff
from hub.refusal import StoreDown
from hub.store.redis_dial import Found
from hub.store.redis_link import MOST_WAITING, PING, Link, down
from hub.store.resp import ReplyError

logger = logging.getLogger("hub.redis")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
"""Seconds between attempts. The longest bounds how much later than others a process notices that the server is back."""

BRIEF = 2.0
"""Seconds of silence after which what the server was told to forget by itself may be gone."""

YOUNG = 2.0
"""Seconds of a server's life within which whom it had served before comes back (`LONGEST_PAUSE`, and the time of one failed attempt)."""

STEADY = 1.0
"""Seconds a link must have lasted for the next pause to be short again."""


def pause(failures: int) -> float:
    """Seconds to wait after so many failures in a row."""
    return backoff.pause(failures, FIRST_PAUSE, LONGEST_PAUSE)


class Place:
    """`connect` makes a connection or raises `StoreDown`.

    `returned(whole)` is called, before anybody else sends, when a connection is made again (see `Redis.on_return`).
    """

    def __init__(self, connect: Callable[[], Awaitable[Found]], returned: Callable[[bool], None]) -> None:
        self._connect = connect
        self._returned = returned
        self._task: asyncio.Task[None] | None = None
        self._attempt: asyncio.Future[None] | None = None
        """The attempt that is waited for, while there is one."""
        self._failures = 0
        """Attempts that failed, and links that did not last, in a row."""
        self._told = False
        self._waiting = 0
        self._why = "there is no connection yet"
        self._run = ""
        self._since = self._heard = 0.0
        self.link: Link | None = None
        """The connection, where there is one."""
        self.keeps = False

    async def open(self) -> None:
        """Connect for the first time and keep at it from then on. Raises `StoreDown`.

        To a server that has only just started others may be about to come back: it holds nothing of theirs before that.
        """
        found = await self._connect()
        self._take(found)
        if found.age < YOUNG:
            self._returned(False)
        self._task = asyncio.create_task(self._keep(found.link))

    def begin(self) -> None:
        """The same without waiting: who asks waits for the first attempt."""
        self._attempt = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._keep(None))

    async def ready(self) -> Link:
        """The link, waited for where the first attempt after a loss is under way. Raises `StoreDown`."""
        if self.link is not None:
            return self.link
        if self._attempt is None or self._waiting >= MOST_WAITING:
            raise down(self._why)
        self._waiting += 1
        try:
            await asyncio.shield(self._attempt)
        finally:
            self._waiting -= 1
        if self.link is None:
            raise down(self._why)
        return self.link

    async def close(self) -> None:
        """Let what was sent be answered, within the patience of the link; then end it and the attempts."""
        link = self.link
        if link is not None:
            with contextlib.suppress(StoreDown, ReplyError):
                await link.send(PING)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self.link is not None:
            self.link.close("the hub is stopping")
        self._why = "the hub is stopping"
        self._tried()

    async def _keep(self, link: Link | None) -> None:
        while True:
            if link is not None:
                await asyncio.shield(link.lost)
                logger.warning("Redis is lost (%s)", self._why)
            if self._attempt is None and self._failures:
                await asyncio.sleep(pause(self._failures))
            link = await self._try()

    async def _try(self) -> Link | None:
        try:
            found = await self._connect()
        except Exception as error:  # whatever it was: who waits is to hear of it, and the next attempt to be made
            self._why = error.detail.removeprefix("Redis: ") if isinstance(error, StoreDown) else f"no connection: {type(error).__name__}"
            self._failures += 1
            if not self._told:
                logger.warning("Redis cannot be reached (%s)", self._why)
                self._told = True
            self._tried()
            return None
        away = asyncio.get_running_loop().time() - self._heard if self._heard else 0.0
        same = found.run != "" and found.run == self._run
        self._take(found)
        logger.warning("Redis is back after %.1f s", away)
        self._returned(same and away < BRIEF)
        self._tried()
        return found.link

    def _take(self, found: Found) -> None:
        self._run, self.keeps, self.link = found.run, found.keeps, found.link
        self._since, self._told = asyncio.get_running_loop().time(), False
        found.link.on_end(self._ended)

    def _ended(self, why: str) -> None:
        link, self.link = self.link, None
        assert link is not None
        self._why, self._heard = why, link.heard
        loop = asyncio.get_running_loop()
        lasted = loop.time() - self._since > STEADY
        self._failures = 0 if lasted else self._failures + 1
        if self._failures < 2 and not link.stalled:
            self._attempt = loop.create_future()

    def _tried(self) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None and not attempt.done():
            attempt.set_result(None)
