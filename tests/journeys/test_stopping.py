"""Stopping and starting again: what runs finishes or is recorded as aborted, nothing is left behind, the next start is ready at once."""

import asyncio
import os
import signal
import socket
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from hub import alone
from hub.config.load import load
from hub.listen import bind
from tests.journeys.conftest import ALL
from tests.support.hub import Hub, eventually, wait_for
from tests.support.journal import records, verified
from tests.support.mcp import Client, dumps, message, modern_headers, modern_params
from tests.support.servers import SDK, HttpServer, stdio
from tests.support.wire import Connection, request_bytes, send

LIST = dumps(message("tools/list", modern_params(), 1))


def config(url: str, drain: float) -> dict[str, Any]:
    return {
        "keys": [{"name": "root", "roles": ["admin"]}, {"name": "ann", "grants": ALL}],
        "upstreams": {"good": {"url": url}, "pipe": stdio(SDK, "stdio")},
        "virtual_servers": {"main": {"include": [{"from": "good"}]}, "pipe": {"include": [{"from": "pipe"}]}},
        "server": {"drain": drain},
    }


@pytest.fixture
def hub(tmp_path: Path, downstream: HttpServer) -> Generator[Hub]:
    hub = Hub(tmp_path, config(downstream.url, 5))
    try:
        yield hub.start().settled("good", "pipe")
    finally:
        hub.stop()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]


def closed(hub: Hub) -> bool:
    """Whether new connections are refused, which is the first thing a hub does when it is to stop."""
    with socket.socket() as knocking:
        return knocking.connect_ex(hub.address) != 0


async def asked_to_stop(hub: Hub) -> None:
    os.kill(hub.pid, signal.SIGTERM)
    await eventually(lambda: closed(hub))


async def test_a_call_under_way_is_answered_and_a_new_one_is_told_to_go(hub: Hub, downstream: HttpServer, tmp_path: Path) -> None:
    hub.stop()
    hub.configure(config(downstream.url, 30))
    hub.start().settled("good", "pipe")
    ann, release = Client(hub, "ann"), tmp_path / "release"
    async with await Connection.open(hub.address) as kept:
        await kept.send(ann.wire(LIST, *modern_headers("tools/list", {})))
        assert (await kept.response()).status == 200
        running = asyncio.create_task(ann.call("wait", {"mark": "drained", "until": str(release)}))
        await eventually(lambda: "began drained" in downstream.noted())
        await asked_to_stop(hub)
        await kept.send(ann.wire(LIST, *modern_headers("tools/list", {})))
        refused = await kept.response()
        assert (refused.status, refused.code, refused.why) == (503, -31503, "draining")
        assert refused.headers["retry-after"] == "1"
        release.touch()
        assert (await running).result["content"][0]["text"] == "waited"
    assert hub.stop() == 0
    assert verified(hub.database)["default"] > 3


async def test_a_call_that_outlasts_the_drain_is_cut_and_recorded(hub: Hub, downstream: HttpServer) -> None:
    hub.stop()
    hub.configure(config(downstream.url, 0.2))
    hub.start().settled("good", "pipe")
    ann = Client(hub, "ann")
    running = asyncio.create_task(ann.call("wait", {"mark": "cut"}))
    await eventually(lambda: "began cut" in downstream.noted())
    await asked_to_stop(hub)
    cut = await running
    assert (cut.status, cut.why) == (503, "draining")
    assert await asyncio.to_thread(hub.stop) == 0
    await eventually(lambda: "cancelled cut" in downstream.noted())
    verified(hub.database)
    assert records(hub.database)[-1]["outcome"]["status"] == "aborted"


async def test_streams_end_when_the_hub_stops_and_no_server_is_left_behind(hub: Hub) -> None:
    ann = Client(hub, "ann")
    session = await ann.session()
    child = hub.status()["upstreams"]["pipe"]["pid"]
    assert alive(child)
    older, _, _ = await ann.stream(None, *session.headers(), method="GET")
    params = modern_params({"notifications": {"toolsListChanged": True}})
    newer, _, _ = await ann.stream(dumps(message("subscriptions/listen", params, 3)), *modern_headers("subscriptions/listen", params))
    await asked_to_stop(hub)
    assert [m async for m in older.messages()] == []
    assert [m.get("id") for m in [m async for m in newer.messages()]] == [None, 3]
    for connection in (older, newer):
        await connection.close()
    assert await asyncio.to_thread(hub.stop) == 0
    assert not alive(child)
    ends = [record for record in records(hub.database) if record["kind"] in ("mcp.stream.outcome", "mcp.subscriptions.listen.outcome")]
    assert [record["outcome"]["status"] for record in ends] == ["ok", "ok"]


async def test_the_next_start_serves_lists_from_what_it_kept_and_knows_its_keys(hub: Hub, downstream: HttpServer) -> None:
    made = hub.admin("POST", "/admin/v1/keys", {"name": "kept", "grants": ALL})["key"]
    session = await Client(hub, "ann").session()
    size = len(records(hub.database))
    assert hub.stop() == 0
    hub.start()
    assert hub.status()["virtual_servers"]["main"]["absent"] == []  # before any upstream was asked
    assert len((await Client(hub, made).modern("tools/list")).result["tools"]) >= 11
    lost = await session.request("tools/list")
    assert (lost.status, lost.why) == (404, "session_not_found")
    assert (await Client(hub, "ann", "pipe").call("echo", {"text": "back"})).result["content"][0]["text"] == "back"
    assert hub.stop() == 0
    assert verified(hub.database)["default"] > size
    assert hub.log.read_text().count("the first keys are in") == 1


def test_a_second_hub_on_the_same_state_is_refused(hub: Hub) -> None:
    second = Hub.__new__(Hub)
    second.__dict__.update(hub.__dict__)
    with pytest.raises(AssertionError, match="in use by another hub"):
        second.start()
    wait_for(lambda: second.process is not None and second.process.poll() is not None)
    assert second.process is not None
    assert second.process.returncode == 1


async def test_a_hub_that_gives_notice_serves_on_until_load_balancers_have_seen_it_and_a_second_signal_ends_that(
    tmp_path: Path, downstream: HttpServer
) -> None:
    settings = config(downstream.url, 5)
    settings["server"]["notice"] = 600
    hub = Hub(tmp_path, settings).start().settled("good")
    ann, ask = Client(hub, "ann"), request_bytes("GET", "/health/ready", [("host", "127.0.0.1")], None)
    async with await Connection.open(hub.address) as kept:
        await kept.send(ask)
        assert (await kept.response()).status == 200
        os.kill(hub.pid, signal.SIGTERM)

        async def told() -> bool:
            answer = await send(hub.address, ask)
            return (answer.status, answer.json["reasons"], answer.headers.get("connection")) == (503, ["stopping"], "close")

        await eventually(told)
        params = modern_params({"name": "echo", "arguments": {"text": "still"}})
        await kept.send(ann.wire(dumps(message("tools/call", params)), *modern_headers("tools/call", params)))
        answer = await kept.response()
        assert (answer.status, answer.result["content"][0]["text"]) == (200, "still")
        assert answer.headers["connection"] == "close", "who has a connection is sent elsewhere without losing a call"
    assert (await ann.call("echo", {"text": "new connection"})).status == 200
    hub.configure({**settings, "server": {"notice": 0, "drain": 5}})  # taken up, and too late
    await eventually(lambda: "configuration reloaded" in hub.log.read_text())
    assert (await ann.call("echo", {"text": "after an edit"})).status == 200
    assert hub.stop() == 0
    assert "Traceback" not in hub.log.read_text()


def test_an_address_that_another_took_before_this_hub_listened_is_said_and_it_stops_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    first = bind("127.0.0.1", 0)
    second = bind("127.0.0.1", first.getsockname()[1])  # possible as long as neither listens
    first.listen()
    monkeypatch.setattr(alone, "bind", lambda host, port: second)
    monkeypatch.setattr(alone, "settled_down", lambda: None)
    assert alone.run(load(None), "127.0.0.1", 0) == 1
    assert "Address already in use" in str([getattr(record, "fields", "") for record in caplog.records])
    first.close()


async def test_a_hub_that_is_told_to_stop_without_end_stops_in_order(hub: Hub) -> None:
    assert (await Client(hub, "ann").call("echo", {"text": "x"})).status == 200
    assert hub.process is not None
    while hub.process.poll() is None:  # to the very end of the process, when nothing of the hub is there to handle it
        hub.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.001)
    assert hub.process.returncode == 0
    assert "Traceback" not in hub.log.read_text()
    assert verified(hub.database)["default"] > 0
