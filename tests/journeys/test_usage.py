"""What was used, as those see it who may: the list, the summary, CSV, cursors, refusals; with SQLite, and with PostgreSQL and its row-level security."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import openai
import pytest

from tests.services.postgres import PostgresServer
from tests.support import provider as scripted
from tests.support.hub import ROOT, Hub, running, wait_for
from tests.support.journal import records, verified

EACH = 9 * 250 + 3 * 2000
TALK: list[Any] = [{"role": "user", "content": "canary-prompt-5f1c"}]


def config(url: str) -> dict[str, Any]:
    grants = [{"model": "*"}]
    return {
        "orgs": {"acme": {}, "evil": {}},
        "keys": [
            {"name": "root", "roles": ["admin"]},
            {"name": "ann", "org": "acme", "subject": "user:ann", "team": "core", "grants": grants},
            {"name": "bob", "org": "acme", "subject": "user:bob", "grants": grants},
            {"name": "acme-auditor", "org": "acme", "roles": ["auditor"]},
            {"name": "eve", "org": "evil", "subject": "app:crawler", "grants": grants},
            {"name": "slow", "org": "evil", "grants": []},
        ],
        "limits": [{"name": "few", "scope": "key", "match": "slow", "per_minute": 6, "burst": 2}],
        "providers": {
            "openai": {"wire": "openai", "base_url": f"{url}/v1", "shared": True},
            "local": {"wire": "openai", "base_url": f"{url}/v1", "shared": True},
        },
        "models": {
            "fast": {"route": [{"provider": "openai", "model": "gpt-5-mini"}], "shared": True},
            "odd": {"route": [{"provider": "local", "model": "nobody-knows"}], "shared": True},
        },
        "server": {"drain": 1},
    }


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def stores(request: pytest.FixtureRequest) -> Generator[dict[str, str]]:
    if request.param == "sqlite":
        yield {}
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.create_database()
    yield {"postgres": server.url(name)}
    server.drop_database(name)


@pytest.fixture(scope="module")
def hub(stores: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Generator[Hub]:
    """With seven calls in its ledger: three of ann's, one of them unpriced, two of bob's, two of eve's."""
    with scripted.provider() as behind, running(tmp_path_factory.mktemp("usage"), config(behind.url), **stores) as made:
        for key, model in (("ann", "fast"), ("ann", "fast"), ("ann", "odd"), ("bob", "fast"), ("bob", "fast"), ("eve", "fast")):
            ask(made, key, model)
        ask(made, "eve", "openai:gpt-5-mini", metadata={"feature": "=cmd()"})
        wait_for(lambda: get(made, "root", "/v1/usage/summary")["total"]["calls"] == 7)
        yield made
    verified(made.database)


def ask(hub: Hub, key: str, model: str, **more: Any) -> None:
    with openai.OpenAI(base_url=hub.url + "/v1", api_key=hub.keys[key], max_retries=0) as client:
        client.chat.completions.create(model=model, messages=TALK, max_tokens=10, **more)


def fetch(
    hub: Hub, key: str, path: str, /, *, method: str = "GET", headers: dict[str, str] | None = None, **query: str
) -> tuple[int, Any, bytes]:
    given = {"authorization": f"Bearer {hub.keys[key]}", **(headers or {})}
    request = Request(f"{hub.url}{path}?{urlencode(query)}", headers=given, method=method)
    try:
        with urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def get(hub: Hub, key: str, path: str = "/v1/usage", /, **query: str) -> Any:
    status, _, body = fetch(hub, key, path, **query)
    assert status == 200, body
    return json.loads(body)


def names(found: dict[str, Any]) -> set[str]:
    return {row["subject"] for row in found["data"]}


def test_everybody_sees_what_they_may_and_nothing_else_exists(hub: Hub) -> None:
    ann, bob, auditor, eve = (get(hub, key) for key in ("ann", "bob", "acme-auditor", "eve"))
    assert (len(ann["data"]), names(ann)) == (3, {"user:ann"})
    assert (len(bob["data"]), names(bob)) == (2, {"user:bob"})
    assert (len(auditor["data"]), names(auditor)) == (5, {"user:ann", "user:bob"})
    assert (len(eve["data"]), names(eve)) == (2, {"app:crawler"})
    assert len(get(hub, "root")["data"]) == 7
    assert len(get(hub, "root", org="evil")["data"]) == 2
    stranger = ann["data"][0]["key"]
    assert get(hub, "bob", key=stranger)["data"] == get(hub, "eve", user="ann")["data"] == []
    assert get(hub, "eve", "/v1/usage/summary", group_by="user")["total"]["calls"] == 2
    assert get(hub, "slow")["data"] == []
    for key in ("ann", "acme-auditor"):
        status, _, body = fetch(hub, key, "/v1/usage", org="evil")
        assert (status, json.loads(body)["error"]["param"]) == (400, "org")
    behind = get(hub, "root", limit="1")["next"]
    assert names(get(hub, "eve", after=behind)) <= {"app:crawler"}, "a cursor of another's opens nothing"


def test_a_record_says_all_but_what_was_said(hub: Hub) -> None:
    found = get(hub, "ann")
    odd, newest, _ = found["data"]
    assert (odd["alias"], odd["model"], odd["unpriced"], odd["cost_nano_usd"], odd["cost_usd"]) == ("odd", "nobody-knows", True, None, None)
    assert (newest["cost_nano_usd"], newest["cost_usd"], newest["unpriced"]) == (EACH, "0.00000825", False)
    assert (newest["kind"], newest["provider"], newest["team"], newest["user"], newest["status"]) == (
        "llm.chat",
        "openai",
        "core",
        "ann",
        "ok",
    )
    assert (newest["tokens"]["input"], newest["tokens"]["output"], newest["attempts"]) == (9, 3, 1)
    assert found["has_more"] is False
    status, headers, body = fetch(hub, "ann", "/v1/messages")
    listed = json.loads(body)
    assert (status, listed["data"], listed["first_id"]) == (200, found["data"], odd["id"])
    assert headers["request-id"] == headers["x-request-id"]
    for path in ("/v1/usage", "/v1/messages", "/v1/usage/summary"):
        for form in ("json", "csv"):
            assert b"canary" not in fetch(hub, "root", path, format=form)[2]


def test_cursors_lead_to_every_row_once_newest_first(hub: Hub) -> None:
    whole, found, after = get(hub, "root")["data"], [], ""
    while True:
        page = get(hub, "root", limit="2", **({"after": after} if after else {}))
        found += page["data"]
        assert page["has_more"] == (page["next"] is not None)
        if not page["has_more"]:
            break
        after = page["next"]
    assert found == whole
    assert [row["created_at"] for row in found] == sorted((row["created_at"] for row in found), reverse=True)


def test_summaries_of_each_way_to_group_add_up_to_the_nano_dollar(hub: Hub) -> None:
    for by in (
        "org",
        "user",
        "app",
        "team",
        "key",
        "model",
        "alias",
        "provider",
        "day",
        "hour",
        "kind,status",
        "tag.feature",
        "org,user,day,model",
    ):
        found = get(hub, "root", "/v1/usage/summary", group_by=by)
        assert sum(one["cost_nano_usd"] or 0 for one in found["data"]) == found["total"]["cost_nano_usd"] == 6 * EACH
        assert sum(one["calls"] for one in found["data"]) == found["total"]["calls"] == 7
        assert found["total"]["unpriced_calls"] == 1
        assert found["total"]["tokens"]["input"] == 7 * 9
    by_model = {one["model"]: one for one in get(hub, "root", "/v1/usage/summary", group_by="model")["data"]}
    assert by_model["nobody-knows"]["cost_usd"] is None
    assert by_model["gpt-5-mini"]["cost_usd"] == "0.0000495"
    assert [one["tag.feature"] for one in get(hub, "eve", "/v1/usage/summary", group_by="tag.feature")["data"]] == ["", "=cmd()"]
    assert get(hub, "root", "/v1/usage/summary", model="none")["total"]["cost_nano_usd"] == 0


def test_filters_narrow_and_what_is_no_filter_is_refused_by_name(hub: Hub) -> None:
    assert len(get(hub, "root", alias="fast")["data"]) == 5
    assert len(get(hub, "root", unpriced="true")["data"]) == 1
    assert len(get(hub, "root", **{"tag.feature": "=cmd()"})["data"]) == 1
    assert len(get(hub, "root", **{"from": "2020-01-01", "to": "2999-01-01T00:00:00Z", "provider": "openai", "user": "bob"})["data"]) == 2
    assert get(hub, "root", to="2020-01-01")["data"] == []
    assert (
        len(json.loads(urlopen(Request(hub.url + "/v1/usage?user=ann&user=bob", headers={"x-api-key": hub.keys["root"]})).read())["data"])
        == 5
    )
    for path, query, name in (
        ("/v1/usage", {"colour": "red"}, "colour"),
        ("/v1/usage", {"group_by": "model"}, "group_by"),
        ("/v1/usage", {"limit": "1001"}, "limit"),
        ("/v1/usage", {"after": "x"}, "after"),
        ("/v1/usage", {"from": "yesterday"}, "from"),
        ("/v1/usage", {"format": "xml"}, "format"),
        ("/v1/usage/summary", {"group_by": "prompt"}, "group_by"),
        ("/v1/usage/summary", {"limit": "5"}, "limit"),
        ("/v1/messages", {"user\x00": "x"}, None),
    ):
        status, headers, body = fetch(hub, "ann", path, **query)
        error = json.loads(body)["error"]
        assert status == 400, (path, query)
        assert headers["hub-receipt"]
        assert path == "/v1/messages" or (error["type"], error["param"]) == ("invalid_request_error", name)
    assert fetch(hub, "ann", "/v1/usage", method="DELETE")[0] == 404


def test_csv_is_whole_streamed_and_harmless_in_a_spreadsheet(hub: Hub) -> None:
    status, headers, body = fetch(hub, "root", "/v1/usage", headers={"accept": "text/csv"})
    assert (status, headers["content-type"].split(";")[0], headers["hub-receipt"] is not None) == (200, "text/csv", True)
    assert "usage.csv" in headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(body.decode(), newline=""), strict=True))
    assert body.count(b"\r\n") == 8
    shown = get(hub, "root")["data"]
    assert [(row["id"], row["cost_nano_usd"]) for row in rows] == [(row["id"], "" if row["unpriced"] else str(EACH)) for row in shown]
    assert {row["tags"] for row in rows} == {"", '{"feature":"=cmd()"}'}
    summary = fetch(hub, "root", "/v1/usage/summary", format="csv", group_by="tag.feature,day")[2].decode()
    lines = list(csv.DictReader(io.StringIO(summary, newline=""), strict=True))
    assert {line["tag.feature"] for line in lines} == {"", "'=cmd()"}
    assert sum(int(line["cost_nano_usd"]) for line in lines) == 6 * EACH


def test_reading_is_on_record_counted_by_limits_and_costs_nothing(hub: Hub) -> None:
    before = get(hub, "root", "/v1/usage/summary")["total"]
    status, headers, _ = fetch(hub, "eve", "/v1/usage", kind="llm.chat")
    found = [one for one in records(hub.database, "evil") if one.get("id") == headers["x-request-id"]]
    assert (status, [one["kind"] for one in found], found[0]["outcome"]["status"]) == (200, ["llm.usage"], "ok")
    headers = fetch(hub, "eve", "/v1/usage", format="csv")[1]
    kinds = [one["kind"] for one in records(hub.database, "evil") if one.get("id") == headers["x-request-id"]]
    assert kinds == ["llm.usage.intent", "llm.usage.outcome"]
    with ThreadPoolExecutor(4) as pool:
        codes = sorted(pool.map(lambda _: fetch(hub, "slow", "/v1/usage")[0], range(6)))
    assert codes[-3:] == [429] * 3
    assert get(hub, "root", "/v1/usage/summary")["total"] == before
    assert json.loads(fetch(hub, "ann", "/v1/usage", headers={"authorization": "Bearer no"})[2])["error"]["code"] == "invalid_api_key"


def test_the_command_line_says_the_same_through_the_hub_and_beside_it(hub: Hub) -> None:
    def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
        line = [sys.executable, "-m", "hub.cli", "usage", *arguments, "--config", str(hub.file)]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **hub.environment}
        return subprocess.run(line, env=environment, cwd=hub.folder, capture_output=True, text=True, timeout=60, check=False)

    def run(*arguments: str, key: str = "") -> str:
        done = command(*arguments, *(("--admin-key", hub.keys[key], "--url", hub.url) if key else ()))
        assert done.returncode == 0, done.stderr
        return done.stdout

    for key in ("root", ""):
        listed = json.loads(run("list", "--json", "--filter", "user=ann", "--limit", "2", key=key))
        assert (len(listed["data"]), listed["has_more"]) == (2, True)
        assert "unpriced" in run("list", key=key)
        found = json.loads(run("summary", "--by", "org", "--by", "day", "--json", key=key))
        assert found == get(hub, "root", "/v1/usage/summary", group_by="org,day")
        assert len(run("list", "--csv", key=key).splitlines()) == 8
        assert run("summary", "--by", "org", "--csv", key=key).startswith("org,calls,")
    assert json.loads(run("list", "--json", key="acme-auditor"))["data"] == get(hub, "acme-auditor")["data"]
    for wrong, code in (("colour=red", 2), ("limit=2", 2), ("nothing", 2)):
        assert command("list", "--filter", wrong).returncode == code


def test_a_name_that_no_ledger_can_hold_is_no_model(hub: Hub) -> None:
    before = get(hub, "root", "/v1/usage/summary")["total"]["calls"]
    for model in ("openai:gpt\x005", "openai:gpt\n5", "openai:" + "x" * 5000, "openai/" + "x" * 5000):
        with pytest.raises(openai.NotFoundError):
            ask(hub, "bob", model)
    ask(hub, "bob", "openai:" + "é" * 256)
    wait_for(lambda: get(hub, "root", "/v1/usage/summary")["total"]["calls"] == before + 1)
