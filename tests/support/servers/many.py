"""A downstream MCP server over its pipes, older era, with `many.py COUNT` tools listed in pages of 100; `many.py COUNT SECONDS` starts slowly."""

import json
import sys
import time

COUNT = int(sys.argv[1])
TOOLS = [{"name": f"tool-{number:04}", "inputSchema": {"type": "object"}} for number in range(COUNT)]

time.sleep(float(sys.argv[2]) if len(sys.argv) > 2 else 0)


def page(params: dict[str, str]) -> dict[str, object]:
    start = int(params.get("cursor", "0"))
    following = {"nextCursor": str(start + 100)} if start + 100 < COUNT else {}
    return {"tools": TOOLS[start : start + 100], **following}


for line in sys.stdin:
    message = json.loads(line)
    params = message.get("params") or {}
    match message.get("method"):
        case "initialize":
            info = {"name": "many", "version": "1"}
            result = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": info}
        case "tools/list":
            result = page(params)
        case "tools/call":
            result = {"content": [{"type": "text", "text": params["name"]}]}
        case _:
            result = None
    if "id" in message:
        outcome = {"error": {"code": -32601, "message": "unknown"}} if result is None else {"result": result}
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], **outcome}) + "\n")
        sys.stdout.flush()
