"""An MCP server that tells the time, so that a fresh `docker compose up` has something to call. Standard library only; replace it by yours.

MCP over stdio: one JSON-RPC message a line (https://modelcontextprotocol.io/specification/2025-11-25/basic/transports).
"""

import json
import sys
from datetime import UTC, datetime
from typing import Any

NOW = {
    "name": "now",
    "description": "The time now, as RFC 3339 in UTC.",
    "inputSchema": {"type": "object", "properties": {}, "additionalProperties": False},
    "annotations": {"readOnlyHint": True},
}


def answer(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    """The result of a request; None for a method it does not know."""
    match method:
        case "initialize":
            info = {"name": "clock", "version": "1"}
            return {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
        case "ping":
            return {}
        case "tools/list":
            return {"tools": [NOW]}
        case "tools/call" if params.get("name") == NOW["name"]:
            return {"content": [{"type": "text", "text": datetime.now(UTC).isoformat(timespec="seconds")}]}
        case "tools/call":
            return {"content": [{"type": "text", "text": "there is no such tool"}], "isError": True}
        case _:
            return None


def main() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "method" not in message or "id" not in message:
            continue
        result = answer(message["method"], message.get("params") or {})
        body = {"error": {"code": -32601, "message": "Method not found"}} if result is None else {"result": result}
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], **body}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
