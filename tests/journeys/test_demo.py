"""The demo as it is shipped: real servers of both eras behind one view, used by every client with the key of the first start."""

import json
import re
from collections.abc import Generator

import pytest
from mcp.shared.exceptions import MCPError

from tests.journeys.conftest import MODES, connected
from tests.support.hub import ROOT, Hub
from tests.support.node import inspector, node

GIT = ["git_status", "git_diff_unstaged", "git_diff_staged", "git_diff", "git_log", "git_show", "git_branch"]
"""What the demo's view leaves of the git server, which can also write."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Generator[Hub]:
    folder = tmp_path_factory.mktemp("demo")
    hub = Hub(folder, {})
    hub.file, hub.cwd, hub.environment = ROOT / "demo" / "hub.yaml", ROOT, {"HUB_STATE": str(folder / ".hub")}
    try:
        hub.start()
        first = (folder / ".hub" / "first-run").read_text()
        admin, key = re.findall(r"hub_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}", first)[:2]
        hub.keys = {"root": admin, "ann": key}
        assert "claude mcp add" in first
        yield hub.settled("time", "git", "everything")
    finally:
        code = hub.stop()
    assert code == 0


@pytest.mark.parametrize("mode", MODES)
async def test_the_python_client_uses_the_demo(demo: Hub, mode: str) -> None:
    async with connected(demo, "demo", mode) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        assert {"now", "convert_time", "echo", "get-sum", "get-tiny-image", *GIT} <= set(tools)
        assert not {"get_current_time", "git_commit", "git_reset", "git_add", "get-env"} & set(tools)
        now = await client.call_tool("now", {"timezone": "Europe/Rome"})
        assert json.loads(now.content[0].text)["timezone"] == "Europe/Rome"
        assert "15" in (await client.call_tool("get-sum", {"a": 7, "b": 8})).content[0].text
        history = await client.call_tool("git_log", {"repo_path": str(ROOT), "max_count": 1})
        assert not history.is_error
        assert (await client.list_prompts()).prompts
        assert (await client.list_resources()).resources
        for name, arguments, code in (
            ("git_log", {"repo_path": str(ROOT), "max_count": 1000}, -31403),
            ("git_commit", {"repo_path": str(ROOT), "message": "x"}, -32602),
            ("now", {"timezone": 7}, -32602),
        ):
            with pytest.raises(MCPError) as refused:
                await client.call_tool(name, arguments)
            assert refused.value.error.code == code


@pytest.mark.parametrize(("which", "mode"), [("v1", "legacy"), ("v2", "auto"), ("v2", "pin")])
def test_the_typescript_clients_use_the_demo(demo: Hub, which: str, mode: str) -> None:
    seen = node("demo.mjs", which, mode, f"{demo.url}/mcp/demo", demo.keys["ann"])
    assert {"now", "echo", *GIT} <= set(seen["tools"])
    assert seen["echo"]["content"][0]["text"] == "Echo: hello"
    assert seen["now"]["isError"] is not True
    assert seen["refused"] == -32602


def test_the_inspector_uses_the_demo(demo: Hub) -> None:
    url, key = f"{demo.url}/mcp/demo", demo.keys["ann"]
    assert "now" in [tool["name"] for tool in inspector(url, key, "tools/list")["tools"]]
    said = inspector(url, key, "tools/call", "--tool-name", "echo", "--tool-arg", "message=hello")
    assert said["content"][0]["text"] == "Echo: hello"
