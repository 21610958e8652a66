"""The official Python client, in each of its modes, at doors whose server is reached over HTTP and pipes in either era."""

import asyncio
from typing import Any

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from tests.journeys.conftest import MODES, WAYS, connected
from tests.support.hub import PATIENCE, Hub, eventually
from tests.support.servers import HttpServer

TOOLS = ["echo", "add", "picture", "links", "fail", "error", "count", "wait", "grow", "routed", "meta"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", MODES)
async def test_everything_a_server_offers_can_be_listed_and_used(hub: Hub, mode: str, way: str) -> None:
    async with connected(hub, way, mode) as client:
        assert client.protocol_version == ("2025-11-25" if mode == "legacy" else "2026-07-28")
        if mode != "2026-07-28":  # a pinned client does not ask
            assert client.instructions == "A server for tests."
            assert client.server_info.name == "countersign"
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools if not tool.name.startswith("new-")] == TOOLS
        assert (await client.call_tool("echo", {"text": "hello"})).content[0].text == "hello"
        total = await client.call_tool("add", {"a": 1, "b": 2.5})
        assert total.structured_content == {"sum": 3.5}
        kinds = [content.type for content in (await client.call_tool("picture")).content + (await client.call_tool("links")).content]
        assert kinds == ["image", "audio", "resource_link", "resource"]
        assert (await client.call_tool("fail")).is_error
        with pytest.raises(MCPError) as refused:
            await client.call_tool("error", {"code": -32000})
        assert (refused.value.error.code, refused.value.error.data) == (-32000, {"detail": [1, 2.5, None]})
        assert (await client.call_tool("routed", {"region": "eu", "size": 3})).content[0].text == "eu 3"
        assert (await client.call_tool("meta")).meta["example.org/kept"] == {"deep": [True]}
        assert [prompt.name for prompt in (await client.list_prompts()).prompts] == ["plain", "greet"]
        greeting = await client.get_prompt("greet", {"who": "everyone"})
        assert greeting.messages[0].content.text == "Greet everyone."
        assert [resource.uri for resource in (await client.list_resources()).resources] == ["note://one", "note://blob"]
        assert [t.uri_template for t in (await client.list_resource_templates()).resource_templates] == ["page://{id}"]
        assert (await client.read_resource("note://one")).contents[0].text == "what stands at note://one"
        assert (await client.read_resource("note://blob")).contents[0].blob
        assert (await client.read_resource("page://42")).contents[0].text == "what stands at page://42"


@pytest.mark.parametrize("mode", MODES)
async def test_renamed_tools_of_four_upstreams_are_used_at_one_door(hub: Hub, mode: str) -> None:
    async with connected(hub, "renamed", mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"say", "http-newer_add"} | {f"{way}_{tool}" for way in WAYS[1:] for tool in ("echo", "add")}
        assert (tools["say"].title, tools["say"].description) == ("Say", "Says it.")
        assert tools["say"].annotations.read_only_hint is True
        for name in ("say", "http-older_echo", "pipe-newer_echo", "pipe-older_echo"):
            assert (await client.call_tool(name, {"text": name})).content[0].text == name
        with pytest.raises(MCPError) as unknown:
            await client.call_tool("echo", {"text": "x"})
        assert unknown.value.error.code == -32602


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", MODES)
async def test_progress_arrives_in_order_and_before_the_result(hub: Hub, mode: str, way: str) -> None:
    seen: list[tuple[float, float | None, str | None]] = []

    async def heard(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message))

    async with connected(hub, way, mode) as client:
        result = await client.call_tool("count", {"steps": 20}, progress_callback=heard)
        assert result.content[0].text == "counted to 20"
        await eventually(lambda: len(seen) == 20)
    assert seen == [(step, 20, f"step {step}") for step in range(1, 21)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_a_call_given_up_by_the_client_is_cancelled_at_the_server(hub: Hub, downstream: HttpServer, mode: str, way: str) -> None:
    mark = f"given-up {mode} {way}"
    async with connected(hub, way, mode) as client:
        call = asyncio.create_task(client.call_tool("wait", {"mark": mark}))
        await eventually(lambda: f"began {mark}" in downstream.noted())
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await eventually(lambda: f"cancelled {mark}" in downstream.noted())
        assert (await client.call_tool("echo", {"text": "still here"})).content[0].text == "still here"


@pytest.mark.parametrize("mode", MODES)
async def test_calls_under_way_together_do_not_get_in_each_others_way(hub: Hub, mode: str) -> None:
    async with connected(hub, "renamed", mode) as client:
        names = ["say", "http-older_echo", "pipe-newer_echo", "pipe-older_echo"] * 15
        results = await asyncio.gather(*(client.call_tool(name, {"text": f"{i} {name}"}) for i, name in enumerate(names)))
        assert [result.content[0].text for result in results] == [f"{i} {name}" for i, name in enumerate(names)]


@pytest.mark.parametrize("mode", MODES)
async def test_what_policy_forbids_is_an_error_that_says_which_policy(hub: Hub, mode: str) -> None:
    async with connected(hub, "http-newer", mode) as client:
        with pytest.raises(MCPError) as denied:
            await client.call_tool("echo", {"text": "secret"})
        assert denied.value.error.code == -31403
        assert denied.value.error.data == {"code": "denied", "reasons": ["no-secret-words"]}


@pytest.mark.parametrize(("mode", "key"), [("legacy", "few-older"), ("2026-07-28", "few-newer")])
async def test_a_limit_is_an_error_that_says_how_long_to_wait(hub: Hub, mode: str, key: str) -> None:
    async with connected(hub, "pipe-newer", mode, key) as client:
        calls = [client.call_tool("echo", {"text": "x"}) for _ in range(10)]
        answers = [await asyncio.gather(call, return_exceptions=True) for call in calls]
    errors = [answer.error for (answer,) in answers if isinstance(answer, MCPError)]
    assert 5 <= len(errors) < 10
    assert {error.code for error in errors} == {-31429}
    assert all(error.data["limit"] == "few-calls" and 0 < error.data["retryAfterMs"] <= 10_000 for error in errors)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_a_tool_that_comes_at_the_server_is_announced_and_can_be_called(hub: Hub, mode: str, way: str) -> None:
    new = f"new-{mode}-{way}"
    heard = asyncio.Event()

    async def notified(message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            heard.set()

    async with connected(hub, way, mode, message_handler=notified) as client:
        if mode == "legacy":
            await eventually(lambda: hub.status()["streams"] > 0)
            await client.call_tool("grow", {"name": new})
            await asyncio.wait_for(heard.wait(), PATIENCE)
        else:
            async with client.listen(tools_list_changed=True) as changes:
                await client.call_tool("grow", {"name": new})
                await asyncio.wait_for(anext(changes), PATIENCE)
        await eventually(lambda: _listed(client, new))
        await eventually(lambda: _called(client, new))


async def _called(client: Any, name: str) -> bool:
    """What was heard may have been an earlier change, and then one of several processes may not show this one yet."""
    try:
        answer = await client.call_tool(name)
    except MCPError as error:
        if error.message != f"unknown tool: {name}":
            raise
        return False
    assert answer.content[0].text == f"I am {name}"
    return True


async def _listed(client: Any, name: str) -> bool:
    return name in [tool.name for tool in (await client.list_tools()).tools]
