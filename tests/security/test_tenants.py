"""Organisations and people apart: every route of the hub, asked by those whom the things behind it do not concern.

`acme` has one of everything, under names with `canary` in them. `evil` has keys of every kind, and a member of its own; ben is another
person of acme. What they ask must look as if what they ask for had never been, reach no upstream and change nothing. A route that the hub
has and this file does not place fails the first test.
"""

import ast
import contextlib
import json
import re
import socket
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest
from starlette.routing import Route

from hub.app import Hub as Process
from hub.config.load import load
from hub.llm.endpoints import ENDPOINTS
from tests.services.postgres import PostgresServer
from tests.support import provider as scripted
from tests.support.hub import ROOT, Hub, running, wait_for
from tests.support.journal import records
from tests.support.mcp import ACCEPT, LEGACY, dumps, message, modern_headers, modern_params
from tests.support.responses import Shelf
from tests.support.servers import sdk_http

OPEN = {"/health", "/health/ready", "/openapi.json", "/docs", "/docs/page.css", "/docs/page.js"}
"""For everybody: nothing of what is configured is in them."""

WHOLE = {
    ("GET", "/metrics"),
    ("GET", "/admin/v1/status"),
    ("GET", "/admin/v1/prices"),
    ("POST", "/admin/v1/prices/diff"),
    ("POST", "/admin/v1/prices/staged"),
    ("POST", "/admin/v1/prices/confirm"),
    ("POST", "/admin/v1/prices/reject"),
    ("POST", "/admin/v1/vault/rotate"),
}
"""About the whole hub: for its operators alone."""

LISTS = {
    ("GET", "/admin/v1/keys"),
    ("GET", "/admin/v1/vault"),
    ("GET", "/admin/v1/budgets"),
    ("GET", "/admin/v1/budgets/overrides"),
    ("GET", "/admin/v1/contents"),
    ("GET", "/v1/models"),
    ("GET", "/v1/usage"),
    ("GET", "/v1/usage/summary"),
    ("GET", "/v1/messages"),
}
"""Show what is the caller's, and no more whatever is asked for."""

NAMED = {
    ("DELETE", "/admin/v1/keys/{key}"): "canary-ann",
    ("DELETE", "/admin/v1/vault/{name}"): "canary-secret",
    ("DELETE", "/admin/v1/budgets/overrides/{override}"): "<override>",
    ("GET", "/admin/v1/contents/{call}"): "<call>",
    ("DELETE", "/admin/v1/contents/{call}"): "<call>",
    ("GET", "/v1/models/{model}"): "canary-fast",
    ("GET", "/v1/responses/{response}"): "<response>",
    ("DELETE", "/v1/responses/{response}"): "<response>",
    ("POST", "/v1/responses/{response}/cancel"): "<response>",
    ("GET", "/v1/responses/{response}/input_items"): "<response>",
}
"""Name a thing: another's looks like one that never was."""

CALLS = {("POST", path) for path in ENDPOINTS}
"""Model calls, of a model or a provider."""

TAKES = {("POST", "/admin/v1/keys"), ("PUT", "/admin/v1/vault/{name}"), ("POST", "/admin/v1/budgets/{budget}/overrides")}
"""Make a thing, where `org` says."""

DOORS = {("POST", "/mcp/{server}"), ("GET", "/mcp/{server}"), ("DELETE", "/mcp/{server}")}

PLACED = {*WHOLE, *LISTS, *NAMED, *CALLS, *TAKES, *DOORS, *(("GET", path) for path in OPEN)}

ROOMS = ("hub/llm", "hub/admin", "hub/edge", "hub/gate.py", "virtual_servers")
NOT_ROUTES = {"/v1/", "/v1/traces"}
A_PATH = re.compile(r"/(v1|mcp|admin|health|metrics|docs|openapi|console|a2a|\.well-known)\b[^ ]*")

PEOPLE = ("villain", "eve", "snoop", "boss-of-evil")
ALL = [{"virtual_server": "*", "model": "*", "agent": "*"}]


class Tap:
    """Passes bytes on to an address and keeps those of the clients."""

    def __init__(self, host: str, port: int) -> None:
        self.heard = b""
        self._to = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._pass_on, args=(client,), daemon=True))
            self._threads[-1].start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._to) as server:
            self._open |= {client, server}
            back = threading.Thread(target=self._pump, args=(server, client, False), daemon=True)
            back.start()
            self._pump(client, server, True)
            back.join()
            self._open -= {client, server}

    def _pump(self, source: socket.socket, sink: socket.socket, keep: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if keep:
                    self.heard += data
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def asked(self) -> int:
        """Requests about a tool, a prompt or a resource; the hub's own questions for catalogues left aside."""
        return sum(self.heard.count(method) for method in (b'"tools/call"', b'"prompts/get"', b'"resources/read"'))

    def close(self) -> None:
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30)
        self._listener.close()


def config(models: str, tools: str) -> dict[str, Any]:
    provider = {"wire": "openai", "like": "openai", "base_url": f"{models}/v1"}
    return {
        "orgs": {"acme": {"capture": {"days": 2}}, "evil": {}},
        "teams": {"canary-core": {"org": "acme"}},
        "keys": [
            {"name": "root", "roles": ["owner"]},
            {"name": "canary-boss", "org": "acme", "roles": ["owner", "auditor"], "grants": ALL},
            {"name": "canary-ann", "org": "acme", "subject": "user:canary-ann", "roles": ["member"], "team": "canary-core", "grants": ALL},
            {"name": "ben", "org": "acme", "subject": "user:ben", "roles": ["member"], "grants": ALL},
            {"name": "villain", "org": "evil", "roles": ["owner"], "grants": ALL},
            {"name": "boss-of-evil", "org": "evil", "roles": ["admin"], "grants": ALL},
            {"name": "snoop", "org": "evil", "roles": ["auditor"], "grants": ALL},
            {"name": "eve", "org": "evil", "subject": "user:canary-ann", "roles": ["member"], "grants": ALL},
        ],
        "upstreams": {"canary-up": {"url": tools, "org": "acme"}},
        "virtual_servers": {"canary-tools": {"org": "acme", "include": [{"from": "canary-up"}]}},
        "providers": {"canary-ai": {**provider, "org": "acme", "api_key": "vault:canary-secret"}, "evil-ai": {**provider, "org": "evil"}},
        "models": {
            "canary-fast": {"org": "acme", "route": [{"provider": "canary-ai", "model": "gpt-5-mini"}]},
            "evil-fast": {"org": "evil", "route": [{"provider": "evil-ai", "model": "gpt-5-mini"}]},
        },
        "budgets": [
            {"name": "canary-month", "scope": "team", "org": "acme", "usd": 10, "window": "month"},
            {"name": "everyone-month", "scope": "user", "usd": 10, "window": "month"},
            {"name": "house", "scope": "global", "usd": 1000, "window": "month"},
        ],
        "prices": [{"model": "*", "free": True}],
        "server": {"drain": 1},
    }


RAISED = {"amount": "5", "until": "window", "reason": "canary-reason", "who": "canary-core"}


class World:
    """A hub in which ann of acme has done one of everything. `things` are the ids of what came of it."""

    def __init__(self, hub: Hub, models: scripted.Provider, tap: Tap) -> None:
        self.hub, self.models, self.tap = hub, models, tap
        self.client = httpx.Client(base_url=hub.url, timeout=30)
        assert self.ask("canary-boss", "PUT", "/admin/v1/vault/canary-secret", {"value": "sk-canary-0123456789"}).status_code == 200
        talk = {"model": "canary-fast", "messages": [{"role": "user", "content": "canary-prompt"}], "max_tokens": 9}
        called = self.ask("canary-ann", "POST", "/v1/chat/completions", talk)
        assert called.status_code == 200, called.text
        stored = self.ask("canary-ann", "POST", "/v1/responses", {"model": "canary-fast", "input": "canary-prompt", "store": True})
        assert stored.status_code == 200, stored.text
        params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        greeted = self.mcp("canary-ann", "canary-tools", message("initialize", params))
        assert greeted.status_code == 200, greeted.text
        self.session: str = greeted.headers["mcp-session-id"]
        given = self.ask("canary-boss", "POST", "/admin/v1/budgets/canary-month/overrides", RAISED)
        assert given.status_code == 201, given.text
        self.things = {
            "<override>": given.json()["override"]["id"],
            "<call>": called.headers["x-request-id"],
            "<response>": stored.json()["id"],
        }
        assert self.echo("canary-ann", self.session).status_code == 200
        wait_for(lambda: len(self.ask("canary-ann", "GET", "/v1/usage").json()["data"]) == 2)
        self.words = ["canary", self.session, *self.things.values()]

    def ask(self, key: str, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        given = {"authorization": f"Bearer {self.hub.keys[key]}", "content-type": "application/json", **headers}
        return self.client.request(method, path, content=None if body is None else json.dumps(body), headers=given)

    def mcp(self, key: str, door: str, said: Any, *more: tuple[str, str], method: str = "POST") -> httpx.Response:
        headers = {"authorization": f"Bearer {self.hub.keys[key]}", "content-type": "application/json", "accept": ACCEPT, **dict(more)}
        content = None if said is None else dumps(said)
        return self.client.request(method, f"/mcp/{door}", content=content, headers=headers)

    def echo(self, key: str, session: str) -> httpx.Response:
        said = message("tools/call", {"name": "echo", "arguments": {"text": "x"}})
        return self.mcp(key, "canary-tools", said, ("mcp-session-id", session), ("mcp-protocol-version", LEGACY))

    def reached(self) -> tuple[int, int]:
        """What has come to the upstreams of acme and evil so far."""
        return len(self.models.asked), self.tap.asked()

    def state(self) -> dict[str, Any]:
        """All there is of acme, as its owner and auditor sees it."""
        seen = {f"{method} {path}": self.ask("canary-boss", method, path).json() for method, path in sorted(LISTS)}
        seen["GET /v1/usage/summary"].pop("until", None)
        return json.loads(json.dumps(seen))

    def filled(self, path: str, name: str) -> str:
        return re.sub(r"\{\w+\}", name, path)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    stores: dict[str, str] = {}
    database = ""
    server: PostgresServer | None = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres_server")
        assert server is not None
        database = server.create_database()
        stores = {"postgres": server.url(database)}
    folder = tmp_path_factory.mktemp("tenants")
    with sdk_http(folder) as tools, scripted.provider() as models:
        at = urlsplit(tools.url)
        assert at.port is not None
        tap, shelf = Tap("127.0.0.1", at.port), Shelf("canary-resp")
        models.always = lambda asked: shelf.answer(asked) if asked.path.startswith("/v1/responses") else scripted.usual(asked)
        with running(folder, config(models.url, f"http://127.0.0.1:{tap.port}{at.path}"), **stores) as hub:
            made = World(hub.settled("canary-up"), models, tap)
            yield made
            made.client.close()
        tap.close()
    if server is not None:
        server.drop_database(database)


def blank(answer: httpx.Response, name: str) -> tuple[int, str]:
    """An answer without what tells two askings of different names apart."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "<id>", answer.text.replace(name, "<name>"))
    return answer.status_code, text


def shows_nothing(world: World, answer: httpx.Response, *own: str) -> None:
    """Nothing of acme's is in an answer, but the words that the asker used."""
    told = answer.text + str([(name, value) for name, value in answer.headers.items() if name != "x-request-id"])
    for word in own:
        told = told.replace(word, "")
    assert not [word for word in world.words if word in told], told


def test_every_route_is_placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hub.yaml").write_text("{}")
    found = {
        (method, route.path)
        for route in Process(load(tmp_path / "hub.yaml", environ={})).admin.app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert found <= PLACED, "a route of the operators' application that no test asks as a stranger"
    written = {
        node.value
        for room in ROOMS
        for file in ([ROOT / room] if room.endswith(".py") else (ROOT / room).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and A_PATH.fullmatch(node.value)
    }
    known = [re.sub(r"\{\w+\}", "{}", path) for _, path in PLACED]
    beginnings = {path for path in written - NOT_ROUTES if not any(one.startswith(re.sub(r"\{\w+\}", "{}", path)) for one in known)}
    assert not beginnings, "a path that no test asks as a stranger"


def test_what_is_for_everybody_shows_nothing(world: World) -> None:
    for path in sorted(OPEN):
        shows_nothing(world, world.client.get(path))


def test_what_is_about_the_whole_hub_is_for_its_operators(world: World) -> None:
    before = world.reached()
    for method, path in sorted(WHOLE):
        for who in (*PEOPLE, "canary-boss", "canary-ann"):
            answer = world.ask(who, method, path, {"table": "bm9uZQ=="} if method == "POST" else None)
            assert answer.status_code == 403, (method, path, who, answer.text)
            if who in PEOPLE:
                shows_nothing(world, answer)
    assert world.reached() == before


def test_lists_show_ones_own_whatever_is_asked_for(world: World) -> None:
    before = world.reached()
    for method, path in sorted(LISTS):
        for who in PEOPLE:
            for query in ("", "?org=acme", "?org=default", "?key=canary-ann", "?team=canary-core", "?org=*"):
                answer = world.ask(who, method, path + query)
                shows_nothing(world, answer, *(["canary-ann"] if who == "eve" or "keys" in path else []), *query.split("=")[1:])
                assert answer.status_code in (200, 400, 403), answer.text
    for path in ("/admin/v1/keys", "/v1/usage", "/v1/usage/summary", "/v1/messages"):
        for query in ("", "?org=acme"):
            assert "canary-ann" not in world.ask("ben", "GET", path + query).text, path
    assert world.reached() == before


def test_anothers_thing_looks_like_one_that_never_was(world: World) -> None:
    before, state = world.reached(), world.state()
    for (method, path), name in sorted(NAMED.items()):
        real = world.things.get(name, name)
        fake = real[:-4] + ("0000" if real[-4:] != "0000" else "1111")
        people = (*PEOPLE, "ben") if "responses" in path or "keys" in path else PEOPLE
        for who in people:
            for query in ("", "?org=acme") if "admin" in path else ("",):
                answers = [blank(world.ask(who, method, world.filled(path, one) + query), one) for one in (real, fake)]
                assert answers[0] == answers[1], (method, path, who)
                assert answers[0][0] in (403, 404), (method, path, who, answers)
    assert world.reached() == before
    assert world.state() == state


def test_anothers_model_and_provider_cannot_be_called(world: World) -> None:
    before = world.reached()
    body = {"messages": [{"role": "user", "content": "x"}], "input": "x", "prompt": "x", "max_tokens": 5}
    for _, path in sorted(CALLS):
        for who in PEOPLE:
            for real, fake in (
                ("canary-fast", "canary-none"),
                ("canary-ai:gpt-5-mini", "canary-no:gpt-5-mini"),
                ("canary-ai/gpt-5-mini", "canary-no/gpt-5-mini"),
            ):
                answers = [blank(world.ask(who, "POST", path, {**body, "model": one}), one) for one in (real, fake)]
                assert answers[0] == answers[1], (path, who)
                assert answers[0][0] in (403, 404), (path, who, answers)
    follow = {"model": "evil-fast", "input": "x", "previous_response_id": world.things["<response>"]}
    assert world.ask("eve", "POST", "/v1/responses", follow).status_code in (400, 404)
    follow["model"] = "canary-fast"
    assert world.ask("ben", "POST", "/v1/responses", follow).status_code in (400, 404)
    assert world.reached() == before


def test_nothing_is_made_in_anothers_organisation(world: World) -> None:
    state = world.state()
    for who in PEOPLE:
        for org in ("acme", "default"):
            refused = world.ask(who, "POST", "/admin/v1/keys", {"name": "planted", "org": org, "grants": ALL})
            assert refused.status_code == 403, refused.text
            assert world.ask(who, "PUT", "/admin/v1/vault/canary-secret", {"value": "sk-planted-012345", "org": org}).status_code == 403
            for budget in ("canary-month", "everyone-month", "house", "none"):
                refused = world.ask(who, "POST", f"/admin/v1/budgets/{budget}/overrides", {**RAISED, "org": org})
                assert refused.status_code == 403, refused.text
        for who in ("villain", "boss-of-evil"):
            answers = [
                blank(world.ask(who, "POST", f"/admin/v1/budgets/{budget}/overrides", RAISED), budget)
                for budget in ("canary-month", "house", "canary-mouth")
            ]
            assert answers[0] == answers[1] == answers[2], answers
            assert answers[0][0] == 404, answers
            assert world.ask(who, "POST", "/admin/v1/budgets/everyone-month/overrides", {**RAISED, "org": "*"}).status_code == 403
    own = world.ask("villain", "POST", "/admin/v1/budgets/everyone-month/overrides", {**RAISED, "who": "eve"})
    assert own.status_code == 201, own.text
    assert world.ask("villain", "DELETE", f"/admin/v1/budgets/overrides/{own.json()['override']['id']}").status_code == 200
    assert world.ask("villain", "PUT", "/admin/v1/vault/canary-secret", {"value": "sk-planted-012345"}).status_code == 200
    assert world.ask("ben", "POST", "/admin/v1/keys", {"name": "planted", "subject": "user:canary-ann"}).status_code == 403
    assert world.state() == state
    assert world.ask("villain", "DELETE", "/admin/v1/vault/canary-secret").status_code == 200


def test_what_an_operator_of_the_hub_overrode_is_his_to_end_and_no_administrators_to_lift(world: World) -> None:
    at, eve = "/admin/v1/budgets/everyone-month/overrides", {"org": "evil", "who": "eve", "until": "window", "reason": "runs wild"}
    less = world.ask("root", "POST", at, {**eve, "mode": "set", "amount": "1"}).json()["override"]
    wide = world.ask("root", "POST", at, {**eve, "mode": "set", "amount": "2", "who": "*"}).json()["override"]
    for who in ("villain", "boss-of-evil"):
        for one in (less, wide):
            assert world.ask(who, "DELETE", f"/admin/v1/budgets/overrides/{one['id']}").status_code == 403
        for more in ({}, {"mode": "set", "amount": "0.5"}, {"who": "*"}, {"who": "canary-else"}):
            refused = world.ask(who, "POST", at, {**eve, "amount": "5", **more})
            assert (refused.status_code, refused.json()["code"]) == (403, "denied"), refused.text
    standing = world.ask("villain", "GET", "/admin/v1/budgets/overrides").json()["overrides"]
    assert {one["id"] for one in standing} == {less["id"], wide["id"]}
    assert {one["giver"] for one in standing} == {""}
    for one in (less, wide):
        assert world.ask("root", "DELETE", f"/admin/v1/budgets/overrides/{one['id']}").status_code == 200


def test_anothers_virtual_server_session_and_stream_are_not_there(world: World) -> None:
    before = world.reached()
    old = (("mcp-protocol-version", LEGACY),)
    call = {"name": "echo", "arguments": {"text": "intruder"}}
    init = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    for who in PEOPLE:
        asked: list[tuple[str, Any, tuple[tuple[str, str], ...]]] = [
            ("POST", message("initialize", init, 1), ()),
            ("POST", message("tools/list", modern_params(), 1), tuple(modern_headers("tools/list", {}))),
            ("POST", message("tools/call", modern_params(call), 1), tuple(modern_headers("tools/call", call))),
            ("POST", message("tools/call", call, 1), (("mcp-session-id", world.session), *old)),
            ("GET", None, (("mcp-session-id", world.session), *old, ("accept", "text/event-stream"))),
            ("DELETE", None, (("mcp-session-id", world.session), *old)),
        ]
        for method, said, headers in asked:
            answers = [blank(world.mcp(who, door, said, *headers, method=method), door) for door in ("canary-tools", "canary-tolls")]
            assert answers[0] == answers[1], (who, method, said)
            assert answers[0][0] in (403, 404), answers
    for method, said in (("POST", message("tools/call", call, 1)), ("GET", None), ("DELETE", None)):
        more = (("accept", "text/event-stream"),) if method == "GET" else ()
        real, fake = world.session, world.session[:-4] + "zzzz"
        answers = [
            blank(world.mcp("ben", "canary-tools", said, ("mcp-session-id", one), *old, *more, method=method), one) for one in (real, fake)
        ]
        assert answers[0] == answers[1], method
        assert answers[0][0] == 404
    assert world.reached() == before
    assert b"intruder" not in world.tap.heard
    assert world.echo("canary-ann", world.session).status_code == 200
    assert world.reached() == (before[0], before[1] + 1)


def test_the_journal_of_each_holds_its_own(world: World) -> None:
    world.ask("villain", "DELETE", "/admin/v1/keys/canary-ann")
    evil = {world.ask("snoop", "GET", "/admin/v1/keys").json()["keys"][at]["id"] for at in range(4)}
    acme = [one for one in records(world.hub.database, "acme") if one.get("actor", {}).get("id") in evil]
    assert acme == []
    theirs = [one for one in records(world.hub.database, "evil") if one["kind"] == "admin.refused"]
    assert theirs
    ids = {key["id"] for key in world.ask("canary-boss", "GET", "/admin/v1/keys").json()["keys"]}
    assert not [one for one in records(world.hub.database, "evil") if one.get("actor", {}).get("id") in ids]
