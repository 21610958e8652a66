"""When the store of keys is looked at, how old that is, and who waits for the next look. What a look takes over is its owner's matter.

A look comes every quarter of a second, and at once where somebody says that there is something to see. What was seen is good for a second.
A process that has more to do than it can do looks late: who comes then waits for a look that begins after he came.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from hub.refusal import StoreDown

logger = logging.getLogger(__name__)

POLL = 0.25
"""Seconds from one look at the store to the next, where nobody says that there is something to see."""

REST = 0.02
"""Seconds from one look to the next, however often somebody says so: what a flood of such words costs the store is bounded."""

WAITING = 1000
"""How many others are told at most that the store was asked again."""

TICK = 0.1
"""Seconds between looks at how long the store has been silent."""

STALE = 1.0
"""Seconds between polls, and after the last good one until everybody is refused (a revocation must hold within this time)."""

PATIENCE = 5.0
"""Seconds that a caller waits at most for the store to be asked, where that is late. Answered or not, it is long before."""


class Unheard(StoreDown):
    """The store has not answered for a second."""

    def __init__(self) -> None:
        super().__init__("keys cannot be checked at the moment", retry_after=1.0)


class Looks:
    """`look()` asks the store, says `answered` as soon as it is known when that was so, and raises what keeps it from being asked.

    `clock` in monotonic seconds.
    """

    def __init__(self, look: Callable[[], Awaitable[None]], clock: Callable[[], float]) -> None:
        self.seen = float("-inf")
        """When the store last answered while this process was one that may serve."""
        self.heard = float("-inf")
        """When it last answered."""
        self.barred = False
        self._look = look
        self._clock = clock
        self._told = asyncio.Event()
        self._then: list[Callable[[], object]] = []
        """What to call when the store has been asked again."""
        self._asked: list[asyncio.Future[None]] = []
        """Who waits for the end of a look at the store."""
        self._silent = False
        """Whether it did not answer when it was last asked, or will not be asked again."""
        self._silenced: Callable[[], None] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Look from now on."""
        self._tasks.append(asyncio.create_task(self._poll(), name="identity-poll"))
        if self._silenced is not None:
            self._tasks.append(asyncio.create_task(self._attend(self._silenced), name="identity-silence"))

    async def close(self) -> None:
        """Look no more."""
        self._silent = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    @property
    def fresh(self) -> bool:
        """Whether what was seen is still good."""
        return self._clock() - self.seen <= STALE

    def answered(self, at: float) -> None:
        """What the store says was so at this time."""
        self.heard = at
        if not self.barred:
            self.seen = at

    def bar(self) -> None:
        """Take nothing for seen that is from before `unbar`."""
        self.barred = True
        self.seen = float("-inf")

    def unbar(self) -> None:
        self.barred = False

    def on_silence(self, cut: Callable[[], None]) -> None:
        """Have `cut()` called, again and again, while the store has not answered for a second. Said before `begin`."""
        self._silenced = cut

    def soon(self, then: Callable[[], object] | None = None) -> None:
        """Look soon, and then call `then`. However often this is called, one look is under way and one more to come."""
        if then is not None and len(self._then) < WAITING:
            self._then.append(then)
        self._told.set()

    async def anew(self) -> None:
        """Return when a look that began after this has seen something. Raises `Unheard` where the store does not answer; where it did not
        answer the last time, at once."""
        now = self._clock()
        try:
            async with asyncio.timeout(PATIENCE):
                while self.seen < now:
                    await self._ended()
        except TimeoutError:
            self._silent = True
            raise Unheard from None

    async def now(self) -> None:
        """Look. Raises what `look` raises."""
        asked, self._asked = self._asked, []
        try:
            await self._look()
            self._silent = False
        except Exception:
            self._silent = True
            asked += self._asked  # who came meanwhile would hear no more
            raise
        finally:
            for ended in asked:
                if not ended.done():
                    ended.set_result(None)

    async def _ended(self) -> None:
        """Return when a look at the store has ended. Raises `Unheard` where there is no use in it."""
        if self._silent or self.barred:
            raise Unheard
        ended = asyncio.get_running_loop().create_future()
        self._asked.append(ended)
        self._told.set()
        await ended

    async def _poll(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL - REST):
                    await self._told.wait()
            self._told.clear()
            asked = len(self._then)
            try:
                await self.now()
                for then in self._then[:asked]:
                    then()
                del self._then[:asked]
            except Exception as error:
                if self.fresh:  # said while it matters, not four times a second for as long as it lasts
                    logger.warning("keys could not be refreshed: %s", getattr(error, "detail", "") or error)
            await asyncio.sleep(REST)

    async def _attend(self, cut: Callable[[], None]) -> None:
        """Where this process itself stood still for a while, the store may have an answer waiting: that is no silence."""
        before = self._clock()
        while True:
            await asyncio.sleep(TICK)
            before, awake = self._clock(), self._clock() - before < 5 * TICK
            if awake and before - self.heard > STALE:
                cut()
