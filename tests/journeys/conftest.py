"""A hub before one downstream server reached in four ways: over HTTP and over pipes, in each era."""

from collections.abc import Generator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.support.hub import Hub, running
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


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, downstream: HttpServer) -> Generator[Hub]:
    with running(tmp_path_factory.mktemp("journeys"), config_for(downstream.url, str(downstream.notes))) as hub:
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
