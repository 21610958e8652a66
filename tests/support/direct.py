"""Speaks to a downstream server directly, in either era, over pipes or HTTP, and hands back the raw bytes of what it answers."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import msgspec

from tests.support.mcp import ACCEPT, LEGACY, MODERN, dumps, message, modern_headers, modern_params
from tests.support.wire import Response, events_of, request_bytes, send


class Answer(msgspec.Struct, frozen=True):
    """Exactly one of the two is set, to the raw JSON that came."""

    result: bytes = b""
    error: bytes = b""


class _Wire(msgspec.Struct):
    id: Any = None
    method: str = ""
    result: msgspec.Raw = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"")


_decode = msgspec.json.Decoder(_Wire).decode


def answer_in(body: bytes, ident: Any) -> Answer | None:
    """The answer in one message, if it is one to the request `ident`."""
    found = _decode(body)
    return Answer(bytes(found.result), bytes(found.error)) if found.id == ident and not found.method else None


def of_response(response: Response, ident: Any) -> Answer:
    """The answer in an HTTP response: one JSON text, or the last event of a stream."""
    streamed = response.headers["content-type"].startswith("text/event-stream")
    texts = events_of(response.body) if streamed else [response.body]
    found = answer_in(texts[-1], ident)
    assert found is not None, response
    return found


class Http:
    """A server over streamable HTTP."""

    def __init__(self, url: str, era: str) -> None:
        host, _, self._path = url.removeprefix("http://").partition("/")
        name, _, port = host.partition(":")
        self._address = (name, int(port))
        self._host = host
        self._modern = era == MODERN
        self._session: list[tuple[str, str]] = []
        self._ids = itertools.count(1)

    async def __aenter__(self) -> "Http":
        if not self._modern:
            hello = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "direct", "version": "1"}}
            greeting = await self._post(message("initialize", hello, 0), [])
            self._session = [("mcp-session-id", greeting.headers["mcp-session-id"]), ("mcp-protocol-version", LEGACY)]
            await self._post({"jsonrpc": "2.0", "method": "notifications/initialized"}, self._session)
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    async def ask(self, method: str, params: dict[str, Any]) -> Answer:
        ident = next(self._ids)
        params = modern_params(params) if self._modern else params
        headers = [*modern_headers(method, params), *_mirrored(params)] if self._modern else self._session
        return of_response(await self._post(message(method, params, ident), headers), ident)

    async def _post(self, value: dict[str, Any], headers: list[tuple[str, str]]) -> Response:
        base = [("host", self._host), ("content-type", "application/json"), ("accept", ACCEPT), *headers]
        return await send(self._address, request_bytes("POST", "/" + self._path, base, dumps(value)))


class Pipes:
    """A server over its pipes, with nothing in its environment but what is given."""

    def __init__(self, command: list[str], env: dict[str, str], era: str, folder: Path) -> None:
        self._command = command
        self._env = env
        self._folder = folder
        self._modern = era == MODERN
        self._ids = itertools.count(1)

    async def __aenter__(self) -> "Pipes":
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env=self._env,
            cwd=self._folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=16 * 1024 * 1024,
        )
        if not self._modern:
            await self.ask("initialize", {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "direct", "version": "1"}})
            self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return self

    async def __aexit__(self, *_: object) -> None:
        self._process.kill()
        await self._process.wait()
        self._process._transport.close()  # type: ignore[attr-defined]  # else its pipes are closed by the collector, with a warning

    async def ask(self, method: str, params: dict[str, Any]) -> Answer:
        ident = next(self._ids)
        self._write(message(method, modern_params(params) if self._modern else params, ident))
        assert self._process.stdout is not None
        async with asyncio.timeout(30):
            while True:
                found = answer_in(await self._process.stdout.readline(), ident)
                if found is not None:
                    return found

    def _write(self, value: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(dumps(value) + b"\n")


def _mirrored(params: dict[str, Any]) -> list[tuple[str, str]]:
    """The headers that mirror arguments of the tool `routed` of the tests' own server."""
    arguments = params.get("arguments", {})
    if params.get("name") != "routed":
        return []
    return [(f"mcp-param-{name}", str(arguments[name])) for name in ("region", "size") if name in arguments]
