"""Mixed load on one hub, and a note of every answer. What it notes is what a client could hold against the journal afterwards."""

import asyncio
import contextlib
import os
import random
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from tests.support.hub import Hub
from tests.support.mcp import LEGACY, MODERN, Client, dumps, message, modern_headers, modern_params
from tests.support.wire import Connection, Headers, Response, events_of, request_bytes

BROKEN = (ConnectionError, asyncio.IncompleteReadError, OSError)
_COMMENT = re.compile(rb"^: hub-receipt: (\S+)$", re.M)


class Answer(NamedTuple):
    """`code` is empty, or the stable code of a refusal; `receipts` in the order they came; `trace` as sent to the hub.

    `began` is Unix time, `took` seconds.
    """

    what: str
    status: int
    code: str
    call: str
    receipts: tuple[str, ...]
    trace: str
    began: float
    took: float


class Wrong(AssertionError):
    """An answer that is not the answer to what was asked."""


class Unfinished(Exception):
    """A stream that ended in order but without its answer, as it must where the outcome could not be recorded."""


class Line:
    """One kept-alive connection of one client, with a session of the older era. `say` notes each answer as it is complete."""

    def __init__(self, client: Client, say: Callable[[Answer], None], seed: int) -> None:
        self.client = client
        self.random = random.Random(seed)
        self.session: Headers = ()
        self._say = say
        self._connection: Connection | None = None
        self._count = 0
        self._seed = seed

    async def connect(self) -> None:
        self._connection = await Connection.open(self.client.hub.address)
        params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "load", "version": "1"}}
        answer = await self.exchange("initialize", dumps(message("initialize", params)), ())
        if answer.status == 200:
            self.session = (("mcp-session-id", answer.headers["mcp-session-id"]), ("mcp-protocol-version", LEGACY))

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    def text(self) -> str:
        """Never the same twice."""
        self._count += 1
        return f"{self._seed}-{self._count}-{os.urandom(6).hex()}"

    async def exchange(self, what: str, body: bytes | None, headers: Headers, *, key: str = "", timeout: float = 60.0) -> Response:
        """One request (GET without a body) and its answer, noted. Of a stream that breaks off, what its head promised is noted."""
        assert self._connection is not None
        trace, began = os.urandom(16).hex(), time.time()
        more = [*headers, ("traceparent", f"00-{trace}-{'1' * 16}-00"), *([("authorization", f"Bearer {key}")] if key else [])]
        await self._connection.send(request_bytes("GET" if body is None else "POST", self.client.path, self.client.headers(*more), body))
        status, found = await self._connection.head(timeout)
        receipts = [found["hub-receipt"]] if "hub-receipt" in found else []
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(timeout):
                if found.get("transfer-encoding") == "chunked":
                    async for chunk in self._connection.chunks():  # not a comprehension: what came is kept when it breaks off
                        parts.append(chunk)  # noqa: PERF401 (see above)
                else:
                    parts.append(await self._connection.reader.readexactly(int(found.get("content-length", "0"))))
        finally:
            text = b"".join(parts)
            receipts += [receipt.decode() for receipt in _COMMENT.findall(text)]
            answer = Response(status, found, text)
            self._say(
                Answer(what, status, _code(answer), found.get("x-request-id", ""), tuple(receipts), trace, began, time.time() - began)
            )
        return answer

    async def modern(self, method: str, params: dict[str, Any], what: str = "", **meta: Any) -> Any:
        full = modern_params(params, **meta)
        sent = message(method, full)
        return _matching(sent, await self.exchange(what or method, dumps(sent), modern_headers(method, full)))

    async def older(self, method: str, params: dict[str, Any], what: str = "") -> Any:
        sent = message(method, params)
        return _matching(sent, await self.exchange(what or f"older {method}", dumps(sent), self.session))

    async def call(self, tool: str, *, old: bool = False, progress: bool = False, **arguments: Any) -> Any:
        """`tools/call`; the answer, where there is one, must bear the text of this very call."""
        text = self.text()
        params: dict[str, Any] = {"name": tool, "arguments": {"text": text, **arguments}}
        if progress:
            params["_meta"] = {"progressToken": text}
        answer = await (self.older if old else self.modern)("tools/call", params, f"call {tool}")
        if "result" in answer and (answer["result"].get("isError") or answer["result"]["content"] != [{"type": "text", "text": text}]):
            raise Wrong(f"asked {tool} {text}, got {str(answer)[:300]}")
        return answer


Step = Callable[[Line], Awaitable[Any]]


async def unknown_key(line: Line) -> None:
    answer = await line.exchange("stranger", dumps(message("tools/list", {})), (), key="hub_nobody_nothing")
    if answer.status not in (401, 503):
        raise Wrong(f"a stranger got {answer.status}")


MIX: Sequence[Step] = (
    *[lambda line: line.call("web_echo")] * 4,
    *[lambda line: line.call("pipe_echo")] * 4,
    lambda line: line.call("web_echo", old=True),
    lambda line: line.call("pipe_echo", old=True),
    lambda line: line.call("wrapped_jitter"),
    lambda line: line.call("web_jitter", old=True),
    lambda line: line.call("pipe_slow", progress=True),
    lambda line: line.call("web_slow", progress=True, seconds=0.05),
    lambda line: line.call("web_slow", progress=True, old=True, seconds=0.05),
    lambda line: line.modern("tools/list", {}),
    lambda line: line.older("tools/list", {}),
    lambda line: line.modern("server/discover", {}),
    lambda line: line.call("web_forbidden"),
    lambda line: line.call("web_scarce"),
    lambda line: line.call("no_such_tool", old=True),
    lambda line: line.modern("tools/call", {"name": "web_echo", "arguments": {"text": 7}}, "misfit"),
    unknown_key,
)


class Load:
    """`lines` clients at once, each doing what `mix` holds in an order of its own, until told to stop or the hub goes."""

    def __init__(self, hub: Hub, lines: int, seed: int, *, key: str = "user", mix: Sequence[Step] = MIX) -> None:
        self.hub = hub
        self.answers: list[Answer] = []
        self.wrong: list[str] = []
        self.unfinished = 0
        self._mix = mix
        self._stop = False
        self._lines = [Line(Client(hub, key), self.answers.append, seed * 1000 + number) for number in range(lines)]
        self._streams = [Line(Client(hub, key), self.answers.append, seed * 1000 + lines + number) for number in range(4)]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> "Load":
        self._tasks = [asyncio.create_task(self._run(line)) for line in self._lines]
        self._tasks += [asyncio.create_task(self._listen(line, old=number % 2 == 1)) for number, line in enumerate(self._streams)]
        return self

    async def busy(self, answers: int, seconds: float = 60.0) -> None:
        """Wait until so many answers have come."""
        end = time.monotonic() + seconds
        while len(self.answers) < answers:
            assert time.monotonic() < end, f"{len(self.answers)} answers in {seconds} s; wrong: {self.wrong[:3]}"
            assert not all(task.done() for task in self._tasks), self.wrong[:3]
            await asyncio.sleep(0.02)

    async def ended(self, *, stop: bool = False, seconds: float = 60.0) -> None:
        """Wait until every client has stopped: because it was told to, or because the hub has gone."""
        self._stop = stop
        streams = self._tasks[len(self._lines) :]
        _, late = await asyncio.wait(self._tasks[: len(self._lines)], timeout=seconds)
        for task in late if not stop else [*late, *streams]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert not late, f"{len(late)} clients hang"
        assert not self.wrong, self.wrong[:5]

    async def _run(self, line: Line) -> None:
        with contextlib.suppress(*BROKEN):
            try:
                await line.connect()
                while not self._stop:
                    try:
                        await line.random.choice(self._mix)(line)
                    except Unfinished:
                        self.unfinished += 1
            except (Wrong, TimeoutError, KeyError, ValueError) as problem:
                self.wrong.append(f"{type(problem).__name__}: {problem}")
            finally:
                await line.close()

    async def _listen(self, line: Line, *, old: bool) -> None:
        """Hold a stream for changes open for as long as the hub lets it."""
        with contextlib.suppress(*BROKEN):
            try:
                await line.connect()
                if old:
                    await line.exchange("stream", None, [*line.session, ("accept", "text/event-stream")], timeout=600)
                    return
                params = modern_params({"notifications": {"toolsListChanged": True}})
                headers = [("mcp-protocol-version", MODERN), ("mcp-method", "subscriptions/listen")]
                await line.exchange("listen", dumps(message("subscriptions/listen", params)), headers, timeout=600)
            finally:
                await line.close()


def _code(answer: Response) -> str:
    """The stable code of the refusal that an answer, or the last event of a stream, is; empty for anything else."""
    with contextlib.suppress(ValueError, KeyError, TypeError, IndexError):
        return str(_last(answer)["error"]["data"]["code"])
    return ""


def _last(answer: Response) -> Any:
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        return Response(200, {}, events_of(answer.body)[-1]).json
    return answer.json


def _matching(sent: dict[str, Any], answer: Response) -> Any:
    """The message answered with; it must be the answer to `sent`, and progress before it must be of the same call."""
    found = _last(answer)
    if "id" not in found:
        raise Unfinished
    if found.get("id") not in ((sent["id"],) if answer.status == 200 else (sent["id"], None)):
        raise Wrong(f"asked {sent['id']}, status {answer.status}: {answer.body[:300]!r}")
    token = (sent.get("params") or {}).get("_meta", {}).get("progressToken")
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        for event in answer.events[:-1]:
            if event["params"]["progressToken"] != token or event["params"]["message"] != token:
                raise Wrong(f"progress of another call at {token}: {event}")
    return found
