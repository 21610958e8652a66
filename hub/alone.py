"""The hub in one process: what `hub serve` runs where one worker is enough."""

import logging
import os
import signal
import socket

import uvloop

from hub import __version__
from hub.app import Hub
from hub.config.load import Loaded
from hub.early import answered
from hub.hangup import on_hangup
from hub.listen import bind, url_of
from hub.os_signals import on_signal, past_signals
from hub.server import Server, configure
from hub.start import brought_up, made, settled_down, welcome
from hub.telemetry.logs import fields
from hub.watch import Watch

log = logging.getLogger("hub")


def run(loaded: Loaded, host: str, port: int) -> int:
    """Serve until SIGTERM or Ctrl-C; the exit code."""
    return uvloop.run(_run(loaded, host, port))


async def _run(loaded: Loaded, host: str, port: int) -> int:
    try:
        listener = bind(host, port)
    except OSError as error:
        log.error("the hub cannot start", extra=fields(reason=str(error), address=f"{host}:{port}"))
        return 1
    url = url_of(host, listener)
    hub = made(loaded)
    if hub is None or not await _up(hub, url, listener):
        listener.close()
        return 1
    watch, server = Watch(loaded, hub.reload), _server(hub)
    watch.start()
    settled_down()
    try:
        listener.listen(server.config.backlog)  # uvloop says nothing where this fails
        log.info("serving", extra=fields(url=url, version=__version__, config=loaded.hash, pid=os.getpid()))
        on_hangup(watch.now, server.stop)
        on_signal(signal.SIGUSR2, lambda: log.warning("there is one worker: it cannot be renewed"))
        await server.serve(sockets=[listener])
    except OSError as error:  # another program took the address between its binding and the first to listen there
        log.error("the hub cannot start", extra=fields(reason=str(error), address=f"{host}:{port}"))
        listener.close()
        return 1
    finally:
        await watch.stop()
        await hub.stop()
    past_signals()
    log.info("stopped")
    return 0


async def _up(hub: Hub, url: str, listener: socket.socket) -> bool:
    async with answered(listener):
        return await brought_up(hub, welcome(hub, url))


def _server(hub: Hub) -> Server:
    settings = hub.loaded.config.server
    config = configure(hub.app, header_timeout=settings.header_timeout, trusted_proxies=settings.trusted_proxies)
    return Server(config, hub.drain, hub.clients.cut_all, hub.leave)
