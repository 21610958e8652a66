"""A hub of several workers as a test sees it from outside: its processes, which worker answers, how it ends."""

import asyncio
import base64
import contextlib
import os
import re
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Sequence
from pathlib import Path
from typing import Any

from tests.chaos.world import marked, pipe
from tests.services.machine import children, state
from tests.support.hub import Hub, wait_for
from tests.support.mcp import Client, dumps, message, modern_headers, modern_params
from tests.support.several import rewrite
from tests.support.wire import Connection, Response, request_bytes

KEYS = [
    {"name": "root", "roles": ["admin"]},
    {"name": "user", "subject": "user:ann", "grants": [{"virtual_server": "main"}]},
]
READY = request_bytes("GET", "/health/ready", [("host", "127.0.0.1")], None)
BROKEN = (OSError, asyncio.IncompleteReadError)


class Several(Hub):
    """Behind the virtual server `main` stands the abused server of the chaos tests, over its pipes."""

    def __init__(self, folder: Path, config: dict[str, Any], *, postgres: str, redis: str, workers: int) -> None:
        self.notes = folder / "notes"
        self.workers = workers
        super().__init__(folder, config, postgres=postgres, redis=redis)

    def configure(self, config: dict[str, Any]) -> None:
        whole = {
            "keys": KEYS,
            "upstreams": {"pipe": pipe(self.notes)},
            "virtual_servers": {"main": {"include": [{"from": "pipe"}]}},
            **config,
        }
        whole["server"] = {"workers": self.workers, "drain": 5, **config.get("server", {})}
        super().configure(whole)

    def start(self) -> "Several":
        super().start()
        wait_for(lambda: [one["state"] for one in self.standing()["workers"]] == ["serving"] * self.workers)
        return self

    async def ask(self) -> Response:
        async with await Connection.open(self.address) as connection:
            await connection.send(READY)
            return await connection.response()

    @contextlib.asynccontextmanager
    async def lines(self, count: int, each: int = 1) -> "AsyncGenerator[list[Line]]":
        """So many kept connections, opened at once, with the worker each has come to; and more, until every worker has `each`."""
        connections = await asyncio.gather(*(Connection.open(self.address) for _ in range(count)))
        lines = [Line(self, connection) for connection in connections]
        try:
            await asyncio.gather(*(line.whose() for line in lines))
            while sum(count >= each for count in Counter(line.worker for line in lines).values()) < self.workers:
                lines.append(Line(self, await Connection.open(self.address)))
                await lines[-1].whose()
            yield lines
        finally:
            for line in lines:
                await line.close()

    def pids(self) -> list[int]:
        """The workers' processes, by what they were started with."""
        return [pid for pid in children(self.pid) if b"hub.processes.worker" in _arguments(pid)]

    def worker(self, number: int) -> int:
        """The process of one worker."""
        (found,) = [pid for pid in self.pids() if _arguments(pid)[-2] == str(number).encode()]
        return found

    def host(self) -> int:
        """The process that owns the stdio servers."""
        (found,) = [pid for pid in children(self.pid) if b"hub.processes.host" in _arguments(pid)]
        return found

    def gone(self, pids: list[int], seconds: float = 30.0) -> None:
        """Wait until these processes, and every server that any hub of this test has started, have ended."""
        wait_for(lambda: all(state(pid) in "XZ" for pid in pids) and not marked(f"CHAOS={self.notes}"), seconds)

    def says(self, text: str, times: int = 1, seconds: float = 30.0) -> None:
        """Wait until the log has it."""
        wait_for(lambda: self.log.read_text().count(text) >= times, seconds)

    def metrics(self) -> dict[str, float]:
        """A scrape, by the text before the value."""
        lines = [line for line in self.admin("GET", "/metrics").splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def wipe(self) -> None:
        """Leave nothing of it behind, however the test has ended."""
        self.gone(self.kill())

    def kill(self) -> list[int]:
        """End it and its workers at once; which these were."""
        if self.process is None:
            return []
        workers = self.pids()
        if self.process.poll() is None:
            for pid in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()
        return workers


class Line:
    """One kept connection. `worker` is whom it has come to; `call` opens it anew where the hub has said that it ends."""

    def __init__(self, hub: Several, connection: Connection) -> None:
        self.hub = hub
        self.connection = connection
        self.worker = 0

    async def whose(self) -> int:
        self.worker = (await self.raw_ready()).json["worker"]
        return self.worker

    async def raw_ready(self) -> Response:
        await self.connection.send(READY)
        return await self.connection.response()

    async def send(self, tool: str, arguments: dict[str, Any], ident: Any = None, **meta: Any) -> None:
        params = modern_params({"name": tool, "arguments": arguments}, **meta)
        await self.connection.send(
            Client(self.hub, "user").wire(dumps(message("tools/call", params, ident)), *modern_headers("tools/call", params))
        )

    async def call(self, tool: str = "echo", arguments: dict[str, Any] | None = None) -> Response:
        await self.send(tool, arguments or {"text": "x"})
        response = await self.connection.response()
        if response.headers.get("connection") == "close":
            await self.connection.close()
            self.connection = await Connection.open(self.hub.address)
        return response

    async def close(self) -> None:
        await self.connection.close()


class Load:
    """Calls without a pause over so many kept connections, until `ended`. `wrong` is what was no answer to a call."""

    def __init__(self, hub: Several, lines: int) -> None:
        self._hub = hub
        self._lines = lines
        self._over = False
        self.answers = 0
        self.wrong: Counter[str] = Counter()
        self._tasks: list[asyncio.Task[None]] = []
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> "Load":
        lines = await self._stack.enter_async_context(self._hub.lines(self._lines))
        self._tasks = [asyncio.create_task(self._run(line)) for line in lines]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        await asyncio.gather(*self._tasks)
        await self._stack.aclose()

    async def busy(self, more: int, seconds: float = 30.0) -> None:
        """Wait for so many more answers."""
        end, wanted = time.monotonic() + seconds, self.answers + more
        while self.answers < wanted:
            assert time.monotonic() < end, f"only {self.answers} answers came; {self.wrong}"
            await asyncio.sleep(0.01)

    async def _run(self, line: Line) -> None:
        while not self._over:
            try:
                response = await line.call()
            except BROKEN as error:
                self.wrong[type(error).__name__] += 1
                with contextlib.suppress(OSError):
                    line.connection = await Connection.open(self._hub.address)
                continue
            self.answers += 1
            if response.status != 200 or "result" not in response.json:
                self.wrong[f"{response.status} {response.json}"] += 1


@contextlib.contextmanager
def together(
    folders: Sequence[Path], config: dict[str, Any], *, postgres: str, redis: str, workers: int = 2
) -> Generator[tuple[Several, ...]]:
    """One replica in each folder, started at once with one configuration, the same keys and the same secrets; nothing is left behind."""
    config = {**config, "secrets": {"master": "${TEST_MASTER}", "log": "${TEST_LOG}"}}
    secrets = {name: base64.b64encode(os.urandom(32)).decode() for name in ("TEST_MASTER", "TEST_LOG")}
    hubs = tuple(Several(folder, config, postgres=postgres, redis=redis, workers=workers) for folder in folders)
    try:
        begun: list[int] = []
        for hub in hubs:
            hub.environment.update(secrets)
            hub.notes = hubs[0].notes
            hub.keys.update(hubs[0].keys)
            rewrite(hub, hubs[0].file.read_text())
            begun.append(hub.launch())
        for hub, at in zip(hubs, begun, strict=True):
            hub.await_ready(at)
            hub.settled("pipe")
            serving(hub)
        yield hubs
        for hub in hubs:
            assert hub.process is not None
            hub.process.send_signal(signal.SIGTERM)
        for hub in hubs:
            assert hub.process is not None
            if config.get("server", {}).get("notice"):  # which nobody needs any more: a second signal, once the first was taken
                wait_for(lambda hub=hub: not hub._ready())
                hub.process.send_signal(signal.SIGTERM)
            assert hub.process.wait(30) == 0, hub.log.read_text()[-4000:]
            assert "Traceback" not in hub.log.read_text(), hub.log.read_text()[-8000:]
    finally:
        workers = [pid for hub in hubs for pid in hub.kill()]
        hubs[0].gone(workers)


def serving(hub: Several) -> None:
    """Wait until all of its workers serve."""
    wait_for(lambda: [one["state"] for one in hub.standing()["workers"]] == ["serving"] * hub.workers, 30)


def _arguments(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return []


def refuses(hub: Several) -> bool:
    """Whether nobody listens any more."""
    try:
        socket.create_connection(hub.address, 1).close()
    except OSError:
        return True
    return False


def worker_of(text: str) -> int:
    """The label of a metric that is one worker's."""
    found = re.search(r'worker="(\d+)"', text)
    return int(found[1]) if found else 0
