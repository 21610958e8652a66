"""A closed-loop load generator: N keep-alive connections, one `tools/call` in flight on each, every answer checked.

A program of its own, so that it can be pinned to a core of its own:
`python -m tests.bench.load URL CONNECTIONS SECONDS ERA TOOL [HEADER=VALUE ...]` prints one JSON object. Knows no target but the URL.
"""

import asyncio
import gc
import math
import sys
import time
from typing import Protocol, cast
from urllib.parse import urlsplit

import httptools
import orjson
import uvloop

PADDING = "x" * 180
"""With its number in front, the text a call carries is 197 bytes."""


def first_number() -> int:
    """Microseconds of the clock, 16 digits. Counting on from there no two calls carry the same text, those of another round included, as
    long as no round makes a million calls a second: whoever remembers what it did with a text gains nothing."""
    return time.time_ns() // 1000


class Shape:
    """The bytes of a request but for its number, made once."""

    def __init__(self, url: str, era: str, tool: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        lines = {
            "host": parts.netloc,
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": era,
        } | headers
        meta = {}
        if era >= "2026":
            lines |= {"mcp-method": "tools/call", "mcp-name": tool}
            meta = {"_meta": {"io.modelcontextprotocol/protocolVersion": era, "io.modelcontextprotocol/clientCapabilities": {}}}
        params = {"name": tool, "arguments": {"text": "@TEXT@"}} | meta
        body = orjson.dumps({"jsonrpc": "2.0", "id": "@ID@", "method": "tools/call", "params": params}).decode()
        self.body = body.replace('"@ID@"', "%d").replace("@TEXT@", "%d " + PADDING).encode()
        # Numbers from `first_number` on are of one length, so that the head is the same each time.
        lines["content-length"] = str(len(self.body % (first_number(), first_number())))
        self.head = (f"POST {parts.path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n").encode()

    def request(self, number: int) -> bytes:
        return self.head + self.body % (number, number)


class Wrong(Exception):
    """An answer that is not the answer to what was asked."""


def check(number: int, status: int, body: bytes) -> None:
    """The answer must be the echo of exactly this request, as JSON or as one event of a stream."""
    if body.startswith((b"event:", b"data:", b"id:", b":")):
        body = next((line[5:] for line in body.splitlines() if line.startswith(b"data:") and b'"jsonrpc"' in line), b"")
    try:
        reply = orjson.loads(body)
        text = reply["result"]["content"][0]["text"]
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        raise Wrong(f"status {status}: {body[:300]!r}") from None
    if status != 200 or reply["id"] != number or text != f"{number} {PADDING}":
        raise Wrong(f"asked {number}, status {status}: {body[:300]!r}")


class Client(asyncio.Protocol):
    """One connection of the loop."""

    def __init__(self, run: "Run") -> None:
        self.run = run
        self.body = b""
        self.number = 0
        self.started = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.parser = httptools.HttpResponseParser(self)
        self.send()

    def send(self) -> None:
        self.number = self.run.next()
        self.body = b""
        request = self.run.shape.request(self.number)
        self.started = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        try:
            self.check()
        except Wrong as error:
            self.run.fail(str(error))
            self.transport.close()
            return
        self.run.latencies.append(now - self.started)
        if now < self.run.deadline:
            if not self.parser.should_keep_alive():
                self.run.fail("the target closes its connections")
            self.send()
        else:
            self.transport.close()
            self.run.left()

    def check(self) -> None:
        """Raises `Wrong`."""
        check(self.number, self.parser.get_status_code(), self.body)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.transport.is_closing() or exc:
            self.run.fail(f"connection lost: {exc}")


class Asks(Protocol):
    """What makes the bytes of the request with this number."""

    host: str
    port: int

    def request(self, number: int) -> bytes: ...


class Run:
    """What all connections share."""

    def __init__(self, shape: Asks, connections: int, seconds: float) -> None:
        self.shape, self.open = shape, connections
        self.deadline = time.perf_counter() + seconds
        self.latencies: list[float] = []
        self.number = first_number()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def next(self) -> int:
        self.number += 1
        return self.number

    def left(self) -> None:
        self.open -= 1
        if not self.open and not self.done.done():
            self.done.set_result(None)

    def fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(Wrong(why))


def percentile(ordered: list[float], share: float) -> float:
    """Nearest rank."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


async def main(url: str, connections: int, seconds: float, era: str, tool: str, *headers: str) -> None:
    shape = Shape(url, era, tool, dict(header.split("=", 1) for header in headers))
    gc.disable()
    run = Run(shape, connections, seconds)
    began = time.perf_counter()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: run.fail(repr(context.get("exception") or context["message"])))
    for _ in range(connections):
        await asyncio.get_running_loop().create_connection(lambda: Client(run), shape.host, shape.port)
    await asyncio.wait_for(run.done, seconds + 60)
    took = time.perf_counter() - began
    print(orjson.dumps(figures(run, took)).decode())


def figures(run: Run, took: float) -> dict[str, float]:
    """What a run of `took` seconds came to."""
    ordered = sorted(run.latencies)
    return {
        "calls": len(ordered),
        "seconds": took,
        "rate": len(ordered) / took,
        "p50_us": percentile(ordered, 0.5) * 1e6,
        "p99_us": percentile(ordered, 0.99) * 1e6,
    }


if __name__ == "__main__":
    try:
        uvloop.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), *sys.argv[4:]))
    except (Wrong, TimeoutError, OSError) as error:
        sys.exit(f"load: {type(error).__name__}: {error}")
