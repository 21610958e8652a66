"""A server that is slow, broken or huge costs those beside it nothing."""

import asyncio
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.conftest import ALL, MODES, Place, connected
from tests.support.hub import Hub, eventually, running
from tests.support.mcp import Client, dumps, message, modern_headers, modern_params
from tests.support.servers import MANY, SDK, HttpServer, stdio
from tests.support.wire import Response


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def config(url: str, upstreams: dict[str, Any]) -> dict[str, Any]:
    upstreams = {"good": {"url": url}, **upstreams}
    return {
        "keys": [{"name": "root", "roles": ["admin"]}, {"name": "ann", "grants": ALL}],
        "upstreams": upstreams,
        "virtual_servers": {"main": {"include": [{"from": name} for name in upstreams]}},
        "server": {"drain": 1},
    }


async def test_a_good_server_beside_broken_and_slow_ones_is_served_as_if_alone(place: Place, downstream: HttpServer) -> None:
    bad = {
        "absent": {"url": f"http://127.0.0.1:{closed_port()}/mcp"},
        "missing": {"stdio": {"command": "/no/such/program"}},
        "silent": stdio("-c", "import time; time.sleep(600)", start_timeout=2),
        "mute": stdio("-c", "import time; time.sleep(600)", start_timeout=600),
        "quitter": stdio("-c", "raise SystemExit(3)"),
        "babbler": stdio("-c", "while True: print('not MCP')"),
    }
    with place.serving(config(downstream.url, bad)) as hub:
        ann = Client(hub, "ann")
        hub.settled("good")
        started = time.monotonic()
        called = await ann.call("echo", {"text": "alone"})
        assert called.result["content"][0]["text"] == "alone"
        session = await ann.session()
        for _ in range(20):
            assert (await session.call("echo", {"text": "x"})).status == 200
        assert time.monotonic() - started < 10, "on a busy machine, but none of them has waited for anything"
        await eventually(lambda: hub.status()["upstreams"]["silent"]["state"] == "failed")
        assert len((await ann.modern("tools/list")).result["tools"]) == 11
        assert hub.status()["upstreams"]["mute"]["state"] not in ("ready", "failed"), "nobody has waited for it: it has ten minutes"
        shown = hub.status()["upstreams"]
        assert shown["good"]["state"] == "ready"
        assert all(shown[name]["state"] != "ready" for name in bad)
        assert sorted(hub.status()["virtual_servers"]["main"]["absent"]) == sorted(bad)


async def test_a_server_that_comes_late_joins_the_list_and_is_announced(place: Place, downstream: HttpServer) -> None:
    with place.serving(config(downstream.url, {"late": stdio(MANY, "3", "2")})) as hub:
        hub.settled("good")
        async with connected(hub, "main", "2026-07-28") as client, client.listen(tools_list_changed=True) as changes:
            await asyncio.wait_for(anext(changes), 30)
            assert "tool-0002" in [tool.name for tool in (await client.list_tools()).tools]
            assert (await client.call_tool("tool-0002")).content[0].text == "tool-0002"


async def test_more_than_a_thousand_tools_are_listed_in_pages(place: Place, downstream: HttpServer) -> None:
    with place.serving(config(downstream.url, {"many": stdio(MANY, "2345")})) as hub:
        hub.settled("good", "many")
        for mode in MODES:
            async with connected(hub, "main", mode) as client:
                names: list[str] = []
                cursor, pages = None, 0
                while True:
                    page = await client.list_tools(cursor=cursor)
                    names += [tool.name for tool in page.tools]
                    cursor, pages = page.next_cursor, pages + 1
                    if cursor is None:
                        break
                assert len(names) == len(set(names)) == 2345 + 11
                assert pages > 1
                assert (await client.call_tool("tool-2344")).content[0].text == "tool-2344"
        await _cursors_are_bound(hub)


async def _cursors_are_bound(hub: Hub) -> None:
    ann = Client(hub, "ann")
    cursor = (await ann.modern("tools/list")).result["nextCursor"]
    other = hub.admin("POST", "/admin/v1/keys", {"name": "other", "grants": ALL})["key"]
    assert (await ann.modern("tools/list", {"cursor": cursor})).status == 200
    assert (await Client(hub, other).modern("tools/list", {"cursor": cursor})).code == -32602
    assert (await ann.modern("prompts/list", {"cursor": cursor})).code == -32602
    assert (await ann.modern("tools/list", {"cursor": cursor[:-2] + "zz"})).code == -32602


@pytest.mark.parametrize("way", ["http-newer", "http-older", "pipe-newer", "pipe-older"])
@pytest.mark.parametrize("era", ["newer", "older"])
async def test_a_client_that_leaves_cancels_downstream(hub: Hub, downstream: HttpServer, era: str, way: str) -> None:
    mark = f"left {era} {way}"
    client = Client(hub, "ann", way)
    params: dict[str, Any] = {"name": "wait", "arguments": {"mark": mark}}

    async def send() -> Response:
        if era == "older":
            return await (await client.session()).request("tools/call", params)
        return await client.raw(dumps(message("tools/call", modern_params(params))), *modern_headers("tools/call", params))

    sending = asyncio.create_task(send())
    await eventually(lambda: f"began {mark}" in downstream.noted())
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await eventually(lambda: f"cancelled {mark}" in downstream.noted())


async def test_a_client_that_leaves_a_stream_in_the_middle_cancels_downstream(hub: Hub, downstream: HttpServer) -> None:
    client = Client(hub, "ann", "pipe-newer")
    params = modern_params({"name": "count", "arguments": {"steps": 10_000, "pause": 0.02}, "_meta": {"progressToken": "t"}})
    connection, _, _ = await client.stream(dumps(message("tools/call", params)), *modern_headers("tools/call", params))
    assert (await anext(connection.messages()))["params"]["progress"] == 1
    await eventually(lambda: hub.status()["upstreams"]["pipe-newer"]["running"] == 1)  # what others cancelled may still be ending
    await connection.close()
    await eventually(lambda: hub.status()["upstreams"]["pipe-newer"]["running"] == 0)


async def test_a_server_that_died_is_started_again_for_the_next_call(tmp_path: Path, downstream: HttpServer) -> None:
    with running(tmp_path, config(downstream.url, {"pipe": stdio(SDK, "stdio")})) as hub:
        hub.settled("good", "pipe")
        client = Client(hub, "ann")
        assert (await client.call("pipe_echo", {"text": "one"})).result["content"][0]["text"] == "one"
        first = hub.status()["upstreams"]["pipe"]["pid"]
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: hub.status()["upstreams"]["pipe"]["state"] != "ready")
        again = await client.call("pipe_echo", {"text": "two"})
        assert again.result["content"][0]["text"] == "two"
        assert hub.status()["upstreams"]["pipe"]["pid"] != first
