"""A budget is raised for a while by the API and on the command line: in every hub of a database at once, over a restart, and taken back."""

import base64
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.cli.test_commands import Shell
from tests.support import provider as scripted
from tests.support.hub import Hub, wait_for
from tests.support.journal import changes, records, verified

SECRETS = {"HUB_MASTER": base64.b64encode(b"m" * 32).decode(), "HUB_LOG": base64.b64encode(b"l" * 32).decode()}
TALK = {"model": "fast", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 10}


def config(url: str, secrets: dict[str, str]) -> dict[str, Any]:
    return {
        **({"secrets": secrets} if secrets else {}),
        "orgs": {"acme": {}},
        "keys": [
            {"name": "root", "roles": ["owner"]},
            {"name": "boss", "org": "acme", "roles": ["admin"]},
            {"name": "ci", "org": "acme", "grants": [{"model": "*"}]},
        ],
        "providers": {"openai": {"wire": "openai", "base_url": f"{url}/v1", "org": "acme"}},
        "models": {"fast": {"org": "acme", "route": [{"provider": "openai", "model": "gpt-5-mini"}]}},
        "budgets": [{"name": "calls", "scope": "key", "window": "year", "requests": 2}],
        "server": {"drain": 1},
    }


@pytest.fixture
def behind() -> Generator[scripted.Provider]:
    with scripted.provider() as found:
        yield found


def ask(hub: Hub, **headers: str) -> httpx.Response:
    return httpx.post(
        f"{hub.url}/v1/chat/completions", json=TALK, headers={"authorization": f"Bearer {hub.keys['ci']}", **headers}, timeout=30
    )


def admin(hub: Hub, key: str, method: str, path: str, body: Any = None) -> httpx.Response:
    headers = {"authorization": f"Bearer {hub.keys[key]}"}
    return httpx.request(method, f"{hub.url}/admin/v1/budgets{path}", json=body, headers=headers, timeout=30)


def test_a_budget_that_one_hub_raises_is_raised_in_another(
    tmp_path: Path, behind: scripted.Provider, database_url: str, redis_url: str
) -> None:
    given = {"master": "${HUB_MASTER}", "log": "${HUB_LOG}"}
    hubs: list[Hub] = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        hub = Hub(tmp_path / name, {}, postgres=database_url, redis=redis_url)
        if hubs:  # the same keys
            hub.keys.update(hubs[0].keys)
            for key, text in hub.keys.items():
                (hub.folder / "keys").mkdir(exist_ok=True)
                (hub.folder / "keys" / key).write_text(text)
        hub.configure(config(behind.url, given))
        hub.environment.update(SECRETS)
        hubs.append(hub.start())
    one, two = hubs
    try:
        wait_for(lambda: ask(one).status_code == 200)  # the first seconds of the counts are over
        assert [ask(hub).status_code for hub in (two, one, two)] == [200, 429, 429]
        raised = admin(one, "boss", "POST", "/calls/overrides", {"amount": 10, "until": "window", "reason": "release week", "who": "ci"})
        assert raised.status_code == 201, raised.text
        shown = raised.json()["override"]
        with ThreadPoolExecutor(8) as pool:
            codes = list(pool.map(lambda n: ask(hubs[n % 2]).status_code, range(30)))
        assert sorted(codes) == [200] * 10 + [429] * 20
        planned = ask(two, **{"hub-dry-run": "1"}).json()["budgets"][0]
        assert (planned["amount"], planned["left"], planned["override_until"]) == (12, 0, shown["until"])
        last = [record for record in records(database_url, "acme") if record.get("budgets")][-1]["budgets"][0]
        assert (last["amount"], last["override_until"]) == (12, shown["until"])
        assert one.stop() == 0
        one.start()
        listed = admin(one, "boss", "GET", "/overrides").json()["overrides"]
        assert [each["id"] for each in listed] == [shown["id"]]
        assert admin(two, "boss", "POST", "/calls/overrides", {"amount": 20, "until": "window", "reason": "more"}).status_code == 201
        assert ask(one).status_code == 429  # what holds for this key is narrower
        assert admin(two, "boss", "DELETE", f"/overrides/{shown['id']}").status_code == 200
        assert ask(one).status_code == 200
        assert changes(records(database_url, "acme"), "admin.budget") == [
            "admin.budget.override",
            "admin.budget.override",
            "admin.budget.restore",
        ]
    finally:
        codes = [hub.stop() for hub in hubs if hub.alive]
    assert set(codes) == {0}
    verified(database_url)


def test_the_command_line_raises_by_the_hub_and_in_its_database(tmp_path: Path, behind: scripted.Provider) -> None:
    hub = Hub(tmp_path, config(behind.url, {})).start()
    shell = Shell(tmp_path)
    here = ("--config", str(hub.file))
    asked = {"HUB_URL": hub.url, "HUB_ADMIN_KEY": hub.keys["root"]}
    try:
        assert [ask(hub).status_code for _ in range(3)] == [200, 200, 429]
        made = shell.json("budgets", "raise", "calls", "1", "--who", "ci", "--org", "acme", "--reason", "one more", **asked)["override"]
        assert [ask(hub).status_code for _ in range(2)] == [200, 429]
        assert "team-of-nobody" in shell.fails("budgets", "raise", "calls", "1", "--org", "team-of-nobody", "--reason", "x", **asked)
        assert made["id"] in shell("budgets", "overrides", **asked).stdout
        assert "calls" in shell("budgets", "list", **asked).stdout
        shell.json("budgets", "restore", made["id"], **asked)
        assert shell.json("budgets", "overrides", **asked) == {"overrides": []}
    finally:
        assert hub.stop() == 0
    set_to = shell.json("budgets", "set", "calls", "5", "--org", "acme", "--until", "2090-01-01T00:00:00Z", "--reason", "x", *here, code=1)
    assert "366 days" in set_to["error"]
    made = shell.json("budgets", "set", "calls", "5", "--org", "acme", "--reason", "while it is stopped", *here)["override"]
    assert [one["id"] for one in shell.json("budgets", "overrides", *here)["overrides"]] == [made["id"]]
    assert [len(one["overrides"]) for one in shell.json("budgets", "list", *here)["budgets"]] == [1]
    hub.start()
    try:
        assert [ask(hub).status_code for _ in range(3)] == [200, 200, 429]
    finally:
        assert hub.stop() == 0
    assert shell.json("budgets", "restore", made["id"], *here)["ended"]["id"] == made["id"]
    ended = shell.json("budgets", "overrides", "--ended", *here)["overrides"]
    assert next((one["mode"], bool(one["ended"]), one["subject"]) for one in ended) == ("set", True, "operator")
    verified(hub.database)
