"""Two processes that serve as one: sessions of the older era whichever is asked, whichever is killed, with Redis and while it is away."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest

from tests.journeys.conftest import connected
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer
from tests.support.hub import Hub, eventually
from tests.support.journal import of_call
from tests.support.late import lateness
from tests.support.mcp import Client, Session, dumps, message
from tests.support.servers import HttpServer
from tests.support.several import Several, rewrite
from tests.support.wire import Connection


@pytest.fixture
def pair(two_hubs: Several) -> Iterator[tuple[Hub, Hub]]:
    """The two, both running at the end."""
    one, two = two_hubs.hubs
    yield one, two
    for hub in (one, two):
        if not hub.alive:
            hub.start().settled("good")


def at(hub: Hub, session: Session, key: str = "ann") -> Session:
    """The same session, spoken to at this process."""
    return Session(Client(hub, key), session.id, session.greeting)


async def streaming(session: Session) -> Connection:
    connection, status, _ = await session.client.stream(None, *session.headers(), method="GET")
    assert status == 200
    return connection


async def told(stream: Connection, method: str) -> None:
    """Listen until it is told that; a server that was fetched late may be told of before."""
    async for heard in stream.messages():
        if heard["method"] == method:
            return
    raise AssertionError(f"the stream ended without {method}")


async def text_of(coming: Any) -> str:
    answer = await coming
    assert answer.status == 200, answer
    return answer.result["content"][0]["text"]


async def test_each_step_of_a_session_may_be_taken_at_another_process(pair: tuple[Hub, Hub]) -> None:
    one, two = pair
    params = {"protocolVersion": "2025-06-18", "capabilities": {"roots": {}}, "clientInfo": {"name": "x", "version": "1"}}
    answer = await Client(one, "ann").raw(dumps(message("initialize", params)))
    session = Session(Client(one, "ann"), answer.headers["mcp-session-id"], answer.result)
    there = at(two, session)
    assert (await there.notify("notifications/initialized")).status == 202
    assert await text_of(session.call("echo", {"text": "here"})) == "here"
    assert await text_of(there.call("echo", {"text": "there"})) == "there"
    stream = await streaming(session)
    counted = await there.call("count", {"steps": 3}, progressToken="p")
    assert [event.get("method") for event in counted.events] == ["notifications/progress"] * 3 + [None], "progress stays with its call"
    assert (await at(two, session, "ben").request("tools/list")).why == "session_not_found"
    assert (await there.end()).status == 204
    for hub in pair:
        assert (await at(hub, session).request("tools/list")).why == "session_not_found"
    await stream.close()


async def test_a_call_is_cancelled_by_way_of_the_other_process_once(pair: tuple[Hub, Hub], downstream: HttpServer) -> None:
    one, two = pair
    session = await Client(one, "ann").session()
    mark = f"far {session.id}"
    call = asyncio.create_task(session.call("wait", {"mark": mark}, ident=77))
    await eventually(lambda: f"began {mark}" in downstream.noted())
    with lateness() as late:
        started = time.monotonic()
        for _ in range(3):
            assert (await at(two, session).notify("notifications/cancelled", {"requestId": 77})).status == 202
        answer = await call
        assert time.monotonic() - started < 1.0 + late.allowed
    assert b"result" not in answer.body
    await eventually(lambda: f"cancelled {mark}" in downstream.noted())
    ends = await eventually(lambda: [record for record in of_call(one.database, answer) if "outcome" in record])
    assert [end["outcome"]["status"] for end in ends] == ["aborted"]
    assert downstream.noted().count(f"cancelled {mark}") == 1
    assert await text_of(session.call("echo", {"text": "goes on"}, ident=77)) == "goes on"


async def test_a_call_over_http_asks_redis_once_about_limits_of_caller_and_tool(pair: tuple[Hub, Hub], redis_server: RedisServer) -> None:
    before = pair[0].file.read_text()
    each = {"per_minute": 60_000, "concurrency": 50, "per_day": 10_000}
    limits = [{"name": "mine", "scope": "key", **each}, {"name": "all", "scope": "org", **each}, {"name": "its", "scope": "tool", **each}]
    text = json.dumps({**json.loads(before), "limits": limits})
    hash_ = pair[0].status()["config"]
    for hub in pair:
        rewrite(hub, text)
    await eventually(lambda: hash_ != pair[0].status()["config"] == pair[1].status()["config"])
    clients = [Client(hub, "ann") for hub in pair]

    def done(command: str) -> int:
        return redis_server.ask("INFO", "commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"]

    async def called(times: int) -> None:
        for number in range(times):
            assert (await clients[number % 2].call("echo", {"text": "x"})).status == 200

    await called(4)  # from then on the server knows the script
    await eventually(lambda: redis_server.ask("KEYS", "hub:{*}:flying:*") == [])
    found: list[tuple[int, int]] = []
    while (20, 20 * len(limits)) not in found:  # hubs ask something of their own now and then, never for each call
        assert len(found) < 5, found
        asked, freed = done("evalsha"), done("zrem")
        await called(20)
        await eventually(lambda: redis_server.ask("KEYS", "hub:{*}:flying:*") == [])
        found.append((done("evalsha") - asked, done("zrem") - freed))
    for hub in pair:
        rewrite(hub, before)
    await eventually(lambda: pair[0].status()["config"] == pair[1].status()["config"] == hash_)


async def test_a_change_only_one_process_sees_reaches_streams_of_the_other(pair: tuple[Hub, Hub]) -> None:
    one, two = pair
    session = await Client(one, "ann").session()
    here, there = await streaming(session), await streaming(at(two, session))
    before = one.file.read_text()
    rewrite(one, before.replace('"picture"', '"picture", "count"', 1))  # its file, not the other's
    for stream in (here, there):
        await asyncio.wait_for(told(stream, "notifications/tools/list_changed"), 30)
        await stream.close()
    assert "count" not in [tool["name"] for tool in (await session.request("tools/list")).result["tools"]]
    rewrite(one, before)
    await eventually(lambda: one.status()["config"] == two.status()["config"])


async def test_a_change_of_a_server_is_listed_and_told_everywhere(pair: tuple[Hub, Hub]) -> None:
    one, two = pair
    session = await Client(one, "ann").session()
    stream = await streaming(at(two, session))
    name = f"grown_{session.id[:6].replace('-', '_')}"
    assert await text_of(session.call("grow", {"name": name})) == "grown"

    async def listed(hub: Hub) -> bool:
        return name in [tool["name"] for tool in (await at(hub, session).request("tools/list")).result["tools"]]

    async def told_until_listed() -> None:
        async for heard in stream.messages():
            if heard["method"] == "notifications/tools/list_changed" and await listed(one) and await listed(two):
                return

    await asyncio.wait_for(told_until_listed(), 30)
    await stream.close()


async def test_a_revoked_key_loses_its_sessions_and_streams_everywhere_within_a_second(
    pair: tuple[Hub, Hub], redis_server: RedisServer
) -> None:
    one, two = pair
    made = one.admin("POST", "/admin/v1/keys", {"name": "gone", "grants": [{"virtual_server": "*"}]})

    async def known() -> bool:
        return (await Client(two, made["key"]).call("echo", {"text": "x"})).status == 200

    await eventually(known)
    session = await Client(one, made["key"]).session()
    stream = await streaming(at(two, session, made["key"]))
    kept = f"hub:session*{made['key'].split('_')[1]}*"
    assert len(redis_server.ask("KEYS", kept)) == 2
    with lateness() as late:
        started = time.monotonic()
        await asyncio.to_thread(one.admin, "DELETE", "/admin/v1/keys/gone")
        async for _ in stream.messages():
            pass
        assert time.monotonic() - started < 1.0 + late.allowed
    for hub in pair:
        assert (await at(hub, session, made["key"]).request("tools/list")).status == 401
    await eventually(lambda: redis_server.ask("KEYS", kept) == [])
    await stream.close()


@pytest.mark.parametrize("harm", ["kill", "stop_answering"])
async def test_without_redis_older_sessions_are_unavailable_never_unknown_and_go_on_with_it(
    pair: tuple[Hub, Hub], redis: RedisServer, harm: str
) -> None:
    sessions = [await Client(hub, "ann").session() for hub in pair]
    both = [at(hub, session) for session in sessions for hub in pair]
    assert [(await session.request("tools/list")).status for session in both] == [200] * 4
    getattr(redis, harm)()

    async def refused() -> bool:
        """Whether all are; one that was asked for a moment ago is still known. No other answer is right."""
        answers = [await session.request("tools/list") for session in both]
        for answer in answers:
            if answer.status != 200:
                assert (answer.status, answer.why, answer.headers["retry-after"]) == (503, "store_unavailable", "1")
        return all(answer.status == 503 for answer in answers)

    try:
        await eventually(refused)
        hello = dumps(message("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}}))
        for hub in pair:
            answer = await Client(hub, "ann").raw(hello)
            assert (answer.status, answer.why) == (503, "store_unavailable")
            assert "mcp-session-id" not in answer.headers
            assert (await Client(hub, "ann").call("echo", {"text": "the newer era needs no session"})).status == 200
    finally:
        redis.heal()

    async def served(session: Session) -> bool:
        answer = await session.request("tools/list")
        assert answer.status in (200, 503), answer
        return answer.status == 200

    for session in both:
        await eventually(lambda session=session: served(session))


async def test_a_process_that_cannot_reach_redis_says_so_and_does_not_start(two_hubs: Several, redis: RedisServer, tmp_path: Path) -> None:
    like = two_hubs.hubs[0]
    late = Hub(tmp_path, {}, postgres=str(like.database), redis=redis.url)
    late.environment.update(like.environment)
    rewrite(late, like.file.read_text())
    redis.kill()
    said = await asyncio.to_thread(late.refused)
    assert "the hub cannot start" in said
    assert "Redis" in said
    assert "Traceback" not in said


async def test_a_session_whose_opening_cannot_be_recorded_is_not_kept(
    pair: tuple[Hub, Hub], postgres: PostgresServer, redis_server: RedisServer
) -> None:
    one, two = pair
    assert (await Client(one, "ann").call("echo", {"text": "all is well"})).status == 200
    before = set(redis_server.ask("KEYS", "hub:session:*"))
    postgres.stop_answering()
    try:
        hello = dumps(message("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}}))
        refused = await Client(one, "ann").raw(hello)
        assert (refused.status, refused.why) in ((503, "journal_unavailable"), (503, "store_unavailable"))  # by then nobody may be let in
        assert "mcp-session-id" not in refused.headers
        assert set(redis_server.ask("KEYS", "hub:session:*")) == before
    finally:
        postgres.resume()

    async def served() -> bool:
        return all([(await Client(hub, "ann").call("echo", {"text": "again"})).status == 200 for hub in (one, two)])

    await eventually(served)


async def test_the_official_client_goes_on_when_the_process_it_spoke_to_is_killed(pair: tuple[Hub, Hub]) -> None:
    """By way of an address that leads to whichever process is alive, as a load balancer's does."""
    one, two = pair
    heard = asyncio.Event()

    async def notified(incoming: Any) -> None:
        if isinstance(incoming, types.ToolListChangedNotification):
            heard.set()

    async with Front(one) as front:
        before = initialized(two)
        async with connected(front, "main", "legacy", message_handler=notified) as client:
            assert (await client.call_tool("echo", {"text": "one"})).content[0].text == "one"
            assert initialized(one) > 0
            front.behind = two
            assert one.process is not None
            one.process.kill()
            one.process.wait()
            assert (await client.call_tool("echo", {"text": "two"})).content[0].text == "two"
            assert initialized(two) == before, "the session is the same: nothing was opened anew"
            await eventually(lambda: two.status()["streams"] > 0)  # its stream comes back by itself
            assert (await client.call_tool("grow", {"name": f"late_{time.monotonic_ns()}"})).content[0].text == "grown"
            await asyncio.wait_for(heard.wait(), 30)


class Front:
    """An address in front of a hub, which another can take the place of."""

    def __init__(self, hub: Hub) -> None:
        self.behind = hub
        self.keys = hub.keys
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Front":
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._forward(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            back, forth = await asyncio.open_connection(*self.behind.address)
            writers.append(forth)
            await asyncio.gather(pump(reader, forth), pump(back, writer))
        except OSError:
            pass
        finally:
            for one in writers:
                one.close()


def initialized(hub: Hub) -> int:
    """Sessions opened at this process since it began."""
    lines = hub.admin("GET", "/metrics").splitlines()
    return round(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("hub_calls_total") and "mcp.initialize" in line))


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What comes goes on, to the end of it; then the other side is ended too."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
