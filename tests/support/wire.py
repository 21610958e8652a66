"""A small HTTP/1.1 client that sends exactly what it is told, well-formed or not, and reads answers and event streams. Tests only."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

Headers = Sequence[tuple[str, str]]
PATIENCE = 20.0
"""Seconds after which an answer that has not come counts as a hang."""


class Response(NamedTuple):
    """`headers` by lower-case name; one that came twice is joined by a comma."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]

    @property
    def code(self) -> int:
        return self.error["code"]

    @property
    def why(self) -> str:
        """The stable code of a refusal."""
        return self.error["data"]["code"]

    @property
    def result(self) -> Any:
        return self.json["result"]

    @property
    def events(self) -> list[Any]:
        """The messages of an event stream that has ended."""
        return [json.loads(event) for event in events_of(self.body)]


def events_of(body: bytes) -> list[bytes]:
    """The data of the events in a text of `text/event-stream`."""
    blocks = body.replace(b"\r\n", b"\n").split(b"\n\n")
    found = [[line[6:] for line in block.split(b"\n") if line.startswith(b"data: ")] for block in blocks]
    return [b"\n".join(lines) for lines in found if lines]


def request_bytes(method: str, target: str, headers: Headers, body: bytes | None) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if body is not None and not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in headers):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


class Connection:
    """One connection, kept alive between requests."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @staticmethod
    async def open(address: tuple[str, int]) -> "Connection":
        return Connection(*await asyncio.open_connection(*address, limit=64 * 1024 * 1024))

    async def __aenter__(self) -> "Connection":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, timeout: float = PATIENCE) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer. Raises `asyncio.IncompleteReadError` where the hub closed instead."""
        async with asyncio.timeout(timeout):
            raw = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").split("\r\n")
        headers: dict[str, str] = {}
        for line in filter(None, lines):
            name, _, value = line.partition(":")
            name = name.lower()
            headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
        return int(first.split(" ")[1]), headers

    async def response(self, timeout: float = PATIENCE) -> Response:
        """The next answer, read to its end."""
        status, headers = await self.head(timeout)
        async with asyncio.timeout(timeout):
            if headers.get("transfer-encoding") == "chunked":
                return Response(status, headers, b"".join([part async for part in self.chunks()]))
            length = int(headers.get("content-length", "0"))
            return Response(status, headers, await self.reader.readexactly(length))

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            size = int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16)
            data = await self.reader.readexactly(size + 2)
            if size == 0:
                return
            yield data[:-2]

    async def messages(self) -> AsyncIterator[Any]:
        """The messages of the event stream whose head has been read, as they come; ends with the stream."""
        held = b""
        async for chunk in self.chunks():
            held += chunk
            *whole, held = held.split(b"\n\n")
            for block in whole:
                for event in events_of(block):
                    yield json.loads(event)


async def send(address: tuple[str, int], data: bytes, timeout: float = PATIENCE) -> Response:
    """Send `data` on a connection of its own and read one answer."""
    connection = await Connection.open(address)
    try:
        await connection.send(data)
        return await connection.response(timeout)
    finally:
        await connection.close()
