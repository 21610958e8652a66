"""Upstreams over real servers, and a scripted HTTP server for what no good server does."""

import asyncio
import contextlib
import json
import os
import sys
import time
from pathlib import Path

import pytest

from hub.call import Call, Credential
from hub.config.mcp import Breaker, Stdio, UpstreamSpec
from hub.config.serving import Egress as EgressSpec
from hub.egress import Egress
from virtual_servers.guard import Guard
from virtual_servers.upstream import McpUpstream

SERVERS = Path(__file__).parent.parent / "servers"


class Kit:
    """What the tests of this folder share."""

    def __init__(self, guard, egress):
        self.guard = guard
        self.egress = egress
        self.chunks = []
        self.made = []

    def stdio(self, *args, script="raw_stdio.py", **options):
        env = options.pop("env", {})
        stdio = Stdio(command=sys.executable, args=(str(SERVERS / script), *(str(arg) for arg in args)), env=env)
        return self.upstream(stdio=stdio, **options)

    def upstream(self, on_changed=None, **options):
        made = McpUpstream("test", UpstreamSpec(**options), egress=self.egress, guard=self.guard, on_changed=on_changed)
        self.made.append(made)
        return made

    async def emit(self, chunk):
        self.chunks.append(chunk)

    async def call(
        self, upstream, name, arguments=None, *, meta=None, method="tools/call", payload=None, deadline=20.0, trace=None, org=""
    ):
        if payload is None:
            params = {"name": name, "arguments": arguments or {}}
            payload = json.dumps({**params, "_meta": meta} if meta is not None else params).encode()
        call = Call(
            id="c", kind="mcp.tools.call", method=method, door="d", payload=payload, credential=Credential(),
            deadline=time.monotonic() + deadline, trace=trace, org=org,
        )  # fmt: skip
        return await upstream.send(call, self.emit)

    async def text(self, upstream, name, arguments=None, **options):
        reply = await self.call(upstream, name, arguments, **options)
        assert reply.result, reply
        return json.loads(reply.result)["content"][0]["text"]


@pytest.fixture(scope="session")
def guard():
    one = Guard(f"test-upstreams-{os.getpid()}")  # its end is that of all who bear the name: not of those of the process beside this one
    one.start()
    yield one
    one.close()


@pytest.fixture
async def kit(guard):
    egress = Egress(EgressSpec(connect_timeout=10.0))
    await egress.open()
    kit = Kit(guard, egress)
    yield kit
    await asyncio.gather(*(one.stop() for one in kit.made))
    await egress.close()


@pytest.fixture
def until():
    async def wait(condition, seconds=30.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not come true in time"
            await asyncio.sleep(0.02)

    return wait


@pytest.fixture
def quick_breaker():
    return Breaker(failures=3, open_for=1.5)


class Script:
    """An HTTP server whose every answer the test decides: `handle(request) -> bytes | list of bytes`, written in turn.

    A request has `.method`, `.headers` (lower case names) and `.message`. An answer of None hangs; the connection closes afterwards
    unless the answer has a length or is chunked to its end.
    """

    def __init__(self, handle):
        self.handle = handle
        self.seen = []
        self.gone = 0
        self._tasks = set()

    class Request:
        def __init__(self, head, body):
            first, *lines = head.decode("latin-1").split("\r\n")
            self.method = first.split(" ")[0]
            self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
            self.names = [line.partition(":")[0].lower() for line in lines if line]
            self.body = body
            self.message = json.loads(body) if body else {}

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/mcp"
        return self

    async def stop(self):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        try:
            await self._answer_all(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone += 1
        except asyncio.CancelledError:
            return
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer_all(self, reader, writer):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
            request = self.Request(head, await reader.readexactly(length))
            self.seen.append(request)
            answer = self.handle(request)
            if answer is None:
                await reader.read(1)
                self.gone += 1
                break
            for part in answer if isinstance(answer, list) else [answer]:
                if isinstance(part, (int, float)):
                    await asyncio.sleep(part)
                else:
                    writer.write(part)
                    await writer.drain()
            whole = answer if isinstance(answer, bytes) else b"".join(part for part in answer if isinstance(part, bytes))
            if b"Connection: close" in whole or (b"content-length" not in whole.lower() and not whole.endswith(b"0\r\n\r\n")):
                break


class Http:
    """Ways to write answers."""

    @staticmethod
    def body(data, status="200 OK", media="application/json", **headers):
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {status}\r\nContent-Type: {media}\r\nContent-Length: {len(data)}\r\n{extra}\r\n".encode() + data

    @staticmethod
    def empty(status, **headers):
        extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n{extra}\r\n".encode()

    @staticmethod
    def stream(*messages, end=True, **headers):
        extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        parts = [f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n{extra}\r\n".encode()]
        for message in messages:
            if isinstance(message, (int, float)):
                parts.append(message)
                continue
            data = message if isinstance(message, bytes) else b"data: " + json.dumps(message).encode() + b"\n\n"
            parts.append(b"%x\r\n%b\r\n" % (len(data), data))
        return [*parts, b"0\r\n\r\n"] if end else parts

    @staticmethod
    def result(ident, result):
        return {"jsonrpc": "2.0", "id": ident, "result": result}

    @staticmethod
    def error(ident, code, message="no", data=None):
        return {"jsonrpc": "2.0", "id": ident, "error": {"code": code, "message": message, **({"data": data} if data else {})}}

    @classmethod
    def server(cls, era, on_call, *, session="", capabilities=None, other=None):
        """A handler with the handshake of `era`; `on_call(request)` answers everything else that has an id."""
        capabilities = {"tools": {}} if capabilities is None else capabilities

        def handle(request):
            message = request.message
            method, ident = message.get("method"), message.get("id")
            if other is not None and (answer := other(request)) is not NotImplemented:
                return answer
            if request.method != "POST":
                return cls.empty("405 Method Not Allowed")
            if method == "server/discover":
                if era != "2026-07-28":
                    return cls.body(cls.error(None, -32000, "Bad Request: no session"), "400 Bad Request")
                return cls.body(cls.result(ident, {"supportedVersions": [era], "capabilities": capabilities, "resultType": "complete"}))
            if method == "initialize":
                result = {"protocolVersion": era, "capabilities": capabilities, "serverInfo": {"name": "s", "version": "1"}}
                return cls.body(cls.result(ident, result), **({"Mcp_Session_Id": session} if session else {}))
            if ident is None or method is None:
                return cls.empty("202 Accepted")
            return on_call(request)

        return handle


@pytest.fixture
def http():
    return Http


@pytest.fixture
async def script():
    """Start a `Script` around a handler."""
    running = []

    async def start(handle):
        running.append(await Script(handle).start())
        return running[-1]

    yield start
    for one in running:
        await one.stop()
