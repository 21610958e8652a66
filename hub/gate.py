"""The first thing a request meets: whose host and origin it names, and which application it is for. Knows no protocol.

A browser page of another site must not reach a hub on this machine (DNS rebinding): Host must be one of ours, Origin, where a browser
sends it, as well.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from hub.call import new_id
from hub.config.serving import Server

App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_SPELLINGS = 64
_JSON = (b"content-type", b"application/json")


class Gate:
    """`/mcp/…` goes to `mcp`, `/v1/…` to `models`, everything else to `operators`."""

    def __init__(self, mcp: App, models: App, operators: App, settings: Server) -> None:
        own = f"[{settings.host}]" if ":" in settings.host else settings.host
        self._hosts = {host.lower() for host in (*_LOOPBACK, own, *settings.allowed_hosts)}
        self._any_host = "*" in settings.allowed_hosts
        self._origins = {origin.lower().rstrip("/") for origin in settings.allowed_origins}
        self._seen: set[bytes] = set()
        self._mcp = mcp
        self._models = models
        self._operators = operators

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        fields = dict(headers)
        if len(fields) == len(headers):
            scope["hub.fields"] = fields  # for the edges, where no header came twice
        if not self._welcome(fields, headers):
            await _refuse(send)
        elif scope["path"].startswith("/mcp/"):
            await self._mcp(scope, receive, send)
        elif scope["path"].startswith("/v1/"):
            await self._models(scope, receive, send)
        else:
            await self._operators(scope, receive, send)

    def _welcome(self, fields: dict[bytes, bytes], headers: list[tuple[bytes, bytes]]) -> bool:
        host, origin = fields.get(b"host"), fields.get(b"origin")
        if host is None:
            return False
        if len(fields) < len(headers) and any(sum(name == one for name, _ in headers) > 1 for one in (b"host", b"origin")):
            return False
        return (host in self._seen or self._own_host(host)) and (origin is None or self._own_origin(origin.decode("latin-1")))

    def _own_host(self, host: bytes) -> bool:
        """Whether the host is ours. Those that are, in the few ways clients write them, are told by their bytes the next time."""
        name = host.decode("latin-1").lower()
        own = self._any_host or name in self._hosts or _without_port(name) in self._hosts
        if own and len(self._seen) < _SPELLINGS:
            self._seen.add(host)
        return own

    def _own_origin(self, origin: str) -> bool:
        if origin.lower().rstrip("/") in self._origins:
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and _without_port(parts.netloc.lower()) in self._hosts


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isascii() and port.isdigit() else host


async def _refuse(send: Any) -> None:
    error = {"code": -31403, "message": "this Host or Origin is not the hub's", "data": {"code": "host_refused"}}
    body = orjson.dumps({"jsonrpc": "2.0", "id": None, "error": error})
    headers = [_JSON, (b"content-length", str(len(body)).encode()), (b"x-request-id", new_id().encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
