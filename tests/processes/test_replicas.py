"""Two replicas of two workers each on one PostgreSQL and one Redis: what is revoked, edited or restarted at one, as all four processes see it."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest

from tests.processes.several import Line, Several, serving, together
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer
from tests.support.hub import Hub, eventually
from tests.support.late import lateness
from tests.support.mcp import Client, dumps, message, modern_headers, modern_params
from tests.support.several import rewrite
from tests.support.wire import Connection

GRANTS = [{"virtual_server": "main"}]
CONFIG: dict[str, Any] = {"server": {"notice": 2.0}}

Replicas = tuple[Several, Several]


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer, redis_server: RedisServer) -> Generator[Replicas]:
    redis_server.ask("FLUSHALL")
    database = postgres_server.create_database()
    folders = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    with together(folders, CONFIG, postgres=postgres_server.url(database), redis=redis_server.url) as (one, two):
        yield one, two
    postgres_server.drop_database(database)


@contextlib.asynccontextmanager
async def everywhere(replicas: Replicas) -> AsyncGenerator[list[list[Line]]]:
    """Of each of the four processes two kept connections."""
    async with replicas[0].lines(4, each=2) as first, replicas[1].lines(4, each=2) as second:
        yield [[line for line in lines if line.worker == number][:2] for lines in (first, second) for number in (1, 2)]


async def say(line: Line, key: str, method: str, params: dict[str, Any]) -> None:
    params = modern_params(params)
    await line.connection.send(Client(line.hub, key).wire(dumps(message(method, params)), *modern_headers(method, params)))


async def status(line: Line, key: str) -> int:
    await say(line, key, "tools/call", {"name": "echo", "arguments": {"text": "x"}})
    return (await line.connection.response()).status


async def cut_everywhere(replicas: Replicas, name: str, revoke: Any) -> float:
    """Have a key stream and call at all four processes, `revoke()` it and see each cut; seconds from the revocation to the last cut, without
    those for which a busy machine let nobody go on."""
    made = await asyncio.to_thread(replicas[0].admin, "POST", "/admin/v1/keys", {"name": name, "grants": GRANTS})
    async with everywhere(replicas) as groups:
        for _, second in groups:
            await eventually(lambda line=second: known(line, made["key"]), 30)
        for number, (first, second) in enumerate(groups):
            await say(first, made["key"], "subscriptions/listen", {"notifications": {"toolsListChanged": True}})
            assert (await first.connection.head())[0] == 200
            await say(second, made["key"], "tools/call", {"name": "hold", "arguments": {"text": f"{name} {number}", "until": "/never"}})
        await eventually(lambda: sum(f"{name} {n}" in replicas[0].notes.read_text() for n in range(4)) == 4, 30)
        revoke()
        with lateness() as late:
            started = time.monotonic()
            answered = asyncio.create_task(asyncio.to_thread(replicas[0].admin, "DELETE", f"/admin/v1/keys/{name}"))
            assert await asyncio.gather(*(ended(*group) for group in groups)) == [(401, "unauthenticated")] * 4
            took = time.monotonic() - started - late.allowed
        await answered  # that it holds everywhere, which nobody can say while Redis is away before a second has passed
        assert [await status(second, made["key"]) for _, second in groups] == [401] * 4
    return took


async def known(line: Line, key: str) -> bool:
    return await status(line, key) == 200


async def ended(stream: Line, call: Line) -> tuple[int, str]:
    """Wait until the stream has ended and the call is answered; how it is."""
    async for _ in stream.connection.messages():
        pass
    answer = await call.connection.response()
    return answer.status, answer.why


async def test_a_revocation_cuts_what_runs_at_every_process_and_is_heard_of_at_once(replicas: Replicas) -> None:
    assert await cut_everywhere(replicas, "heard", lambda: None) < 1.0


async def test_with_redis_away_it_holds_everywhere_within_a_second_and_readiness_says_so(replicas: Replicas, redis: RedisServer) -> None:
    assert {hub.standing()["redis"]["up"] for hub in replicas} == {True}
    assert await cut_everywhere(replicas, "unheard", redis.stop_answering) < 1.0
    for hub in replicas:
        await eventually(lambda hub=hub: hub.standing()["redis"] == {"up": False})
        assert hub.standing()["status"] == "ready"
    redis.resume()
    for hub in replicas:
        await eventually(lambda hub=hub: hub.standing()["redis"] == {"up": True}, 30)


async def test_replicas_with_different_configurations_show_it_on_each_and_in_its_metrics(replicas: Replicas) -> None:
    one, two = replicas
    same = one.standing()["config"]
    await eventually(lambda: all(hub.standing()["configs"] == {same: 4} for hub in replicas), 30)
    assert [worker["generation"] for hub in replicas for worker in hub.standing()["workers"]] == [1, 1, 1, 1]
    before = two.file.read_text()
    rewrite(two, before.replace('"drain": 5', '"drain": 6'))
    await eventually(lambda: two.standing()["config"] != same and two.standing()["generation"] == 2, 30)
    other = two.standing()["config"]
    await eventually(lambda: all(hub.standing()["configs"] == {same: 2, other: 2} for hub in replicas), 30)
    for worker in (1, 2):  # whoever answered above had heard of all; the other may hear a moment later
        assert one.metrics()[f'hub_config{{hash="{same}",worker="{worker}"}}'] == 1.0
        counted = [f'hub_config_processes{{hash="{found}",worker="{worker}"}}' for found in (same, other)]
        await eventually(lambda counted=counted: [one.metrics().get(name) for name in counted] == [2.0, 2.0], 30)
    rewrite(two, before)
    await eventually(lambda: all(hub.standing()["configs"] == {same: 4} for hub in replicas), 30)


async def test_replicas_restarted_one_after_the_other_behind_a_load_balancer_fail_no_call(replicas: Replicas) -> None:
    before = {pid for hub in replicas for pid in hub.pids()}
    answers, over = Counter[str](), asyncio.Event()

    async def call(front: Balancer) -> None:
        while not over.is_set():
            answer = await Client(front, "user").call("echo", {"text": "x"})
            answers["ok" if answer.status == 200 and "result" in answer.json else f"{answer.status} {answer.body!r}"] += 1

    async with Balancer(replicas) as front:
        load = [asyncio.create_task(call(front)) for _ in range(6)]
        for hub in replicas:
            so_far = answers.total()
            await eventually(lambda so_far=so_far: answers.total() > so_far + 50, 30)
            assert await asyncio.to_thread(hub.stop) == 0
            await asyncio.to_thread(Hub.start, hub)
            await asyncio.to_thread(serving, hub)
            await eventually(lambda: len(front.ready) == 2, 30)
        over.set()
        await asyncio.gather(*load)
    assert set(answers) == {"ok"}, answers
    assert not before & {pid for hub in replicas for pid in hub.pids()}


class Balancer:
    """Spreads requests over the replicas that were ready when last asked, which it asks ten times a second. It tries nothing twice."""

    EVERY = 0.1

    def __init__(self, hubs: Replicas) -> None:
        self.keys = hubs[0].keys
        self.address = ("", 0)
        self.ready: list[Several] = []
        self._hubs = hubs
        self._turn = 0
        self._idle: dict[tuple[str, int], list[Connection]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Balancer":
        self._tasks.add(asyncio.create_task(self._watch()))
        await eventually(lambda: len(self.ready) == len(self._hubs), 30)
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = self._server.sockets[0].getsockname()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for idle in self._idle.values():
            for connection in idle:
                await connection.close()

    async def _watch(self) -> None:
        while True:
            said = await asyncio.gather(*(self._is_ready(hub) for hub in self._hubs))
            self.ready = [hub for hub, so in zip(self._hubs, said, strict=True) if so]
            await asyncio.sleep(self.EVERY)

    async def _is_ready(self, hub: Several) -> bool:
        try:
            return (await hub.ask()).status == 200
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            return False

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass_on(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of a connection, and its answer."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            writer.write(await self._answer(head + await reader.readexactly(int(length))))
        writer.close()

    async def _answer(self, request: bytes) -> bytes:
        while not self.ready:
            await asyncio.sleep(self.EVERY)
        self._turn += 1
        hub = self.ready[self._turn % len(self.ready)]
        idle = self._idle.setdefault(hub.address, [])
        try:
            connection = idle.pop() if idle else await Connection.open(hub.address)
            await connection.send(request)
            answer = await connection.response()
        except (OSError, asyncio.IncompleteReadError) as error:
            text = repr(error).encode()
            return b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text)
        if answer.headers.get("connection") == "close":
            await connection.close()
        else:
            idle.append(connection)
        return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (answer.status, len(answer.body), answer.body)
