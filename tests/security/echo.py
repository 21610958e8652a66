"""A downstream server over its pipes, of the older era, that says back the parameters it was sent: `echo.py [tools]`. Standard library only.

The tool `forget` drops the argument `text` from the schema of `echo` and announces it. With a number, it offers so many tools more.
"""

import json
import os
import sys

MORE = int(sys.argv[1]) if len(sys.argv) > 1 else 0
TEXT = {"type": "object", "properties": {"text": {"type": "string"}}}
tools = [{"name": "echo", "inputSchema": TEXT}, {"name": "forget", "inputSchema": {"type": "object"}}]
tools += [{"name": f"more-{number}", "inputSchema": TEXT} for number in range(MORE)]


def send(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def answer(ident: object, method: str, params: dict) -> None:
    result = {"content": [{"type": "text", "text": json.dumps(params)}]}
    if method == "initialize":
        result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {"listChanged": True}}, "serverInfo": {}}
    elif method == "tools/list":
        result = {"tools": tools}
    elif method != "tools/call":
        send({"jsonrpc": "2.0", "id": ident, "error": {"code": -32601, "message": "unknown"}})
        return
    elif params["name"] == "forget":
        tools[0] = {"name": "echo", "inputSchema": {"type": "object"}}
        send({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
    send({"jsonrpc": "2.0", "id": ident, "result": result})


print("the token is", os.environ.get("TOKEN"), file=sys.stderr, flush=True)
for line in sys.stdin:
    message = json.loads(line)
    if "id" in message and "method" in message:
        answer(message["id"], message["method"], message.get("params", {}))
