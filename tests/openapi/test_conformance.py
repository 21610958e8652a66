"""What a running hub answers is what the document says: to its own examples, to requests made up from it, and to broken ones."""

import http.client
import json
import re
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.openapi.answers import hold
from tests.openapi.generate import ANYTHING, fitting
from tests.openapi.test_document import EVERY, FOUND
from tests.support.hub import Hub

OPERATIONS = [pytest.param(*each, id=each[2]["operationId"]) for each in EVERY]
KEYLESS = {one["operationId"] for _, _, one in EVERY if one.get("security") == []}
SETTLED = {
    "compare_prices": 400,
    "stage_prices": 400,
    "confirm_prices": 404,
    "reject_prices": 404,
    "mcp_listen": 400,
    "mcp_end": 400,
    "read_content": 404,
    "erase_content": 404,
    "restore_budget": 404,
}
"""Examples that need something before them: a real price table, a staged one, a session, captured content, an override. What they come to by themselves."""
TRIES = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
ACCEPT = "application/json, text/event-stream"
_LATIN = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12)


class Asked:
    """One request as it goes out, by plain HTTP on a connection of its own."""

    def __init__(self, hub: Hub, one: dict[str, Any], key: str = "") -> None:
        self.hub = hub
        self.one = one
        operators = "x-roles" in one
        self.key = key or hub.keys["root" if operators else "ann"]

    def send(self, method: str, target: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Ask, hold the answer to the document, and return it."""
        sent = {"accept": ACCEPT, "content-type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
        if self.key != "none":
            sent.setdefault("authorization", f"Bearer {self.key}")
        connection = http.client.HTTPConnection(*self.hub.address, timeout=30)
        try:
            connection.request(method, target, body, sent)
            answer = connection.getresponse()
            got = {name.lower(): text for name, text in answer.getheaders()}
            said = answer.read()
        finally:
            connection.close()
        hold(FOUND, self.one, answer.status, got, said)
        return answer.status, got, said


def _target(path: str, values: dict[str, str], query: dict[str, Any] | None = None) -> str:
    found = re.sub(r"\{(\w+)\}", lambda name: quote(values[name[1]], safe=""), path)
    return f"{found}?{urlencode(query, doseq=True)}" if query else found


def _examples(one: dict[str, Any], where: str) -> dict[str, Any]:
    return {p["name"]: p["example"] for p in one.get("parameters", ()) if p["in"] == where and "example" in p}


def _body(one: dict[str, Any]) -> Any:
    return one["requestBody"]["content"]["application/json"]["example"] if "requestBody" in one else None


@pytest.fixture(scope="module")
def prepared(hub: Hub) -> Hub:
    """What the examples speak of is there."""
    hub.admin("PUT", "/admin/v1/vault/openai", {"value": "sk-a-providers-key"})
    return hub


@pytest.mark.parametrize(("method", "path", "one"), OPERATIONS)
def test_each_example_can_be_sent_as_it_is(prepared: Hub, method: str, path: str, one: dict[str, Any]) -> None:
    example = _body(one)
    headers = _examples(one, "header")
    if one["operationId"] == "mcp_send":
        headers["mcp-protocol-version"] = "2026-07-28"
    if one["operationId"] in ("list_models", "get_model"):
        headers = {}
    if method == "DELETE" and path.startswith("/admin/v1/keys"):
        prepared.admin("POST", "/admin/v1/keys", {"name": "gone"})
        path = "/admin/v1/keys/gone"
    if path.startswith("/v1/responses/"):
        asked = {"model": "fast", "input": "Say hello."}
        prepared.admin("POST", "/v1/responses", asked, key="ann")
    target = _target(path, _examples(one, "path"))
    status, _, said = Asked(prepared, one).send(method, target, None if example is None else json.dumps(example).encode(), **headers)
    wanted = SETTLED.get(one["operationId"])
    assert status == wanted if wanted else 200 <= status < 300, said[:300]


@pytest.mark.parametrize(("method", "path", "one"), OPERATIONS)
def test_whatever_is_asked_the_answer_is_documented_and_no_fault_of_the_hub(
    prepared: Hub, method: str, path: str, one: dict[str, Any]
) -> None:
    given_in = {where: [p for p in one.get("parameters", ()) if p["in"] == where] for where in ("path", "query", "header")}
    schema = one["requestBody"]["content"]["application/json"]["schema"] if "requestBody" in one else None
    bodies: st.SearchStrategy[bytes | None] = st.none()
    if schema is not None:
        fits = fitting(schema, FOUND).map(lambda value: json.dumps(value).encode())
        odd = ANYTHING.map(lambda value: json.dumps(value).encode())
        bodies = st.one_of(fits, fits, odd, st.binary(max_size=40))
    asked = Asked(prepared, one)

    @TRIES
    @given(
        st.fixed_dictionaries({p["name"]: st.just(p["example"]) | st.text(min_size=1, max_size=20) for p in given_in["path"]}),
        st.fixed_dictionaries({}, optional={p["name"]: fitting(p["schema"], FOUND) | st.text(max_size=12) for p in given_in["query"]}),
        st.fixed_dictionaries({}, optional={p["name"]: _LATIN | st.just(str(p.get("example", ""))) for p in given_in["header"]}),
        bodies,
    )
    def law(inside: dict[str, str], query: dict[str, Any], headers: dict[str, str], body: bytes | None) -> None:
        inside = {name: text if text.strip("./") else "x" for name, text in inside.items()}
        status, _, said = asked.send(method, _target(path, inside, query), body, **headers)
        assert status < 500, said[:500]

    law()


@pytest.mark.parametrize(("method", "path", "one"), [each for each in OPERATIONS if each.values[2]["operationId"] not in KEYLESS])
def test_without_a_key_without_the_role_and_from_elsewhere_it_is_refused_as_documented(
    prepared: Hub, method: str, path: str, one: dict[str, Any]
) -> None:
    target, body = _target(path, _examples(one, "path")), b"{}"
    assert Asked(prepared, one, "none").send(method, target, body)[0] == 401
    assert Asked(prepared, one).send(method, target, body, host="evil.example")[0] == 403
    if "x-roles" in one:
        assert Asked(prepared, one, prepared.keys["ann"]).send(method, target, body)[0] == 403


@pytest.mark.parametrize("version", ["", "2023-06-01"])
def test_models_are_listed_in_the_words_of_either_family(prepared: Hub, version: str) -> None:
    (one,) = [one for _, path, one in EVERY if path == "/v1/models"]
    headers = {"anthropic_version": version} if version else {}
    said = json.loads(Asked(prepared, one).send("GET", "/v1/models", **headers)[2])
    assert {model["id"] for model in said["data"]} == {"fast", "embed", "guard"}
    assert ("has_more" in said) == bool(version)


def test_a_session_is_opened_used_followed_and_ended_as_documented(prepared: Hub) -> None:
    there = {one["operationId"]: one for _, path, one in EVERY if path.startswith("/mcp/")}
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    opening = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}).encode()
    status, headers, _ = Asked(prepared, there["mcp_send"]).send("POST", "/mcp/demo", opening)
    assert status == 200
    session = headers["mcp-session-id"]
    listing = json.dumps({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}).encode()
    assert Asked(prepared, there["mcp_send"]).send("POST", "/mcp/demo", listing, mcp_session_id=session)[0] == 200
    note = json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}).encode()
    assert Asked(prepared, there["mcp_send"]).send("POST", "/mcp/demo", note, mcp_session_id=session)[0] == 202
    assert Asked(prepared, there["mcp_end"]).send("DELETE", "/mcp/demo", mcp_session_id=session)[0] == 204


@pytest.mark.parametrize("path", [path for _, path, one in EVERY if "x-python" in one])
def test_the_python_that_is_shown_runs(prepared: Hub, path: str) -> None:
    (shown,) = [one["x-python"] for _, found, one in EVERY if found == path and "x-python" in one]
    exec(compile(shown, path, "exec"), {"HUB": prepared.url, "KEY": prepared.keys["ann"]})
