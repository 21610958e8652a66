"""`python -m hub.processes.host NUMBER CHANNEL`: the stdio host, which owns the stdio servers of a hub of several workers. A parent starts
it and nobody else.

CHANNEL is the descriptor of a socket to the parent, from which everything else comes. It ends with 0 where it was told to stop or its
parent and all workers are gone, and with 1 where it cannot start. SIGTERM: when the workers are gone, or `server.drain` seconds later;
the second time at once.
"""

import asyncio
import logging
import socket
import sys
from collections.abc import Coroutine
from typing import Any

from hub.call import new_id
from hub.config.load import Loaded
from hub.processes import orphan, program
from hub.processes.channel import Channel, Closed
from hub.processes.either import either
from hub.processes.families import gauge
from hub.processes.handover import Plug
from hub.processes.messages import Count, Counted, Drain, Family, Hold, Holding, Take, ToHost
from hub.processes.parcel import unpack
from hub.telemetry.logs import fields
from virtual_servers.guard import Guard
from virtual_servers.hosting import Hosting

log = logging.getLogger("hub")


def main() -> int:
    return program.run("the stdio host", {"process": "stdio-host"}, Hold, ToHost, _live)


async def _live(hold: Hold, loaded: Loaded, channel: Channel[ToHost], descriptor: int) -> int:
    return await Host(hold, loaded, channel, descriptor).run()


class Host:
    """`run` it once."""

    def __init__(self, hold: Hold, loaded: Loaded, channel: Channel[ToHost], descriptor: int) -> None:
        self._loaded = loaded
        self._channel = channel
        self._descriptor = descriptor
        self._leaving = asyncio.Event()
        self._guard = Guard(f"host-{new_id()}")
        self._hosting = Hosting(self._guard)
        self._plug = Plug(hold.plug, self._line)
        self._tasks: set[asyncio.Task[None]] = set()
        self._signalled = False

    async def run(self) -> int:
        """Until the parent says so, or it and all workers are gone; the exit code."""
        try:
            self._guard.start()
        except OSError as error:
            log.error("the stdio host cannot start", extra=fields(reason=str(error)))
            return 1
        assert self._guard.pid is not None
        orphan.guard(self._descriptor, lambda: self._loaded.config.server.drain + orphan.REST)
        program.handle_signals(self._asked_to_stop)
        self._hosting.take(self._loaded.config.upstreams)
        self._plug.open()
        self._channel.send(Holding(self._guard.pid))
        listening = asyncio.create_task(self._listen(), name="parent")
        await self._leaving.wait()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        self._plug.close()
        await self._hosting.close()
        await asyncio.to_thread(self._guard.close)
        return 0

    def _asked_to_stop(self) -> None:
        """Whoever stops a whole service may signal all its processes at once: what runs at the workers needs its servers until they end."""
        if self._signalled:
            self._leaving.set()
        self._signalled = True
        self._soon(self._leave(self._loaded.config.server.drain))

    async def _leave(self, patience: float) -> None:
        await either(self._hosting.empty, timeout=patience)
        self._leaving.set()

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _line(self, end: socket.socket, number: int) -> None:
        self._soon(self._hosting.connect(end))

    async def _listen(self) -> None:
        """Do what the parent says. When it is gone, wait for the workers, which finish what runs."""
        try:
            while True:
                self._told(await self._channel.receive())
        except Closed:
            log.error("the parent is gone: the stdio servers are stopped when the workers have ended")
            await self._leave(self._loaded.config.server.drain + orphan.REST / 2)

    def _told(self, message: ToHost) -> None:
        match message:
            case Take():
                self._loaded = unpack(message.config)
                self._hosting.take(self._loaded.config.upstreams)
            case Count():
                self._channel.send(Counted(message.ask, self._counts()))
            case Drain():
                self._leaving.set()
            case Hold():
                log.error("the parent said what this process does not understand", extra=fields(message=type(message).__name__))

    def _counts(self) -> tuple[Family, ...]:
        return gauges([(server.name, server.status()) for server in self._hosting.configured()])


def gauges(statuses: list[tuple[str, dict[str, Any]]]) -> tuple[Family, ...]:
    """What is measured of the servers, by their names: as a hub of one process shows it, and their processes."""
    servers = [({"upstream": name}, status) for name, status in statuses]
    up = [(name, status["state"] == "ready") for name, status in servers]
    refusing = [(name, status["breaker"] != "closed") for name, status in servers]
    running = [(name, status["pid"]) for name, status in servers if status["pid"] is not None]
    return (
        gauge("hub_upstream_up", "1 when the upstream answered its handshake and has not failed since", up),
        gauge("hub_upstream_breaker_open", "1 while calls are refused without trying", refusing),
        gauge("hub_stdio_server_pid", "Process of a stdio server that runs", running),
    )


if __name__ == "__main__":
    sys.exit(main())
