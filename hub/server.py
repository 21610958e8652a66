"""The HTTP server: uvicorn with a deadline for headers, the hub's own shape for unreadable requests, and a drain on SIGTERM.

uvicorn has neither deadline nor hook, so its protocol and server classes are extended here and nowhere else.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import orjson
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MAX_HEADERS = 64 * 1024
_BODY = (b"content-length", b"transfer-encoding")
"""Headers that announce a body."""

SILENT_READER = 60_000
"""Milliseconds for which a client may take nothing of what was sent to it; then its connection is cut."""


def _bare(status: bytes, code: int, why: str, message: str) -> bytes:
    """An answer given before there is a request to answer; the connection ends with it."""
    error = {"code": code, "message": message, "data": {"code": why}}
    body = orjson.dumps({"jsonrpc": "2.0", "id": None, "error": error})
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
    return head % (status, len(body)) + body


_UNREADABLE = _bare(b"400 Bad Request", -32600, "invalid_request", "the HTTP request cannot be read")
_TOO_SLOW = _bare(b"408 Request Timeout", -31408, "request_timeout", "the headers did not arrive in time")


class _Protocol(HttpToolsProtocol):
    """One connection. Headers have a deadline (slow loris) and a size; what cannot be read gets a 400 in the hub's shape."""

    header_timeout = 10.0
    _deadline: asyncio.TimerHandle | None = None
    _awaiting_headers = True
    _begun = False
    _header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it the same way
        super().connection_made(transport)
        self._deadline = self.loop.call_later(self.header_timeout, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._awaiting_headers and self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.header_timeout, self._too_slow)

    def on_message_begin(self) -> None:
        self._awaiting_headers, self._begun, self._header_bytes = True, True, 0
        super().on_message_begin()
        self.scope["hub.abort"] = self.transport.abort  # type: ignore[typeddict-unknown-key]  # ours, for clients that do not read

    def on_url(self, url: bytes) -> None:
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(name + value)
        if self._begun:  # what comes after the body are trailers: never headers (RFC 9110, section 6.5.1)
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        parser: Any = self.parser  # None only after the connection, whatever uvicorn's annotation says
        if parser.should_upgrade() and any(name in _BODY for name, _ in self.headers):
            raise ValueError("the parser takes such a body for the next request")  # it turns this into a 400
        self._awaiting_headers = self._begun = False
        self._forget_deadline()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        self.transport.write(_UNREADABLE)
        self.transport.close()

    def _count(self, part: bytes) -> None:
        self._header_bytes += len(part)
        if self._header_bytes > _MAX_HEADERS:
            raise ValueError("the request line and headers are too large")  # the parser turns it into a 400

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        cycle: Any = self.cycle  # None before the first request, whatever uvicorn's annotation says
        answering = cycle is not None and not cycle.response_complete
        if self._begun and not answering:  # one that sent nothing is not told: it may be a connection kept for later
            self.transport.write(_TOO_SLOW)
        self.transport.close()


class Server(uvicorn.Server):
    """Stops in order: no new connections, `drain()`, then what uvicorn does. Asked a second time, it has `hurry()` end the drain."""

    def __init__(self, config: uvicorn.Config, drain: Callable[[], Awaitable[None]], hurry: Callable[[], None]) -> None:
        super().__init__(config)
        self._drain = drain
        self._hurry = hurry

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
    protocol = type("Protocol", (_Protocol,), {"header_timeout": header_timeout})
    return uvicorn.Config(
        app,
        http=protocol,
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


def bind(host: str, port: int) -> socket.socket:
    """A bound socket. Raises OSError where the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # connections inherit it; without it an answer that is never read is kept for ever
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_READER)
    listener.bind((host, port))
    listener.setblocking(False)
    return listener
