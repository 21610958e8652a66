"""The stdio host as the parent keeps it: started where there are stdio servers, started again when it ends, joined with every worker.

The next one starts once the guard of the one before has ended, and with it every server that one had: there are never two of a server.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Collection

from hub import __version__
from hub.processes.agreement import Generation
from hub.processes.census import Census
from hub.processes.child import Child
from hub.processes.either import either
from hub.processes.messages import Count, Counted, Drain, Hold, Holding, Take, ToParent
from hub.processes.parcel import pack_stdio
from hub.processes.pauses import Pauses
from hub.telemetry.logs import fields

log = logging.getLogger("hub")

LOOK = 5.0
"""Seconds between two looks whether it is alive, and that it has to answer each of `LOOKS`."""

LOOKS = 3
"""Looks in a row without an answer after which it is taken for dead and killed: what a stopped parent missed counts for one at most."""

STARTING = 12
"""The same for one that is not up yet: a machine may be busy."""

AGAIN = 1.0
"""Seconds until a line that could not be made is tried again."""

GUARDED = 10.0
"""Seconds its guard has to end its servers once it has ended."""

REST = 10.0
"""Seconds it has to stop in order; then it is killed, and its guard ends its servers."""


class Keeper:
    """`children` are all workers there are. `begin`, then `take` each configuration agreed on, at last `stop`."""

    def __init__(self, census: Census, children: Callable[[], Collection[Child]]) -> None:
        self._census = census
        self._children = children
        self._generation: Generation
        self._host: Child | None = None
        self._number = 0
        """How many there have been; lines to one bear its number."""
        self._guard = -1
        self._pauses = Pauses()
        self._heard = asyncio.Event()
        self._started = asyncio.Event()
        self._stop = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    async def begin(self, generation: Generation) -> None:
        """With the first configuration. Where a host is wanted it has been started, or could not be, when this returns."""
        self.take(generation)
        if self._keeping is not None:
            await self._started.wait()

    def take(self, generation: Generation) -> None:
        """This is in force from now on."""
        self._generation = generation
        if self._host is not None:
            self._host.tell(Take(pack_stdio(generation.loaded)))
        elif self._keeping is None and any(spec.stdio is not None for spec in generation.loaded.config.upstreams.values()):
            self._census.host_wanted = True
            self._keeping = asyncio.create_task(self._keep(), name="stdio-host")

    def join(self, worker: Child) -> None:
        """Give the worker a line to the host. Where there is none it gets one when there is."""
        host = self._host
        if host is None or worker.ended.is_set():
            return
        try:
            one, other = socket.socketpair()
        except OSError as error:
            log.error("a worker has no line to the stdio host yet", extra=fields(worker=worker.number, reason=str(error)))
            asyncio.get_running_loop().call_later(AGAIN, self.join, worker)
            return
        with one, other:
            if host.lines.hand(one, self._number) and worker.lines.hand(other, self._number):
                worker.line = self._number

    def unplugged(self, worker: Child, line: int) -> None:
        """Its line of this number has ended. It needs another where that was the last one it was given; to a host that ended with the
        line none can be handed, and the next one joins it."""
        if line == worker.line:
            self.join(worker)

    async def stop(self) -> None:
        """No worker is left: have it stop its servers and end."""
        self._stop.set()
        if self._keeping is not None:
            await self._keeping

    async def _keep(self) -> None:
        while not self._stop.is_set():
            host = await self._start()
            self._started.set()
            if host is not None:
                await self._attend(host)
                await self._servers_ended()
            if not self._stop.is_set():
                await either(self._stop, timeout=self._pause(host))

    async def _start(self) -> Child | None:
        generation = self._generation
        hold = Hold(__version__, generation.number, pack_stdio(generation.loaded))
        host = Child(0, hold, generation.loaded.hash, self._told)
        try:
            await host.start()
        except OSError as error:
            log.error("the stdio host could not be started", extra=fields(reason=str(error)))
            return None
        if self._generation is not generation:
            host.tell(Take(pack_stdio(self._generation.loaded)))
        self._number += 1
        self._host = self._census.host = host
        for worker in self._children():
            self.join(worker)
        return host

    async def _attend(self, host: Child) -> None:
        """Follow it to its end; kill it where it does not answer, or does not stop."""
        living = asyncio.create_task(self._live(host))
        silent = 0
        while not host.ended.is_set() and not self._stop.is_set():
            self._heard.clear()
            host.tell(Count(0))
            await either(host.ended, self._stop, timeout=LOOK)
            silent = 0 if self._heard.is_set() else silent + 1
            if silent >= (LOOKS if host.serving.is_set() else STARTING):
                log.error("the stdio host does not answer its parent: it is killed", extra=fields(pid=host.pid, seconds=LOOK * silent))
                host.kill()
        host.tell(Drain())
        await either(host.ended, timeout=REST)
        if not host.ended.is_set():
            log.error("the stdio host did not end in time: it is killed", extra=fields(pid=host.pid))
            host.kill()
        await living

    async def _live(self, host: Child) -> None:
        await host.live()
        self._host = self._census.host = None
        self._census.left(host)
        host.ended.set()

    def _told(self, host: Child, message: ToParent) -> None:
        self._heard.set()
        match message:
            case Counted():
                self._census.told(host, message)
            case Holding():
                host.serving.set()
                self._guard = _watched(message.guard)
                log.info("the stdio host is up", extra=fields(pid=host.pid))
            case _:
                raise ValueError("the stdio host says that it is a worker")

    async def _servers_ended(self) -> None:
        """Wait for the guard of a host that has ended, which ends when nothing is left of its servers."""
        guard, self._guard = self._guard, -1
        if guard < 0:
            return
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.add_reader(guard, ended.set)
        try:
            await either(ended, timeout=GUARDED)
        finally:
            loop.remove_reader(guard)
            os.close(guard)

    def _pause(self, host: Child | None) -> float:
        """Seconds until the next."""
        again = self._pauses.after(host)
        if host is not None:
            self._census.host_ends += 1
            log.error("the stdio host ended; another takes its place", extra=fields(pid=host.pid, how=host.how_it_ended(), again_in=again))
        return again


def _watched(pid: int) -> int:
    """A descriptor that tells when the process ends; -1 where the system has none, or it has ended."""
    with contextlib.suppress(AttributeError, OSError):
        return os.pidfd_open(pid)
    return -1
