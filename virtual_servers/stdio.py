"""MCP over the pipes of a server process: many calls at once on one pair of pipes. It does not know eras or restarts.

One message is one line (specification, stdio transport). Nothing is done per call that can be done per server: answers are matched
in the pipe's own callback, and one sweep at a time gives up calls that are overdue.
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable

from hub.config.mcp import UpstreamSpec
from hub.refusal import Unavailable, UpstreamDown, UpstreamFault, UpstreamTimeout
from virtual_servers import rpc
from virtual_servers.eras import MODERN
from virtual_servers.guard import Guard
from virtual_servers.link import Ask, Notice
from virtual_servers.process import PATIENCE, Process

GARBAGE = 100
"""Lines in a row that are no message, beyond which the server is given up."""

STRAYS, STRAYS_WITHIN = 20_000, 5.0
"""Messages nobody asked for within so many seconds, beyond which the server is given up."""

CHUNKS = 256
"""Notifications of one call that wait for a slow client; beyond it the oldest are dropped."""

STUCK = 10.0
"""Seconds a full pipe may stay full."""

UNKNOWN_METHOD = b'{"code":-32601,"message":"the hub does not offer this to servers"}'

_head = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,18})\s*,')
_foot = re.compile(rb',\s*"id"\s*:\s*(\d{1,18})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')
_EDGE = 256


class _Slot:
    """A call under way."""

    __slots__ = ("answer", "ask", "chunks", "due", "held", "waiter")

    def __init__(self, ask: Ask, waiter: asyncio.Future[None]) -> None:
        self.ask = ask
        self.waiter = waiter
        self.due = ask.due()
        self.answer: rpc.Message | Unavailable | None = None
        self.chunks: deque[tuple[str, bytes]] | None = None
        self.held = 0

    def end(self, answer: rpc.Message | Unavailable) -> None:
        if self.answer is None:
            self.answer = answer
        self.wake()

    def put(self, method: str, params: bytes, limit: int) -> None:
        if self.chunks is None:
            self.chunks = deque()
        self.chunks.append((method, params))
        self.held += len(params)
        while len(self.chunks) > CHUNKS or (self.held > limit and len(self.chunks) > 1):
            self.held -= len(self.chunks.popleft()[1])
        self.wake()

    def wake(self) -> None:
        if not self.waiter.done():
            self.waiter.set_result(None)


class StdioLink(asyncio.Protocol):
    """A running server. `on_notice` gets notifications that belong to no call; `on_down` is called once, when it ends by itself."""

    def __init__(self, spec: UpstreamSpec, guard: Guard | None, on_notice: Notice, on_down: Callable[[str], None]) -> None:
        assert spec.stdio is not None
        self.modern = False
        self._spec = spec
        self._limit = spec.max_result
        self._on_notice = on_notice
        self._on_down = on_down
        self._loop = asyncio.get_running_loop()
        self._process = Process(spec.stdio, guard)
        self._input: asyncio.WriteTransport | None = None
        self._outgoing: list[bytes] = []
        self._slots: dict[int, _Slot] = {}
        self._tick = min(0.25, spec.timeout / 8)
        self._timer: asyncio.TimerHandle | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._skipping = False
        self._edge = b""
        self._garbage = self._strays = 0
        self._strays_since = 0.0
        self._writable: asyncio.Future[None] | None = None
        self._full_since = 0.0
        self._closing = False
        self.down = ""
        """Why it ended; empty while it runs."""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def stderr(self) -> bytes:
        return self._process.errors.tail

    @property
    def busy(self) -> int:
        return len(self._slots)

    async def open(self) -> None:
        feed = _Feed(self)
        self._input = await self._process.start(self, feed)
        self._process.exited.add_done_callback(lambda _: self._loop.call_later(0.1, self._exited))

    def speak(self, version: str) -> None:
        self.modern = version == MODERN

    def subscribe(self, ident: int, params: bytes) -> None:
        """Send a `subscriptions/listen`. Its notifications come as notices; its answer, the end of the subscription, is not awaited."""
        self._write(rpc.request(ident, "subscriptions/listen", params))

    async def ask(self, ask: Ask) -> rpc.Message:
        if self.down or self._input is None:
            raise UpstreamDown("the server has stopped", detail=self.down)
        if self._writable is not None:
            await self._wait_writable(ask)
        slot = _Slot(ask, self._loop.create_future())
        self._slots[ask.ident] = slot
        if self._timer is None:
            self._timer = self._loop.call_later(self._tick, self._sweep)
        self._write(rpc.request(ask.ident, ask.method, ask.params))
        try:
            while True:
                await slot.waiter
                if slot.chunks:
                    await self._pass_on(slot)
                answer = slot.answer
                if answer is not None:
                    break
                slot.waiter = self._loop.create_future()
        finally:
            if self._slots.pop(ask.ident, None) is not None:
                self._cancel(ask.ident)
        if isinstance(answer, rpc.Message):
            return answer
        raise answer

    async def tell(self, method: str, params: bytes) -> None:
        if self._writable is None:
            self._write(rpc.notification(method, params))

    async def close(self, *, patience: float | None = None) -> None:
        self._closing = True
        stuck = self._writable is not None
        self._lose("the hub stopped it")
        if self._input is not None:
            self._flush()
            await self._process.stop(patience=0 if stuck else PATIENCE if patience is None else patience)

    # Writing

    def _write(self, message: bytes) -> None:
        if b"\n" in message or b"\r" in message:
            message = message.replace(b"\n", b" ").replace(b"\r", b" ")
        self._outgoing += (message, b"\n")
        if len(self._outgoing) == 2:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Write what this turn of the loop has gathered: one system call for all calls that came together."""
        outgoing, self._outgoing = self._outgoing, []
        if outgoing and self._input is not None and not self._input.is_closing():
            self._input.write(b"".join(outgoing))

    def _cancel(self, ident: int) -> None:
        if not self.down and self._writable is None:
            self._write(rpc.notification("notifications/cancelled", b'{"requestId":%d}' % ident))

    async def _wait_writable(self, ask: Ask) -> None:
        try:
            async with asyncio.timeout(max(0.0, min(ask.due() - time.monotonic(), STUCK))):
                while self._writable is not None:
                    await asyncio.shield(self._writable)
        except TimeoutError:
            raise UpstreamTimeout("the server does not take the call") from None
        if self.down:
            raise UpstreamDown("the server has stopped", detail=self.down)

    def writing(self, *, full: bool) -> None:
        """Flow control: the pipe to the server is full, or has room again."""
        if full:
            self._writable = self._loop.create_future()
            self._full_since = time.monotonic()
            if self._timer is None:
                self._timer = self._loop.call_later(self._tick, self._sweep)
        elif self._writable is not None:
            writable, self._writable = self._writable, None
            writable.set_result(None)

    # Reading

    def data_received(self, data: bytes) -> None:
        lines = data.split(b"\n")
        for line in lines[:-1]:
            if self._skipping:
                self._too_long(line)
                continue
            if self._parts:
                self._parts.append(line)
                line = b"".join(self._parts)
                self._parts.clear()
                self._size = 0
            if len(line) > self._limit:
                self._edge = line[:_EDGE]
                self._too_long(line)
            else:
                self._line(line)
        rest = lines[-1]
        if rest:
            self._hold(rest)

    def _hold(self, rest: bytes) -> None:
        if self._skipping:
            self._edge = self._edge[:_EDGE] + (self._edge[_EDGE:] + rest)[-_EDGE:]
            return
        self._parts.append(rest)
        self._size += len(rest)
        if self._size > self._limit:
            whole = b"".join(self._parts)
            self._edge = whole[:_EDGE] + whole[_EDGE:][-_EDGE:]
            self._parts.clear()
            self._size = 0
            self._skipping = True

    def _too_long(self, end: bytes) -> None:
        """A line beyond the bound has ended: fail the call it answers, told from the edges that were kept."""
        self._skipping = False
        start, foot = self._edge[:_EDGE], (self._edge[_EDGE:] + end)[-_EDGE:]
        self._edge = b""
        slot = self._answered(start, foot)
        if slot is not None:
            slot.end(UpstreamFault("the server's answer is too large"))

    def _answered(self, start: bytes, end: bytes) -> _Slot | None:
        """The call that a line answers which cannot be read, told from its edges."""
        found = _head.match(start) or _foot.search(end[-_EDGE:])
        return self._slots.pop(int(found[1]), None) if found else None

    def eof_received(self) -> None:
        self._loop.call_soon(self._lose, "it closed its output")

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose("it closed its output")

    def _line(self, line: bytes) -> None:
        try:
            message = rpc.parse(line)
        except rpc.Garbage:
            slot = self._answered(line, line)
            if slot is not None:
                slot.end(UpstreamFault("the server's answer is not JSON-RPC"))
            elif line.strip():
                self._garbage += 1
                if self._garbage > GARBAGE:
                    self._fail("it prints what is not MCP")
            return
        self._garbage = 0
        if message.method:
            self._incoming(message)
            return
        ident = message.id
        if ident is None and message.error and len(self._slots) == 1:
            ident = next(iter(self._slots))
        slot = self._slots.pop(ident, None) if isinstance(ident, int) else None
        if slot is None:
            self._stray()
        else:
            slot.end(message)

    def _incoming(self, message: rpc.Message) -> None:
        if message.asks:
            self._stray()
            self._answer(message)
        elif message.method == "notifications/progress":
            token = rpc.progress_of(message.params)
            slot = self._slots.get(token) if token is not None else None
            if slot is None or not slot.ask.token:
                self._stray()
                return
            slot.due = slot.ask.due()
            self._put(slot, message)
        elif message.method == "notifications/message" and len(self._slots) == 1:
            # A log line names no request: it can only be told whose it is while a single one is under way.
            self._put(next(iter(self._slots.values())), message)
        else:
            self._stray()
            self._on_notice(message.method, message.params)

    def _put(self, slot: _Slot, message: rpc.Message) -> None:
        if slot.ask.note is not None:
            slot.put(message.method, message.params, self._limit)

    def _answer(self, message: rpc.Message) -> None:
        """A request of the server: only the older era has them, and the hub offers `ping` alone."""
        if self.modern or message.id is None or self._writable is not None:
            return
        if message.method == "ping":
            self._write(rpc.response(message.id, result=b"{}"))
        else:
            self._write(rpc.response(message.id, error=UNKNOWN_METHOD))

    async def _pass_on(self, slot: _Slot) -> None:
        note, token = slot.ask.note, slot.ask.token
        while slot.chunks:
            method, params = slot.chunks.popleft()
            slot.held -= len(params)
            if method == "notifications/progress":
                params = rpc.retoken(params, token)
            if note is not None:
                await note(method, params)

    # Ending

    def _stray(self) -> None:
        self._strays += 1
        if self._strays == 1:
            self._strays_since = time.monotonic()
        elif self._strays > STRAYS:
            if time.monotonic() - self._strays_since < STRAYS_WITHIN:
                self._fail("it floods the hub")
            self._strays = 0

    def _sweep(self) -> None:
        now = time.monotonic()
        for ident, slot in list(self._slots.items()):
            if now >= slot.due:
                del self._slots[ident]
                slot.end(UpstreamTimeout("the server did not answer in time"))
                self._cancel(ident)
        if self._writable is not None and now - self._full_since > STUCK:
            self._fail("it does not read its input")
        again = self._slots or self._writable is not None
        self._timer = self._loop.call_later(self._tick, self._sweep) if again and not self.down else None

    def _exited(self) -> None:
        self._lose(f"it exited with code {self._process.exited.result()}")

    def _fail(self, why: str) -> None:
        """The server misbehaves: it is lost to us, and killed."""
        self._lose(why)

    def _lose(self, why: str) -> None:
        if self.down:
            return
        self.down = why
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        slots, self._slots = self._slots, {}
        for slot in slots.values():
            slot.end(UpstreamDown("the server stopped before it answered", detail=why))
        self.writing(full=False)
        if not self._closing:
            self._on_down(why)


class _Feed(asyncio.BaseProtocol):
    """The protocol of the pipe towards the server."""

    def __init__(self, link: StdioLink) -> None:
        self._link = link

    def pause_writing(self) -> None:
        self._link.writing(full=True)

    def resume_writing(self) -> None:
        self._link.writing(full=False)
