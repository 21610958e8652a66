"""A TCP proxy before PostgreSQL that cuts a connection where it hurts, once the statement that commits was sent, or falls silent."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
"""The message as the protocol has it: type, length, text."""

READY = b"Z\x00\x00\x00\x05"
"""How the end of every answer begins: the server is ready for the next question."""

PATIENCE = 30.0
"""Seconds for the other end to say or hear what is waited for."""

Cut = Literal["never", "after", "before", "late", "garbled"]


class WireCutter:
    """Passes bytes on until `cut` says otherwise, then for one statement only: the first that holds `at`.

    `after`: the server gets the statement, the client no answer. `before`: the server does not even get it. `late`: the client is cut off
    first, and the server gets the statement when `let_go` is set; `heard` is then what it answers. `garbled`: the client gets an answer that
    is none. `then` are further cuts, one after the other, each with what its statement holds.

    While `passing` is clear nothing gets through in either direction, and no connection ends.
    """

    def __init__(self, host: str, port: int) -> None:
        self.cut: Cut = "never"
        self.at = COMMIT
        self.cuts = 0
        self.then: list[tuple[Cut, bytes]] = []
        self.let_go = asyncio.Event()
        self.holding = asyncio.Event()
        self.passing = asyncio.Event()
        self.passing.set()
        self.heard = b""
        self.loop = asyncio.get_running_loop()
        """Where it runs: whoever sets `let_go` from another thread does it there."""
        self._address = (host, port)
        self._answered: dict[asyncio.StreamWriter, asyncio.Event] = {}
        self._garbling: asyncio.StreamWriter | None = None
        self._held: asyncio.Task[None] | None = None

    def commits(self) -> Callable[[bytes], bool]:
        """For one connection: whether what its client sends next is what is to be cut."""
        return lambda data: self.at in data

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(*self._address)
        except OSError:
            writer.transport.abort()
            return
        requests = asyncio.ensure_future(self._requests(reader, back, writer))
        answers = asyncio.ensure_future(self._answers(there, writer))
        try:
            await asyncio.wait((requests, answers), return_when=asyncio.FIRST_COMPLETED)
            if self._held is requests:
                await asyncio.wait((requests,))
        finally:
            for pump in (requests, answers):
                pump.cancel()
            await asyncio.gather(requests, answers, return_exceptions=True)
            for end in (writer, back):
                end.close()
                with suppress(OSError):
                    await end.wait_closed()

    async def _requests(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, client: asyncio.StreamWriter) -> None:
        commits = self.commits()
        while data := await reader.read(1 << 20):
            await self.passing.wait()
            if commits(data) and self.cut != "never":
                await self._cut(data + await _rest(data, reader), server, client)
                return
            server.write(data)
            await server.drain()

    async def _cut(self, data: bytes, server: asyncio.StreamWriter, client: asyncio.StreamWriter) -> None:
        how, self.cut = self.cut, "never"
        if self.then:
            self.cut, self.at = self.then.pop(0)
        self.cuts += 1
        if how == "before":
            return
        if how == "late":
            self._held = asyncio.current_task()
            self.holding.set()
        if how == "garbled":
            self._garbling = client
        else:
            client.transport.abort()
        if how == "late":
            await self.let_go.wait()
            self.heard = b""
        answered = self._answered[client] = asyncio.Event()
        server.write(data)
        await server.drain()
        with suppress(TimeoutError):  # the server is to do it before it sees the end of the connection, however busy it is
            await asyncio.wait_for(answered.wait(), PATIENCE)
        self._held = None

    async def _answers(self, server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while data := await server.read(1 << 20):
            await self.passing.wait()
            answered = self._answered.get(client) if READY in data else None
            if client.is_closing():
                self.heard += data
            else:
                if self._garbling is client:
                    self._garbling = None
                    data = data.replace(b"COMMIT", b"\xff" * 6).replace(b"done", b"\xff" * 4)
                client.write(data)
                with suppress(OSError):
                    await client.drain()
            if answered is not None:
                answered.set()
        if client in self._answered:  # nothing more comes
            self._answered[client].set()


async def _rest(data: bytes, reader: asyncio.StreamReader) -> bytes:
    """What else of the question is on its way."""
    found = b""
    with suppress(TimeoutError):
        while not _whole(data + found) and (more := await asyncio.wait_for(reader.read(1 << 20), PATIENCE)):
            found += more
    return found


def _whole(data: bytes) -> bool:
    """Whether these are whole messages, the last of which asks for an answer: a query, Sync or Flush."""
    at, last = 0, 0
    while at + 5 <= len(data):
        last, at = data[at], at + 1 + int.from_bytes(data[at + 1 : at + 5])
    return at == len(data) and last in b"QSH"


class RecordCutter(WireCutter):
    """Cuts only where records that hold `at` are committed, be it by the statement that brings them or by a COMMIT later on."""

    def commits(self) -> Callable[[bytes], bool]:
        begun = holding = False

        def look(data: bytes) -> bool:
            nonlocal begun, holding
            begun, holding = begun or b"BEGIN" in data, holding or self.at in data
            if begun and COMMIT not in data:
                holding &= b"ROLLBACK" not in data
                begun &= b"ROLLBACK" not in data
                return False
            found, begun, holding = holding, False, False
            return found

        return look


@asynccontextmanager
async def cutter(url: str, make: type[WireCutter] = WireCutter) -> AsyncIterator[tuple[WireCutter, str]]:
    """A proxy before the database of `url`, and the address by which it is reached."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    proxy = make(parts.hostname, parts.port)
    serving: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        with suppress(OSError, asyncio.CancelledError):
            await proxy.serve(reader, writer)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield proxy, urlunsplit(parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}"))
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await server.wait_closed()
