"""A stdio MCP server without a library, with a choice of faults: `raw_stdio.py [older|modern] [mode] [file]`. Standard library only.

Modes: `good`, `silent-probe` (never answers what it does not know), `crash-probe`, `garbage`, `banner`, `flood`, `deaf` (stops
reading after the handshake), `die` (exits in the middle of an answer), `oversized`, `wrong-id`, `asks` (sends requests of its own),
`stubborn` (ignores the end of its input and TERM). What it is told to note goes to `file`, a line each.
"""

import json
import os
import signal
import sys
import threading
import time

era, mode, notes = [*sys.argv[1:], *["older", "good", ""][len(sys.argv) - 1 :]]
lock = threading.Lock()
cancelled = set()
TOOLS = [{"name": "echo", "inputSchema": {"type": "object"}}, {"name": "slow", "inputSchema": {"type": "object"}}]


def note(text):
    if notes:
        with open(notes, "a") as file:
            file.write(text + "\n")


def send(message, cut=None):
    data = (json.dumps(message) + "\n").encode()
    with lock:
        sys.stdout.buffer.write(data[:cut] if cut else data)
        sys.stdout.buffer.flush()


def reply(ident, result):
    send({"jsonrpc": "2.0", "id": ident, "result": {**result, "resultType": "complete"} if era == "modern" else result})


def fail(ident, code, message, data=None):
    send({"jsonrpc": "2.0", "id": ident, "error": {"code": code, "message": message, "data": data}})


def handshake(message):
    ident, method = message["id"], message["method"]
    info = {"name": "raw", "version": "1"}
    capabilities = {"tools": {"listChanged": True}}
    if method == "server/discover":
        if mode == "crash-probe":
            os._exit(3)
        if era == "modern":
            meta = {"io.modelcontextprotocol/serverInfo": info}
            reply(ident, {"supportedVersions": ["2026-07-28"], "capabilities": capabilities, "_meta": meta, "instructions": "hello"})
        elif mode != "silent-probe":
            fail(ident, -32601, "Method not found")
        return True
    if method == "initialize":
        if era == "modern":
            fail(ident, -32601, "Method not found")
        else:
            asked = message["params"]["protocolVersion"]
            reply(ident, {"protocolVersion": asked, "capabilities": capabilities, "serverInfo": info, "instructions": "hello"})
        return True
    return False


def slow(message):
    ident, arguments = message["id"], message["params"].get("arguments", {})
    token = message["params"].get("_meta", {}).get("progressToken")
    steps, pause = arguments.get("steps", 1), arguments.get("pause", 0.05)
    for step in range(steps):
        time.sleep(pause)
        if ident in cancelled:
            return
        if token is not None:
            send(
                {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": step, "total": steps}}
            )
    reply(ident, {"content": [{"type": "text", "text": "done"}]})


def call(message):
    ident, params = message["id"], message["params"]
    if mode == "die":
        send({"jsonrpc": "2.0", "id": ident, "result": {"content": [{"type": "text", "text": "x" * 100}]}}, cut=60)
        os._exit(9)
    if mode == "oversized":
        reply(ident, {"content": [{"type": "text", "text": "x" * int(params["arguments"].get("size", 1))}]})
        return
    if mode == "wrong-id":
        reply(ident + 1_000_000, {"content": []})
        return
    if mode == "asks":
        send({"jsonrpc": "2.0", "id": "s1", "method": "ping"})
        send({"jsonrpc": "2.0", "id": "s2", "method": "sampling/createMessage", "params": {}})
    if params["name"] == "slow":
        threading.Thread(target=slow, args=(message,), daemon=True).start()
    elif params["name"] == "exit":
        os._exit(7)
    elif params["name"] == "environment":
        reply(ident, {"content": [{"type": "text", "text": json.dumps(dict(os.environ))}]})
    elif params["name"] == "grow":
        TOOLS.append({"name": "grown", "inputSchema": {"type": "object"}})
        send({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        reply(ident, {"content": []})
    else:
        reply(ident, {"content": [{"type": "text", "text": json.dumps(params)}]})


def main():
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode == "banner":
        print("Welcome to the raw server!\n", flush=True)
    print("raw server started", file=sys.stderr, flush=True)
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if "method" not in message:
            note(json.dumps(message))
            continue
        if "id" not in message:
            note(message["method"] + " " + json.dumps(message.get("params")))
            if message["method"] == "notifications/cancelled":
                cancelled.add(message["params"]["requestId"])
            if message["method"] == "notifications/initialized" and mode in ("garbage", "flood", "deaf"):
                break
            continue
        if handshake(message):
            continue
        if message["method"] == "tools/list":
            reply(message["id"], {"tools": TOOLS})
        elif message["method"] == "tools/call":
            call(message)
        else:
            fail(message["id"], -32601, "Method not found")
    while mode == "garbage":
        sys.stdout.write("no json at all\n")
    while mode == "flood":
        sys.stdout.write('{"jsonrpc":"2.0","method":"notifications/noise"}\n')
    while mode in ("deaf", "stubborn"):
        time.sleep(60)


main()
