"""Mixed load on several replicas: clients of both eras and of two organisations that go to the other replica when their connection breaks.

A session of the older era is opened once and kept for good, whatever becomes of the process that opened it, unless Redis lost its data.
Every answer is noted, by key.
"""

import asyncio
import collections
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tests.chaos.load import BROKEN, MIX, Answer, Line, Unfinished, Wrong, unknown_key
from tests.chaos.several import DOORS, ORGS, REPLICAS, World
from tests.support.hub import Hub
from tests.support.mcp import LEGACY, MODERN, Client, dumps, message, modern_headers, modern_params
from tests.support.wire import Connection, request_bytes, send

EXPECTED = frozenset(
    {
        "",
        *("denied", "invalid_params", "limited"),
        *("store_unavailable", "journal_unavailable", "outcome_unrecorded"),
        *("upstream_unavailable", "upstream_fault"),  # a worker's stdio servers end with it, and with the process that holds their pipes
        "draining",  # a parent was killed: its workers finish what they have
    }
)
"""Codes an answer may bear. Not among them: `internal`, for a key that counts `unauthenticated`, and `session_not_found`: see `LOST`."""

LOST = "session_not_found"
"""May be heard once by each client where Redis has lost its data since the client opened its session; it opens another then."""

WANDER = 0.1
"""How often a client goes to the other replica without a reason: else all would stay where nothing happens."""

PAUSE = 0.2
"""Seconds a client thinks at most between two calls: what is examined afterwards is to stay small."""


class Ways:
    """As much of a hub as a client needs: the replica it goes to at the moment."""

    def __init__(self, hubs: Sequence[Hub], at: int) -> None:
        self.keys = hubs[0].keys
        self._hubs = hubs
        self._at = at

    @property
    def at(self) -> int:
        return self._at % len(self._hubs)

    @property
    def address(self) -> tuple[str, int]:
        return self._hubs[self.at].address

    @property
    def other(self) -> tuple[str, int]:
        return self._hubs[(self._at + 1) % len(self._hubs)].address

    def turn(self) -> None:
        self._at += 1


class Roamer(Line):
    """One client. `ways` is where it goes."""

    def __init__(self, ways: Ways, key: str, say: Callable[[Answer], None], seed: int) -> None:
        super().__init__(Client(ways, key, DOORS[ORGS.get(key, "default")]), say, seed)  # type: ignore[arg-type]  # as much of one as it needs
        self.ways = ways
        self.key = key
        self.pipe = {"default": "pipe", "acme": "tube"}[ORGS.get(key, "default")]
        self.over = True
        self.asked: list[float] = []
        """When requests were begun, answered or not; Unix seconds."""
        self.opened = 0.0
        """When its session was asked for."""

    async def connect(self) -> None:
        self._connection = await Connection.open(self.ways.address)
        self.over = False

    async def leave(self) -> None:
        """Close the connection; the next is opened for the next step."""
        self.over = True
        await self.close()

    async def exchange(self, what: str, body: bytes | None, headers: Any, *, key: str = "", timeout: float = 60.0) -> Any:
        self.asked.append(time.time())
        answer = await super().exchange(what, body, headers, key=key, timeout=timeout)
        if answer.headers.get("connection") == "close":
            await self.leave()
        if answer.status == 404:  # the session is lost: the next request of the older era opens another
            self.session = ()
        if what.startswith("call ") and answer.headers.get("content-type", "").startswith("text/event-stream"):
            *_, last = answer.events or [{}]
            if "result" in last and b"\n: hub-receipt: " not in b"\n" + answer.body:
                raise Wrong(f"a stream was completed without the receipt of its outcome: {answer.body[-500:]!r}")
        return answer

    async def older(self, method: str, params: dict[str, Any], what: str = "") -> Any:
        if not self.session:
            greeting = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "load", "version": "1"}}
            self.opened = time.time()
            answer = await self.exchange("initialize", dumps(message("initialize", greeting)), ())
            if answer.status != 200:
                raise Unfinished  # refused, as everything is at the moment: another time
            self.session = (("mcp-session-id", answer.headers["mcp-session-id"]), ("mcp-protocol-version", LEGACY))
            if self.over:
                await self.connect()
        return await super().older(method, params, what)

    async def raw(self, data: bytes) -> None:
        assert self._connection is not None
        await self._connection.send(data)

    async def read(self, path: str) -> None:
        """An operator's look, which leaves no record."""
        assert self._connection is not None
        await self.raw(request_bytes("GET", path, self.client.headers(), None))
        answer = await self._connection.response(60.0)
        if answer.headers.get("connection") == "close":
            await self.leave()
        if answer.status not in (200, 503):
            raise Wrong(f"{path}: {answer.status} {answer.body[:300]!r}")


Step = Callable[[Roamer], Awaitable[Any]]


async def cancel(line: Roamer) -> None:
    """A call that is cancelled by way of the other replica. It ends without an answer, or, where that was not heard, with it."""
    if not line.session:
        await line.older("tools/list", {})
        return
    text = line.text()
    asked = message("tools/call", {"name": f"{line.pipe}_slow", "arguments": {"text": text, "seconds": 1.0}}, text)
    going = asyncio.ensure_future(line.exchange("cancelled", dumps(asked), line.session))
    try:
        await asyncio.wait((going,), timeout=line.random.uniform(0.0, 0.3))
        notice = dumps({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": text}})
        with contextlib.suppress(*BROKEN):  # nobody is there, and nobody hears of it
            await send(line.ways.other, line.client.wire(notice, *line.session), 10.0)
        await going
    finally:
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)


async def walk_away(line: Roamer) -> None:
    """A client that does not wait for its answer."""
    line.asked.append(time.time())
    params = modern_params({"name": f"{line.pipe}_slow", "arguments": {"text": line.text(), "seconds": 0.5}})
    await line.raw(line.client.wire(dumps(message("tools/call", params)), *modern_headers("tools/call", params)))
    await asyncio.sleep(line.random.uniform(0.0, 0.2))
    await line.leave()


async def listen(line: Roamer) -> None:
    """Hold a stream for changes open for some seconds."""
    try:
        async with asyncio.timeout(line.random.uniform(0.5, 3.0)):
            if line.random.random() < 0.5:
                if not line.session:
                    await line.older("tools/list", {})
                    return
                await line.exchange("stream", None, [*line.session, ("accept", "text/event-stream")])
            else:
                params = modern_params({"notifications": {"toolsListChanged": True}})
                headers = [("mcp-protocol-version", MODERN), ("mcp-method", "subscriptions/listen")]
                await line.exchange("listen", dumps(message("subscriptions/listen", params)), headers)
    except TimeoutError:
        await line.leave()


def on_pipe(tool: str, **more: Any) -> Step:
    """A call to the stdio server of the client's own organisation."""
    return lambda line: line.call(f"{line.pipe}_{tool}", **more)


MIXED: Sequence[Step] = (
    *MIX[:4],
    *[on_pipe("echo")] * 4,
    lambda line: line.call("web_echo", old=True),
    on_pipe("echo", old=True),
    on_pipe("jitter"),
    lambda line: line.call("web_jitter", old=True),
    on_pipe("slow", progress=True),
    lambda line: line.call("web_slow", progress=True, seconds=0.05),
    on_pipe("slow", progress=True, old=True, seconds=0.05),
    lambda line: line.modern("tools/list", {}),
    lambda line: line.older("tools/list", {}),
    lambda line: line.call("web_forbidden"),
    lambda line: line.call("web_scarce"),
    lambda line: line.modern("tools/call", {"name": "web_echo", "arguments": {"text": 7}}, "misfit"),
    unknown_key,
    cancel,
    walk_away,
)
ECHO: Sequence[Step] = (
    lambda line: line.call("web_echo"),
    lambda line: line.call("web_echo", old=True),
    lambda line: line.modern("tools/list", {}),
)
CROWDED: Sequence[Step] = (
    *[lambda line: line.call("web_crowd", seconds=0.1)] * 3,
    *[lambda line: line.call("web_crowd", seconds=0.1, old=True)] * 3,
    # still runs when Redis is back, having lost its count, and is over before anybody may count anew
    lambda line: line.call("web_crowd", seconds=1.5),
)
READING: Sequence[Step] = tuple(
    (lambda line, path=path: line.read(path)) for path in ("/admin/v1/status", "/admin/v1/keys", "/metrics", "/health/ready")
)
CAST: Sequence[tuple[str, int, Sequence[Step]]] = (
    ("ann", 6, MIXED),
    ("bob", 4, MIXED),
    ("paced", 2, ECHO),
    ("few", 2, ECHO),
    ("crowded", 6, CROWDED),
    ("ann", 2, (listen,)),
    ("root", 1, READING),
)
"""Key, clients with it, what they do."""


class Roaming:
    """The whole cast, from `start` until `ended`. What was noted stays when they start again."""

    def __init__(self, world: World, seed: int) -> None:
        self.answers: dict[str, list[Answer]] = collections.defaultdict(list)
        self.good: collections.Counter[tuple[str, int]] = collections.Counter()
        """Answers without a refusal, by key and replica."""
        self.wrong: list[str] = []
        self.reopened: collections.Counter[int] = collections.Counter()
        """How often each client, by its number, was told that its session is not known, and so had to initialize again."""
        self.broken = 0
        self.unfinished = 0
        self._world = world
        self._over = False
        self._random = random.Random(seed)
        self._lines: list[tuple[Roamer, Sequence[Step]]] = []
        for key, many, mix in CAST:
            for number in range(many):
                ways = Ways(world.replicas, number)
                line = Roamer(ways, key, self._noting(len(self._lines), key, ways), seed * 1000 + len(self._lines))
                self._lines.append((line, mix))
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._over = False
        self._tasks = [asyncio.create_task(self._run(line, mix)) for line, mix in self._lines]

    async def goes_on(self, more: int, seconds: float = 60.0) -> None:
        """Wait for so many good answers more in each organisation from each replica."""
        end, wanted = time.monotonic() + seconds, {(key, at): self.good[key, at] + more for key in ("ann", "bob") for at in range(REPLICAS)}
        while any(self.good[each] < least for each, least in wanted.items()):
            assert time.monotonic() < end, f"too few good answers: {self.good}, wanted {wanted}"
            assert not self.wrong, self.wrong[:5]
            await asyncio.sleep(0.05)

    async def ended(self, seconds: float = 60.0) -> None:
        """Have every client finish what it is at and leave."""
        self._over = True
        _, late = await asyncio.wait(self._tasks, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert not late, f"{len(late)} clients hang"
        assert not self.wrong, self.wrong[:5]

    def asked(self, key: str, since: float = 0.0) -> int:
        """Requests begun with this key, since then (Unix seconds)."""
        return sum(when >= since for line, _ in self._lines if line.key == key for when in line.asked)

    def all(self, org: str) -> list[Answer]:
        return [answer for key, answers in self.answers.items() if ORGS.get(key) == org for answer in answers]

    def _noting(self, number: int, key: str, ways: Ways) -> Callable[[Answer], None]:
        def note(answer: Answer) -> None:
            self.answers[key].append(answer)
            self.good[key, ways.at] += answer.status == 200 and not answer.code
            if answer.code == LOST:
                self.reopened[number] += 1
                opened = self._lines[number][0].opened
                if not any(opened < gone for gone, _ in self._world.losses):
                    self.wrong.append(f"{key}: a session was lost: {answer}")
                return
            strange = answer.code not in EXPECTED and not (answer.what == "stranger" and answer.code == "unauthenticated")
            if strange or answer.status not in (200, 202, 401, 429, 503):
                self.wrong.append(f"{key}: {answer}")

        return note

    async def _run(self, line: Roamer, mix: Sequence[Step]) -> None:
        try:
            while not self._over:
                try:
                    if line.over:
                        await line.connect()
                    await line.random.choice(mix)(line)
                    if line.random.random() < WANDER:
                        await line.leave()
                        line.ways.turn()
                except Unfinished:
                    self.unfinished += 1
                except TimeoutError:
                    self.wrong.append(f"{line.key}: no answer")
                    return
                except BROKEN:
                    self.broken += 1
                    await line.leave()
                    line.ways.turn()
                    await asyncio.sleep(line.random.uniform(0.0, PAUSE))
                await asyncio.sleep(line.random.uniform(0.0, PAUSE))
        except (Wrong, KeyError, ValueError, AssertionError) as problem:
            self.wrong.append(f"{line.key}: {type(problem).__name__}: {problem}")
        finally:
            await line.leave()
