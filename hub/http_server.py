"""One HTTP/1.1 connection of a client, for uvicorn's server: requests are answered one after the other, in the order they came.

It replaces uvicorn's own protocol class. Heads have a deadline (slow loris); what cannot be read gets a 400 in the hub's shape, in its
turn. It does not know what applications answer.
"""

import asyncio
import contextvars
import logging
from collections import deque
from typing import Any, cast

import uvicorn
from uvicorn.protocols.utils import get_local_addr, get_remote_addr
from uvicorn.server import ServerState

from hub.http_answer import TOO_SLOW, UNREADABLE
from hub.http_deadline import Deadline
from hub.http_exchange import HIGH, Application, Exchange, Scope, Waiters, wake
from hub.http_requests import Requests, Unreadable

log = logging.getLogger("hub.http")

FEW, MANY, PIECE = 4096, 8, 4096
"""A read of more than `FEW` bytes that holds the heads of more than `MANY` requests is taken apart in pieces, until one is to be
answered: all at once they would be as many tasks and scopes, many times the size of what was read."""

_ASGI = {"version": "3.0", "spec_version": "2.3"}


class Connection(asyncio.Protocol):
    """At most one request is being answered (`_exchange`) and one is arriving (`Requests.incoming`): the same one, a later one, or one
    whose answer did not wait for its body. What arrives after a complete request waits unread until that is answered.
    """

    __slots__ = (
        "_context", "_deadline", "_exchange", "_farewell", "_first_lines", "_first_of", "_held", "_hurried", "_keep_alive", "_last",
        "_paused", "_queue", "_requests", "_state", "_state_of_app", "_writers", "app", "full", "loop", "tasks", "transport",
    )  # fmt: skip

    header_timeout = 10.0
    transport: asyncio.Transport
    _context: contextvars.Context
    _requests: Requests

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.loop = _loop or asyncio.get_running_loop()
        self.app = cast("Application", cast("Any", config).loaded_app)
        self.tasks: set[Any] = server_state.tasks
        self.full = False
        self._state = server_state
        self._state_of_app = app_state
        self._keep_alive: float = config.timeout_keep_alive
        self._held = bytearray()
        self._queue: deque[Exchange] = deque()
        self._exchange: Exchange | None = None
        self._last = False  # no request is taken after those there are
        self._farewell = False  # and what came after them is unreadable
        self._paused = False
        self._writers: Waiters = []
        self._deadline = Deadline(self.loop, self._expired)
        self._hurried = True  # the time of the first head runs from the start
        self._first_of: list[tuple[bytes, bytes]] | None = None
        self._first_lines = b""

    # Its life

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        cast("set[Any]", self._state.connections).add(self)
        self._context = contextvars.copy_context()
        fixed: Scope = {
            "type": "http",
            "asgi": _ASGI,
            "scheme": "https" if transport.get_extra_info("sslcontext") else "http",
            "root_path": "",
            "client": get_remote_addr(self.transport),
            "server": get_local_addr(self.transport),
            "hub.abort": self.transport.abort,  # ours, for clients that do not read
        }
        self._requests = Requests(fixed, self._begin)
        self._deadline.within(self.header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        cast("set[Any]", self._state.connections).discard(self)
        self._deadline.end()
        self._requests.end()
        self._queue.clear()
        self._held.clear()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cut()
        self.resume_writing()

    def shutdown(self) -> None:
        """uvicorn stops: close when what has been asked is answered."""
        if self._exchange is None:
            self.transport.close()
            return
        self._last = True
        self._held.clear()
        (self._queue[-1] if self._queue else self._exchange).keep = False

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        wake(self._writers)

    async def drained(self) -> None:
        while self.full:
            waiter = self.loop.create_future()
            self._writers.append(waiter)
            await waiter

    def _hurry(self) -> None:
        """A head has begun: its time runs from now, if it does not run yet."""
        if not self._hurried:
            self._hurried = True
            self._deadline.within(self.header_timeout)

    def _expired(self) -> None:
        if self._exchange is not None or self.transport.is_closing():
            return  # the client waits for the hub, and its time runs anew when it is answered
        if self._requests.begun:  # one that sent nothing is not told: it may be a connection kept for later
            self.transport.write(TOO_SLOW)
        self.transport.close()

    # What arrives

    def data_received(self, data: bytes) -> None:
        if self._exchange is not None and self._requests.incoming is None:
            self._hold(data)
        elif len(data) > FEW and data.count(b"\n\r\n") + data.count(b"\n\n") > MANY:
            self._held += data
            self._advance()
        else:
            self._feed(data)

    def _hold(self, data: bytes) -> None:
        if not self._last:
            self._held += data
            self._bound(len(self._held))

    def _advance(self) -> None:
        """Read on in what is held, until a request in it has to be answered first."""
        held = self._held
        while held and (self._exchange is None or self._requests.incoming is not None) and not self.transport.is_closing():
            piece = bytes(held[:PIECE])
            del held[:PIECE]
            self._feed(piece)
        self._bound(len(held))

    def _feed(self, data: bytes) -> None:
        requests = self._requests
        try:
            rest = requests.feed(data)
        except Unreadable:
            self._unreadable()
            return
        if rest:
            self._held[:0] = rest
        if requests.incoming is not None:
            self._bound(requests.incoming.held)
        elif requests.begun and self._exchange is None:
            self._hurry()

    def _bound(self, waiting: int) -> None:
        """Stop reading while so much waits to be received or to have its turn."""
        if waiting > HIGH and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def read_on(self) -> None:
        """Something of what waited has been taken."""
        incoming = self._requests.incoming
        if self._paused and len(self._held) <= HIGH and (incoming is None or incoming.held <= HIGH):
            self._paused = False
            self.transport.resume_reading()

    def _unreadable(self) -> None:
        """Say so, after the answers to what was readable; a request whose body breaks is answered with nothing else."""
        requests = self._requests
        broken, requests.incoming = requests.incoming, None
        if self._last and broken is None:
            return
        log.warning("an HTTP request could not be read")
        self._last = True
        self._held.clear()
        if broken is not None and self._queue and self._queue[-1] is broken:
            self._queue.pop()
        elif broken is not None or self._exchange is None:
            self._refuse(broken)
            return
        self._farewell = True

    def _refuse(self, broken: Exchange | None) -> None:
        if broken is None or broken.unwritten:
            self.transport.write(UNREADABLE)
        if broken is not None:
            broken.cut()
        self.transport.close()

    # What is answered

    def _begin(self, scope: Scope, keep: bool) -> Exchange:
        """Make the exchange of a request whose head is complete, and have it answered when its turn comes."""
        if self._last:
            raise Unreadable("this comes after the last request")
        self._last = not keep
        self._hurried = False
        if self._state_of_app:
            scope["state"] = self._state_of_app.copy()
        exchange = Exchange(self, scope, keep=keep)
        if self._exchange is None:
            self._start(exchange)
        else:
            self._queue.append(exchange)
        return exchange

    def _start(self, exchange: Exchange) -> None:
        self._exchange = exchange
        # In the connection's own context: the next request may be found while the one before is being answered.
        exchange.task = task = self.loop.create_task(exchange.run(), context=self._context.copy())
        self.tasks.add(task)

    def first_lines(self) -> bytes:
        """The headers every answer has; uvicorn makes a new list of them each second."""
        headers = self._state.default_headers
        if headers is not self._first_of:
            self._first_of = headers
            self._first_lines = b"".join([b"\r\n%b: %b" % pair for pair in headers])
        return self._first_lines

    def answered(self, exchange: Exchange) -> None:
        self._state.total_requests += 1
        self._exchange = None
        if not exchange.keep or self.transport.is_closing():
            self.transport.close()
        elif self._queue:
            self._start(self._queue.popleft())
        elif self._farewell:
            self._refuse(None)
        else:
            self._deadline.within(self._keep_alive)
            if self._held:
                self._advance()
            elif self._requests.begun:
                self._hurry()
        if self._paused:
            self.read_on()


def with_timeout(header_timeout: float) -> type[Connection]:
    """The class as uvicorn's configuration takes it."""
    return type("Connection", (Connection,), {"header_timeout": header_timeout, "__slots__": ()})
