"""The round-robin proxy: it alternates, drains, passes over only who refuses the connection, and neither swallows nor makes up a byte."""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator

import pytest

from tests.support.balancer import Address, Balancer
from tests.support.hub import eventually
from tests.support.wire import Connection, request_bytes

STREAM = b"5\r\nfirst\r\n", b"f;note=kept\r\nsecond\r\n\r\n0\r\n\r\n\r\n0\r\ntrailer: kept\r\n\r\n"
"""Chunks as they stand on the wire. The second looks like an end inside."""


def asking(path: str, body: bytes | None = None) -> bytes:
    return request_bytes("GET" if body is None else "POST", path, [("host", "127.0.0.1")], body)


class Replica:
    """An HTTP server for one request on each connection: `/` says its name and repeats the body, `/stream` ends when `go_on` is set,
    `/hang` closes instead of answering, `/wait` waits until the other end has left."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready = True
        self.heard: list[str] = []
        """Paths that were asked for."""
        self.left = 0
        self.go_on = asyncio.Event()
        self.address: Address = ("", 0)

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncGenerator[asyncio.Server]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            self.address = server.sockets[0].getsockname()
            yield server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            if path == "/health/ready":
                writer.write(b"HTTP/1.1 %d Said\r\ncontent-length: 0\r\n\r\n" % (200 if self.ready else 503))
            else:
                self.heard.append(path)
                await self._answer(path, head, reader, writer)
            await writer.drain()
        writer.close()

    async def _answer(self, path: str, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if path == "/hang":
            return
        if path == "/wait":
            self.left += await reader.read() == b""
            return
        writer.write(b"HTTP/1.1 200 OK\r\nname: %b\r\n" % self.name.encode())
        if path == "/stream":
            writer.write(b"transfer-encoding: chunked\r\n\r\n" + STREAM[0])
            await self.go_on.wait()
            writer.write(STREAM[1])
            return
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0)
        writer.write(b"content-length: %d\r\n\r\n" % length)
        writer.write(await reader.readexactly(length))


@contextlib.asynccontextmanager
async def behind(*names: str) -> AsyncGenerator[tuple[Balancer, list[Replica]]]:
    """Replicas that serve, and the proxy before them."""
    async with contextlib.AsyncExitStack() as stack:
        replicas = [Replica(name) for name in names]
        for replica in replicas:
            await stack.enter_async_context(replica.serve())
        yield await stack.enter_async_context(Balancer([replica.address for replica in replicas]).serve()), replicas


def connected(balancer: Balancer) -> contextlib.AbstractAsyncContextManager[Connection]:
    @contextlib.asynccontextmanager
    async def opened() -> AsyncGenerator[Connection]:
        async with await Connection.open(("127.0.0.1", balancer.port)) as connection:
            yield connection

    return opened()


async def told(balancer: Balancer, requests: int) -> list[str]:
    """Who answers so many requests, sent over one connection."""
    async with connected(balancer) as connection:
        names: list[str] = []
        for _ in range(requests):
            await connection.send(asking("/"))
            names.append((await connection.response()).headers["name"])
        return names


async def serving(balancer: Balancer, *names: str) -> None:
    """Wait until requests go to these and to no other."""

    async def so() -> bool:
        return set(await told(balancer, 4)) == set(names)

    await eventually(so, 30)


async def test_each_request_goes_to_the_next_whether_connections_are_kept_or_not() -> None:
    async with behind("a", "b", "c") as (balancer, replicas):
        kept = await told(balancer, 9)
        assert sorted(kept[:3]) == ["a", "b", "c"]
        assert kept == kept[:3] * 3
        assert [(await told(balancer, 1))[0] for _ in range(6)] == kept[:6]
        assert [balancer.sent[replica.address] for replica in replicas] == [5, 5, 5]


async def test_who_is_not_ready_gets_no_request_finishes_what_it_has_and_is_used_again_when_it_is() -> None:
    async with behind("a", "b") as (balancer, replicas):
        async with connected(balancer) as running:
            await running.send(asking("/stream"))
            _, headers = await running.head()
            one, other = sorted(replicas, key=lambda replica: replica.name != headers["name"])
            one.ready = False
            await serving(balancer, other.name)
            assert set(await told(balancer, 10)) == {other.name}
            one.go_on.set()
            assert b"".join([chunk async for chunk in running.chunks()]) == b"firstsecond\r\n\r\n0\r\n\r\n"
        other.ready = False
        await serving(balancer, "a", "b")  # where none is ready all are asked: what they say is worth more than a word of the proxy
        one.ready = True
        await serving(balancer, one.name)


async def test_who_refuses_the_connection_is_passed_over_and_nothing_that_was_sent_is_tried_again() -> None:
    async with behind("a", "b") as (balancer, (a, b)):
        async with Replica("gone").serve() as server:
            gone = server.sockets[0].getsockname()
        balancer.replicas.append(gone)
        assert set(await told(balancer, 12)) == {"a", "b"}
        assert balancer.sent[gone] == 0
        for _ in range(4):
            async with connected(balancer) as connection:
                await connection.send(asking("/hang"))
                assert await connection.reader.read() == b"", "nothing is made up for the answer that did not come"
        assert (a.heard + b.heard).count("/hang") == 4
        balancer.replicas[:] = [gone]
        async with connected(balancer) as connection:
            await connection.send(asking("/"))
            assert (await connection.response()).status == 502


async def test_a_client_that_leaves_takes_its_request_with_it() -> None:
    async with behind("a") as (balancer, (a,)):
        async with connected(balancer) as connection:
            await connection.send(asking("/wait"))
            await eventually(lambda: a.heard == ["/wait"], 30)
            assert a.left == 0
        await eventually(lambda: a.left == 1, 30)


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
async def test_every_byte_arrives_however_it_is_cut_up(piece: int) -> None:
    async with behind("a", "b") as (balancer, (a, b)), connected(balancer) as connection:
        a.go_on.set()
        b.go_on.set()
        bodies = [os.urandom(1 << 20) if piece > 7 else os.urandom(300) for _ in range(2)]
        data = asking("/", bodies[0]) + asking("/stream") + asking("/", bodies[1]) + asking("/stream")

        async def send() -> None:
            for start in range(0, len(data), piece):
                await connection.send(data[start : start + piece])

        sending = asyncio.create_task(send())
        for body in bodies:
            assert (await connection.response()).body == body
            await connection.head()
            assert await connection.reader.readexactly(len(b"".join(STREAM))) == b"".join(STREAM), "chunks and trailers as they were sent"
        await sending
        connection.writer.write_eof()
        assert await connection.reader.read() == b""
