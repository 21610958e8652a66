"""Teams with ceilings and the master key on a running hub: lists, decisions and explanations agree, and an edit holds at once."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from hub.identity.keys import mint
from tests.cli.test_commands import Shell
from tests.support import provider as scripted
from tests.support.hub import Hub, running, wait_for
from tests.support.journal import records
from tests.support.mcp import Client
from tests.support.servers import sdk_http

ALL = [{"virtual_server": "*", "model": "*"}]
CEILING = [{"model": "fast", "endpoints": ["chat"]}, {"virtual_server": "*", "tools": ["echo"], "deny": ["add"]}]


def config(models: str, tools: str, ceiling: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "orgs": {"acme": {}},
        "teams": {"core": {"org": "acme", "grants": ceiling}},
        "projects": {"apollo": {"org": "acme", "team": "core"}},
        "keys": [
            {"name": "root", "roles": ["owner"]},
            {"name": "ann", "org": "acme", "subject": "user:ann", "project": "apollo", "grants": ALL},
            {"name": "free", "org": "acme", "subject": "user:free", "grants": ALL},
        ],
        "upstreams": {"good": {"url": tools, "org": "acme"}},
        "virtual_servers": {"main": {"org": "acme", "include": [{"from": "good"}]}},
        "providers": {"openai": {"org": "acme", "wire": "openai", "base_url": f"{models}/v1"}},
        "models": {name: {"org": "acme", "route": [{"provider": "openai", "model": "gpt-5-mini"}]} for name in ("fast", "slow")},
        "server": {"drain": 1},
    }


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[scripted.Provider, str]]:
    with scripted.provider() as models, sdk_http(tmp_path_factory.mktemp("tools")) as tools:
        yield models, tools.url


def ask(hub: Hub, key: str, model: str, path: str = "/v1/chat/completions") -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "x"}], "input": "x", "max_tokens": 5}
    return httpx.post(hub.url + path, json=body, headers={"authorization": f"Bearer {hub.keys.get(key, key)}"}, timeout=30)


def models(hub: Hub, key: str) -> list[str]:
    found = httpx.get(hub.url + "/v1/models", headers={"authorization": f"Bearer {hub.keys.get(key, key)}"}, timeout=30)
    return [one["id"] for one in found.json()["data"]]


async def tools(hub: Hub, key: str) -> set[str]:
    return {tool["name"] for tool in (await Client(hub, key).modern("tools/list")).result["tools"]}


async def test_lists_decisions_and_explanations_go_by_the_ceilings_of_what_a_key_belongs_to(
    tmp_path: Path, behind: tuple[scripted.Provider, str]
) -> None:
    provider, url = behind
    with running(tmp_path, config(provider.url, url, CEILING)) as hub:
        hub.settled("good")
        stored = hub.admin("POST", "/admin/v1/keys", {"name": "stored", "org": "acme", "project": "apollo", "grants": ALL})["key"]
        hub.keys["stored"] = stored
        for key in ("ann", "stored"):
            assert models(hub, key) == ["fast"]
            assert await tools(hub, key) == {"echo"}
            asked = len(provider.asked)
            assert ask(hub, key, "fast").status_code == 200
            for answer in (ask(hub, key, "slow"), ask(hub, key, "fast", "/v1/embeddings")):
                assert answer.status_code in (403, 404), answer.text
            assert len(provider.asked) == asked + 1
            assert (await Client(hub, key).call("echo", {"text": "x"})).result["content"][0]["text"] == "x"
            refused = await Client(hub, key).call("add", {"a": 1, "b": 2})
            assert refused.error["data"]["reasons"] == ["grant-deny", "grant:team:core:1:deny"]
        assert models(hub, "free") == ["fast", "slow"]
        assert {"echo", "add"} <= await tools(hub, "free")
        said = Shell(tmp_path).program("policy", "explain", refused.headers["x-request-id"])
        assert "The caller's grants allow it, but team core denies it" in said.stdout
        spent = [one for one in records(hub.database, "acme") if one["kind"] == "llm.chat.outcome"]
        assert spent
        with pytest.raises(Exception, match="400"):
            hub.admin("POST", "/admin/v1/keys", {"name": "other", "org": "acme", "team": "cor"})
        hub.configure(config(provider.url, url, [{"model": "*"}]))
        for key in ("ann", "stored"):
            wait_for(lambda key=key: models(hub, key) == ["fast", "slow"])
            assert (await Client(hub, key).modern("tools/list")).status == 404
        changed = config(provider.url, url, CEILING)
        changed["teams"] = {"other": {"org": "acme"}}
        changed["projects"] = {"gemini": {"org": "acme"}}
        del changed["keys"][1]["project"]
        changed["keys"][1]["team"] = "other"
        hub.configure(changed)
        wait_for(lambda: models(hub, "stored") == [])
        denied = ask(hub, "stored", "fast")
        assert denied.status_code == 403
        assert "grant:project:apollo:undeclared" in denied.text
        assert models(hub, "ann") == ["fast", "slow"]
        assert "may use nothing: no project `apollo` is declared" in hub.log.read_text()


async def test_three_lines_and_a_master_key_are_a_hub(tmp_path: Path, behind: tuple[scripted.Provider, str]) -> None:
    provider, _ = behind
    master = mint().text
    hub = Hub(tmp_path, {})
    hub.environment |= {"HUB_MASTER_KEY": master, "URL": f"{provider.url}/v1"}
    hub.file.write_text(
        'master_key: "${HUB_MASTER_KEY}"\n'
        'providers: {openai: {wire: openai, base_url: "${URL}"}}\n'
        "models: {fast: {route: [{provider: openai, model: gpt-5-mini}]}}\n"
    )
    try:
        hub.start()
        assert ask(hub, master, "fast").status_code == 200
        keys = hub.admin("GET", "/admin/v1/keys", key=master)["keys"]
        assert [(key["name"], key["org"], key["roles"], key["source"]) for key in keys] == [("master", "default", ["owner"], "declared")]
        made = hub.admin("POST", "/admin/v1/keys", {"name": "second", "roles": ["owner"]}, key=master)
        assert hub.admin("GET", "/admin/v1/status", key=made["key"])["version"]
        assert not (tmp_path / ".hub" / "first-run").exists()
        shown = [json.dumps(keys), json.dumps(hub.admin("GET", "/admin/v1/status", key=master)), hub.admin("GET", "/metrics", key=master)]
        assert not [text for text in shown if master[17:] in text]
    finally:
        assert hub.stop() == 0
    assert master[17:] not in hub.log.read_text()
    assert master[17:] not in json.dumps(records(hub.database))
    hub.environment["HUB_MASTER_KEY"] = "let-me-in"
    hub.launch()
    assert hub.process is not None
    assert hub.process.wait(30) == 2
    assert "`hub keys mint`" in hub.log.read_text()
    assert "let-me-in" not in hub.log.read_text()
