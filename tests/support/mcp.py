"""MCP requests of both eras, as headers and bytes, and a session of the older one. Tests only; the SDK has no part in it."""

import base64
import itertools
import json
from typing import Any

from tests.support.hub import Hub
from tests.support.wire import Connection, Headers, Response, request_bytes, send

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
ACCEPT = "application/json, text/event-stream"

_ids = itertools.count(1)


def dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def message(method: str, params: Any = None, ident: Any = None) -> dict[str, Any]:
    value: dict[str, Any] = {"jsonrpc": "2.0", "id": next(_ids) if ident is None else ident, "method": method}
    return value if params is None else {**value, "params": params}


def modern_params(params: dict[str, Any] | None = None, *, version: Any = MODERN, **meta: Any) -> dict[str, Any]:
    """`params` with the `_meta` each request of the newer era must carry."""
    params = params or {}
    return {**params, "_meta": {VERSION: version, CAPABILITIES: {}, **meta, **params.get("_meta", {})}}


def header_value(text: str) -> str:
    """A value as a header bears it (SEP-2243)."""
    if text.isascii() and text.isprintable() and text == text.strip() and not text.startswith("=?base64?"):
        return text
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def modern_headers(method: str, params: dict[str, Any]) -> list[tuple[str, str]]:
    headers = [("mcp-protocol-version", MODERN), ("mcp-method", method)]
    named = params.get(NAMED.get(method, ""))
    return [*headers, ("mcp-name", header_value(named))] if isinstance(named, str) else headers


class Client:
    """One key at one door. Every request goes over a connection of its own unless `over` gives one."""

    def __init__(self, hub: Hub, key: str, door: str = "main") -> None:
        self.hub = hub
        self.secret = hub.keys.get(key, key)
        self.path = f"/mcp/{door}"

    def headers(self, *more: tuple[str, str]) -> list[tuple[str, str]]:
        """What every request bears; a header in `more` takes the place of one of the same name, and `("name", "")` leaves it out."""
        base = {
            "host": "127.0.0.1",
            "authorization": f"Bearer {self.secret}",
            "content-type": "application/json",
            "accept": ACCEPT,
        }
        given = [name.lower() for name, _ in more]
        return [*((name, value) for name, value in base.items() if name not in given), *(pair for pair in more if pair[1])]

    def wire(self, body: bytes, *more: tuple[str, str], method: str = "POST", path: str = "") -> bytes:
        return request_bytes(method, path or self.path, self.headers(*more), body)

    async def raw(self, body: bytes, *more: tuple[str, str], method: str = "POST", path: str = "") -> Response:
        return await send(self.hub.address, self.wire(body, *more, method=method, path=path))

    async def modern(
        self, method: str, params: dict[str, Any] | None = None, *more: tuple[str, str], ident: Any = None, **meta: Any
    ) -> Response:
        params = modern_params(params, **meta)
        given = {name.lower() for name, _ in more}
        own = [pair for pair in modern_headers(method, params) if pair[0] not in given]
        return await self.raw(dumps(message(method, params, ident)), *own, *more)

    async def call(self, tool: str, arguments: dict[str, Any] | None = None) -> Response:
        """`tools/call` in the newer era."""
        return await self.modern("tools/call", {"name": tool, "arguments": arguments or {}})

    async def session(self, version: str = LEGACY) -> "Session":
        params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        answer = await self.raw(dumps(message("initialize", params)))
        assert answer.status == 200, answer
        session = Session(self, answer.headers["mcp-session-id"], answer.result)
        assert (await session.notify("notifications/initialized")).status == 202
        return session

    async def stream(self, body: bytes | None, *more: tuple[str, str], method: str = "POST") -> tuple[Connection, int, dict[str, str]]:
        """Send and read the head only: for streams."""
        connection = await Connection.open(self.hub.address)
        await connection.send(request_bytes(method, self.path, self.headers(*more), body))
        return connection, *await connection.head()


class Session:
    """A session of the older era."""

    def __init__(self, client: Client, ident: str, greeting: dict[str, Any]) -> None:
        self.client = client
        self.id = ident
        self.greeting = greeting

    def headers(self, *more: tuple[str, str]) -> Headers:
        return [("mcp-session-id", self.id), ("mcp-protocol-version", self.greeting["protocolVersion"]), *more]

    async def raw(self, body: bytes, *more: tuple[str, str], method: str = "POST") -> Response:
        return await self.client.raw(body, *self.headers(*more), method=method)

    async def request(self, method: str, params: dict[str, Any] | None = None, *more: tuple[str, str], ident: Any = None) -> Response:
        return await self.raw(dumps(message(method, params, ident)), *more)

    async def notify(self, method: str, params: dict[str, Any] | None = None) -> Response:
        return await self.raw(dumps({"jsonrpc": "2.0", "method": method, **({} if params is None else {"params": params})}))

    async def call(self, tool: str, arguments: dict[str, Any] | None = None, *, ident: Any = None, **meta: Any) -> Response:
        params = {"name": tool, "arguments": arguments or {}, **({"_meta": meta} if meta else {})}
        return await self.request("tools/call", params, ident=ident)

    async def end(self) -> Response:
        return await self.client.raw(b"", *self.headers(), method="DELETE")
