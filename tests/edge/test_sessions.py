"""The older era at the edge: versions, sessions, batches, pings, ids under way.

On one process, and on two that serve as one, where each request goes to another process than the one before.
"""

import asyncio
import json
from typing import Any

import pytest

from tests.support.hub import Hub, eventually
from tests.support.journal import of_call, records
from tests.support.mcp import Client, Session, dumps, message
from tests.support.servers import HttpServer
from tests.support.several import Several

VERSIONS = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]


@pytest.fixture(params=["one", "two"])
def hub(request: pytest.FixtureRequest) -> Hub | Several:
    return request.getfixturevalue("one_hub" if request.param == "one" else "two_hubs")


async def greeted(client: Client, version: Any) -> Any:
    return await client.raw(
        dumps(message("initialize", {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}))
    )


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_older_version_is_agreed_on_as_asked(ann: Client, version: str) -> None:
    session = await ann.session(version)
    assert session.greeting["protocolVersion"] == version
    assert (await session.call("echo", {"text": version})).result["content"][0]["text"] == version


@pytest.mark.parametrize("version", ["2020-01-01", "2099-01-01", "", "2026-07-28", "x" * 1000])
async def test_an_unknown_version_is_answered_with_the_newest_older_one(ann: Client, version: str) -> None:
    assert (await greeted(ann, version)).result["protocolVersion"] == "2025-11-25"


@pytest.mark.parametrize("version", [None, 7, ["2025-11-25"], {}])
async def test_a_version_that_is_no_text_is_refused(ann: Client, version: Any) -> None:
    answer = await greeted(ann, version)
    assert answer.code == -32602
    assert "mcp-session-id" not in answer.headers


async def test_initialize_says_what_the_virtual_server_offers(ann: Client) -> None:
    greeting = (await ann.session()).greeting
    assert greeting["capabilities"] == {kind: {"listChanged": True} for kind in ("tools", "prompts", "resources")}
    assert greeting["serverInfo"]["name"] == "countersign"
    assert greeting["instructions"] == "A server for tests."


async def test_initialize_without_an_id_is_refused(ann: Client) -> None:
    answer = await ann.raw(dumps({"jsonrpc": "2.0", "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}))
    assert (answer.status, answer.code) == (400, -32600)


async def test_without_a_session_nothing_is_served(ann: Client) -> None:
    for method in ("tools/list", "ping", "tools/call"):
        answer = await ann.raw(dumps(message(method)))
        assert (answer.status, answer.code) == (400, -32600)


async def test_a_session_is_found_only_under_its_key_and_at_its_door(hub: Hub, ann: Client) -> None:
    session = await ann.session()
    strangers = [Client(hub, "ben"), Client(hub, "ann", "other")]
    bodies = []
    for client in strangers:
        for method in ("POST", "DELETE", "GET"):
            body = dumps(message("tools/list", None, 1)) if method == "POST" else b""
            answer = await client.raw(body, *session.headers(), method=method)
            assert (answer.status, answer.code, answer.why) == (404, -31404, "session_not_found")
            bodies.append(json.dumps(answer.error))
    unknown = await Session(ann, "no-such-session", session.greeting).request("tools/list")
    assert unknown.status == 404
    assert {*bodies, json.dumps(unknown.error)} == {bodies[0]}
    assert (await session.request("tools/list")).status == 200


async def test_a_session_that_was_ended_is_not_found(ann: Client) -> None:
    session = await ann.session()
    ended = await session.end()
    assert (ended.status, ended.body) == (204, b"")
    assert (await session.request("tools/list")).why == "session_not_found"
    assert (await session.end()).status == 404


async def test_delete_without_a_session_is_refused(ann: Client) -> None:
    assert (await ann.raw(b"", method="DELETE")).status == 400


async def test_ping_is_answered_and_leaves_no_record(hub: Hub, ann: Client) -> None:
    session = await ann.session()
    before = len(records(hub.database))
    for ident in ("p", 7):
        answer = await session.request("ping", None, ident=ident)
        assert answer.json == {"jsonrpc": "2.0", "id": ident, "result": {}}
        assert "hub-receipt" not in answer.headers
    for method in ("notifications/initialized", "notifications/roots/list_changed", "notifications/unheard-of", "ping"):
        answer = await session.notify(method)
        assert (answer.status, answer.body) == (202, b"")
    assert len(records(hub.database)) == before


@pytest.mark.parametrize(
    "method", ["nonsense", "", "tools/calls", "completion/complete", "logging/setLevel", "server/discover", "x" * 5000]
)
async def test_an_unknown_method_is_an_answer_in_the_older_era(ann: Client, method: str) -> None:
    answer = await (await ann.session()).request(method)
    assert (answer.status, answer.code, answer.why) == (200, -32601, "method_not_found")


async def test_a_version_header_the_session_cannot_have_is_refused(ann: Client) -> None:
    session = await ann.session()
    headers = [("mcp-session-id", session.id), ("mcp-protocol-version", "2025-06-18")]
    assert (await ann.raw(dumps(message("tools/list")), *headers)).status == 200  # an older version than agreed: clients do that
    headers = [("mcp-session-id", session.id), ("mcp-protocol-version", "1999-01-01")]
    assert (await ann.raw(dumps(message("tools/list")), *headers)).status == 400


@pytest.mark.parametrize("hub", ["one"], indirect=True)  # a process knows of the requests under way in it alone
async def test_an_id_that_is_under_way_cannot_be_used_again(ann: Client, downstream: HttpServer) -> None:
    session = await ann.session()
    first = asyncio.create_task(session.call("wait", {"mark": "twice", "seconds": 1.0}, ident="same"))
    await eventually(lambda: "began twice" in downstream.noted())
    answer = await session.call("echo", {"text": "x"}, ident="same")
    assert (answer.status, answer.code, answer.why) == (400, -32600, "invalid_request")
    other = await (await ann.session()).call("echo", {"text": "x"}, ident="same")  # ids belong to a session
    assert other.status == 200
    number = await session.call("echo", {"text": "x"}, ident=7)
    assert number.status == 200
    assert (await first).result["content"][0]["text"] == "waited"
    assert (await session.call("echo", {"text": "x"}, ident="same")).status == 200  # and are free again afterwards


async def test_cancelling_by_id_reaches_the_downstream_server_and_gets_no_result(hub: Hub, ann: Client, downstream: HttpServer) -> None:
    session = await ann.session()
    mark = f"told {session.id}"
    call = asyncio.create_task(session.call("wait", {"mark": mark}, ident=77))
    await eventually(lambda: f"began {mark}" in downstream.noted())
    await session.notify("notifications/cancelled", {"requestId": "77"})  # another id: a text
    assert f"cancelled {mark}" not in downstream.noted()
    assert (await session.notify("notifications/cancelled", {"requestId": 77, "reason": "enough"})).status == 202
    await eventually(lambda: f"cancelled {mark}" in downstream.noted())
    answer = await call
    assert b"result" not in answer.body
    ends = await eventually(lambda: [r for r in of_call(hub.database, answer) if "outcome" in r])
    assert ends[0]["outcome"]["status"] == "aborted"


async def test_cancelling_what_is_not_under_way_does_nothing(ann: Client) -> None:
    session = await ann.session()
    for params in ({"requestId": "gone"}, {"requestId": None}, {"requestId": {"a": 1}}, {}, None):
        assert (await session.notify("notifications/cancelled", params)).status == 202


async def test_one_session_cannot_cancel_anothers_call(ann: Client, downstream: HttpServer) -> None:
    mine, theirs = await ann.session(), await ann.session()
    mark = f"apart {mine.id}"
    call = asyncio.create_task(mine.call("wait", {"mark": mark, "seconds": 0.5}, ident=1))
    await eventually(lambda: f"began {mark}" in downstream.noted())
    for _ in range(2):
        await theirs.notify("notifications/cancelled", {"requestId": 1})
    assert (await call).result["content"][0]["text"] == "waited"
    assert f"cancelled {mark}" not in downstream.noted()


# Batches: 2025-03-26 only


async def test_each_message_of_a_batch_is_a_call_of_its_own(hub: Hub, ann: Client) -> None:
    session = await ann.session("2025-03-26")
    before = len(records(hub.database))
    batch = [
        message("tools/call", {"name": "echo", "arguments": {"text": "one"}}, 1),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        message("tools/call", {"name": "echo", "arguments": {"text": "secret"}}, 2),
        message("ping", None, 3),
        message("tools/list", None, 4),
        message("nonsense", None, 5),
        message("initialize", {"protocolVersion": "2025-03-26"}, 6),
        message("tools/call", {"name": "none"}, 7),
        {"jsonrpc": "2.0", "id": 8},
    ]
    answer = await session.raw(dumps(batch))
    assert answer.status == 200
    by_id = {one["id"]: one for one in answer.json}
    assert by_id[1]["result"]["content"][0]["text"] == "one"
    assert by_id[2]["error"]["data"] == {"code": "denied", "reasons": ["no-secret-words"]}
    assert by_id[3]["result"] == {}
    assert by_id[4]["result"]["tools"]
    assert [by_id[i]["error"]["code"] for i in (5, 6, 7)] == [-32601, -32600, -32602]
    assert by_id[None]["error"]["code"] == -32600
    assert len(by_id) == 8
    kinds = [record["kind"] for record in records(hub.database)[before:]]
    assert kinds.count("mcp.tools.call.intent") == kinds.count("mcp.tools.call.outcome") == 1
    assert kinds.count("mcp.tools.call") == 2
    assert kinds.count("mcp.tools.list") == 1
    assert kinds.count("mcp.request") == 3  # what could not be made a call


async def test_calls_of_a_batch_are_recorded_under_ids_of_their_own(hub: Hub, ann: Client) -> None:
    session = await ann.session("2025-03-26")
    before = len(records(hub.database))
    await session.raw(dumps([message("tools/list"), message("prompts/list")]))
    made = records(hub.database)[before:]
    assert len({record["id"] for record in made}) == 2


async def test_a_batch_of_notifications_gets_no_body(ann: Client) -> None:
    session = await ann.session("2025-03-26")
    answer = await session.raw(dumps([{"jsonrpc": "2.0", "method": "notifications/initialized"}] * 3))
    assert (answer.status, answer.body) == (202, b"")


@pytest.mark.parametrize("count", [0, 51])
async def test_a_batch_has_one_to_fifty_messages(ann: Client, count: int) -> None:
    session = await ann.session("2025-03-26")
    answer = await session.raw(dumps([message("ping") for _ in range(count)]))
    assert (answer.status, answer.code) == (400, -32600)


async def test_fifty_messages_are_answered(ann: Client) -> None:
    session = await ann.session("2025-03-26")
    answer = await session.raw(b" \n" + dumps([message("ping", None, i) for i in range(50)]))
    assert {one["id"] for one in answer.json} == set(range(50))


@pytest.mark.parametrize("version", ["2024-11-05", "2025-06-18", "2025-11-25"])
async def test_other_versions_know_no_batches(ann: Client, version: str) -> None:
    answer = await (await ann.session(version)).raw(dumps([message("ping")]))
    assert (answer.status, answer.code) == (400, -32600)


async def test_a_batch_without_a_session_or_in_the_newer_era_is_refused(ann: Client) -> None:
    assert (await ann.raw(dumps([message("ping")]))).status == 400
    assert (await ann.raw(dumps([message("ping")]), ("mcp-protocol-version", "2026-07-28"))).status == 400


async def test_one_id_twice_in_a_batch_is_refused_for_the_second(ann: Client) -> None:
    session = await ann.session("2025-03-26")
    echo = {"name": "echo", "arguments": {"text": "x"}}
    answer = await session.raw(dumps([message("tools/call", echo, 1), message("tools/call", echo, 1), message("tools/call", echo, 2)]))
    results = [one for one in answer.json if "result" in one]
    errors = [one["error"]["code"] for one in answer.json if "error" in one]
    assert sorted(one["id"] for one in results) == [1, 2]
    assert errors == [-32600]


# GET


async def test_the_stream_needs_its_media_type_and_a_session(ann: Client) -> None:
    session = await ann.session()
    for accept in ("application/json", ""):
        answer = await ann.raw(b"", *session.headers(("accept", accept)), method="GET")
        assert (answer.status, answer.why) == (406, "not_acceptable")
    assert (await ann.raw(b"", method="GET")).status == 400
