"""The answer to one request as it arrives, and what can be wrong with it. It does not know how it is taken apart."""

import asyncio
from typing import Protocol


class Broken(Exception):
    """What came back is not HTTP, is beyond the bounds, or ended early."""


class Gone(Exception):
    """The connection ended before a byte of the answer."""


class Stalled(Exception):
    """The server does not take the request."""


class Source(Protocol):
    """What an answer asks of the connection it arrives on, which may meanwhile be about another."""

    loop: asyncio.AbstractEventLoop

    def read_on(self, incoming: "Incoming") -> None: ...

    def give_up(self, incoming: "Incoming", why: Exception) -> None: ...


class Incoming:
    """The answer to one request. `status` is 0 until its head is complete; `ended` once all of it has arrived."""

    __slots__ = ("_connection", "_waiter", "begun", "ended", "error", "fields", "held", "keep", "linger", "parts", "status", "unwanted")

    def __init__(self, connection: Source) -> None:
        self._connection = connection
        self._waiter: asyncio.Future[None] | None = None
        self.status = 0
        self.fields: dict[bytes, bytes] = {}
        self.parts: list[bytes] = []
        self.held = 0
        self.begun = False
        self.ended = False
        self.keep = True
        self.unwanted = False
        self.error: Exception | None = None
        self.linger: asyncio.TimerHandle | None = None

    def wait(self) -> "asyncio.Future[None]":
        """To be awaited, by one task at a time: done when the head is complete, more of the body is there, or it ended or broke."""
        self._waiter = waiter = self._connection.loop.create_future()
        return waiter

    def wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def take(self) -> list[bytes]:
        """The parts of the body that are there; the connection reads on."""
        parts = self.parts
        if parts:
            self.parts = []
            self.held = 0
            self._connection.read_on(self)
        return parts

    def drop(self) -> None:
        """Nobody wants the rest: close the connection, unless the answer has ended and the connection is no longer about it."""
        self._connection.give_up(self, Broken("given up"))

    def spare(self, seconds: float) -> None:
        """Nobody wants the rest, but it may end within `seconds`: then the connection can be used again."""
        self.unwanted = True
        self.take()
        self.held = 0
        self.linger = self._connection.loop.call_later(seconds, self.drop)

    def quiet(self) -> None:
        """Nothing more comes for this answer."""
        if self.linger is not None:
            self.linger.cancel()
        self.wake()

    def until_close(self) -> bool:
        """Whether the end of the connection is the end of the body (RFC 9112, 6.3, rule 8)."""
        return b"content-length" not in self.fields and b"transfer-encoding" not in self.fields
