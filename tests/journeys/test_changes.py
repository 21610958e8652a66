"""What clients hear, and what they no longer can, when hub.yaml is edited, a key is revoked or a virtual server goes."""

import asyncio
import socket
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest

from tests.journeys.conftest import ALL, Place, connected
from tests.support.hub import PATIENCE, Hub, eventually
from tests.support.journal import changes, records
from tests.support.late import lateness
from tests.support.mcp import Client, Session, dumps, message, modern_headers, modern_params
from tests.support.servers import HttpServer
from tests.support.wire import Connection

LISTEN = {"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True}


def config(url: str, **main: Any) -> dict[str, Any]:
    return {
        "keys": [
            {"name": "root", "roles": ["admin"]},
            {"name": "ann", "subject": "user:ann", "grants": ALL},
            {"name": "ben", "subject": "user:ben", "grants": ALL},
        ],
        "upstreams": {"good": {"url": url}},
        "virtual_servers": {"main": {"include": [{"from": "good", **main}]}, "spare": {"include": [{"from": "good"}]}},
        "server": {"drain": 1},
    }


@pytest.fixture
def own(place: Place, downstream: HttpServer) -> Generator[Hub]:
    with place.serving(config(downstream.url)) as hub:
        yield hub.settled("good")


async def subscribed(client: Client, wanted: dict[str, bool] | None = None) -> Connection:
    """A `subscriptions/listen` of the newer era, acknowledged."""
    params = modern_params({"notifications": LISTEN if wanted is None else wanted})
    body = dumps(message("subscriptions/listen", params, "sub"))
    connection, status, _ = await client.stream(body, *modern_headers("subscriptions/listen", params))
    assert status == 200
    first = await anext(connection.messages())
    assert first["method"] == "notifications/subscriptions/acknowledged"
    assert first["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": "sub"}
    assert first["params"]["notifications"] == (LISTEN if wanted is None else {k: v for k, v in wanted.items() if v})
    return connection


async def streaming(session: Session) -> Connection:
    """The GET stream of the older era."""
    connection, status, headers = await session.client.stream(None, *session.headers(), method="GET")
    assert (status, headers["content-type"]) == (200, "text/event-stream")
    return connection


async def within(seconds: float, coming: Any) -> Any:
    return await asyncio.wait_for(coming, seconds)


async def test_an_edit_of_the_file_is_announced_on_both_eras_streams(own: Hub, downstream: HttpServer) -> None:
    ann = Client(own, "ann")
    session = await ann.session()
    older, newer, spare = await streaming(session), await subscribed(ann), await subscribed(Client(own, "ann", "spare"))
    assert len((await ann.modern("tools/list")).result["tools"]) > 2
    own.configure(config(downstream.url, tools=["echo", "add"]))
    heard = await within(PATIENCE, anext(newer.messages()))
    assert heard == {
        "jsonrpc": "2.0",
        "method": "notifications/tools/list_changed",
        "params": {"_meta": {"io.modelcontextprotocol/subscriptionId": "sub"}},
    }
    assert await within(PATIENCE, anext(older.messages())) == {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
    for answer in (await ann.modern("tools/list"), await session.request("tools/list")):
        assert [tool["name"] for tool in answer.result["tools"]] == ["echo", "add"]
    assert (await ann.call("meta")).code == -32602
    with pytest.raises(TimeoutError):  # the virtual server beside it did not change
        await within(0.3, anext(spare.messages()))
    for connection in (older, newer, spare):
        await connection.close()


async def test_only_what_was_asked_for_is_announced(own: Hub, downstream: HttpServer) -> None:
    ann = Client(own, "ann")
    only = await subscribed(ann, {"promptsListChanged": True, "toolsListChanged": False})
    own.configure(config(downstream.url, tools=["echo"], prompts=["plain"]))
    assert (await within(PATIENCE, anext(only.messages())))["method"] == "notifications/prompts/list_changed"
    await only.close()


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_the_official_client_hears_of_an_edit(own: Hub, downstream: HttpServer, mode: str) -> None:
    heard = asyncio.Event()

    async def notified(incoming: Any) -> None:
        if isinstance(incoming, types.ToolListChangedNotification):
            heard.set()

    async with connected(own, "main", mode, message_handler=notified) as client:
        if mode == "legacy":
            await eventually(lambda: own.status()["streams"] > 0)
            own.configure(config(downstream.url, tools=["add"]))
            await within(PATIENCE, heard.wait())
        else:
            async with client.listen(tools_list_changed=True) as changes:
                own.configure(config(downstream.url, tools=["add"]))
                await within(PATIENCE, anext(changes))
        assert [tool.name for tool in (await client.list_tools()).tools] == ["add"]


async def test_a_bad_edit_is_refused_whole_and_said(own: Hub, downstream: HttpServer) -> None:
    ann = Client(own, "ann")
    before = own.status()["config"]
    own.file.write_text("virtual_servers: {main: {include: [{from: nobody}]}}")
    await eventually(lambda: "the edited configuration was refused" in own.log.read_text())
    assert (await ann.call("echo", {"text": "still"})).result["content"][0]["text"] == "still"
    broken = config(downstream.url)
    broken["policies"] = {"sets": {"bad": {"cedar": "forbid (principal, action, resource) when { context.nonsense };"}}}
    own.configure(broken)
    await eventually(lambda: own.log.read_text().count("the edited configuration was refused") == 2)
    assert own.status()["config"] == before
    assert (await ann.call("echo", {"text": "still"})).status == 200


async def test_the_streams_of_a_virtual_server_that_goes_end_in_order(own: Hub, downstream: HttpServer) -> None:
    spare = Client(own, "ann", "spare")
    older, newer = await streaming(await spare.session()), await subscribed(spare)
    without = config(downstream.url)
    del without["virtual_servers"]["spare"]
    own.configure(without)
    assert [m async for m in older.messages()] == []
    (last,) = [m async for m in newer.messages()]
    assert last["id"] == "sub"
    assert last["result"]["resultType"] == "complete"
    assert (await spare.modern("tools/list")).why == "not_found"
    assert (await Client(own, "ann").modern("tools/list")).status == 200
    for connection in (older, newer):
        await connection.close()


async def test_revoking_a_key_cuts_its_streams_and_calls_within_a_second(own: Hub, downstream: HttpServer) -> None:
    ann, ben = Client(own, "ann"), Client(own, "ben")
    session = await ann.session()
    older, newer, others = await streaming(session), await subscribed(ann), await subscribed(ben)
    before = len(records(own.database))
    plain = asyncio.create_task(ann.call("wait", {"mark": "revoked"}))
    counting = modern_params({"name": "count", "arguments": {"steps": 1000, "pause": 0.05}, "_meta": {"progressToken": 1}})
    streamed, status, _ = await ann.stream(dumps(message("tools/call", counting)), *modern_headers("tools/call", counting))
    assert status == 200
    await eventually(lambda: "began revoked" in downstream.noted())
    with lateness() as late:
        started = time.monotonic()
        own.admin("DELETE", "/admin/v1/keys/ann")
        for connection in (older, newer, streamed):
            async for _ in connection.messages():
                pass
        cut = await plain
        assert (cut.status, cut.why) == (401, "unauthenticated")
        assert time.monotonic() - started < 1.0 + late.allowed
    assert (await ann.call("echo", {"text": "x"})).status == 401
    assert (await session.request("tools/list")).status == 401
    await eventually(lambda: "cancelled revoked" in downstream.noted())
    assert (await ben.call("echo", {"text": "x"})).status == 200
    await eventually(lambda: len(aborted(own, before)) == 4)
    with pytest.raises(TimeoutError):  # another key's stream goes on
        await within(0.2, anext(others.messages()))
    for connection in (older, newer, streamed, others):
        await connection.close()


def aborted(hub: Hub, since: int) -> list[dict[str, Any]]:
    """The outcomes of calls that were cut off, from the record `since` on."""
    return [r for r in records(hub.database)[since:] if r["kind"].endswith(".outcome") and r["outcome"]["status"] == "aborted"]


def untaken(hub: Hub, port: int) -> int:
    """Bytes the kernel holds for the client at `port` because it does not read."""
    for line in Path(f"/proc/{hub.pid}/net/tcp").read_text().splitlines()[1:]:
        _, here, there, _, queues, *_ = line.split()
        if int(here.split(":")[1], 16) == hub.address[1] and int(there.split(":")[1], 16) == port:
            return int(queues.split(":")[0], 16)
    return 0


async def test_revoking_cuts_a_client_that_has_stopped_reading(own: Hub) -> None:
    ann = Client(own, "ann")
    flood = modern_params({"name": "count", "arguments": {"steps": 100_000, "size": 20_000}, "_meta": {"progressToken": 1}})
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(own.address)
        deaf.sendall(ann.wire(dumps(message("tools/call", flood)), *modern_headers("tools/call", flood)))
        seen = [-1]

        def stuck() -> bool:
            seen.append(untaken(own, deaf.getsockname()[1]))
            return seen[-1] == seen[-2] > 0

        await eventually(stuck, every=0.3)
        own.admin("DELETE", "/admin/v1/keys/ann")
        await eventually(lambda: own.total("hub_inflight_requests") == 0)


async def test_a_key_made_over_the_admin_api_works_until_it_is_revoked(own: Hub) -> None:
    before = len(records(own.database))
    made = own.admin("POST", "/admin/v1/keys", {"name": "temp", "grants": [{"virtual_server": "main", "tools": ["echo"]}]})
    temp = Client(own, made["key"])
    assert (await temp.call("echo", {"text": "x"})).status == 200
    assert (await temp.call("add", {"a": 1, "b": 2})).why == "denied"
    session = await temp.session()
    own.admin("DELETE", "/admin/v1/keys/temp")
    assert (await temp.call("echo", {"text": "x"})).status == 401
    assert (await session.request("ping")).status == 401
    assert changes(records(own.database)[before:]) == ["admin.key.create", "admin.key.revoke"]
    assert made["key"] not in own.log.read_text()


async def test_taking_a_key_out_of_the_file_revokes_it(own: Hub, downstream: HttpServer) -> None:
    ben = Client(own, "ben")
    stream = await subscribed(ben)
    without = config(downstream.url)
    without["keys"] = [key for key in without["keys"] if key["name"] != "ben"]
    own.configure(without)
    async for _ in stream.messages():
        pass
    assert (await ben.call("echo", {"text": "x"})).status == 401
    assert (await Client(own, "ann").call("echo", {"text": "x"})).status == 200
    await stream.close()
