"""A hub in front of a server that says back what it was sent, with a policy on one of its arguments."""

from collections.abc import Generator
from typing import Any

import pytest

from tests.support.hub import ROOT, Hub, running
from tests.support.mcp import Client
from tests.support.servers import stdio

ECHO = str(ROOT / "tests" / "security" / "echo.py")
ALL = [{"virtual_server": "*"}]
FORBID = (
    '@id("no-secret-words") forbid (principal, action == Hub::Action::"call_tool:echo/echo", resource)'
    ' when { context.args has text && context.args.text == "secret" };'
)


def config_for(*args: str, **more: Any) -> dict[str, Any]:
    return {
        "keys": [{"name": "root", "roles": ["admin"]}, {"name": "ann", "grants": ALL}, {"name": "ben", "grants": ALL}],
        "upstreams": {"echo": stdio(ECHO, *args)},
        "virtual_servers": {"main": {"include": [{"from": "echo"}]}},
        "policies": {"sets": {"words": {"cedar": FORBID}}},
        "server": {"drain": 1},
        **more,
    }


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Generator[Hub]:
    with running(tmp_path_factory.mktemp("security"), config_for()) as hub:
        yield hub.settled("echo")


@pytest.fixture
def ann(hub: Hub) -> Client:
    return Client(hub, "ann")
