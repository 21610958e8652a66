"""One meter: every route of the model edge is asked, and each that costs money has exactly one row of the ledger, each other none."""

import json
import sqlite3
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from hub.llm.endpoints import ENDPOINTS
from hub.llm.routes import ROUTES, Route, placed
from tests.support import provider as scripted
from tests.support.hub import Hub, running, wait_for

TALK = [{"role": "user", "content": "Say hello."}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "fast", "messages": TALK, "max_tokens": 8},
    "/v1/responses": {"model": "fast", "input": "Say hello.", "max_output_tokens": 8},
    "/v1/completions": {"model": "fast", "prompt": "Say", "max_tokens": 8},
    "/v1/embeddings": {"model": "small", "input": "hello"},
    "/v1/moderations": {"model": "watch", "input": "hello"},
    "/v1/messages": {"model": "wise", "messages": TALK, "max_tokens": 8},
    "/v1/messages/count_tokens": {"model": "wise", "messages": TALK},
}
NAMES = {"{response}": "resp_unknown", "{model}": "fast"}


def config(url: str) -> dict[str, Any]:
    def route(provider: str, model: str) -> dict[str, Any]:
        return {"route": [{"provider": provider, "model": model}]}

    return {
        "keys": [{"name": "root", "roles": ["admin"]}, {"name": "ann", "grants": [{"model": "*"}]}],
        "providers": {
            "openai": {"wire": "openai", "base_url": f"{url}/v1"},
            "claude": {"wire": "anthropic", "base_url": url, "like": "anthropic"},
        },
        "models": {
            "fast": route("openai", "gpt-5-mini"),
            "small": route("openai", "text-embedding-3-small"),
            "watch": route("openai", "omni-moderation-latest"),
            "wise": route("claude", "claude-opus-4-5"),
        },
        "budgets": [
            {"name": "money", "scope": "key", "window": "lifetime", "usd": 100},
            {"name": "calls", "scope": "key", "window": "lifetime", "requests": 1000},
        ],
        "server": {"drain": 1},
    }


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Generator[Hub]:
    with scripted.provider() as behind, running(tmp_path_factory.mktemp("meter"), config(behind.url)) as made:
        yield made


def ask(hub: Hub, method: str, path: str, body: dict[str, Any] | None, **headers: str) -> tuple[int, Any, bytes]:
    data = None if body is None else json.dumps(body).encode()
    given = {"authorization": f"Bearer {hub.keys['ann']}", "content-type": "application/json", **headers}
    try:
        with urlopen(Request(hub.url + path, data, given, method=method), timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def count(hub: Hub, query: str, *values: str) -> int:
    assert isinstance(hub.database, Path)
    with closing(sqlite3.connect(hub.database)) as connection:
        return int(connection.execute(query, values).fetchone()[0])


def standing(hub: Hub) -> dict[str, str]:
    """What is left of each budget, what is set aside taken off."""
    found = json.loads(ask(hub, "POST", "/v1/chat/completions", BODIES["/v1/chat/completions"], **{"hub-dry-run": "1"})[2])
    return {one["budget"]: one["left"] for one in found["budgets"]}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_what_costs_money_is_set_aside_settled_and_one_row_and_nothing_else_is(hub: Hub, route: Route, stream: bool) -> None:
    path = route.path
    for name, value in NAMES.items():
        path = path.replace(name, value)
    body = BODIES.get(path) if route.method == "POST" else None
    if body is not None and stream:
        body = {**body, "stream": True}
    before = standing(hub)
    calls = count(hub, "SELECT count(*) FROM usage")
    status, headers, _ = ask(hub, route.method, path, body)
    assert status == (404 if "{response}" in route.path else 200), path
    rows = "SELECT count(*) FROM usage WHERE id = ?"
    wait_for(lambda: count(hub, rows, headers["x-request-id"]) == int(route.billable))
    after = standing(hub)
    assert count(hub, "SELECT count(*) FROM usage") == calls + int(route.billable)
    assert count(hub, "SELECT count(*) FROM usage_open") == 0
    assert int(before["calls"]) - int(after["calls"]) == int(route.billable)
    spent = round((float(before["money"]) - float(after["money"])) * 1e9)
    assert spent == count(hub, "SELECT coalesce(sum(cost), 0) FROM usage WHERE id = ?", headers["x-request-id"])
    assert ("hub-cost-estimate" in headers) == route.billable


def test_every_endpoint_has_its_place_and_a_path_without_one_is_not_served(hub: Hub) -> None:
    assert {(route.path, route.billable) for route in ROUTES if route.method == "POST" and "{" not in route.path} == {
        (path, endpoint.billable) for path, endpoint in ENDPOINTS.items()
    }
    assert set(BODIES) == set(ENDPOINTS), "a new endpoint needs a body here"
    for path in ("/v1/audio/speech", "/v1/usages", "/v1/responses/x/y", "/v1/models-of", "/v1/", "/v1/usage/"):
        assert not placed(path)
        assert ask(hub, "POST", path, {"model": "fast"})[0] == 404
