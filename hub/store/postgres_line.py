"""A connection that answers one prepared statement after the other without a task: who asks is called back in the turn the answer comes.

asyncpg makes the connection (address, TLS, login) and hands it over; from then on it is spoken to here. Only for statements that are
transactions of their own. Whatever is not the answer expected ends the line: `Lines` makes the next one, and until then one does without.
"""

import asyncio
from asyncio import Task
from collections.abc import Awaitable, Callable, Mapping

from hub.refusal import StoreDown
from hub.store.base import Ambiguous
from hub.store.postgres_link import DOWN, Connection
from hub.store.postgres_wire import HEAD, fields, prepare, whole

Told = Callable[[bytes | None, StoreDown | None], None]
"""Called with the last DataRow, or with what went wrong: `StoreDown` did not take hold, of `Ambiguous` nobody can tell."""

_PASSED_OVER = frozenset(b"12CSNA")
"""Complete: parse, bind, command; the state of a parameter, a notice, a notification."""

_LOOKS = 8
"""How often the clock is looked at within the patience."""

_LONGEST = 1 << 20
"""Bytes of a message: what is asked for here has short answers, so that anything longer is no answer of PostgreSQL."""

_PAUSE = 1.0
"""Seconds between attempts to make a line."""


class Line(asyncio.Protocol):
    """`connection` is an asyncpg one with nothing under way, and its transport; `patience`: seconds the server has for an answer."""

    def __init__(self, connection: Connection, transport: asyncio.Transport, patience: float) -> None:
        self._connection = connection
        self._transport = transport
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._told: Told | None = None
        self._asked = 0.0
        self._watched = False
        self._rest = b""
        self._row: bytes | None = None
        self._error: dict[str, str] | None = None
        self.lost = False
        transport.set_protocol(self)

    @property
    def usable(self) -> bool:
        """Whether it can be asked now: it has not ended, and nobody waits for an answer."""
        return not self.lost and self._told is None

    def ask(self, packed: bytes, told: Told) -> None:
        """Send messages that end with a Sync. It has to be `usable`; `told` is called once, never before this returns."""
        assert self.usable
        self._told, self._row, self._error = told, None, None
        self._asked = self._loop.time()
        self._transport.write(packed)
        if not self._watched:
            self._watched = True
            self._loop.call_later(self._patience / _LOOKS, self._look)

    def close(self, why: str = "the connection was closed") -> None:
        """End it; who waits is told that nobody knows."""
        if self.lost:
            return
        self.lost = True
        self._connection.terminate()
        told, self._told = self._told, None
        if told is not None:
            told(None, Ambiguous(DOWN, detail=f"no answer to a commit: {why}"))

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        elif (told := self._told) is not None and self._error is None and (row := whole(data)) is not None:
            self._told = None
            told(row, None)
            return
        at, end = 0, len(data)
        while end - at >= 5 and not self.lost:
            kind, length = HEAD.unpack_from(data, at)
            after = at + 1 + length
            if not 4 <= length <= _LONGEST:
                self.close("it cannot be read")
                return
            if end < after:
                break
            self._message(kind, data[at + 5 : after])
            at = after
        self._rest = data[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        self.close(type(exc).__name__ if exc is not None else "the server ended the connection")

    def _message(self, kind: bytes, body: bytes) -> None:
        if kind == b"D" and self._told is not None:
            self._row = body
        elif kind == b"E":
            self._error = error = fields(body)
            if self._told is None or error.get("V") != "ERROR":  # the server is about to end it
                self.close(f"{error.get('V')} {error.get('C')}")
        elif kind == b"Z" and self._told is not None:
            self._answered(self._told)
        elif kind[0] not in _PASSED_OVER:
            self.close("an answer nobody asked for")

    def _answered(self, told: Told) -> None:
        self._told = None
        error = self._error
        if error is None:
            told(self._row, None)
            return
        self.close("the statement failed")  # whatever it was, the next line has it prepared anew
        told(None, StoreDown(DOWN, detail=f"{error.get('M', '')} ({error.get('C', '')})"))

    def _look(self) -> None:
        self._watched = False
        if self._told is None:
            return
        if self._loop.time() - self._asked >= self._patience:
            self.close("it took too long")
            return
        self._watched = True
        self._loop.call_later(self._patience / _LOOKS, self._look)


class Lines:
    """Keeps one line, with its statements prepared, for as long as somebody asks for it."""

    def __init__(self, connect: Callable[[], Awaitable[Line]], statements: Mapping[str, str]) -> None:
        """`statements`: texts by name."""
        self._connect = connect
        self._statements = statements
        self._line: Line | None = None
        self._making: Task[None] | None = None
        self._not_before = 0.0
        self._closed = False

    def get(self) -> Line | None:
        """The line, where there is one that is not busy. Where it was lost the next one is made meanwhile."""
        line = self._line
        if line is not None and not line.lost:
            return line if line.usable else None
        self.make()
        return None

    def make(self) -> Task[None] | None:
        """Make the line, unless it was tried a moment ago. Does not raise."""
        loop = asyncio.get_running_loop()
        if self._making is None and not self._closed and loop.time() >= self._not_before:
            self._making = loop.create_task(self._make(), name="postgres-line")
        return self._making

    async def close(self) -> None:
        """End it. No other is made."""
        self._closed = True
        if self._making is not None:
            self._making.cancel()
            await asyncio.gather(self._making, return_exceptions=True)
        if self._line is not None:
            self._line.close()

    async def _make(self) -> None:
        self._not_before = asyncio.get_running_loop().time() + _PAUSE
        line: Line | None = None
        try:
            line = await self._connect()
            for name, query in self._statements.items():
                await _prepared(line, prepare(name, query))
            self._line, line = line, None
        except StoreDown:
            return  # tried again when it is asked for
        finally:
            self._making = None
            if line is not None:
                line.close()


async def _prepared(line: Line, packed: bytes) -> None:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def told(_: bytes | None, fault: StoreDown | None) -> None:
        if done.done():
            return
        if fault is None:
            done.set_result(None)
        else:
            done.set_exception(fault)

    line.ask(packed, told)
    await done
