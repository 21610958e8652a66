"""What a key sees at a door and what it can call there: exclusion, renaming, grants, policy."""

from typing import Any

import pytest

from tests.support.hub import Hub
from tests.support.journal import of_call
from tests.support.mcp import Client


async def names(client: Client, method: str = "tools/list", member: str = "tools", key: str = "name") -> list[str]:
    return [item[key] for item in (await client.modern(method)).result[member]]


async def test_what_is_excluded_is_not_listed_and_cannot_be_called(ann: Client) -> None:
    assert "picture" not in await names(ann)
    hidden, unknown = await ann.call("picture"), await ann.call("nicture")
    assert hidden.error["message"].replace("picture", "nicture") == unknown.error["message"]
    assert {**hidden.error, "message": ""} == {**unknown.error, "message": ""}
    assert hidden.code == -32602


async def test_an_excluded_resource_cannot_be_read(ann: Client) -> None:
    assert await names(ann, "resources/list", "resources", "uri") == ["note://one"]
    hidden = await ann.modern("resources/read", {"uri": "note://blob"})
    unknown = await ann.modern("resources/read", {"uri": "note://blub"})
    assert hidden.code == unknown.code == -32602
    assert hidden.error["message"] == unknown.error["message"]


async def test_a_templated_uri_can_be_read(ann: Client) -> None:
    answer = await ann.modern("resources/read", {"uri": "page://7"})
    assert answer.result["contents"][0]["text"] == "what stands at page://7"


async def test_a_renamed_tool_answers_to_its_new_name_only(hub: Hub) -> None:
    client = Client(hub, "ann", "renamed")
    assert await names(client) == ["say", "add"]
    answer = await client.call("say", {"text": "hello"})
    assert answer.result["content"][0]["text"] == "hello"
    assert (await client.call("echo", {"text": "hello"})).code == -32602


async def test_policy_and_record_speak_of_the_upstreams_name(hub: Hub) -> None:
    answer = await Client(hub, "ann", "renamed").call("say", {"text": "secret"})
    assert (answer.status, answer.code, answer.why) == (200, -31403, "denied")
    assert answer.error["data"]["reasons"] == ["no-secret-words"]
    (record,) = of_call(hub.database, answer)
    assert record["target"] == {"door": "renamed", "upstream": "good", "kind": "tool", "name": "echo", "advertised": "say"}
    assert record["decision"]["effect"] == "deny"
    assert record["decision"]["reasons"] == ["no-secret-words"]
    assert record["decision"]["policy_set"].startswith("sha256:")


async def test_a_key_sees_and_calls_what_its_grants_name(hub: Hub) -> None:
    cat = Client(hub, "cat")
    assert await names(cat) == ["echo"]
    assert await names(cat, "prompts/list", "prompts") == []
    assert await names(cat, "resources/list", "resources", "uri") == []
    assert await names(cat, "resources/templates/list", "resourceTemplates", "uriTemplate") == []
    assert (await cat.call("echo", {"text": "x"})).status == 200
    for answer in (
        await cat.call("add", {"a": 1, "b": 2}),
        await cat.modern("prompts/get", {"name": "plain"}),
        await cat.modern("resources/read", {"uri": "note://one"}),
        await cat.modern("resources/read", {"uri": "page://1"}),
    ):
        assert (answer.status, answer.code, answer.why) == (200, -31403, "denied")


async def test_the_older_era_shows_the_same(hub: Hub) -> None:
    session = await Client(hub, "cat").session()
    assert [tool["name"] for tool in (await session.request("tools/list")).result["tools"]] == ["echo"]
    assert (await session.call("add", {"a": 1, "b": 2})).why == "denied"


@pytest.mark.parametrize("tool", ["Echo", "echo ", "good/echo", "good_echo", "../echo", "echo\u0000", "__proto__", "e" * 10_000])
async def test_near_names_are_unknown(ann: Client, tool: str) -> None:
    answer = await ann.call(tool, {"text": "x"})
    assert (answer.status, answer.code) == (200, -32602)
    assert len(answer.body) < 1000


async def test_what_the_server_says_went_wrong_is_passed_on(ann: Client) -> None:
    failed = await ann.call("fail")
    assert failed.result["isError"] is True
    refused = await ann.call("error", {"code": -32000})
    assert refused.error == {"code": -32000, "message": "refused by the server", "data": {"detail": [1, 2.5, None]}}
    assert refused.status == 200


@pytest.mark.parametrize(
    ("tool", "arguments", "status", "code"), [("fail", {}, "error", "tool_error"), ("error", {}, "error", "upstream_error")]
)
async def test_a_failure_downstream_is_recorded_as_one(
    hub: Hub, ann: Client, tool: str, arguments: dict[str, Any], status: str, code: str
) -> None:
    intent, outcome = of_call(hub.database, await ann.call(tool, arguments))
    assert intent["kind"] == "mcp.tools.call.intent"
    assert (outcome["outcome"]["status"], outcome["outcome"]["code"]) == (status, code)
