"""The HTTP server: uvicorn's, with the hub's own connections (`hub/http_server.py`) and a drain on SIGTERM."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import uvicorn

from hub.http_server import with_timeout


class Server(uvicorn.Server):
    """Stops in order: no new connections, `drain()`, then what uvicorn does. Asked a second time, it has `hurry()` end the drain."""

    def __init__(self, config: uvicorn.Config, drain: Callable[[], Awaitable[None]], hurry: Callable[[], None]) -> None:
        super().__init__(config)
        self._drain = drain
        self._hurry = hurry

    def stop(self) -> None:
        """Stop in order, soon."""
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        await self._drain()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Handle SIGTERM and SIGINT on the loop; unlike uvicorn's own, do not raise them again once the hub has stopped."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _asked_to_stop(self) -> None:
        if self.should_exit:
            self.force_exit = True
            self._hurry()
        self.should_exit = True


def configure(app: Any, *, header_timeout: float, trusted_proxies: tuple[str, ...]) -> uvicorn.Config:
    """uvicorn's settings (DECISIONS: server settings). Proxies are believed only when named."""
    return uvicorn.Config(
        app,
        http=with_timeout(header_timeout),
        ws="none",
        loop="uvloop",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies) or None,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=2,
        backlog=2048,
    )
