"""Clients of other ecosystems: both TypeScript SDKs in each of their modes, and the MCP Inspector's command line."""

from typing import Any

import pytest

from tests.support.hub import Hub, wait_for
from tests.support.node import inspector, node
from tests.support.servers import HttpServer

TOOLS = ["echo", "add", "picture", "links", "fail", "error", "count", "wait", "grow", "routed", "meta"]
CLIENTS = [("v1", "legacy", "2025-11-25"), ("v2", "legacy", "2025-11-25"), ("v2", "auto", "2026-07-28"), ("v2", "pin", "2026-07-28")]


def only(value: dict[str, Any], *members: str) -> dict[str, Any]:
    return {name: value.get(name) for name in members}


@pytest.mark.parametrize("way", ["http-newer", "pipe-older"])
@pytest.mark.parametrize(("which", "mode", "version"), CLIENTS)
def test_the_typescript_clients_list_and_use_everything(
    hub: Hub, downstream: HttpServer, which: str, mode: str, version: str, way: str
) -> None:
    mark = f"{which}-{mode}-{way}"
    seen = node("tour.mjs", which, mode, f"{hub.url}/mcp/{way}", hub.keys["ann"], mark)
    assert seen["version"] == version
    assert seen["instructions"] == "A server for tests."
    assert [tool for tool in seen["tools"] if not tool.startswith("new-")] == TOOLS
    assert seen["echo"]["content"] == [{"type": "text", "text": "hello \U0001f600"}]
    assert seen["add"]["structuredContent"] == {"sum": 3.5}
    assert seen["fail"]["isError"] is True
    assert seen["error"] == {"code": -32000, "data": {"detail": [1, 2.5, None]}}
    assert seen["unknown"]["code"] == -32602
    assert seen["prompts"] == ["plain", "greet"]
    assert seen["prompt"]["messages"][0]["content"]["text"] == "Greet us."
    assert seen["resources"] == ["note://one", "note://blob"]
    assert seen["templates"] == ["page://{id}"]
    assert only(seen["read"]["contents"][0], "uri", "text") == {"uri": "page://7", "text": "what stands at page://7"}
    assert seen["progress"] == list(range(1, 11))
    assert isinstance(seen["given"], str)
    wait_for(lambda: f"cancelled {mark}" in downstream.noted())
    assert seen["changed"] is True


@pytest.mark.parametrize("door", ["http-newer", "pipe-older"])
def test_the_inspector_lists_and_calls(hub: Hub, door: str) -> None:
    url, key = f"{hub.url}/mcp/{door}", hub.keys["ann"]
    tools = [tool["name"] for tool in inspector(url, key, "tools/list")["tools"]]
    assert [tool for tool in tools if not tool.startswith("new-")] == TOOLS
    called = inspector(url, key, "tools/call", "--tool-name", "add", "--tool-arg", "a=1", "b=2")
    assert called["structuredContent"] == {"sum": 3}


def test_the_inspector_reads_prompts_and_resources_and_renamed_tools(hub: Hub) -> None:
    url, key = f"{hub.url}/mcp/http-older", hub.keys["ann"]
    assert [prompt["name"] for prompt in inspector(url, key, "prompts/list")["prompts"]] == ["plain", "greet"]
    greeting = inspector(url, key, "prompts/get", "--prompt-name", "greet", "--prompt-args", "who=you")
    assert greeting["messages"][0]["content"]["text"] == "Greet you."
    assert [resource["uri"] for resource in inspector(url, key, "resources/list")["resources"]] == ["note://one", "note://blob"]
    assert inspector(url, key, "resources/read", "--uri", "note://one")["contents"][0]["text"] == "what stands at note://one"
    assert inspector(url, key, "resources/templates/list")["resourceTemplates"][0]["uriTemplate"] == "page://{id}"
    renamed = f"{hub.url}/mcp/renamed"
    assert "say" in [tool["name"] for tool in inspector(renamed, key, "tools/list")["tools"]]
    assert inspector(renamed, key, "tools/call", "--tool-name", "say", "--tool-arg", "text=hi")["content"][0]["text"] == "hi"
