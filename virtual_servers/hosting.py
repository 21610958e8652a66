"""The stdio host's side: every stdio server once, and the workers that use it (docs/design/stdio-host.md).

A server is an `McpUpstream` as in a hub of one process: it has the session, mints the ids, keeps breaker, pause and idle stop. One that
changes is another one: the old runs as long as a worker uses it, the new from when it is configured and used.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import msgspec

from hub.call import Call, Chunk, Credential
from hub.config.mcp import UpstreamSpec
from hub.refusal import Internal, Refusal, UpstreamDown
from virtual_servers.catalog import Catalogue
from virtual_servers.guard import Guard
from virtual_servers.hosted import digest
from virtual_servers.hosted_line import Line
from virtual_servers.hosted_messages import (
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
from virtual_servers.upstream import McpUpstream

log = logging.getLogger("hub.upstreams")

UNKNOWN = 2.0
"""Seconds a server may be used that is not configured here yet: the worker may have heard of it first."""

_NOBODY = Credential()

Key = tuple[str, bytes]
"""Name and digest of an upstream."""


class Server:
    """One stdio server and who uses it. `users` are handles of customers."""

    def __init__(self, name: str, spec: UpstreamSpec, guard: Guard) -> None:
        self.upstream = McpUpstream(name, spec, guard=guard, on_changed=self._changed)
        self.users: set[tuple[Customer, int]] = set()
        self._changes = 0
        self._fetching: tuple[int, asyncio.Task[Catalogue]] | None = None

    async def catalogue(self) -> Catalogue:
        """What it offers, fetched once for all that ask while it is being fetched and nothing has changed since that began."""
        if self._fetching is None or self._fetching[0] != self._changes or self._fetching[1].done():
            self._fetching = self._changes, asyncio.create_task(self.upstream.catalogue())
            self._fetching[1].add_done_callback(_heard)
        return await asyncio.shield(self._fetching[1])

    async def stop(self) -> None:
        await self.upstream.stop()

    def _changed(self, kind: str) -> None:
        self._changes += 1
        for customer, handle in list(self.users):  # telling one may be the end of its line
            customer.tell(Changed(handle, kind))


class Hosting:
    """All of them. `take` a configuration before anything else, and each one that follows."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._servers: dict[Key, Server] = {}
        self._configured: dict[str, Key] = {}
        self._customers: set[Customer] = set()
        self._stops: set[asyncio.Task[None]] = set()
        self.empty = asyncio.Event()
        """Set while no worker has a line."""
        self.empty.set()

    def take(self, specs: Mapping[str, UpstreamSpec]) -> None:
        """These are configured from now on. What is configured no more runs as long as it is used."""
        configured: dict[str, Key] = {}
        for name, spec in specs.items():
            key = configured[name] = (name, digest(spec))
            if key not in self._servers:
                self._servers[key] = Server(name, spec, self._guard)
        self._configured = configured
        for customer in self._customers:
            customer.found()
        for key in list(self._servers):
            self.tidy(key)

    async def connect(self, end: socket.socket) -> None:
        """Serve the worker at the other end of this line."""
        customer = Customer(self)
        self._customers.add(customer)
        self.empty.clear()
        await customer.open(end)

    def configured(self) -> list[McpUpstream]:
        """Those that are configured now, for whoever counts them."""
        return [self._servers[key].upstream for key in self._configured.values()]

    async def close(self) -> None:
        """Stop everything."""
        for customer in list(self._customers):
            customer.close()
        await asyncio.gather(*(server.stop() for server in self._servers.values()), *self._stops, return_exceptions=True)

    # What customers use

    def server(self, key: Key) -> Server | None:
        return self._servers.get(key)

    def tidy(self, key: Key) -> None:
        """Stop it where it is neither configured nor used."""
        server = self._servers.get(key)
        if server is not None and not server.users and self._configured.get(key[0]) != key:
            del self._servers[key]
            stop = asyncio.create_task(server.stop(), name=f"stop {key[0]}")
            self._stops.add(stop)
            stop.add_done_callback(self._stops.discard)

    def left(self, customer: "Customer") -> None:
        """Its line has ended."""
        self._customers.discard(customer)
        if not self._customers:
            self.empty.set()


class Customer:
    """One worker, by its line."""

    def __init__(self, hosting: Hosting) -> None:
        self._hosting = hosting
        self._line = Line[ToHost](ToHost, self._told, self._lost)
        self._used: dict[int, tuple[Key, asyncio.Future[Server]]] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def open(self, end: socket.socket) -> None:
        end.setblocking(False)
        await asyncio.get_running_loop().create_connection(lambda: self._line, sock=end)
        self.tell(Hello(os.getpid()))

    def tell(self, message: ToWorker) -> None:
        self._line.send(message)

    def close(self) -> None:
        self._line.close()

    def found(self) -> None:
        """There are other servers than before: some of them may be those it wants to use."""
        for handle, (key, server) in self._used.items():
            if not server.done() and (found := self._hosting.server(key)) is not None:
                found.users.add((self, handle))
                server.set_result(found)

    # What the worker says

    def _told(self, message: ToHost) -> None:
        match message:
            case Ask():
                self._begin(message.ident, partial(self._send, message))
            case Cancel():
                if (task := self._tasks.get(message.ident)) is not None:
                    task.cancel()
            case Use():
                self._used[message.handle] = ((message.name, message.digest), asyncio.get_running_loop().create_future())
                self.found()
            case Leave():
                self._leave(message.handle)
            case Fetch():
                self._begin(message.ident, partial(self._fetch, message))
            case Look():
                self._begin(message.ident, partial(self._look, message))

    def _lost(self) -> None:
        """The worker is gone: so is everybody who waited for an answer."""
        for task in self._tasks.values():
            task.cancel()
        for handle in list(self._used):
            self._leave(handle)
        self._hosting.left(self)

    def _leave(self, handle: int) -> None:
        key, server = self._used.pop(handle)
        if server.done():
            server.result().users.discard((self, handle))
            self._hosting.tidy(key)
        else:
            server.cancel()

    # Answers

    def _begin(self, ident: int, work: Callable[[], Awaitable[ToWorker]]) -> None:
        task = self._tasks[ident] = asyncio.get_running_loop().create_task(self._answer(ident, work))
        task.add_done_callback(lambda _: self._tasks.pop(ident, None))

    async def _answer(self, ident: int, work: Callable[[], Awaitable[ToWorker]]) -> None:
        try:
            answer = await work()
        except Refusal as refusal:
            answer = Failed(ident, refusal.code, refusal.message, refusal.retry_after, refusal.detail)
        except asyncio.CancelledError:
            if _cancelled():
                raise
            answer = Failed(ident, UpstreamDown.code, "the hub stopped the server", None, "")
        except Exception:
            log.exception("a call to a stdio server failed by a fault of the hub's")
            answer = Failed(ident, Internal.code, "a fault of the hub", None, "")
        self.tell(answer)

    async def _send(self, ask: Ask) -> ToWorker:
        upstream = (await self._server(ask.handle)).upstream
        call = Call("", "", ask.method, "", ask.params, _NOBODY, ask.deadline, org=ask.org, trace=ask.trace)

        async def emit(chunk: Chunk) -> None:
            await self._line.room()
            self.tell(Said(ask.ident, chunk.method, chunk.params))

        reply = await upstream.send(call, emit)
        usage = reply.usage
        return Answered(ask.ident, upstream.era, reply.result, reply.error, reply.is_error, usage.bytes_in, usage.bytes_out)

    async def _fetch(self, fetch: Fetch) -> ToWorker:
        return Fetched(fetch.ident, await (await self._server(fetch.handle)).catalogue())

    async def _look(self, look: Look) -> ToWorker:
        return Shown(look.ident, msgspec.json.encode((await self._server(look.handle, 0.0)).upstream.status()))

    async def _server(self, handle: int, patience: float = UNKNOWN) -> Server:
        """The server under this handle, waited for a little while. Raises `UpstreamDown` where it is not configured."""
        used = self._used.get(handle)
        if used is not None and not used[1].done():
            await asyncio.wait([used[1]], timeout=patience)
        if used is None or not used[1].done() or used[1].cancelled():
            raise UpstreamDown("the server behind this call is no longer configured")
        return used[1].result()


def _cancelled() -> bool:
    """Whether somebody wants this task to end, and not only something that it waited for was cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _heard(task: "asyncio.Task[Catalogue]") -> None:
    """A fetch may fail with nobody waiting any more."""
    if not task.cancelled():
        task.exception()
