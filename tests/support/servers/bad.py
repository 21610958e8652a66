"""A downstream MCP server over its pipes, of the older era, each of whose tools goes wrong in a way of its own. Standard library only."""

import json
import os
import sys
import time

TOOLS = ["die", "die-mid-answer", "hang", "wrong-id", "garbage", "not-an-object", "no-result", "oversized", "flood", "fine"]


def write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def send(value: object) -> None:
    write(json.dumps(value) + "\n")


def call(name: str, ident: object) -> None:
    head = {"jsonrpc": "2.0", "id": ident}
    match name:
        case "die":
            os._exit(3)
        case "die-mid-answer":
            write(json.dumps({**head, "result": {"content": []}})[:-4])
            os._exit(3)
        case "hang":
            return
        case "wrong-id":
            send({**head, "id": 987654321, "result": {"content": []}})
        case "garbage":
            write("this is not JSON\n{]\n")
        case "not-an-object":
            send({**head, "result": [1, 2]})
        case "no-result":
            send(head)
        case "oversized":
            send({**head, "result": {"content": [{"type": "text", "text": "x" * 100_000}]}})
        case "flood":
            note = json.dumps({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}) + "\n"
            end = time.monotonic() + 1.0
            while time.monotonic() < end:
                write(note * 500)
        case _:
            send({**head, "result": {"content": [{"type": "text", "text": name}]}})


for line in sys.stdin:
    message = json.loads(line)
    ident = message.get("id")
    match message.get("method"):
        case "initialize":
            info = {"name": "bad", "version": "1"}
            send(
                {
                    "jsonrpc": "2.0",
                    "id": ident,
                    "result": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info},
                }
            )
        case "tools/list":
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]
            send({"jsonrpc": "2.0", "id": ident, "result": {"tools": tools}})
        case "tools/call":
            call(message["params"]["name"], ident)
        case _ if ident is not None:
            send({"jsonrpc": "2.0", "id": ident, "error": {"code": -32601, "message": "unknown"}})
