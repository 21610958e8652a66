"""`python -m hub.processes.host NUMBER CHANNEL`: the stdio host, which owns the stdio servers of a hub of several workers. A parent starts
it and nobody else.

CHANNEL is the descriptor of a socket to the parent, from which everything else comes. It ends with 0 where it was told to stop or its
parent and all workers are gone, and with 1 where it cannot start. SIGTERM: when the workers are gone, or `server.drain` seconds later;
the second time at once.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from typing import Any

import uvloop

from hub import __version__
from hub.call import new_id
from hub.os_signals import on_signal
from hub.processes import orphan
from hub.processes.channel import Channel, Closed
from hub.processes.either import either
from hub.processes.handover import Plug
from hub.processes.messages import Count, Counted, Drain, Family, Hold, Holding, Sample, Take, ToHost
from hub.processes.parcel import unpack
from hub.telemetry.logs import fields, set_up
from virtual_servers.guard import Guard
from virtual_servers.hosting import Hosting

log = logging.getLogger("hub")

REST = 20.0
"""Seconds that a host without a parent has beside its workers' drain; then it is ended, whatever it does."""


def main() -> int:
    channel = int(sys.argv[2])
    os.set_inheritable(channel, False)
    return uvloop.run(_run(socket.socket(fileno=channel)))


async def _run(end: socket.socket) -> int:
    descriptor = end.fileno()
    channel = await Channel[ToHost].open(end, ToHost)
    try:
        hold = await channel.receive()
    except Closed:
        return 1
    assert isinstance(hold, Hold)
    if hold.version != __version__:
        print(f"hub: the stdio host is of version {__version__}, its parent of {hold.version}: restart the hub", file=sys.stderr)  # noqa: T201
        return 1
    telemetry = unpack(hold.config).config.telemetry
    set_up(telemetry.log_level, telemetry.log_format)
    logging.getLogger().handlers[0].addFilter(_named)
    code = await Host(hold, channel, descriptor).run()
    await channel.close()
    return code


class Host:
    """`run` it once."""

    def __init__(self, hold: Hold, channel: Channel[ToHost], descriptor: int) -> None:
        self._loaded = unpack(hold.config)
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
        orphan.guard(self._descriptor, lambda: self._loaded.config.server.drain + REST)
        self._handle_signals()
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

    def _handle_signals(self) -> None:
        for wanted in (signal.SIGTERM, signal.SIGINT):
            on_signal(wanted, self._asked_to_stop)
        for other in (signal.SIGHUP, signal.SIGUSR2):
            on_signal(other, lambda: log.warning("this signal is for the parent: nothing is done"))

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
            await self._leave(self._loaded.config.server.drain + REST / 2)

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
    return (
        _gauge(
            "hub_upstream_up",
            "1 when the upstream answered its handshake and has not failed since",
            [(name, float(status["state"] == "ready")) for name, status in statuses],
        ),
        _gauge(
            "hub_upstream_breaker_open",
            "1 while calls are refused without trying",
            [(name, float(status["breaker"] != "closed")) for name, status in statuses],
        ),
        _gauge(
            "hub_stdio_server_pid",
            "Process of a stdio server that runs",
            [(name, float(status["pid"])) for name, status in statuses if status["pid"] is not None],
        ),
    )


def _gauge(name: str, about: str, values: list[tuple[str, float]]) -> Family:
    return Family(name, "gauge", about, tuple(Sample(name, (("upstream", upstream),), value) for upstream, value in values))


def _named(record: logging.LogRecord) -> bool:
    """Adds what process it is to what is logged."""
    record.fields = {"process": "stdio-host", **getattr(record, "fields", {})}
    return True


if __name__ == "__main__":
    sys.exit(main())
