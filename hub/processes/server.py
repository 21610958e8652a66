"""The HTTP server of one worker: the hub's own, on a socket that it shares with the other workers."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Generator
from typing import Any, cast

import uvicorn

from hub.http_server import Connection
from hub.processes.accept import Acceptor, counted
from hub.processes.board import Board
from hub.server import Server


class Shared(Server):
    """Takes connections while it serves, until `stop` or `retire`; `opened` is called when it begins. Signals are the worker's concern."""

    def __init__(
        self,
        config: uvicorn.Config,
        drain: Callable[[], Awaitable[None]],
        hurry: Callable[[], None],
        listener: socket.socket,
        board: Board,
        slot: int,
        opened: Callable[[], None],
    ) -> None:
        super().__init__(config, drain, hurry)
        self._opened = opened
        self._acceptor = Acceptor(listener, board, slot)
        self._retiring: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])
        config = self.config
        protocol = counted(cast("type[Connection]", config.http_protocol_class), self._acceptor.lost)

        def make() -> asyncio.Protocol:
            return protocol(config, self.server_state, self.lifespan.state)

        self.servers = [cast("Any", self._acceptor)]
        if not self.should_exit:
            self._acceptor.open(make)
            self._opened()

    def stop(self) -> None:
        """Take no more connections, then drain. Asked again it does nothing more."""
        self._acceptor.close()
        self.should_exit = True

    def hurry(self) -> None:
        """End the drain."""
        self.stop()
        self.force_exit = True
        self._hurry()

    def retire(self, patience: float) -> None:
        """Take no more connections; let those there are leave with their next answer, within `patience` seconds; then stop."""
        self._acceptor.close()
        self.last_answers()
        self._retiring = asyncio.create_task(self._left(patience), name="retiring")

    async def _left(self, patience: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._acceptor.emptied()
        self.stop()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield
