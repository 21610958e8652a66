"""The cheapest honest MCP server over streamable HTTP, both eras: one tool, `echo`. No framework, so that what is measured is not this.

Answers every request alike, with or without a handshake. `python -m tests.bench.echo_http PORT` (0 takes a free one) prints its port.
"""

import asyncio
import sys
from typing import Any, cast

import httptools
import orjson
import uvloop

SCHEMA = {"type": "object", "properties": {"text": {"type": "string", "maxLength": 100_000}}, "required": ["text"]}
TOOL = {"name": "echo", "description": "Answers with the text it was given.", "inputSchema": SCHEMA}
INFO = {"name": "echo", "version": "1"}
MODERN = {"resultType": "complete", "_meta": {"io.modelcontextprotocol/serverInfo": INFO}}
LISTED = {"ttlMs": 60_000, "cacheScope": "public"}
VERSIONS = ["2025-06-18", "2025-11-25", "2026-07-28"]


def answer(request: dict[str, Any]) -> dict[str, Any] | None:
    """The JSON-RPC answer to one message; None for a notification."""
    if "id" not in request:
        return None
    params = request.get("params") or {}
    modern = "io.modelcontextprotocol/protocolVersion" in (params.get("_meta") or {})
    match request["method"]:
        case "tools/call":
            result = {"content": [{"type": "text", "text": params["arguments"]["text"]}], "isError": False}
        case "tools/list":
            result = {"tools": [TOOL]} | (LISTED if modern else {})
        case "initialize":
            asked = params.get("protocolVersion", "")
            version = asked if asked in VERSIONS[:-1] else VERSIONS[-2]
            result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": INFO}
        case "server/discover":
            result = {"supportedVersions": VERSIONS, "capabilities": {"tools": {}}, "serverInfo": INFO} | LISTED
        case "ping":
            result = {}
        case _:
            return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32601, "message": "Method not found"}}
    return {"jsonrpc": "2.0", "id": request["id"], "result": result | MODERN if modern else result}


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        body, self.body = self.body, b""
        if self.parser.get_method() != b"POST":
            self.transport.write(b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n")
            return
        reply = answer(orjson.loads(body))
        if reply is None:
            self.transport.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
            return
        status = b"404 Not Found" if reply.get("error") else b"200 OK"
        text = orjson.dumps(reply)
        self.transport.write(b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (status, len(text), text))


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
