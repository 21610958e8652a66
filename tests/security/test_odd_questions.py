"""Questions that nobody means: names no store can hold, values of the wrong kind, nesting without end. Each is refused; none is a fault."""

import json
from collections.abc import Generator
from typing import Any

import httpx2 as httpx
import pytest

from tests.services.postgres import PostgresServer
from tests.support import provider as scripted
from tests.support.hub import Hub, running
from tests.support.provider import whole

ODD = ("%00", "x%00y", "%ff%fe", "%ed%a0%80", "a%0d%0ax-a:%20b", "..", "%2e%2e%2f", "%", "'%20OR%201=1--", "*", "a" * 5000, "%F0%9F%98%80")
"""As they stand in a path or a query."""

FILTERS = ("from", "to", "key", "org", "model", "tag.x", "unpriced", "limit", "after", "group_by", "format")

DEEP = 960, 975, 980, 985, 990, 20_000

VALUES: tuple[Any, ...] = (None, True, -1, 1.5, 1e400, "", "\0", "x" * 9000, "\n", [], {}, [[]], {"a": 1}, "é😀", 2**70)

ALL = [{"virtual_server": "*", "model": "*", "agent": "*"}]


def config(url: str) -> dict[str, Any]:
    return {
        "orgs": {"acme": {"capture": {"days": 2}}},
        "keys": [
            {"name": "root", "roles": ["owner", "auditor"], "grants": ALL},
            {"name": "boss", "org": "acme", "roles": ["owner", "auditor"], "grants": ALL},
            {"name": "ann", "org": "acme", "subject": "user:ann", "roles": ["member"], "grants": ALL},
        ],
        "providers": {"ai": {"wire": "openai", "like": "openai", "base_url": f"{url}/v1", "org": "acme"}},
        "models": {"fast": {"org": "acme", "route": [{"provider": "ai", "model": "gpt-5-mini"}]}},
        "server": {"drain": 1},
    }


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Hub]:
    stores: dict[str, str] = {}
    server: PostgresServer | None = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres_server")
        assert server is not None
        database = server.create_database()
        stores = {"postgres": server.url(database)}
    with scripted.provider() as models:
        models.always = whole({"id": "resp_1", "object": "response", "output": [], "usage": None})
        with running(tmp_path_factory.mktemp("odd"), config(models.url), **stores) as made:
            yield made
    if server is not None:
        server.drop_database(database)


class Asking:
    """Collects what was answered with a fault."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.client = httpx.Client(base_url=hub.url, timeout=30)
        self.faults: list[Any] = []

    def __call__(self, key: str, method: str, path: str, content: bytes | None = None, **headers: str) -> None:
        given = {"authorization": f"Bearer {self._hub.keys[key]}", "content-type": "application/json", **headers}
        answer = self.client.request(method, path, content=content, headers=given)
        if answer.status_code >= 500:
            self.faults.append((key, method, path[:80], (content or b"")[:80], answer.status_code, answer.text[:200]))

    def json(self, key: str, method: str, path: str, body: Any) -> None:
        self(key, method, path, json.dumps(body).encode())


@pytest.fixture
def asking(hub: Hub) -> Generator[Asking]:
    made = Asking(hub)
    yield made
    made.client.close()
    assert made.faults == []
    assert "Traceback" not in hub.log.read_text()


def test_names_and_values_in_paths_and_queries(asking: Asking) -> None:
    for odd in ODD:
        for who in ("root", "boss"):
            for method, path in (
                ("DELETE", "/admin/v1/keys/"),
                ("PUT", "/admin/v1/vault/"),
                ("DELETE", "/admin/v1/vault/"),
                ("GET", "/admin/v1/contents/"),
                ("HEAD", "/admin/v1/contents/"),
                ("DELETE", "/admin/v1/contents/"),
                ("GET", "/v1/models/"),
                ("GET", "/v1/responses/"),
                ("DELETE", "/v1/responses/"),
            ):
                asking(who, method, path + odd, b'{"value":"sk-0123456789"}' if method == "PUT" else None)
        asking("root", "POST", f"/v1/responses/{odd}/cancel")
        for path in ("/admin/v1/keys", "/admin/v1/vault", "/admin/v1/contents"):
            asking("root", "GET", f"{path}?org={odd}")
        asking("root", "DELETE", f"/admin/v1/vault/openai?org={odd}")
        for name in ("limit", "before"):
            asking("root", "GET", f"/admin/v1/contents?{name}={odd}")
        for path in ("/v1/usage", "/v1/usage/summary", "/v1/messages"):
            for name in (*FILTERS, odd):
                asking("root", "GET", f"{path}?{name}={odd}", accept="text/csv" if path == "/v1/messages" else "*/*")


def test_times_and_cursors_at_the_ends_of_what_there_is(asking: Asking) -> None:
    times = (
        "0001-01-01",
        "0001-01-01T00:00:00%2B23:59",
        "9999-12-31T23:59:59-23:59",
        "9999-12-31",
        "2026-02-30",
        "1e9",
    )
    for since in times:
        for until in ("", *times):
            asking("root", "GET", f"/v1/usage?from={since}&to={until}&group_by=day")
            asking("root", "GET", f"/v1/usage/summary?from={since}&to={until}&group_by=hour,tag.a,model")
    for after in ("MC54", "OTAwMDAwMDAwMDAwMDAwMC56", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTkueA", "LTEueA", "4pyTLng", "Li4u"):
        asking("root", "GET", f"/v1/usage?after={after}")


def test_bodies_of_the_wrong_kind(asking: Asking) -> None:
    bodies: dict[tuple[str, str], dict[str, Any]] = {
        ("POST", "/admin/v1/keys"): {
            "name": "a",
            "org": "acme",
            "subject": "user:x",
            "grants": ALL,
            "roles": ["member"],
            "expires": "",
            "team": "",
        },
        ("PUT", "/admin/v1/vault/odd"): {"value": "sk-0123456789", "org": "acme", "overlap": 1.0},
        ("POST", "/admin/v1/prices/diff"): {"table": "bm9uZQ==", "allow": []},
        ("POST", "/admin/v1/prices/staged"): {"table": "bm9uZQ==", "allow": []},
        ("POST", "/admin/v1/prices/confirm"): {"table": ""},
        ("POST", "/admin/v1/prices/reject"): {"table": ""},
    }
    whole = (b"", b"{", b"[]", b"null", b"\xff", b'{"a":"\\ud800"}', b'"x"', b"{" * 9000, b"x" * 70_000)
    for (method, path), body in bodies.items():
        for who in ("root", "ann") if "prices" not in path else ("root",):
            for raw in whole:
                asking(who, method, path, raw)
            for name in body:
                for value in VALUES:
                    asking.json(who, method, path, {**body, name: value})
                for depth in DEEP:
                    asking(who, method, path, b'{"%b":' % name.encode() + b"[" * depth + b"]" * depth + b"}")
                    asking(who, method, path, b'{"%b":' % name.encode() + b'{"a":' * depth + b"1" + b"}" * depth + b"}")
            for value in ("9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2030-01-01", "2030-01-01T00:00:00Z"):
                asking.json(who, "POST", "/admin/v1/keys", {"name": "t", "org": "acme", "expires": value})


def test_what_requests_to_models_refer_to(asking: Asking) -> None:
    for value in VALUES:
        for body in (
            {"previous_response_id": value},
            {"conversation": value},
            {"conversation": {"id": value}},
            {"input": [{"id": value}]},
            {"input": value},
            {"metadata": value},
            {"metadata": {"a": value}},
            {"user": value},
        ):
            for headers in ({}, {"hub-dry-run": "1"}):
                asking("ann", "POST", "/v1/responses", json.dumps({"model": "fast", "input": "x", **body}).encode(), **headers)
    for depth in DEEP:
        for pad in (b"", b'"pad":"' + b"x" * 300_000 + b'",'):
            nested = b"[" * depth + b"]" * depth
            for name in (
                b'"input":[{"id":"x","type":%b}]',
                b'"conversation":%b',
                b'"conversation":{"id":%b}',
                b'"previous_response_id":%b',
                b'"tools":%b',
                b'"text":%b',
            ):
                asking("ann", "POST", "/v1/responses", b"{" + pad + b'"model":"fast",' + name % nested + b"}")
            for path in ("/v1/chat/completions", "/v1/messages", "/v1/embeddings"):
                for name in (
                    b'"messages":%b',
                    b'"metadata":{"a":%b}',
                    b'"input":%b',
                    b'"tools":%b',
                    b'"messages":[{"role":"user","content":%b}]',
                ):
                    asking("ann", "POST", path, b"{" + pad + b'"model":"fast","max_tokens":9,' + name % nested + b"}")
