"""The HTTP side of an MCP exchange: its door, and one answer that is lazily upgraded to an event stream. Knows no MCP method.

An answer is one JSON object unless a message precedes it and the client takes `text/event-stream`; then it becomes a stream whose
last frame is the response.
"""

from hub.edge import exchange
from hub.refusal import NotAcceptable

_SINGLE = frozenset({b"mcp-protocol-version", b"mcp-method", b"mcp-name", b"mcp-session-id"})
_KEEP_ALIVE = b":\n\n"


class Exchange(exchange.Exchange):
    """One MCP request over HTTP, and its answer."""

    @staticmethod
    def must_be_single(name: bytes) -> bool:
        return name in _SINGLE or name.startswith(b"mcp-param-") or exchange.Exchange.must_be_single(name)

    @property
    def door(self) -> str:
        """The virtual server's name: what stands behind `/mcp/` in the path."""
        path: str = self.scope["path"]
        return path[len("/mcp/") :].rstrip("/")[:128]

    @property
    def takes_stream(self) -> bool:
        return _accepts(self.headers.get(b"accept"), b"text/event-stream", b"text/*")

    async def event(self, data: bytes) -> None:
        """Send one event, starting the stream when this is the first."""
        if not self.streaming:
            await self.start_stream()
        await self.part(frame(data))

    async def comment(self, text: str = "") -> None:
        await self.part(f": {text}\n\n".encode() if text else _KEEP_ALIVE)

    async def end_stream(self, last: bytes | None = None, comment: str = "") -> None:
        """End the stream: an optional comment, then an optional last event, in one send."""
        await self.last((f": {comment}\n\n".encode() if comment else b"") + (frame(last) if last is not None else b""))


def frame(data: bytes) -> bytes:
    """One server-sent event. JSON may hold line breaks between its tokens, so each line becomes a `data` line."""
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(data.splitlines())
    return b"event: message\ndata: " + data + b"\n\n"


def require_accept(exchange: Exchange) -> None:
    """Raises `NotAcceptable` when the client takes no JSON: the hub may always answer with it."""
    if not _accepts(exchange.headers.get(b"accept"), b"application/json", b"application/*"):
        raise NotAcceptable("the Accept header must include application/json and text/event-stream")


def _accepts(accept: bytes | None, kind: bytes, any_of_it: bytes) -> bool:
    return not accept or kind in accept or b"*/*" in accept or any_of_it in accept
