"""A hub before one downstream server reached in four ways: over HTTP and over pipes, in each era.

Journeys run `alone`, on one process, and, gathered by `test_on_a_cluster.py`, on a `cluster`: two replicas of two workers each, on one
PostgreSQL and one Redis, behind a proxy that gives each request to the next replica. They do not know which.
"""

from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.support.cluster import Cluster, cluster
from tests.support.hub import Hub, running
from tests.support.journal import verified
from tests.support.servers import SDK, HttpServer, sdk_http, stdio

WAYS = ("http-newer", "http-older", "pipe-newer", "pipe-older")
MODES = ("legacy", "2026-07-28", "auto")
ALL = [{"virtual_server": "*"}]
FORBID = '@id("no-secret-words") forbid (principal, action == Hub::Action::"call_tool:http-newer/echo", resource) when { context.args.text == "secret" };'


def config_for(url: str, notes: str) -> dict[str, Any]:
    return {
        "keys": [
            {"name": "root", "roles": ["admin"]},
            {"name": "ann", "subject": "user:ann", "grants": ALL},
            {"name": "few-older", "grants": ALL},
            {"name": "few-newer", "grants": ALL},
        ],
        "limits": [{"name": "few-calls", "scope": "key", "match": "few-*", "per_minute": 6, "burst": 5}],
        "upstreams": {
            "http-newer": {"url": url},
            "http-older": {"url": url, "protocol": "2025-11-25"},
            "pipe-newer": stdio(SDK, "stdio", notes),
            "pipe-older": stdio(SDK, "stdio", notes, protocol="2025-06-18"),
        },
        "virtual_servers": {
            **{way: {"include": [{"from": way}]} for way in WAYS},
            "renamed": {
                "title": "Renamed",
                "instructions": "Everything has another name here.",
                "include": [{"from": way, "tools": ["echo", "add"], "prompts": [], "resources": []} for way in WAYS],
                "naming": {"prefix": "always"},
                "tools": {
                    "http-newer/echo": {"name": "say", "title": "Say", "description": "Says it.", "annotations": {"readOnlyHint": True}}
                },
            },
        },
        "policies": {"sets": {"words": {"cedar": FORBID}}},
        "server": {"drain": 1},
    }


@pytest.fixture(scope="module")
def downstream(tmp_path_factory: pytest.TempPathFactory) -> Generator[HttpServer]:
    with sdk_http(tmp_path_factory.mktemp("downstream")) as server:
        yield server


class Place(Protocol):
    """Where journeys take place."""

    def serving(self, config: dict[str, Any]) -> AbstractContextManager[Hub | Cluster]:
        """A hub with this configuration, for a block."""
        ...


class Alone:
    """A process of its own for each."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders

    def serving(self, config: dict[str, Any]) -> AbstractContextManager[Hub]:
        return running(self._folders.mktemp("alone"), config)


class Clustered:
    """Always the same cluster, with another configuration and other keys each time."""

    def __init__(self, folder: Path, postgres: str, redis: str) -> None:
        self._folder = folder
        self._stores = {"postgres": postgres, "redis": redis}
        self._stack = ExitStack()
        self._cluster: Cluster | None = None

    @contextmanager
    def serving(self, config: dict[str, Any]) -> Generator[Cluster]:
        if self._cluster is None:
            self._cluster = self._stack.enter_context(cluster(self._folder, config, **self._stores))
        else:
            self._cluster.renew(config)
        yield self._cluster

    def close(self) -> None:
        """It must have stopped in order, and what its four processes wrote must verify."""
        self._stack.close()
        if self._cluster is not None:
            assert min(self._cluster.balancer.sent[replica.address] for replica in self._cluster.replicas) > 0
            assert verified(self._cluster.database)["default"] > 0


@pytest.fixture(scope="module", params=["alone"])
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Alone(tmp_path_factory)


@pytest.fixture(scope="module")
def hub(place: Place, downstream: HttpServer) -> Generator[Hub | Cluster]:
    with place.serving(config_for(downstream.url, str(downstream.notes))) as hub:
        yield hub.settled(*WAYS)


@asynccontextmanager
async def connected(hub: Hub, door: str, mode: str, key: str = "ann", **more: Any) -> Any:
    """The official Python client at one door."""
    headers = {"authorization": f"Bearer {hub.keys.get(key, key)}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(f"{hub.url}/mcp/{door}", http_client=http), mode=mode, cache=None, **more) as client,
    ):
        yield client
