"""Stdio servers that another process owns, as a worker uses them: each looks as if it were the worker's own (`virtual_servers.upstream`).

The process is the stdio host (docs/design/stdio-host.md). A line to it is given by `plug`, and another in its place when that one has
ended. Calls under way on a line that ends fail as those of a server that ended; none is sent twice.
"""

import asyncio
import contextlib
import hashlib
import itertools
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from hub.call import Call, Chunk, Emit, Reply, Usage
from hub.config.mcp import UpstreamSpec
from hub.refusal import Internal, InvalidParams, Refusal, UpstreamDown, UpstreamFault, UpstreamTimeout
from virtual_servers.catalog import KINDS, Catalogue
from virtual_servers.hosted_line import STUCK, Line, unfilled
from virtual_servers.hosted_messages import (
    Answer,
    Answered,
    Ask,
    Cancel,
    Changed,
    Failed,
    Fetch,
    Fetched,
    Hello,
    Leave,
    Look,
    Said,
    Shown,
    ToHost,
    ToWorker,
    Use,
)

CHUNKS = 256
"""Notifications of one call that wait for a slow client; beyond it the oldest are dropped."""

WAITED = 1.0
"""Seconds without a line that a call waits for one; it is refused where there has been none for longer."""

PAUSE = 0.5
"""Seconds at least between two wishes for another line."""

LOOKED = 1.0
"""Seconds the host has to say how its servers are."""

AWAY = "the process that owns stdio servers ended, or its line to this worker"
"""For operators."""

_REFUSALS: dict[str, type[Refusal]] = {kind.code: kind for kind in (UpstreamDown, UpstreamTimeout, UpstreamFault, InvalidParams)}
_status = msgspec.json.Decoder(dict[str, Any])


def digest(spec: UpstreamSpec) -> bytes:
    """Names a configuration, secrets included, between two processes that both have it; it is shown and kept nowhere."""
    return hashlib.sha256(msgspec.json.encode(spec)).digest()


class _Waiting:
    """An answer that has not come yet, and what precedes it."""

    __slots__ = ("answer", "chunks", "handle", "held", "limit", "woken")

    def __init__(self, handle: int, limit: int) -> None:
        self.handle = handle
        self.limit = limit
        self.answer: Answer | None = None
        self.chunks: deque[Said] = deque()
        self.held = 0
        self.woken = asyncio.get_running_loop().create_future()

    def put(self, said: Said) -> None:
        self.chunks.append(said)
        self.held += len(said.params)
        while len(self.chunks) > CHUNKS or (self.held > self.limit and len(self.chunks) > 1):
            self.take()
        self.wake()

    def take(self) -> Said:
        said = self.chunks.popleft()
        self.held -= len(said.params)
        return said

    def end(self, answer: Answer) -> None:
        self.answer = answer
        self.wake()

    def wake(self) -> None:
        if not self.woken.done():
            self.woken.set_result(None)


class StdioHost:
    """The process that owns the stdio servers, as one worker sees it. `again` is called with the number of a line that has ended."""

    def __init__(self, again: Callable[[int], None]) -> None:
        self.pid: int | None = None
        self._again = again
        self._line: Line[ToWorker] | None = None
        self._joined = False
        self._asked_at = 0.0
        self._without_since = asyncio.get_running_loop().time()
        self._plugged = asyncio.Event()
        self._closed = False
        self._idents = itertools.count(1)
        self._handles = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._servers: dict[int, Hosted] = {}

    @property
    def up(self) -> bool:
        return self._line is not None

    @property
    def wanted(self) -> bool:
        """Whether any server is its."""
        return bool(self._servers)

    async def plug(self, end: socket.socket, number: int) -> None:
        """Use this line from now on. `number` is for `again`."""
        line = Line[ToWorker](ToWorker, self._told, lambda: self._lost(line, number))
        end.setblocking(False)
        await asyncio.get_running_loop().create_connection(lambda: line, sock=end)
        if self._line is not None:
            self._line.close()
        if self._closed:
            line.close()
            return
        if not line.open:
            self._ask_again(number)
            return
        self._line, first = line, not self._joined
        self._joined = True
        for handle, server in self._servers.items():
            line.send(Use(handle, server.name, server.digest))
            if not first:
                server.missed()
        self._plugged.set()

    def upstream(self, name: str, spec: UpstreamSpec, on_changed: Callable[[str], None]) -> "Hosted":
        """The server of this name."""
        if not self._servers and not self._joined:
            self._without_since = asyncio.get_running_loop().time()  # there was none because none was wanted
        handle = next(self._handles)
        server = self._servers[handle] = Hosted(self, handle, name, spec, on_changed)
        self.tell(Use(handle, name, server.digest))
        return server

    async def look(self) -> None:
        """Find out how all of them are. Who does not answer in time is shown as last known."""
        looks = [asyncio.create_task(server.look()) for server in self._servers.values()]
        if looks:
            _, late = await asyncio.wait(looks, timeout=LOOKED)
            for one in late:
                one.cancel()

    def close(self) -> None:
        """Let go of the line."""
        self._closed = True
        if self._line is not None:
            self._line.close()

    # What the servers use

    def tell(self, message: ToHost) -> None:
        if self._line is not None:
            self._line.send(message)

    async def ask(self, handle: int, limit: int, make: Callable[[int], ToHost], emit: Emit | None = None) -> Answer:
        """Send what `make` makes of a number, wait for its answer; what precedes it goes to `emit`. Cancelling it cancels it there."""
        line = self._line or await self._reached()
        if line.full and not await unfilled(line, STUCK):
            raise UpstreamTimeout("the server does not take the call")
        if line is not self._line:
            raise UpstreamDown("the server stopped before it got the call", detail=AWAY)
        ident = next(self._idents)
        waiting = self._waiting[ident] = _Waiting(handle, limit)
        line.send(make(ident))
        try:
            while True:
                await waiting.woken
                while waiting.chunks:
                    said = waiting.take()
                    if emit is not None:
                        await emit(Chunk(said.method, said.params))
                if waiting.answer is not None:
                    return waiting.answer
                waiting.woken = asyncio.get_running_loop().create_future()
        finally:
            if self._waiting.pop(ident, None) is not None:
                self.tell(Cancel(ident))

    def leave(self, handle: int) -> None:
        """The server is used no more; what is under way fails."""
        self._servers.pop(handle, None)
        for ident in self._fail("the server stopped before it answered", "the hub stopped it", handle):
            self.tell(Cancel(ident))
        self.tell(Leave(handle))

    async def _reached(self) -> Line[ToWorker]:
        """The line, waited for a little while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._without_since + WAITED):
                await self._plugged.wait()
        if self._line is None:
            raise UpstreamDown("the server stopped and is started again later", retry_after=WAITED, detail=AWAY)
        return self._line

    # What the line says

    def _told(self, message: ToWorker) -> None:
        match message:
            case Answered() | Failed() | Fetched() | Shown():
                if (waiting := self._waiting.pop(message.ident, None)) is not None:
                    waiting.end(message)
            case Said():
                if (waiting := self._waiting.get(message.ident)) is not None:
                    waiting.put(message)
            case Changed():
                if (server := self._servers.get(message.handle)) is not None:
                    server.on_changed(message.kind)
            case Hello():
                self.pid = message.pid

    def _lost(self, line: Line[ToWorker], number: int) -> None:
        if self._line is not line:
            return
        self._line, self.pid = None, None
        self._without_since = asyncio.get_running_loop().time()
        self._plugged.clear()
        self._fail("the server stopped before it answered", AWAY)
        self._ask_again(number)

    def _ask_again(self, number: int) -> None:
        """For another line: at once, and after a while where the last time was a moment ago."""
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        pause = max(0.0, self._asked_at + PAUSE - loop.time())
        self._asked_at = loop.time() + pause
        loop.call_later(pause, self._again, number)

    def _fail(self, message: str, detail: str, handle: int | None = None) -> list[int]:
        """End what is under way, at one server or at all; the numbers."""
        idents = [ident for ident, waiting in self._waiting.items() if handle is None or waiting.handle == handle]
        for ident in idents:
            self._waiting.pop(ident).end(Failed(ident, UpstreamDown.code, message, None, detail))
        return idents


class Hosted:
    """One server. Implements `hub.call.Upstream`."""

    def __init__(self, host: StdioHost, handle: int, name: str, spec: UpstreamSpec, on_changed: Callable[[str], None]) -> None:
        self.name = name
        self.spec = spec
        self.era = "" if spec.protocol == "auto" else spec.protocol
        self.digest = digest(spec)
        self.on_changed = on_changed
        self._host = host
        self._handle = handle
        self._known: dict[str, Any] = {}

    async def send(self, call: Call, emit: Emit) -> Reply:
        """As `McpUpstream.send`; how many calls may be under way, and the breaker, are of all workers."""
        answer = await self._asked(lambda i: Ask(i, self._handle, call.method, call.payload, call.deadline, call.org, call.trace), emit)
        assert isinstance(answer, Answered)
        self.era = answer.era
        return Reply(answer.result, answer.error, answer.is_error, Usage(answer.bytes_in, answer.bytes_out))

    async def catalogue(self) -> Catalogue:
        """As `McpUpstream.catalogue`; workers that ask at once have it fetched once."""
        answer = await self._asked(lambda i: Fetch(i, self._handle))
        assert isinstance(answer, Fetched)
        self.era = answer.catalogue.era
        return answer.catalogue

    async def look(self) -> None:
        """Find out how it is."""
        try:
            answer = await self._asked(lambda i: Look(i, self._handle))
        except Refusal:
            return
        assert isinstance(answer, Shown)
        self._known = _status.decode(answer.status)

    async def stop(self) -> None:
        """Use it no more. It ends when nobody uses it and it is configured no more."""
        self._host.leave(self._handle)

    def missed(self) -> None:
        """There was nobody to say what has changed meanwhile: all of it may have."""
        for kind in KINDS:
            self.on_changed(kind)

    def status(self) -> dict[str, Any]:
        """As `McpUpstream.status`, from when it was last looked at."""
        known = self._known if self._host.up else {}
        nothing = {"pid": None, "since": "", "starts": 0, "running": 0, "error": "" if self._host.up else AWAY, "breaker": "closed"}
        state = "stopped" if self._host.up else "failed"
        return {"name": self.name, "transport": "stdio", "state": state, "era": self.era, **nothing, "stderr": "", **known}

    async def _asked(self, make: Callable[[int], ToHost], emit: Emit | None = None) -> Answer:
        answer = await self._host.ask(self._handle, self.spec.max_result, make, emit)
        if isinstance(answer, Failed):
            kind = _REFUSALS.get(answer.code, Internal)
            raise kind(answer.message, retry_after=answer.retry_after, detail=answer.detail)
        return answer
