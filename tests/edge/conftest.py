"""One hub for the tests of the edge: three virtual servers, two organisations, keys with more and fewer rights."""

from collections.abc import Generator
from typing import Any

import pytest

from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer
from tests.support.hub import Hub, running
from tests.support.mcp import Client
from tests.support.patience import as_the_hub_waits, patient_stores
from tests.support.servers import HttpServer, sdk_http
from tests.support.several import Several, several

__all__ = ["as_the_hub_waits", "patient_stores"]

ALL = [{"virtual_server": "*"}]
FORBID = '@id("no-secret-words") forbid (principal, action == Hub::Action::"call_tool:good/echo", resource) when { context.args.text == "secret" };'


def config_for(url: str) -> dict[str, Any]:
    return {
        "orgs": {"acme": {"title": "Acme"}},
        "keys": [
            {"name": "root", "roles": ["admin"]},
            {"name": "ann", "subject": "user:ann", "grants": ALL},
            {"name": "ben", "subject": "user:ben", "grants": ALL},
            {"name": "eve", "org": "acme", "subject": "user:eve", "grants": ALL},
            {
                "name": "cat",
                "subject": "app:cat",
                "grants": [{"virtual_server": "main", "tools": ["echo"], "prompts": [], "resources": []}],
            },
            {"name": "dan", "subject": "app:dan", "grants": [{"virtual_server": "other"}]},
            {"name": "old", "grants": ALL, "expires": "2020-01-01T00:00:00Z"},
            {"name": "few", "grants": ALL},
        ],
        "upstreams": {"good": {"url": url}},
        "virtual_servers": {
            "main": {"include": [{"from": "good", "exclude": ["picture", "note://blob"]}]},
            "renamed": {"include": [{"from": "good", "tools": ["echo", "add"]}], "tools": {"good/echo": {"name": "say"}}},
            "other": {"include": [{"from": "good"}]},
        },
        "policies": {"sets": {"words": {"cedar": FORBID}}},
        "limits": [{"name": "few-calls", "scope": "key", "match": "few", "per_minute": 6, "burst": 2}],
        "server": {"max_body": 65536, "header_timeout": 0.7, "body_timeout": 0.7, "allowed_hosts": ["hub.example"], "drain": 1},
    }


@pytest.fixture(scope="session")
def downstream(tmp_path_factory: pytest.TempPathFactory) -> Generator[HttpServer]:
    with sdk_http(tmp_path_factory.mktemp("downstream")) as server:
        yield server


@pytest.fixture(scope="session")
def one_hub(tmp_path_factory: pytest.TempPathFactory, downstream: HttpServer) -> Generator[Hub]:
    with running(tmp_path_factory.mktemp("edge"), config_for(downstream.url)) as hub:
        yield hub.settled("good")


@pytest.fixture
def hub(one_hub: Hub) -> Hub:
    return one_hub


@pytest.fixture(scope="module")
def two_hubs(
    tmp_path_factory: pytest.TempPathFactory, downstream: HttpServer, postgres_server: PostgresServer, redis_server: RedisServer
) -> Generator[Several]:
    """The same as two processes that serve as one; not there while other modules harm their stores or count who is connected."""
    database = postgres_server.create_database()
    stores = {"postgres": postgres_server.url(database), "redis": redis_server.url}
    with several(tmp_path_factory.mktemp("two"), config_for(downstream.url), "good", **stores) as hubs:
        yield hubs
    postgres_server.drop_database(database)


@pytest.fixture
def ann(hub: Hub) -> Client:
    return Client(hub, "ann")
