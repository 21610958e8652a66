"""One request and its answer, as an ASGI application receives and sends them. It does not know how requests are read from the wire."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from hub.http_answer import CONTINUE, FAILED, lines, status_line

log = logging.getLogger("hub.http")

Message = dict[str, Any]
Scope = dict[str, Any]
Application = Callable[..., Awaitable[None]]
Waiters = list["asyncio.Future[None]"]

HIGH = 64 * 1024
"""Bytes of a body, or of requests whose turn has not come, that wait before the connection stops reading."""

PART = 48
"""Bytes that a part of a body takes beside its own."""

ONE_WRITE = 64 * 1024
"""Largest part of a body that is copied to be written in one piece with what stands before it."""

_BODILESS = (204, 304)
_CHUNKED, _UNTIL_CLOSE, _NO_BODY = -1, -2, -3
"""Framings of an answer whose length is not known."""

_UNBEGUN, _BEGUN, _COMPLETE = "before its start", "under way", "complete"


class Wire(Protocol):
    """What an exchange asks of its connection."""

    app: Application
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    tasks: set[Any]
    full: bool
    """The client takes less than is written."""

    async def drained(self) -> None: ...

    def first_lines(self) -> bytes: ...

    def read_on(self) -> None: ...

    def answered(self, exchange: "Exchange") -> None: ...


def wake(waiters: Waiters) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
    waiters.clear()


class Exchange:
    """`arrive`, `finish` and `cut` are for the connection; `receive` and `send` for the application.

    `keep`: whether the connection can be used after it. `done`: the answer is complete. `gone`: the client will see no more of it.
    """

    __slots__ = (
        "_chunks", "_delivered", "_ended", "_greeted", "_head", "_left", "_no_body", "_parts", "_scope", "_stage", "_waiters", "_wire",
        "done", "gone", "held", "keep", "task",
    )  # fmt: skip

    def __init__(self, wire: Wire, scope: Scope, *, keep: bool) -> None:
        self.keep = keep
        self.done = self.gone = False
        self.held = 0
        """Bytes of the body that wait to be received."""
        self.task: asyncio.Task[None] | None = None
        self._wire = wire
        self._scope = scope
        self._chunks = scope["http_version"] == "1.1"  # read now: the scope is the application's to change
        self._no_body = scope["method"] == "HEAD"
        self._parts: list[bytes] = []
        self._greeted = self._ended = self._delivered = False
        self._waiters: Waiters | None = None
        self._stage = _UNBEGUN
        self._head = b""
        self._left = 0

    async def run(self) -> None:
        """Have the application answer, and make an end where it does not."""
        wire = self._wire
        try:
            await wire.app(self._scope, self.receive, self.send)
        except asyncio.CancelledError:
            self._fail()
            raise
        except Exception:
            log.exception("a request failed inside the application")
            self._fail()
        else:
            if not self.done and not self.gone:
                log.error("the application ended without an answer, or within it")
                self._fail()
        finally:
            wire.tasks.discard(self.task)

    def _fail(self) -> None:
        """An answer of which nothing has been written is replaced by one that says so; any other is cut off."""
        if self.done or self.gone:
            return
        transport = self._wire.transport
        if self.unwritten:
            head, end, body = FAILED.partition(b"\r\n\r\n")
            transport.write(head + end + (b"" if self._no_body else body))
        transport.close()
        self.cut()

    # The request

    def arrive(self, part: bytes) -> None:
        """More of the body."""
        if self.done:
            return
        self._greeted = True
        self._parts.append(part)
        self.held += len(part) + PART
        if self._waiters:
            wake(self._waiters)

    def finish(self) -> None:
        """The body is complete."""
        self._ended = True
        if self._waiters:
            wake(self._waiters)

    def cut(self) -> None:
        """The client has left, or is sent no more."""
        self.gone = True
        if self._waiters:
            wake(self._waiters)

    async def receive(self) -> Message:
        while not (self.done or self.gone):
            if self._parts or (self._ended and not self._delivered):
                return self._taken()
            if not self._ended and not self._greeted:
                self._greet()
            await self._arrival()
        return {"type": "http.disconnect"}

    def _taken(self) -> Message:
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        held, self.held = self.held, 0
        if held > HIGH:
            self._wire.read_on()
        self._delivered = self._ended
        return {"type": "http.request", "body": body, "more_body": not self._ended}

    def _arrival(self) -> "asyncio.Future[None]":
        """Each that waits has a future of its own: one that is cancelled takes nothing from the others."""
        if self._waiters is None:
            self._waiters = []
        waiter = self._wire.loop.create_future()
        self._waiters.append(waiter)
        return waiter

    def _greet(self) -> None:
        self._greeted = True
        if self._expects():
            self._wire.transport.write(CONTINUE)

    def _expects(self) -> bool:
        return self._chunks and any(name == b"expect" and value.lower() == b"100-continue" for name, value in self._scope["headers"])

    # The answer

    @property
    def unwritten(self) -> bool:
        """Whether nothing of the answer has been written."""
        return self._stage is _UNBEGUN or bool(self._head)

    async def send(self, message: Message) -> None:
        if self._wire.full:
            await self._wire.drained()
        if self.gone:
            return
        kind = message["type"]
        if kind == "http.response.body" and self._stage is _BEGUN:
            self._more(message.get("body", b""), message.get("more_body", False))
        elif kind == "http.response.start" and self._stage is _UNBEGUN:
            self._begin(message["status"], message.get("headers", ()))
        else:
            raise RuntimeError(f"{kind!r} was sent for an answer {self._stage}")

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Make the head. It is written with what follows it, or soon if nothing does: one write for both costs half."""
        wire = self._wire
        given, length, closes = lines(headers)
        if closes or not (self._ended or self._greeted or self._told()):
            self.keep = False
        end = b"\r\n\r\n" if self.keep else b"\r\nconnection: close\r\n\r\n"
        if self._no_body:
            self._left = _NO_BODY
        elif status in _BODILESS:
            self._left = 0
        elif length >= 0:
            self._left = length
        elif self._chunks:
            self._left = _CHUNKED
            end = b"\r\ntransfer-encoding: chunked" + end
        else:
            self._left = _UNTIL_CLOSE
        self._head = status_line(status) + wire.first_lines() + given + end
        self._stage = _BEGUN
        wire.loop.call_soon(self._flush)

    def _told(self) -> bool:
        """Whether the body comes anyway: one that only comes when asked for is not asked for now, and what follows could be either."""
        self._greeted = True
        return not self._expects()

    def _flush(self) -> None:
        if self._head and not self.gone:
            head, self._head = self._head, b""
            self._wire.transport.write(head)

    def _more(self, body: bytes, more: bool) -> None:
        left = self._left
        if left >= 0:
            left -= len(body)
            if left < 0 or (left and not more):
                raise RuntimeError(f"the answer is {'longer' if left < 0 else 'shorter'} than its headers say")
            self._left = left
        elif left == _CHUNKED:
            body = _chunk(body, more)
        elif left == _NO_BODY:
            body = b""
        self._write(body)
        if not more:
            self._complete()

    def _write(self, body: bytes) -> None:
        head, transport = self._head, self._wire.transport
        if not head:
            transport.write(body)
            return
        if len(body) > ONE_WRITE:
            transport.writelines((head, body))
        else:
            transport.write(head + body)
        self._head = b""

    def _complete(self) -> None:
        self.done = True
        self._stage = _COMPLETE
        self._parts.clear()
        self.held = 0
        if self._waiters:
            wake(self._waiters)
        self._wire.answered(self)


def _chunk(body: bytes, more: bool) -> bytes:
    end = b"" if more else b"0\r\n\r\n"
    return b"%x\r\n%b\r\n%b" % (len(body), body, end) if body else end
