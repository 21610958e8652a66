"""What each kind of request leaves in the journal, and that the whole of it verifies once the hub has stopped."""

import asyncio
import json
import re
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.edge.conftest import config_for
from tests.support.hub import Hub, eventually, running
from tests.support.journal import Record, of_call, receipt_stands, records, verified
from tests.support.mcp import Client, dumps, message, modern_headers, modern_params
from tests.support.servers import HttpServer
from tests.support.wire import Response


@pytest.fixture
def own(tmp_path: Path, downstream: HttpServer) -> Generator[Hub]:
    with running(tmp_path, config_for(downstream.url)) as hub:
        yield hub.settled("good")


def kinds(found: list[Record]) -> list[str]:
    return [record["kind"] for record in found]


@pytest.mark.parametrize(
    ("method", "params", "wanted"),
    [
        ("tools/list", {}, ["mcp.tools.list"]),
        ("prompts/list", {}, ["mcp.prompts.list"]),
        ("resources/list", {}, ["mcp.resources.list"]),
        ("resources/templates/list", {}, ["mcp.resources.templates.list"]),
        ("server/discover", {}, ["mcp.server.discover"]),
        ("tools/call", {"name": "echo", "arguments": {"text": "x"}}, ["mcp.tools.call.intent", "mcp.tools.call.outcome"]),
        ("prompts/get", {"name": "plain"}, ["mcp.prompts.get.intent", "mcp.prompts.get.outcome"]),
        ("resources/read", {"uri": "note://one"}, ["mcp.resources.read.intent", "mcp.resources.read.outcome"]),
        ("tools/call", {"name": "none"}, ["mcp.tools.call"]),
        ("tools/call", {"name": "echo", "arguments": {"text": "secret"}}, ["mcp.tools.call"]),
        ("nonsense", {}, ["mcp.request"]),
    ],
)
async def test_each_call_has_its_records_before_it_is_answered(
    hub: Hub, ann: Client, method: str, params: dict[str, object], wanted: list[str]
) -> None:
    answer = await ann.modern(method, params)
    found = of_call(hub.database, answer)
    assert kinds(found) == wanted
    assert receipt_stands(hub.database, answer.headers["hub-receipt"]) == found[-1]
    assert all(record["actor"] == {"kind": "user", "id": hub.keys["ann"][4:16], "sub": "user:ann"} for record in found)
    assert all(record["v"] == 1 and record["cfg"].startswith("sha256:") and record["build"].startswith("countersign/") for record in found)
    if "error" in answer.json:
        assert found[0]["outcome"]["status"] == "refused"


async def test_payloads_are_committed_to_and_not_kept(hub: Hub, ann: Client) -> None:
    answer = await ann.call("echo", {"text": "nobody should read this twice"})
    intent, outcome = of_call(hub.database, answer)
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", intent["commit"]["req"])
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", outcome["commit"]["res"])
    assert intent["commit"]["alg"] == outcome["commit"]["alg"] == "salted-sha256-v1"
    assert "nobody should read" not in json.dumps([intent, outcome])
    again = of_call(hub.database, await ann.call("echo", {"text": "nobody should read this twice"}))
    assert again[0]["commit"]["req"] != intent["commit"]["req"]


async def test_the_trace_of_the_caller_goes_on_in_the_record(hub: Hub, ann: Client) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    parent = f"00-{trace}-00f067aa0ba902b7-01"
    by_header = await ann.modern("tools/list", {}, ("traceparent", parent))
    by_meta = await ann.modern("tools/list", {}, traceparent=parent)
    broken = await ann.modern("tools/list", {}, ("traceparent", "00-zz"))
    assert of_call(hub.database, by_header)[0]["trace"] == of_call(hub.database, by_meta)[0]["trace"] == trace
    assert of_call(hub.database, broken)[0]["trace"] != trace


async def test_a_stream_is_recorded_when_it_opens_and_when_it_closes(hub: Hub, ann: Client) -> None:
    session = await ann.session()
    listen = dumps(message("subscriptions/listen", modern_params({"notifications": {"toolsListChanged": True}}), 5))
    older = await ann.stream(None, *session.headers(), method="GET")
    newer = await ann.stream(listen, *modern_headers("subscriptions/listen", {}))
    for (connection, status, headers), kind in ((older, "mcp.stream"), (newer, "mcp.subscriptions.listen")):
        assert status == 200
        answer = Response(status, headers, b"")
        assert kinds(of_call(hub.database, answer)) == [f"{kind}.intent"]
        assert receipt_stands(hub.database, headers["hub-receipt"])["kind"] == f"{kind}.intent"
        await connection.close()
        found = await eventually(lambda answer=answer: of_call(hub.database, answer)[1:])
        assert (found[0]["kind"], found[0]["outcome"]["status"]) == (f"{kind}.outcome", "aborted")


async def test_a_streamed_answer_names_its_intent_in_the_headers_and_its_outcome_before_the_last_frame(hub: Hub, ann: Client) -> None:
    answer = await (await ann.session()).call("count", {"steps": 3}, progressToken="t")
    intent, outcome = of_call(hub.database, answer)
    assert receipt_stands(hub.database, answer.headers["hub-receipt"]) == intent
    comment = re.search(rb"^: hub-receipt: (\S+)$", answer.body, re.MULTILINE)
    assert comment is not None
    assert receipt_stands(hub.database, comment[1].decode()) == outcome
    assert answer.body.index(comment[0]) < answer.body.index(b'"result"')


async def test_a_call_whose_client_leaves_is_recorded_as_aborted(hub: Hub, ann: Client, downstream: HttpServer) -> None:
    params = modern_params({"name": "wait", "arguments": {"mark": "left"}})
    body = dumps(message("tools/call", params, 9))
    before = len(records(hub.database))
    sending = asyncio.create_task(ann.raw(body, *modern_headers("tools/call", params)))
    await eventually(lambda: "began left" in downstream.noted())
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await eventually(lambda: "cancelled left" in downstream.noted())
    found = await eventually(lambda: [r for r in records(hub.database)[before:] if r["kind"] == "mcp.tools.call.outcome"])
    assert found[0]["outcome"]["status"] == "aborted"


async def test_everything_verifies_after_a_stop_and_strangers_were_counted(own: Hub) -> None:
    ann = Client(own, "ann")
    session = await ann.session()
    for i in range(30):
        await ann.call("echo", {"text": str(i)})
        await session.call("add", {"a": i, "b": i})
        await ann.raw(b"{")
    for _ in range(25):
        assert (await ann.raw(b"{", ("authorization", "Bearer nobody"))).status == 401
    assert (await Client(own, "eve").modern("tools/list")).status == 404
    receipts = [(await ann.modern("tools/list")).headers["hub-receipt"]]
    assert own.stop() == 0
    sizes = verified(own.database)
    assert sizes["default"] == len(records(own.database)) == 4 + 1 + 30 * 5 + 1  # two first keys, initialize, the calls, the last list
    assert sizes["acme"] == 1
    receipt_stands(own.database, receipts[0])
    counted = [record for record in records(own.database, "-") if "refus" in record["kind"] or "unauth" in json.dumps(record)]
    assert sum(record["count"] for record in counted) == 25
    assert len(counted) <= 4  # one for each second and source, not one for each knock
