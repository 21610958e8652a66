"""A round-robin HTTP proxy before several hubs, as the plainest load balancer is one. Tests only; it knows nothing of sessions, keys or MCP.

Each *request* goes to the next replica, whatever connection it came by. Bytes pass through as they come, in both directions. A replica that
refuses the connection is passed over, because nothing has been sent to it; nothing else is ever tried again. A client that goes takes its
request with it: the connection to the replica is closed. Replicas whose `/health/ready` says no, asked every 100 ms, get no requests as
long as another says yes.
"""

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import AsyncIterator, Generator, Sequence

Address = tuple[str, int]

EVERY = 0.1
"""Seconds between two questions for one replica's readiness."""

PATIENCE = 3.0
"""Seconds for the answer to that: a machine that is busy with other things is no dead replica."""

READY = b"GET /health/ready HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
NOBODY = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n"
HEAD = 256 * 1024
"""Bytes a head may have: more than any hub takes, so that the hub is who refuses."""

READ = 64 * 1024
GONE = (OSError, EOFError)  # asyncio.IncompleteReadError is an EOFError


class Gone(EOFError):
    """One side has closed the connection where more had to come."""


class Side:
    """What comes over one connection. Unlike asyncio's reader it can wait for more, or for the end, without taking anything."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.held = bytearray()
        self.ended = False

    async def more(self) -> bool:
        """Wait for more bytes; False where none will come."""
        if self.ended:
            return False
        data = await self._reader.read(READ)
        self.held += data
        self.ended = not data
        return bool(data)

    async def until_gone(self) -> None:
        """Return when the other end has closed. What it sends meanwhile (its next request) is kept, up to a bound."""
        with contextlib.suppress(OSError):
            while len(self.held) < HEAD and await self.more():
                pass
        if not self.ended and len(self.held) >= HEAD:
            await asyncio.Event().wait()

    async def head(self) -> bytes:
        """A request's or an answer's first line and headers, with the empty line. Raises `Gone`."""
        while (end := self.held.find(b"\r\n\r\n")) < 0:
            if len(self.held) > HEAD or not await self.more():
                raise Gone
        return self.take(end + 4)

    def take(self, count: int) -> bytes:
        data = bytes(self.held[:count])
        del self.held[:count]
        return data

    async def exactly(self, count: int) -> AsyncIterator[bytes]:
        """So many bytes, in pieces as they come. Raises `Gone`."""
        while count:
            if not self.held and not await self.more():
                raise Gone
            data = self.take(min(count, len(self.held)))
            count -= len(data)
            yield data

    async def chunks(self) -> AsyncIterator[bytes]:
        """A chunked body as it stands on the wire, to the end of its trailers. Raises `Gone`."""
        while True:
            line = await self._line()
            yield line
            size = int(line.split(b";")[0], 16)
            if size == 0:
                break
            async for data in self.exactly(size + 2):
                yield data
        while (line := await self._line()) != b"\r\n":
            yield line
        yield line

    async def rest(self) -> AsyncIterator[bytes]:
        """Everything until the other end closes."""
        while self.held or await self.more():
            yield self.take(len(self.held))

    async def _line(self) -> bytes:
        while (end := self.held.find(b"\r\n")) < 0:
            if not await self.more():
                raise Gone
        return self.take(end + 2)

    async def close(self, patience: float = 1.0) -> None:
        """What was written goes out first, unless the other end does not take it within `patience` seconds."""
        self.writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(patience):
                await self.writer.wait_closed()
                return
        self.writer.transport.abort()
        await asyncio.sleep(0)


class Head:
    """The first line and the headers of a message, as far as a proxy has to read them."""

    def __init__(self, raw: bytes) -> None:
        self.first, *lines = raw[:-4].split(b"\r\n")
        self.lines = lines
        pairs = [line.partition(b":") for line in lines]
        self._values = {name.strip().lower(): value.strip().lower() for name, _, value in pairs}

    def get(self, name: bytes) -> bytes:
        return self._values.get(name, b"")

    @property
    def closes(self) -> bool:
        return self.get(b"connection") == b"close" or self.first.endswith(b"HTTP/1.0")

    def passed_on(self) -> bytes:
        """Without what is said to the next hop only."""
        kept = [line for line in self.lines if line.partition(b":")[0].strip().lower() not in (b"connection", b"keep-alive")]
        return b"\r\n".join([self.first, *kept, b"", b""])


class Balancer:
    """`serve` inside a loop. `replicas` may be changed at any time; `sent` counts the requests each has been given."""

    def __init__(self, replicas: Sequence[Address]) -> None:
        self.replicas = list(replicas)
        self.sent: Counter[Address] = Counter()
        self.port = 0
        self._unready: set[Address] = set()
        self._turn = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator["Balancer"]:
        server = await asyncio.start_server(self._take, "127.0.0.1", 0, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        asking = asyncio.create_task(self._ask_all())
        try:
            yield self
        finally:
            server.close()
            asking.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(asking, *self._tasks, return_exceptions=True)

    # Who gets it

    def _candidates(self) -> list[Address]:
        """The replicas, the one whose turn it is first. Where none is ready all are: its refusal says more than one of ours."""
        ready = [replica for replica in self.replicas if replica not in self._unready] or self.replicas
        self._turn += 1
        first = self._turn % len(ready)
        return [*ready[first:], *ready[:first]]

    async def _connect(self) -> Side | None:
        """To the next replica; past those that refuse the connection. None where all of them do."""
        for replica in self._candidates():
            with contextlib.suppress(ConnectionRefusedError):
                side = Side(*await asyncio.open_connection(*replica))
                self.sent[replica] += 1
                return side
        return None

    async def _ask_all(self) -> None:
        asked: dict[Address, asyncio.Task[None]] = {}
        try:
            while True:
                for replica in self.replicas:
                    if replica not in asked or asked[replica].done():
                        asked[replica] = asyncio.create_task(self._ask(replica))
                await asyncio.sleep(EVERY)
        finally:
            await asyncio.gather(*asked.values(), return_exceptions=True)  # one that is cancelled while it connects leaves its socket open

    async def _ask(self, replica: Address) -> None:
        ready = False
        with contextlib.suppress(*GONE, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                side = Side(*await asyncio.open_connection(*replica))
                try:
                    side.writer.write(READY)
                    ready = b" 200 " in (await side.head()).split(b"\r\n")[0]
                finally:
                    await side.close()
        (self._unready.discard if ready else self._unready.add)(replica)

    # One client

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(Side(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: Side) -> None:
        try:
            while await self._one(client):
                pass
        except (*GONE, ValueError):  # the last: a length that is no number
            pass
        finally:
            await client.close()

    async def _one(self, client: Side) -> bool:
        """One request and its answer; whether another may follow on this connection. Raises `Gone`, `OSError`."""
        head = Head(await client.head())
        replica = await self._connect()
        if replica is None:
            client.writer.write(NOBODY)
            return False
        asking = asyncio.create_task(_request(client, replica, head))
        answering = asyncio.create_task(_answer(replica, client, head.first.startswith(b"HEAD ")))
        try:
            await asyncio.wait((asking, answering), return_when=asyncio.FIRST_COMPLETED)
            if asking.done() and isinstance(asking.exception(), EOFError):
                raise Gone  # the client left in the middle of its request
            if asking.done() and not answering.done():
                leaving = asyncio.create_task(client.until_gone())
                await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
                leaving.cancel()
                await asyncio.gather(leaving, return_exceptions=True)
            whole = asking.done() and asking.exception() is None
            return answering.done() and answering.result() and whole and not client.ended and not head.closes
        finally:
            for task in (asking, answering):
                task.cancel()
            await asyncio.gather(asking, answering, return_exceptions=True)
            replica.writer.transport.abort()
            await replica.close()


async def _request(client: Side, replica: Side, head: Head) -> None:
    """Pass a request on."""
    replica.writer.write(head.passed_on())
    await _pass(_body(client, head), replica)


async def _answer(replica: Side, client: Side, no_body: bool) -> bool:
    """Pass the answer back; whether the client can tell where it ends without the connection's end."""
    while True:
        head = Head(await replica.head())
        status = int(head.first.split(b" ")[1])
        client.writer.write(head.passed_on())
        if status >= 200:
            break
    if no_body or status in (204, 304):
        await client.writer.drain()
        return True
    framed = bool(head.get(b"content-length") or head.get(b"transfer-encoding"))
    await _pass(_body(replica, head) if framed else replica.rest(), client)
    return framed


def _body(side: Side, head: Head) -> AsyncIterator[bytes]:
    if head.get(b"transfer-encoding") == b"chunked":
        return side.chunks()
    return side.exactly(int(head.get(b"content-length") or b"0"))


async def _pass(data: AsyncIterator[bytes], to: Side) -> None:
    """Nothing is held back but what the other end does not take."""
    async for piece in data:
        to.writer.write(piece)
        await to.writer.drain()
    await to.writer.drain()


@contextlib.contextmanager
def balanced(replicas: Sequence[Address]) -> Generator[Balancer]:
    """A balancer in a thread of its own, for a block."""
    balancer = Balancer(replicas)
    ready, over = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        async with balancer.serve():
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="balancer", daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield balancer
    finally:
        loops[0].call_soon_threadsafe(over.set)
        thread.join(10)
