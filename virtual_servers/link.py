"""What a transport to one downstream server offers, whichever it is. It does not know eras, catalogues or restarts."""

import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from msgspec import Struct

from hub.call import Trace
from virtual_servers.rpc import Message

Note = Callable[[str, bytes], Awaitable[None]]
"""Takes a notification that belongs to a request: method and raw parameters. Awaiting it applies back pressure."""

Notice = Callable[[str, bytes], None]
"""Takes a notification that belongs to no request."""


class Ask(Struct, frozen=True):
    """One request to a server. Times are monotonic seconds; `idle` is the time without answer or progress, `until` the absolute end.

    `token` is the client's own progress token as raw JSON; when it is set, `ident` is the token the server was given. `trace` is what
    the parameters' `_meta` says already, for transports that have a place of their own for it.
    """

    ident: int
    method: str
    params: bytes
    idle: float
    until: float
    token: bytes = b""
    note: Note | None = None
    trace: Trace | None = None

    def due(self) -> float:
        """When it is given up if nothing is heard from now on."""
        return min(time.monotonic() + self.idle, self.until)


class Link(Protocol):
    """Raises `UpstreamDown`, `UpstreamTimeout` or `UpstreamFault`; a JSON-RPC error of the server is an ordinary `Message`."""

    modern: bool

    def speak(self, version: str) -> None:
        """Use this protocol version from now on; empty is the time before the handshake."""
        ...

    async def open(self) -> None:
        """Make it usable. Nothing is said to the server yet."""
        ...

    async def ask(self, ask: Ask) -> Message:
        """Send a request, wait for the response. Cancelling it, and giving up, cancels it at the server."""
        ...

    async def tell(self, method: str, params: bytes) -> None:
        """Send a notification. That it cannot be delivered is no error."""
        ...

    async def close(self) -> None:
        """End it, gracefully first. Requests under way fail with `UpstreamDown`."""
        ...
