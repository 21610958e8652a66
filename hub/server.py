"""The HTTP server: uvicorn's, with the hub's own connections (`hub/http_server.py`), and on SIGTERM a notice and a drain."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Generator, MutableMapping
from typing import Any, cast

import uvicorn

from hub.http_exchange import Application
from hub.http_server import Connection, with_timeout
from hub.os_signals import on_signal


class Server(uvicorn.Server):
    """Stops in order: no new connections, `drain()`, then what uvicorn does.

    Where a signal asks for it, `leave()` is called first and says for how many seconds everybody is still served. Asked a second time, it
    waits no longer and has `hurry()` end the drain.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        drain: Callable[[], Awaitable[None]],
        hurry: Callable[[], None],
        leave: Callable[[], float] = lambda: 0.0,
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._hurry = hurry
        self._leave = leave
        self._asked = False
        self._last = False

    def last_answers(self) -> None:
        """Serve on, but have each answer from now on be the last of its connection: who comes again may find another hub."""
        if self._last:
            return
        self._last = True
        if not self.config.loaded:
            self.config.load()
        config = cast("Any", self.config)
        config.loaded_app = leaving(config.loaded_app)  # for connections to come
        for connection in cast("set[Connection]", self.server_state.connections):
            connection.app = leaving(connection.app)

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
        """Handle SIGTERM and SIGINT on the loop; unlike uvicorn's own, do not raise them again once the hub has stopped, nor let another of
        them end the process while the hub is taken apart."""
        for number in (signal.SIGTERM, signal.SIGINT):
            on_signal(number, self._asked_to_stop)
        yield

    def _asked_to_stop(self) -> None:
        if self._asked:
            self.force_exit = True
            self._hurry()
            self.stop()
            return
        self._asked = True
        seconds = self._leave()
        if seconds:
            self.last_answers()
            asyncio.get_running_loop().call_later(seconds, self.stop)
        else:
            self.stop()


def leaving(app: Application) -> Application:
    """The application with each answer the last of its connection."""

    async def last(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        async def ending(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = [header for header in message.get("headers", ()) if header[0] != b"connection"]
                message = {**message, "headers": [*headers, (b"connection", b"close")]}
            await send(message)

        await app(scope, receive, ending)

    return last


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
