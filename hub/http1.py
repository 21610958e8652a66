"""One HTTP/1.1 connection to a server: a request is written, the answer to it is taken apart as it arrives. It does not know pools.

What arrives for an answer is kept in an `Incoming` of its own, never in the connection: a connection that carries the next exchange
while a slow reader still takes from the one before cannot mix them. Framing follows RFC 9112, section 6.3; what is unclear there
(two lengths, a length beside chunks, codings other than `chunked`) is an error, as the parser and the checks here refuse it.
"""

import asyncio
import select
from typing import Protocol, cast

import httptools

from hub.incoming import Broken, Gone, Incoming, Stalled

MAX_HEAD = 64 * 1024
"""Bytes of an answer's status line and header fields, interim answers included; as many may pass between two parts of a body."""

MAX_FIELDS = 256
HIGH = 256 * 1024
"""Bytes of a body that wait for their reader before the connection stops reading."""

ONE_WRITE = 64 * 1024
"""Largest body that is written together with the head, and the size of the pieces a larger one is written in."""

WRITE_TIMEOUT = 30.0
"""Seconds for which a server may take nothing of a large request."""

JUST_NOW = 0.002
"""Seconds."""

SPARE = 64 * 1024
"""Bytes read after the last that anybody wants, in the hope that the answer ends and the connection can be used again."""

_BODILESS = (204, 304)
_FAULTS = (httptools.HttpParserError, httptools.HttpParserUpgrade)


class Owner(Protocol):
    """Who is told what becomes of a connection."""

    def idle(self, connection: "Connection") -> None:
        """The answer is complete, the connection can be used again."""
        ...

    def lost(self, connection: "Connection") -> None:
        """It is closed for good. Called once."""
        ...


class Connection(asyncio.Protocol):
    """One exchange at a time: `begin`, then the `Incoming` until it has ended. `owner` is set by whoever keeps it."""

    __slots__ = (
        "_blocked", "_body", "_full", "_head", "_incoming", "_no_body", "_overhead", "_parser", "_paused", "_poll", "_sending", "_stray",
        "_transport", "answered", "loop", "on_body", "owner", "since",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.owner: Owner | None = None
        self.answered = 0
        """Exchanges that ended well: not 0 for a connection used again."""
        self.since = 0.0
        """When it became idle, in the loop's time."""
        self._transport: asyncio.Transport | None = None
        self._body: list[bytes] = []
        """Parts of a body that the parser has found and nobody has looked at: a stream has a hundred of them in one read."""
        self.on_body = self._body.append
        self._parser = httptools.HttpResponseParser(self)
        self._incoming: Incoming | None = None
        self._head: list[tuple[bytes, bytes]] = []
        self._overhead = 0
        self._no_body = False
        self._stray = False
        self._sending = False
        self._paused = False
        self._full = False
        self._blocked: asyncio.Future[None] | None = None

    # The request

    def begin(self, head: bytes, body: bytes, *, no_body: bool = False) -> Incoming:
        """Write the head, and the body if it is small; `pour` a larger one. `no_body`: the answer has none, as that to HEAD.

        Raises `Gone` where the connection is closed: nothing was written then.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise Gone("closed before the request")
        self._incoming = incoming = Incoming(self)
        self._no_body = no_body
        transport.write(head + body if len(body) <= ONE_WRITE else head)
        return incoming

    async def pour(self, incoming: Incoming, body: bytes) -> None:
        """Write a large body piece by piece as the server takes it, until it answers with a refusal. Raises `Stalled`."""
        view = memoryview(body)
        self._sending = True
        for start in range(0, len(view), ONE_WRITE):
            if self._incoming is not incoming or incoming.status >= 300 or self._transport is None:
                return
            self._transport.write(view[start : start + ONE_WRITE])
            if self._full:
                await self._drained()
        self._sending = False

    async def _drained(self) -> None:
        self._blocked = self.loop.create_future()
        try:
            async with asyncio.timeout(WRITE_TIMEOUT):
                await self._blocked
        except TimeoutError:
            raise Stalled("the request is not taken") from None

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._unblock()

    def _unblock(self) -> None:
        if self._blocked is not None and not self._blocked.done():
            self._blocked.set_result(None)

    # Its life

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def connection_lost(self, exc: Exception | None) -> None:
        incoming, self._incoming = self._incoming, None
        self._transport = None
        del self._parser  # it holds this connection: a circle, for the collector to find
        if incoming is not None:
            if not incoming.begun:
                incoming.error = Gone("closed without an answer")
            elif incoming.status and exc is None and incoming.until_close():
                incoming.ended = True
            else:
                incoming.error = Broken("closed within the answer")
            incoming.quiet()
        self._unblock()
        if self.owner is not None:
            self.owner.lost(self)

    @property
    def closed(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def usable(self, now: float) -> bool:
        """Whether an idle connection still stands, and nothing has arrived on it: what the loop has not yet seen counts too.

        Right after an answer (`JUST_NOW`) the loop has seen all there is, and the system is not asked.
        """
        transport = self._transport
        return transport is not None and not transport.is_closing() and (now - self.since < JUST_NOW or not self._poll.poll(0))

    def close(self) -> None:
        """Close an idle connection in peace."""
        if self._transport is not None:
            self._transport.close()

    def abort(self, why: Exception | None = None) -> None:
        """Close at once; an answer under way is broken off."""
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.error = why or Broken("closed by the hub")
            incoming.quiet()
        if self._transport is not None:
            self._transport.abort()

    def give_up(self, incoming: Incoming, why: Exception) -> None:
        """Close if this answer is the one under way."""
        if self._incoming is incoming:
            self.abort(why)

    def read_on(self, incoming: Incoming) -> None:
        """The reader of the answer under way has caught up."""
        if self._paused and self._incoming is incoming:
            self._paused = False
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()

    # The answer

    def data_received(self, data: bytes) -> None:
        incoming = self._incoming
        if incoming is None:
            self.abort()
            return
        incoming.begun = True
        self._overhead += len(data)
        try:
            self._parser.feed_data(data)
        except _FAULTS as problem:
            if not incoming.ended:
                self._collect(incoming)
                self.abort(Broken(str(problem.__context__ or problem)))
                return
            self._stray = True
        if self._body:
            self._collect(incoming)
        if incoming.ended:
            self._complete(incoming)
            incoming.wake()
        elif self._overhead > MAX_HEAD:
            self.abort(Broken("too much that is not content"))
        elif incoming.unwanted and incoming.held > SPARE:
            self.abort(Broken("more than is wanted"))
        elif incoming.status:
            if incoming.held > HIGH and not self._paused and self._transport is not None and not incoming.unwanted:
                self._paused = True
                self._transport.pause_reading()
            incoming.wake()

    def _collect(self, incoming: Incoming) -> None:
        """Give the answer the parts of its body that were found; what comes after its end is nobody's."""
        parts = self._body
        if incoming.ended:
            self._stray = True
        elif parts:
            self._overhead = 0
            incoming.held += sum(map(len, parts))
            if not incoming.unwanted:
                incoming.parts += parts
        parts.clear()

    def _complete(self, incoming: Incoming) -> None:
        """All of the answer is there: the connection is free, or of no use."""
        transport = self._transport
        self._incoming = None
        self._overhead = 0
        if incoming.linger is not None:
            incoming.linger.cancel()
        if transport is None:
            return
        unsent = self._sending or transport.get_write_buffer_size() > 0
        if incoming.keep and not unsent and not self._stray and not self._paused and self.owner is not None:
            self.answered += 1
            self.owner.idle(self)
        elif unsent:
            transport.abort()
        else:
            transport.close()

    # What the parser finds

    def on_message_begin(self) -> None:
        if self._incoming is not None and self._incoming.ended:
            self._stray = True

    def on_header(self, name: bytes, value: bytes) -> None:
        head = self._head
        head.append((name, value))
        if len(head) > MAX_FIELDS:
            raise Broken("too many header fields")

    def on_headers_complete(self) -> None:
        incoming = self._incoming
        if incoming is None or incoming.ended:
            return
        head, self._head = self._head, []
        if self._overhead > MAX_HEAD and sum(len(name) + len(value) + 4 for name, value in head) > MAX_HEAD:
            raise Broken("too many header fields")
        incoming.fields = fields = {name.lower(): value.strip(b" \t") for name, value in head}
        if len(fields) < len(head):
            _join(fields, head)
        parser = self._parser
        status = parser.get_status_code()
        if status < 200:
            if status < 100 or status == 101 or not incoming.until_close():
                raise Broken("an interim answer that was not asked for")
            fields.clear()
            return
        if b"transfer-encoding" in fields and fields[b"transfer-encoding"].lower() != b"chunked":
            raise Broken("a transfer coding that was not asked for")
        incoming.keep = parser.should_keep_alive()
        if self._no_body or (status in _BODILESS and not incoming.until_close()):
            incoming.keep = False
            incoming.ended = True
        incoming.status = status
        self._overhead = 0
        if self._sending:
            self._unblock()

    def on_message_complete(self) -> None:
        self._head = []
        incoming = self._incoming
        if self._body and incoming is not None:
            self._collect(incoming)
        if incoming is not None and incoming.status:
            incoming.ended = True


def _join(fields: dict[bytes, bytes], head: list[tuple[bytes, bytes]]) -> None:
    """Fields that came more than once: their values, joined by a comma (RFC 9110, section 5.3)."""
    fields.clear()
    for name, value in head:
        name = name.lower()
        value = value.strip(b" \t")
        fields[name] = fields[name] + b", " + value if name in fields else value
