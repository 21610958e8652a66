"""One downstream MCP server as the hub uses it: started on first use, supervised, given calls. It does not know callers or policy.

States: `stopped` → `starting` → `ready`; a failed start or an unexpected end is `failed`, and the next use starts it again, for a
stdio server after a pause that doubles. A call is sent at most once; the single exception is an HTTP server that answered 404 for
the session, which says that it did not act on the call.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Literal

from hub.call import Call, Chunk, Emit, Reply, Usage, timestamp
from hub.config.mcp import UpstreamSpec
from hub.egress import Egress, UnreachedInTime
from hub.refusal import InvalidParams, Unavailable, UpstreamDown, UpstreamFault, UpstreamTimeout
from hub.routing.bulkhead import Bulkhead, Busy
from virtual_servers import rpc
from virtual_servers.breakers import Breakers
from virtual_servers.catalog import KINDS, Catalogue, Tables, fetch
from virtual_servers.discretion import Discretion
from virtual_servers.eras import MODERN, NEWEST_OLDER
from virtual_servers.guard import Guard
from virtual_servers.handshake import Hello, shake
from virtual_servers.http import HttpLink, SessionLost
from virtual_servers.link import Ask, Link
from virtual_servers.listener import follow, listen_params, watched
from virtual_servers.outgoing import Outgoing
from virtual_servers.stdio import StdioLink

State = Literal["stopped", "starting", "ready", "failed"]

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between restarts of a stdio server: doubled with each start that led to no answered call."""

WAITED = 1.0
"""Seconds of such a pause that a call waits for; it is refused where more is left."""

SHOWN = 4096
"""Bytes of a server's standard error shown in its status."""


class McpUpstream:
    """Implements `hub.call.Upstream`. Made and used in one loop; `egress` is needed for a URL, `guard` should be given for stdio.

    `on_changed` is called with `tools`, `prompts` or `resources` when the server says so, or may have changed while not heard.
    `on_notice` gets every other notification that belongs to no call: method and raw parameters.
    """

    def __init__(
        self,
        name: str,
        spec: UpstreamSpec,
        *,
        egress: Egress | None = None,
        guard: Guard | None = None,
        on_changed: Callable[[str], None] | None = None,
        on_notice: Callable[[str, bytes], None] | None = None,
    ) -> None:
        self.name = name
        self.spec = spec
        self.era = "" if spec.protocol == "auto" else spec.protocol
        self.state: State = "stopped"
        self.on_changed = on_changed
        self.on_notice = on_notice
        self._egress = egress
        self._guard = guard
        self._hello: Hello | None = None
        self._hint = ""
        self._link: Link | None = None
        self._starting: asyncio.Task[None] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ids = itertools.count(1)
        self._gate = Bulkhead(spec.concurrency)
        self._breakers = Breakers(spec.breaker)
        self._modern = rpc.modern_members()
        self._outgoing = {modern: Outgoing(modern=modern) for modern in (True, False)}
        self._tables: Tables = {}
        self._failures = 0
        self._not_before = 0.0
        self._running = 0
        self._used = time.monotonic()
        self._idle: asyncio.TimerHandle | None = None
        self._since = timestamp()
        self._error = ""
        self._stderr = b""
        self._starts = 0
        self._discreet = Discretion(spec)

    # What the hub uses

    async def send(self, call: Call, emit: Emit) -> Reply:
        """Send the call, wait for its reply; what precedes it goes to `emit`, in order.

        Raises `UpstreamDown`, `UpstreamTimeout`, `UpstreamFault`, and `InvalidParams` where the payload is no object. A JSON-RPC error
        of the server is a `Reply` with `error`. Cancelling it cancels the call at the server.
        """
        now = time.monotonic()
        wait = self._breakers.admit(call.org, now)
        if wait:
            raise UpstreamDown("the server failed repeatedly and is left alone for a while", retry_after=wait)
        until = now + self.spec.max_timeout
        if 0 < call.deadline < until:
            until = call.deadline
        self._running += 1
        reached = False
        try:
            if self._gate.room:
                self._gate.room -= 1
            else:
                await self._gate.wait(min(until, now + self.spec.timeout))
            try:
                link = self._link or await self._up(until)
                reached = True
                reply = await self._send(link, call, emit, until)
            finally:
                self._gate.leave()
        except Busy:
            self._breakers.abandon(call.org)
            raise
        except Unavailable as problem:
            self._error = self._said(problem)
            self._breakers.fail(call.org, time.monotonic(), reached=reached and not isinstance(problem, UpstreamDown | UnreachedInTime))
            raise
        except BaseException:
            self._breakers.abandon(call.org)
            raise
        finally:
            self._running -= 1
            self._used = time.monotonic()
        self._breakers.succeed(call.org)
        self._failures = 0
        return reply

    async def start(self) -> None:
        """Start it if it is not ready. Raises `Unavailable`."""
        await self._up(time.monotonic() + self.spec.start_timeout)

    async def stop(self) -> None:
        """Stop it: gracefully, then by force. Calls under way at a stdio server fail; the next use starts it again."""
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
        link = self._take("stopped")
        if link is not None:
            await link.close()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def catalogue(self) -> Catalogue:
        """Everything it offers, all pages. Starts it if need be. Raises `Unavailable`."""
        until = time.monotonic() + self.spec.start_timeout + self.spec.timeout
        link = await self._up(until)
        hello = self._hello
        assert hello is not None
        mirrored = isinstance(link, HttpLink) and hello.era == MODERN

        async def query(method: str, params: bytes) -> rpc.Message:
            params = rpc.meta(params, self._modern)[0] if hello.era == MODERN else params
            return _checked(await link.ask(Ask(next(self._ids), method, params, self.spec.timeout, until)))

        try:
            catalogue, self._tables = await fetch(self.name, hello, query, mirrored=mirrored)
        except SessionLost:
            self._detach(link)
            raise
        if isinstance(link, HttpLink):
            link.tables = self._tables
        self._used = time.monotonic()
        return catalogue

    def status(self) -> dict[str, Any]:
        """What an operator sees. `since` is the time of the last change of `state`; `stderr` the last bytes of a stdio server's."""
        stdio = self._link if isinstance(self._link, StdioLink) else None
        return {
            "name": self.name,
            "transport": "stdio" if self.spec.stdio is not None else "http",
            "state": self.state,
            "era": self.era,
            "pid": stdio.pid if stdio is not None else None,
            "since": self._since,
            "starts": self._starts,
            "running": self._running,
            "error": self._error,
            "breaker": self._breakers.state(time.monotonic()),
            "stderr": self._discreet((stdio.stderr if stdio is not None else self._stderr).decode("utf-8", "replace"))[-SHOWN:],
        }

    def _said(self, problem: Unavailable) -> str:
        """What went wrong, for operators. The detail may quote the server, which may quote its secrets."""
        problem.detail = self._discreet(problem.detail)
        return problem.detail or problem.message

    # One call

    async def _send(self, link: Link, call: Call, emit: Emit, until: float) -> Reply:
        ask = self._ask(call, emit, until, modern=link.modern)
        try:
            message = await link.ask(ask)
        except SessionLost as lost:
            self._detach(link)
            if not lost.untouched:
                raise
            link = await self._up(until)
            ask = self._ask(call, emit, until, modern=link.modern)
            message = await link.ask(ask)
        usage = Usage(len(ask.params), len(message.result) or len(message.error))
        if message.error:
            return Reply(error=_checked(message).error, usage=usage)
        result = _checked(message).result
        return Reply(result, is_error=call.method == "tools/call" and rpc.says_error(result), usage=usage)

    def _ask(self, call: Call, emit: Emit, until: float, *, modern: bool) -> Ask:
        """The request as this server gets it: an id of ours, which is the progress token too, and the `_meta` of its era."""
        ident = next(self._ids)
        try:
            params, token = self._outgoing[modern].params(call.payload, call.trace, b"%d" % ident)
        except rpc.Garbage:
            raise InvalidParams("the parameters are not an object") from None

        async def note(method: str, params: bytes) -> None:
            await emit(Chunk(method, params))

        return Ask(ident, call.method, params, self.spec.timeout, until, token, note, call.trace)

    # Starting and stopping

    async def _up(self, until: float) -> Link:
        """The link, ready. All who need it wait for one start; that one of them leaves does not stop it."""
        while (link := self._link) is None:
            if self._starting is None:
                pause = self._not_before - time.monotonic()
                if pause > WAITED:
                    raise UpstreamDown("the server stopped and is started again later", retry_after=pause)
                self._starting = asyncio.create_task(self._start(max(0.0, pause)), name=f"start {self.name}")
                self._starting.add_done_callback(_heard)
            starting = self._starting
            await asyncio.wait([starting], timeout=max(0.0, until - time.monotonic()))
            if not starting.done():
                raise UpstreamTimeout("the server did not start in time")
            if starting.cancelled():
                raise UpstreamDown("the hub stopped the server")
            if (problem := starting.exception()) is not None:
                raise problem
        return link

    async def _start(self, pause: float) -> None:
        if pause:
            await asyncio.sleep(pause)
        self._become("starting")
        self._starts += 1
        link = self._make()
        try:
            async with asyncio.timeout(self.spec.start_timeout):
                await link.open()
                hello = await shake(link, self.spec.protocol, self._ids.__next__, self.spec.start_timeout, self._hint)
        except BaseException as problem:
            await self._not_started(link, problem)
            if isinstance(problem, TimeoutError):
                raise UpstreamTimeout("the server did not start in time") from None
            raise
        finally:
            self._starting = None
        self._started(link, hello)

    def _make(self) -> Link:
        if self.spec.stdio is not None:
            link = StdioLink(self.spec, self._guard, self._noticed, lambda why: self._ended(link, why))
            return link
        assert self._egress is not None
        http = HttpLink(self.spec, self._egress, self._noticed)
        http.tables = self._tables
        return http

    async def _not_started(self, link: Link, problem: BaseException) -> None:
        self._become("failed" if isinstance(problem, (Unavailable, TimeoutError)) else "stopped")
        if isinstance(problem, Unavailable):
            self._error = self._said(problem)
        if isinstance(link, StdioLink):
            self._error = link.down or self._error
            self._stderr = link.stderr
            self._pause()
            await link.close(patience=0)
            # A server that died at the probe may have died of it: the next start does without. Else the next start asks again.
            self._hint = NEWEST_OLDER if isinstance(problem, UpstreamDown) and not self._hint else ""
        else:
            self._hint = ""
            await link.close()

    def _started(self, link: Link, hello: Hello) -> None:
        again = self._hello is not None
        self._link, self._hello, self._hint, self.era, self._error = link, hello, hello.era, hello.era, ""
        self._become("ready")
        self._used = time.monotonic()
        kinds = watched(hello)
        if isinstance(link, HttpLink):
            if kinds:
                following = follow(link, kinds, self._ids.__next__, self._changed, partial(self._detach, link))
                self._listener = asyncio.create_task(following, name=f"listen {self.name}")
        elif isinstance(link, StdioLink):
            if kinds and link.modern:
                link.subscribe(next(self._ids), listen_params(kinds))
            if self.spec.idle_stop:
                self._idle = asyncio.get_running_loop().call_later(self.spec.idle_stop, self._stop_idle)
        if again:
            self._changed(KINDS)

    def _stop_idle(self) -> None:
        left = self._used + self.spec.idle_stop - time.monotonic()
        if self._running or left > 0:
            self._idle = asyncio.get_running_loop().call_later(max(left, 0.05), self._stop_idle)
            return
        link = self._take("stopped")
        if link is not None:
            self._later(link.close())

    def _ended(self, link: StdioLink, why: str) -> None:
        """A stdio server ended, or was given up, without our asking."""
        if self._link is link:
            self._take("failed")
            self._error, self._stderr = why, link.stderr
            self._pause()
            self._later(link.close(patience=0))

    def _pause(self) -> None:
        self._not_before = time.monotonic() + min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures, 10))
        self._failures += 1

    def _detach(self, link: Link) -> None:
        """The session is gone: the next use opens another, on a link of its own. Calls under way on this one are left to end."""
        if self._link is link:
            self._take("stopped")

    def _take(self, state: State) -> Link | None:
        """Let go of the link and what follows it."""
        link, self._link = self._link, None
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._listener is not None and self._listener is not asyncio.current_task():
            self._listener.cancel()
        self._listener = None
        self._become(state)
        return link

    def _become(self, state: State) -> None:
        if state != self.state:
            self.state = state
            self._since = timestamp()

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # What it says unasked

    def _noticed(self, method: str, params: bytes) -> None:
        if method.startswith("notifications/") and method.endswith("/list_changed"):
            self._changed((method.split("/")[1],))
        elif self.on_notice is not None:
            self.on_notice(method, params)

    def _changed(self, kinds: tuple[str, ...]) -> None:
        if self.on_changed is not None:
            for kind in kinds:
                if kind in KINDS:
                    self.on_changed(kind)


def _checked(message: rpc.Message) -> rpc.Message:
    """The response, if its result is an object or its error is an error object. Raises `UpstreamFault`."""
    if message.error:
        if rpc.error_object(message.error) is None:
            raise UpstreamFault("the server's error is not a JSON-RPC error")
    elif message.result[:1] != b"{":
        raise UpstreamFault("the server's result is not an object")
    return message


def _heard(task: "asyncio.Task[None]") -> None:
    """A start may fail with nobody waiting any more."""
    if not task.cancelled():
        task.exception()
