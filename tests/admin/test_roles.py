"""Roles on the hub's own API: every route with every role, what each may give and take, and what is on record of those refused."""

import json
from collections.abc import Generator
from functools import cache
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from starlette.routing import Route

from hub.app import Hub as Process
from hub.audit.entry import REFUSALS
from hub.audit.journal import OPERATOR
from hub.config.load import load
from hub.identity.roles import HUB_WIDE, ROLES, TABLE, Permission
from tests.docs import pages
from tests.services.postgres import PostgresServer
from tests.support.hub import Hub, running, wait_for
from tests.support.journal import records

OPEN = {("GET", path) for path in ("/health", "/health/ready", "/openapi.json", "/docs", "/docs/page.css", "/docs/page.js")}
"""Routes that need no key."""

BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/admin/v1/keys"): {"name": "by-role"},
    ("PUT", "/admin/v1/vault/{name}"): {"value": "sk-secret"},
    ("POST", "/admin/v1/prices/diff"): {"table": "bm9uZQ=="},
    ("POST", "/admin/v1/prices/staged"): {"table": "bm9uZQ=="},
}

WANTED = [
    {"name": f"{org}-{role}", "org": org, "roles": [role], "subject": f"user:{org}-{role}"} for org in ("default", "acme") for role in ROLES
]
MEMBER = {
    "grants": [{"virtual_server": "build-*", "tools": ["git/*"], "deny": ["git/git_push"]}, {"model": "fast*", "endpoints": ["chat"]}]
}
CONFIG: dict[str, Any] = {
    "orgs": {"acme": {}},
    "keys": [
        *WANTED,
        {"name": "root", "roles": ["owner"]},
        {"name": "none"},
        {
            "name": "ann",
            "org": "acme",
            "subject": "user:ann",
            "roles": ["member"],
            "team": "core",
            "expires": "2999-01-01T00:00:00Z",
            **MEMBER,
        },
        {"name": "ben", "org": "acme", "subject": "user:ben", "roles": ["member"]},
    ],
    "server": {"drain": 1},
}


def routes(folder: Path) -> dict[tuple[str, str], Permission | None]:
    """Every route of the operators' application, with the permission it declares."""
    file = folder / "routes.yaml"
    file.write_text("{}")
    admin = Process(load(file, environ={})).admin
    found: dict[tuple[str, str], Permission | None] = {}
    for route in admin.app.routes:
        assert isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}:
            found[method, route.path] = admin.permissions.get(route.endpoint)
    return found


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Generator[Hub]:
    with running(tmp_path_factory.mktemp("roles"), CONFIG) as found:
        yield found


@cache
def client() -> httpx.Client:
    return httpx.Client(timeout=30)


@pytest.fixture(scope="module", autouse=True)
def _closing() -> Generator[None]:
    yield
    client().close()


def ask(hub: Hub, key: str, method: str, path: str, body: Any = None) -> httpx.Response:
    headers = {"authorization": f"Bearer {hub.keys.get(key, key)}"}
    return client().request(method, hub.url + path, content=json.dumps(body) if body is not None else None, headers=headers)


def make(hub: Hub, key: str, name: str, **more: Any) -> httpx.Response:
    return ask(hub, key, "POST", "/admin/v1/keys", {"name": name, **more})


def refused(answer: httpx.Response, status: int = 403, code: str = "denied") -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    said = answer.json()
    assert (said["status"], said["code"]) == (status, code)
    return said


def test_every_route_declares_a_permission_or_is_open_to_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = routes(tmp_path)
    assert {at for at, permission in found.items() if permission is None} <= OPEN
    assert set(found.values()) - {None} == set(TABLE), "a permission that no route needs"


def test_every_role_meets_every_route_as_the_table_says(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    walked = 0
    for (method, path), permission in sorted(routes(tmp_path).items()):
        for org in ("default", "acme"):
            for place, role in enumerate(ROLES):
                body = BODIES.get((method, path))
                if isinstance(body, dict) and "name" in body:
                    body = {"name": f"{org}-{role}-made"}
                at = path.replace("{key}", "no-such-key").replace("{name}", "no-such-name")
                answer = ask(hub, f"{org}-{role}", method, at, body)
                held = permission is None or (TABLE[permission][place] != "" and not (permission in HUB_WIDE and org != "default"))
                walked += 1
                if held:
                    assert answer.status_code not in (401, 403), (method, path, org, role, answer.text)
                else:
                    assert refused(answer)["permission"] == permission, (method, path, org, role)
        if permission is not None:
            refused(ask(hub, "none", method, path), 403)
            refused(ask(hub, "hub_nobody", method, path), 401, "unauthenticated")
    assert walked > 100


def test_an_owners_key_is_an_owners_matter(hub: Hub) -> None:
    assert "owner" in refused(make(hub, "acme-admin", "usurper", roles=["owner"]))["detail"]
    made = make(hub, "acme-owner", "second", roles=["owner"])
    assert made.status_code == 201
    assert made.json()["info"]["org"] == "acme"
    refused(ask(hub, "default-admin", "DELETE", "/admin/v1/keys/second"))
    refused(ask(hub, "acme-admin", "DELETE", f"/admin/v1/keys/{made.json()['info']['id']}"))
    assert make(hub, "acme-admin", "third", roles=["admin", "auditor"]).status_code == 201
    assert ask(hub, "acme-owner", "DELETE", "/admin/v1/keys/second").status_code == 200
    assert ask(hub, "acme-admin", "DELETE", "/admin/v1/keys/third").status_code == 200


def test_an_organisation_is_not_left(hub: Hub) -> None:
    refused(make(hub, "acme-owner", "elsewhere", org="default"))
    assert ask(hub, "acme-owner", "GET", "/admin/v1/keys?org=default").json()["keys"]
    assert {key["org"] for key in ask(hub, "acme-auditor", "GET", "/admin/v1/keys?org=default").json()["keys"]} == {"acme"}
    refused(ask(hub, "acme-owner", "DELETE", "/admin/v1/keys/none"), 404, "not_found")
    assert {key["org"] for key in ask(hub, "default-auditor", "GET", "/admin/v1/keys").json()["keys"]} == {"acme", "default"}


def test_a_member_has_his_own_keys_and_gives_no_more_than_he_has(hub: Hub) -> None:
    assert [key["name"] for key in ask(hub, "ann", "GET", "/admin/v1/keys").json()["keys"]] == ["ann"]
    made = make(hub, "ann", "anns-laptop", grants=[{"virtual_server": "build-1", "tools": ["git/log"]}], roles=["service"]).json()["info"]
    assert (made["org"], made["subject"], made["team"], made["expires"]) == ("acme", "user:ann", "core", "2999-01-01T00:00:00Z")
    assert made["grants"][0]["deny"] == ["git/git_push"]
    for more in (
        {"grants": [{"virtual_server": "*"}]},
        {"grants": [{"virtual_server": "build-1"}]},
        {"grants": [{"model": "fast-1"}]},
        {"grants": [{"model": "slow", "endpoints": ["chat"]}]},
        {"roles": ["auditor"]},
        {"roles": ["owner"]},
        {"subject": "user:ben"},
        {"org": "default"},
        {"team": "other"},
        {"expires": "3000-01-01T00:00:00Z"},
    ):
        refused(make(hub, "ann", "too-much", **more))
    for name in ("ben", "acme-owner", "root", "no-such-key"):
        refused(ask(hub, "ann", "DELETE", f"/admin/v1/keys/{name}"), 404, "not_found")
    assert {key["name"] for key in ask(hub, "ann", "GET", "/admin/v1/keys?org=default").json()["keys"]} == {"ann", "anns-laptop"}
    assert [key["name"] for key in ask(hub, "ben", "GET", "/admin/v1/keys").json()["keys"]] == ["ben"]
    assert ask(hub, "ann", "DELETE", "/admin/v1/keys/anns-laptop").status_code == 200


def test_a_member_is_a_person(hub: Hub) -> None:
    refused(make(hub, "acme-owner", "nobody", roles=["member"]), 400, "invalid_request")
    refused(make(hub, "acme-owner", "nothing", roles=["king"]), 400, "invalid_request")


def test_refused_calls_of_a_known_key_are_on_record_and_a_flood_of_them_is_counted(tmp_path: Path) -> None:
    with running(tmp_path, CONFIG) as hub:
        for _ in range(200):
            refused(ask(hub, "acme-auditor", "DELETE", "/admin/v1/keys/ann"))
            refused(ask(hub, "hub_nobody", "DELETE", "/admin/v1/keys/ann"), 401, "unauthenticated")
        found = [one for one in records(hub.database, "acme") if one["kind"] == "admin.refused"]
        assert found[0]["actor"]["sub"] == "user:acme-auditor"
        assert found[0]["change"] == {"method": "DELETE", "route": "/admin/v1/keys/{key}", "key": "ann", "permission": "keys:write"}
        assert found[0]["outcome"] == {"status": "refused", "code": "denied"}

        def counted() -> bool:
            lines = [one for one in records(hub.database, OPERATOR) if one["kind"] == REFUSALS and one["code"] == "denied"]
            now = [one for one in records(hub.database, "acme") if one["kind"] == "admin.refused"]
            return len(now) + sum(one["count"] for one in lines) == 200 and len(now) < 100

        wait_for(counted)
        refused(ask(hub, "acme-owner", "DELETE", f"/admin/v1/keys/{hub.keys['ann']}"), 404, "not_found")
        assert hub.keys["ann"] not in json.dumps([records(hub.database, org) for org in ("acme", "default", OPERATOR)])


@pytest.mark.parametrize("medium", ["sqlite", "postgres"])
def test_a_stored_key_says_whose_money_it_spends_also_after_a_restart(medium: str, tmp_path: Path, postgres_server: PostgresServer) -> None:
    stores: dict[str, str] = {}
    database = ""
    if medium == "postgres":
        database = postgres_server.create_database()
        stores = {"postgres": postgres_server.url(database)}
    said = {"user": "ann", "app": "shop", "team": "core", "project": "apollo"}
    with running(tmp_path, CONFIG, **stores) as hub:
        made = make(hub, "root", "spender", **said)
        assert made.status_code == 201, made.text
        refused(make(hub, "root", "spender2", team="a\n"), 400, "invalid_request")
        refused(make(hub, "root", "spender3", project="a b"), 400, "invalid_request")
    with running(tmp_path, CONFIG, **stores) as hub:
        (found,) = [key for key in ask(hub, "root", "GET", "/admin/v1/keys").json()["keys"] if key["name"] == "spender"]
        assert {name: found[name] for name in said} == said
        assert ask(hub, made.json()["key"], "GET", "/admin/v1/keys").status_code == 403
    if database:
        postgres_server.drop_database(database)


def test_the_page_has_the_table_that_the_hub_goes_by() -> None:
    said = {row[0].strip("`"): row[1:] for row in pages.rows("docs/keys.md") if len(row) == 7 and ":" in row[0]}
    assert said == {permission: [*cells, "yes" if permission in HUB_WIDE else ""] for permission, cells in TABLE.items()}
