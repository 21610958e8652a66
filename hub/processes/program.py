"""How each child of a parent begins, a worker or the stdio host: `python -m MODULE NUMBER CHANNEL`.

CHANNEL is the descriptor of a socket to the parent, from which everything else comes.
"""

import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import uvloop

from hub import __version__
from hub.config.load import Loaded
from hub.os_signals import on_signal
from hub.processes.channel import Channel, Closed
from hub.processes.messages import Begin, Hold
from hub.processes.parcel import unpack
from hub.telemetry.logs import set_up

log = logging.getLogger("hub")

First = TypeVar("First", Begin, Hold)
Live = Callable[[First, Loaded, Channel[Any], int], Awaitable[int]]


def run(name: str, said: dict[str, Any], first: type[First], kinds: object, live: Live[First]) -> int:
    """Have `live` do everything else, with the `first` of the messages `kinds`, the channel, and the descriptor of that; the exit code.

    `name` is for people; `said` is added to what is logged.
    """
    descriptor = int(sys.argv[2])
    os.set_inheritable(descriptor, False)

    async def begin() -> int:
        channel = await Channel[Any].open(socket.socket(fileno=descriptor), kinds)
        try:
            message = await channel.receive()
        except Closed:
            return 1
        assert isinstance(message, first)
        if message.version != __version__:
            print(f"hub: {name} is of version {__version__}, its parent of {message.version}: restart the hub", file=sys.stderr)  # noqa: T201
            return 1
        loaded = unpack(message.config)
        telemetry = loaded.config.telemetry
        set_up(telemetry.log_level, telemetry.log_format)
        logging.getLogger().handlers[0].addFilter(_Named(said))
        code = await live(message, loaded, channel, descriptor)
        await channel.close()
        return code

    return uvloop.run(begin())


def handle_signals(asked_to_stop: Callable[[], None]) -> None:
    """SIGTERM and SIGINT may come to a child itself."""
    for wanted in (signal.SIGTERM, signal.SIGINT):
        on_signal(wanted, asked_to_stop)
    for other in (signal.SIGHUP, signal.SIGUSR2):
        on_signal(other, lambda: log.warning("this signal is for the parent: nothing is done"))


class _Named(logging.Filter):
    """Adds which process it is to what is logged."""

    def __init__(self, said: dict[str, Any]) -> None:
        super().__init__()
        self._said = said

    def filter(self, record: logging.LogRecord) -> bool:
        record.fields = {**self._said, **getattr(record, "fields", {})}
        return True
