"""A downstream MCP server without a library, to be abused: `server.py stdio|http NOTES [brood]`. Standard library only.

`stdio` speaks the older era, `http` the newer one and prints its port. Every call is noted in the file NOTES before anything is
answered: its trace id, a space, its text. `brood` starts a process in a session of its own first, so that there is a grandchild.

Tools, each with `text`: `echo`; `jitter` (answers after a random moment, so out of order); `slow` (`seconds`, `steps`: progress on
the way); `hold` (answers once the file `until` exists); `half` (dies, or closes the connection, in the middle of its answer); `exit`;
`flood` (`times` notifications nobody asked for, then the answer); `forbidden` and `scarce` (as `echo`, for policies and limits); `crowd`
(takes `seconds`, and its note ends with how many of its kind this process has under way, itself included).
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import time

TOOLS = ["echo", "jitter", "slow", "hold", "half", "exit", "flood", "forbidden", "scarce", "crowd"]
CROWDED = set()
SCHEMA = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "seconds": {"type": "number"},
        "steps": {"type": "integer"},
        "times": {"type": "integer"},
        "until": {"type": "string"},
    },
    "required": ["text"],
}
INFO = {"name": "abused", "version": "1"}
NEWER = {"resultType": "complete", "_meta": {"io.modelcontextprotocol/serverInfo": INFO}}
VERSION = "2026-07-28"


def note(line):
    with open(sys.argv[2], "a") as file:
        file.write(line + "\n")


def handshake(message, modern):
    """The answer to anything that is no call; None for a notification, an error where it is not of our era."""
    method, params = message["method"], message.get("params") or {}
    if "id" not in message:
        return None
    if method == "tools/list":
        tools = [{"name": name, "description": name, "inputSchema": SCHEMA} for name in TOOLS]
        return {"result": {"tools": tools} | (NEWER | {"ttlMs": 60_000, "cacheScope": "public"} if modern else {})}
    if method == "server/discover" and modern:
        return {"result": {"supportedVersions": [VERSION], "capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "private"} | NEWER}
    if method == "initialize" and not modern:
        return {"result": {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": INFO}}
    if method == "ping" and not modern:
        return {"result": {}}
    return {"error": {"code": -32601, "message": "Method not found"}}


async def call(message, modern, tell, half):
    """The answer to `tools/call`. `tell` sends a notification first, `half` sends half an answer and ends."""
    params = message["params"]
    name, arguments, meta = params["name"], params["arguments"], params.get("_meta") or {}
    text, token = arguments["text"], meta.get("progressToken")
    seen = f"{meta.get('traceparent', '--').split('-')[1]} {text}"
    if name == "crowd":
        return await crowd(seen, text, arguments, modern)
    note(seen)
    result = {"content": [{"type": "text", "text": text}]} | (NEWER if modern else {})
    if name == "jitter":
        await asyncio.sleep(random.random() * 0.02)
    elif name == "slow":
        steps = arguments.get("steps", 4)
        for step in range(steps):
            await asyncio.sleep(arguments.get("seconds", 0.1) / steps)
            if token is not None:
                progress = {"progressToken": token, "progress": step + 1, "total": steps, "message": text}
                await tell({"jsonrpc": "2.0", "method": "notifications/progress", "params": progress})
    elif name == "hold":
        end = time.monotonic() + 60
        while not os.path.exists(arguments["until"]) and time.monotonic() < end:
            await asyncio.sleep(0.01)
    elif name == "half":
        await half({"jsonrpc": "2.0", "id": message["id"], "result": result})
    elif name == "exit":
        os._exit(7)
    elif name == "flood":
        for _ in range(arguments.get("times", 100)):
            await tell({"jsonrpc": "2.0", "method": "notifications/noise", "params": {}})
    return {"result": result}


async def crowd(seen, text, arguments, modern):
    """The answer to a call of `crowd`, and the note of it."""
    CROWDED.add(text)
    note(f"{seen} {len(CROWDED)}")
    try:
        await asyncio.sleep(arguments.get("seconds", 0.1))
    finally:
        CROWDED.discard(text)
    return {"result": {"content": [{"type": "text", "text": text}]} | (NEWER if modern else {})}


async def answer(message, modern, tell, half):
    if message.get("method") == "tools/call":
        found = await call(message, modern, tell, half)
    else:
        found = handshake(message, modern)
    return found and {"jsonrpc": "2.0", "id": message["id"], **found}


def line(message):
    return json.dumps(message).encode() + b"\n"


async def stdio():
    reader = asyncio.StreamReader(limit=64 * 1024 * 1024)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    out, tasks = sys.stdout.buffer, set()

    async def tell(message):
        out.write(line(message))
        out.flush()

    async def half(message):
        data = line(message)
        out.write(data[: len(data) // 2])
        out.flush()
        os._exit(9)

    async def handle(message):
        if (found := await answer(message, False, tell, half)) is not None:
            await tell(found)

    async for raw in reader:
        message = json.loads(raw)
        if "method" in message:
            task = asyncio.create_task(handle(message))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


async def request(reader, writer):
    """Serve one connection, request by request."""
    while head := await reader.readuntil(b"\r\n\r\n"):
        fields = dict(part.lower().split(": ", 1) for part in head.decode().split("\r\n")[1:] if part)
        body = await reader.readexactly(int(fields.get("content-length", "0")))
        if not head.startswith(b"POST"):
            writer.write(b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n")
            continue
        message, streaming = json.loads(body), False

        async def tell(event):
            nonlocal streaming
            if not streaming:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
                streaming = True
            data = b"event: message\ndata: " + json.dumps(event).encode() + b"\n\n"
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
            await writer.drain()

        async def half(event):
            data = json.dumps(event).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(data))
            writer.write(data[: len(data) // 2])
            raise ConnectionError

        found = await answer(message, True, tell, half)
        if found is None:
            writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
        elif streaming:
            await tell(found)
            writer.write(b"0\r\n\r\n")
        else:
            status = b"404 Not Found" if "error" in found else b"200 OK"
            data = json.dumps(found).encode()
            writer.write(b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (status, len(data), data))
        await writer.drain()


async def connection(reader, writer):
    try:
        await request(reader, writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def http():
    server = await asyncio.start_server(connection, "127.0.0.1", 0, limit=64 * 1024 * 1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if "brood" in sys.argv[3:]:
    subprocess.Popen(["sleep", "1000"], start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
asyncio.run(stdio() if sys.argv[1] == "stdio" else http())
