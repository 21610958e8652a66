"""An organisation that keeps what is said to models, beside one that does not: through the hub, by API and command, whole, streamed, cut off."""

import json
import re
import sqlite3
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import httpx2 as httpx
import pytest

from tests.cli.test_commands import Shell
from tests.support import provider as scripted
from tests.support.hub import Hub, running, wait_for
from tests.support.journal import changes, records, verified

CANARY = "canary-51d0"
ASK = {"model": "fast", "messages": [{"role": "user", "content": f"Say hello to {CANARY}."}]}


def config(url: str) -> dict[str, Any]:
    return {
        "orgs": {"acme": {"capture": {"days": 7}}, "rival": {}, "default": {}},
        "keys": [
            {"name": "root", "roles": ["admin"]},
            {"name": "reader", "roles": ["auditor"]},
            {"name": "boss", "org": "acme", "roles": ["admin"]},
            {"name": "auditor", "org": "acme", "roles": ["auditor"]},
            {"name": "spy", "org": "rival", "roles": ["auditor"]},
            {"name": "ann", "org": "acme", "subject": "user:ann", "grants": [{"model": "*"}]},
            {"name": "bob", "org": "rival", "subject": "user:bob", "grants": [{"model": "*"}]},
        ],
        "providers": {"openai": {"wire": "openai", "base_url": f"{url}/v1", "shared": True}},
        "models": {"fast": {"route": [{"provider": "openai", "model": "gpt-5-mini"}], "shared": True}},
        "server": {"drain": 1},
    }


@pytest.fixture
def behind() -> Generator[scripted.Provider]:
    with scripted.provider() as found:
        yield found


@pytest.fixture
def hub(tmp_path: Path, behind: scripted.Provider) -> Generator[Hub]:
    with running(tmp_path, config(behind.url)) as found:
        yield found


def ask(hub: Hub, key: str = "ann", **more: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {hub.keys[key]}"}
    return httpx.post(f"{hub.url}/v1/chat/completions", json=ASK | more, headers=headers, timeout=30)


def shown(hub: Hub, call: str, key: str = "auditor") -> dict[str, str]:
    return {part["part"]: part["content"] for part in hub.admin("GET", f"/admin/v1/contents/{call}", key=key)["parts"]}


def refused(hub: Hub, method: str, path: str, key: str) -> int:
    with pytest.raises(HTTPError) as raised:
        hub.admin(method, f"/admin/v1/contents{path}", key=key)
    raised.value.close()
    return raised.value.code


def test_whole_and_streamed_calls_are_kept_for_who_opted_in_and_nobody_else(hub: Hub, tmp_path: Path) -> None:
    whole, streamed, other = ask(hub), ask(hub, stream=True), ask(hub, "bob")
    assert [one.status_code for one in (whole, streamed, other)] == [200, 200, 200]
    call = whole.headers["x-request-id"]
    assert json.loads(shown(hub, call)["question"]) == ASK
    assert shown(hub, call)["answer"] == whole.text
    told = shown(hub, streamed.headers["x-request-id"])["answer"]
    assert told == re.sub(": hub-receipt: .*\n\n", "", streamed.text)
    listed = hub.admin("GET", "/admin/v1/contents", key="auditor")["contents"]
    assert [(one["part"], one["door"], one["sub"]) for one in listed] == [
        ("answer", "fast", "user:ann"),
        ("question", "fast", "user:ann"),
    ] * 2
    assert CANARY not in json.dumps(listed)
    assert hub.admin("GET", "/admin/v1/contents", key="spy")["contents"] == []
    assert refused(hub, "GET", f"/{call}", "spy") == 404
    assert refused(hub, "GET", f"/{call}", "ann") == 403
    assert refused(hub, "DELETE", f"/{call}", "auditor") == 403
    assert refused(hub, "GET", f"/{other.headers['x-request-id']}", "reader") == 404
    assert refused(hub, "GET", "?limit=x", "auditor") == refused(hub, "GET", "?limit=0", "auditor") == 400
    assert hub.admin("DELETE", f"/admin/v1/contents/{call}", key="boss") == {"erased": call}
    assert refused(hub, "GET", f"/{call}", "auditor") == 404
    said = records(hub.database, "acme")
    facts = [one["content"] for one in said if one["kind"] == "llm.chat.outcome"]
    assert facts == ["kept", "kept"]
    assert sum(one["kind"] == "admin.content.read" for one in said) == 3
    assert changes(said, "admin.content.") == ["admin.content.erase"]
    assert all("content" not in one for one in records(hub.database, "rival"))
    assert hub.stop() == 0
    verified(hub.database)
    kept = b"".join(file.read_bytes() for file in (tmp_path / ".hub").rglob("*") if file.is_file()) + hub.log.read_bytes()
    assert CANARY.encode() not in kept


def test_what_was_told_of_a_stream_that_was_left_is_kept(hub: Hub, behind: scripted.Provider) -> None:
    go = threading.Event()
    body = scripted.chat_stream(ASK | {"stream": True})
    behind.always = lambda asked: scripted.stream([body[0], body[1], scripted.wait(go), *body[2:]])
    headers = {"authorization": f"Bearer {hub.keys['ann']}"}
    with httpx.stream("POST", f"{hub.url}/v1/chat/completions", json=ASK | {"stream": True}, headers=headers, timeout=30) as answer:
        call = answer.headers["x-request-id"]
        next(answer.iter_bytes())
    wait_for(lambda: len(hub.admin("GET", "/admin/v1/contents", key="auditor")["contents"]) == 2)
    go.set()
    assert shown(hub, call)["answer"].startswith("data: {")
    assert "[DONE]" not in shown(hub, call)["answer"]


def test_an_error_of_the_provider_is_kept_as_it_was_answered(hub: Hub, behind: scripted.Provider) -> None:
    behind.always = lambda asked: scripted.whole({"error": {"message": "no", "type": "invalid_request_error"}}, 400)
    answer = ask(hub)
    assert answer.status_code == 400
    assert shown(hub, answer.headers["x-request-id"])["answer"] == answer.text


def test_where_a_question_cannot_be_kept_nothing_is_sent_and_nothing_charged(tmp_path: Path, behind: scripted.Provider) -> None:
    settings = config(behind.url)
    with running(tmp_path, settings) as hub:
        assert ask(hub).status_code == 200
    with sqlite3.connect(tmp_path / ".hub" / "hub.db") as broken:
        broken.execute("ALTER TABLE content RENAME TO elsewhere")
    broken.close()
    with running(tmp_path, settings) as hub:
        seen = len(behind.asked)
        answer = ask(hub)
        assert answer.status_code == 503
        assert len(behind.asked) == seen
        assert ask(hub, "bob").status_code == 200, "who keeps nothing has nothing to fail"
    with sqlite3.connect(tmp_path / ".hub" / "hub.db") as reading:
        costs = reading.execute("SELECT cost FROM usage WHERE org = 'acme' ORDER BY number").fetchall()
    reading.close()
    assert costs[0][0] > 0
    assert [cost for (cost,) in costs[1:]] in ([], [0])


def test_commands_list_show_and_erase(hub: Hub, tmp_path: Path) -> None:
    call = ask(hub).headers["x-request-id"]
    shell = Shell(tmp_path)
    at = ("--url", hub.url, "--admin-key")
    listed = shell("content", "list", *at, hub.keys["auditor"]).stdout
    assert call in listed
    assert CANARY not in listed
    assert CANARY in shell("content", "show", call, *at, hub.keys["auditor"]).stdout
    assert shell("content", "erase", call, *at, hub.keys["boss"]).stdout == f"Erased what was kept of {call}.\n"
    assert "no content is kept" in shell.fails("content", "show", call, *at, hub.keys["auditor"])
    assert "running hub" in shell.fails("content", "list", HUB_ADMIN_KEY="")
