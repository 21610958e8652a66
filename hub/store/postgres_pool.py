"""The connections of one process to PostgreSQL: bounded, handed out with a transaction begun on them, and all taken back.

A database that is away is found out when a transaction is begun, where nothing can have happened yet: from then on every call is refused
at once, while one probe knocks at growing intervals; when it is let in, calls are taken again. Nobody waits for longer than the patience,
and no more than a bounded number at a time. Knows neither tenants nor what a transaction is for.
"""

import asyncio
import contextlib
import itertools
from asyncio import Future, Task
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from hub import backoff
from hub.refusal import StoreDown
from hub.store.postgres_link import DOWN, Connection, NoMore, typed, useless

WAITERS = 16
"""Calls that may wait for each connection; beyond it, they are refused."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between knocks at a database that is away."""


class Pool:
    """At most `size` connections, made by `connect` when they are needed, each for one transaction at a time."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], size: int, patience: float) -> None:
        self._connect = connect
        self._size = size
        self._patience = patience
        self._idle: list[Connection] = []
        self._out = 0
        self._making = 0
        """Of these, the ones that are being made."""
        self._most = size
        self._until = 0.0
        """The loop's time until which no more than `_most` are tried: the server let no more in."""
        self._waiting: deque[Future[None]] = deque()
        self._why: str | None = "the database is not open"
        self._probe: Task[None] | None = None
        self._tidying: set[Task[None]] = set()

    @property
    def out(self) -> int:
        """Connections handed out, being made, or being brought back into order."""
        return self._out

    @property
    def up(self) -> bool:
        """Whether calls are taken."""
        return self._why is None

    async def open(self) -> None:
        """Make the first connection. Raises `StoreDown`."""
        connection = await self._connect()
        self._why = None
        self._idle.append(connection)

    async def close(self) -> None:
        """Refuse what is asked from now on and close every connection, those handed out when they come back."""
        self._refuse("the database is not open")
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.gather(self._probe, return_exceptions=True)
            self._probe = None
        while self._tidying:
            await asyncio.gather(*self._tidying)
        idle, self._idle = self._idle, []
        await asyncio.gather(*(self._part(connection) for connection in idle))

    async def begin(self, statement: str) -> Connection:
        """A connection on which `statement` has begun a transaction; where it is empty, none has been. Raises `StoreDown`.

        It comes back by `give`, `undo` or `drop`.
        """
        await self._permit()
        refused = False
        while True:
            try:
                connection, fresh = await self._taken()
            except NoMore:
                if refused:
                    raise
                refused = True
                await self._permit()  # there are others, one of which becomes free
                continue
            if not statement or await self._begun(connection, statement, fresh):
                return connection

    def give(self, connection: Connection) -> None:
        """Take it back: its transaction is over."""
        if self._why is not None or connection.is_closed():
            connection.terminate()
        else:
            self._idle.append(connection)
        self._release()

    def drop(self, connection: Connection) -> None:
        """Take it back and close it."""
        connection.terminate()
        self._release()

    def undo(self, connection: Connection) -> None:
        """Take it back once its transaction is rolled back. Nobody waits for that."""
        self.tidy(self._roll_back(connection))

    def tidy(self, work: Coroutine[Any, Any, None]) -> None:
        """Have `work` done, whoever it was begun for; `close` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tidying.add(task)
        task.add_done_callback(self._tidying.discard)

    async def _begun(self, connection: Connection, statement: str, fresh: bool) -> bool:
        """Whether `statement` has begun a transaction. Not where the connection was closed while it was idle: that is to harm nobody."""
        try:
            await connection.execute(statement)
        except Exception as error:
            broken = useless(connection, error)
            connection.terminate()
            if broken and not fresh and not isinstance(error, TimeoutError):
                return False
            self._release()
            if broken:  # a new connection that fails, or one that hangs, says that the database is away
                self._away(error)
            raise typed(error) from None
        except BaseException:
            self.undo(connection)
            raise
        return True

    async def _permit(self) -> None:
        """Become one of `size`. Whoever came first is first."""
        self._must_be_up()
        if self._out < self._bound:
            self._out += 1
            return
        if len(self._waiting) >= self._size * WAITERS:
            raise StoreDown(DOWN, retry_after=self._patience, detail=f"{len(self._waiting)} calls wait for a connection already")
        turn: Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._patience):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._release()  # it was our turn at this very moment: somebody else's now
            else:
                with contextlib.suppress(ValueError):
                    self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise StoreDown(DOWN, retry_after=self._patience, detail="no connection became free in time") from None
            raise

    @property
    def _bound(self) -> int:
        """How many there may be at the moment."""
        return self._most if asyncio.get_running_loop().time() < self._until else self._size

    def _release(self) -> None:
        while self._waiting and self._out <= self._bound:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._out -= 1

    async def _taken(self) -> tuple[Connection, bool]:
        """An idle connection, else a new one; and whether it is new. To whom has a permit, which is given back where this raises.

        A connection that is being made is made to its end, whether or not the caller stays: who leaves at once is not to keep the server
        busy with beginnings.
        """
        while self._why is None and self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection, False
            connection.terminate()
        if self._why is not None:
            self._release()
            self._must_be_up()
        self._making += 1
        making = asyncio.get_running_loop().create_task(self._new())
        try:
            connection = await asyncio.shield(making)
        except BaseException:
            self.tidy(self._take_in(making))
            raise
        self._making -= 1
        return connection, True

    async def _take_in(self, making: Task[Connection]) -> None:
        try:
            connection = await making
        except StoreDown:
            self._making -= 1
            self._release()
        else:
            self._making -= 1
            self.give(connection)

    async def _new(self) -> Connection:
        try:
            return await self._connect()
        except StoreDown as down:
            others = len(self._idle) + self._out - self._making
            if isinstance(down, NoMore) and others:  # it serves those who are in: ours go on, and who waits gets one of them
                self._most, self._until = others, asyncio.get_running_loop().time() + LONGEST_PAUSE
            else:
                self._away(down)
            raise

    async def _roll_back(self, connection: Connection) -> None:
        try:
            await connection.execute("ROLLBACK", timeout=self._patience)
        except Exception:  # whatever it was: the connection is in no known state, and the server rolls back when it goes
            self.drop(connection)
        except BaseException:
            self.drop(connection)
            raise
        else:
            self.give(connection)

    def _must_be_up(self) -> None:
        if self._why is not None:
            raise StoreDown(DOWN, retry_after=LONGEST_PAUSE, detail=self._why)

    def _away(self, error: Exception) -> None:
        """The database is away: say so to all who wait, and begin to knock."""
        if self._why is not None:
            return
        found = typed(error)
        self._refuse(found.detail if isinstance(found, StoreDown) else type(found).__name__)
        for connection in self._idle:
            connection.terminate()
        self._idle.clear()
        self._probe = asyncio.get_running_loop().create_task(self._knock(), name="postgres-probe")

    def _refuse(self, why: str) -> None:
        self._why = why
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(StoreDown(DOWN, retry_after=LONGEST_PAUSE, detail=why))

    async def _knock(self) -> None:
        for knocks in itertools.count(1):
            await asyncio.sleep(backoff.pause(knocks, FIRST_PAUSE, LONGEST_PAUSE))
            with contextlib.suppress(StoreDown):
                connection = await self._connect()
                self._idle.append(connection)
                self._why = None
                return

    async def _part(self, connection: Connection) -> None:
        try:
            await connection.close(timeout=self._patience)
        except Exception:  # it is to be gone, in order or not
            connection.terminate()
