"""Taking connections from a socket that several workers listen on, each its share: whoever has more than another lets that one go first.

Left to themselves the workers would share badly: the one that wakes first takes all that wait (docs/design/workers.md has the figures).
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import Any

from hub.http_server import Connection
from hub.processes.board import Board

log = logging.getLogger("hub.http")

BACKLOG = 2048
BATCH = 8
"""Connections taken in one turn of the loop at most."""

AHEAD = 4
"""Connections one may have more than another worker; with more it lets that one go first."""

STAND_BACK = 0.005
"""Seconds that the others have to be first. Where they do not come, because they are busy or stand still, a batch is taken after each."""

EXHAUSTED = 1.0
"""Seconds until the next attempt where the system had no descriptor or no memory left."""

_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """Takes connections from `open` until `close`, as an asyncio server would. `make` builds the protocol of one; see `counted`."""

    def __init__(self, listener: socket.socket, board: Board, slot: int) -> None:
        self.count = 0
        self._listener = listener
        self._board = board
        self._slot = slot
        self._loop = asyncio.get_running_loop()
        self._make: Callable[[], asyncio.Protocol]
        self._tasks: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._waited = False
        self._open = False
        self._empty = asyncio.Event()

    def open(self, make: Callable[[], asyncio.Protocol]) -> None:
        self._make = make
        self._open = True
        self._board.write(self._slot, self.count)
        self._listener.listen(BACKLOG)
        self._loop.add_reader(self._listener.fileno(), self._ready)

    def close(self) -> None:
        """Take no more. What waits in the socket's queue is left to the others. Done twice it does nothing."""
        if self._timer is not None:
            self._timer.cancel()
        if self._open:
            self._open = False
            self._loop.remove_reader(self._listener.fileno())
            self._board.leave(self._slot)
        self._listener.close()

    async def wait_closed(self) -> None:
        """As of an asyncio server."""

    async def emptied(self) -> None:
        """Wait until no connection is left, once closed."""
        if self.count:
            await self._empty.wait()

    def lost(self) -> None:
        """One of the connections has ended."""
        self.count -= 1
        if self._open:
            self._board.write(self._slot, self.count)
        elif not self.count:
            self._empty.set()

    def _ready(self) -> None:
        for _ in range(BATCH):
            if self._ahead() and not self._waited:
                self._waited = True
                self._pause(STAND_BACK)
                return
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                break
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                log.error("a connection could not be taken: %s", error.strerror)
                self._pause(EXHAUSTED)
                return
            self._take(connection)
        self._waited = False

    def _ahead(self) -> bool:
        least = self._board.least(self._slot)
        return least is not None and self.count > least + AHEAD

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener.fileno())
        self._timer = self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._timer = None
        self._loop.add_reader(self._listener.fileno(), self._ready)

    def _take(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.count += 1
        self._board.write(self._slot, self.count)
        task = self._loop.create_task(self._connect(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make, connection)
        except OSError:  # it has left already
            connection.close()
            self.lost()


def counted(base: type[Connection], lost: Callable[[], None]) -> type[Connection]:
    """The class with `lost` called at the end of each connection."""

    class Counted(base):
        __slots__ = ()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            lost()

    return Counted
