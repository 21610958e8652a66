"""A limit on a caller holds for everything that costs a record, and what a caller occupied is free again however its call ended."""

import asyncio
from collections.abc import Generator

import pytest

from tests.security.conftest import ALL, config_for
from tests.support.hub import Hub, running
from tests.support.mcp import Client


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Generator[Hub]:
    config = config_for()
    config["keys"] += [{"name": name, "grants": ALL} for name in ("few", "bare")]
    config["limits"] = [
        {"name": "few", "scope": "key", "match": "few", "per_minute": 6, "burst": 2},
        {"name": "bare", "scope": "key", "match": "bare", "per_minute": 6, "burst": 3},
    ]
    with running(tmp_path_factory.mktemp("limits"), config) as hub:
        yield hub.settled("echo")


async def test_requests_that_cannot_be_read_count(limited: Hub) -> None:
    few = Client(limited, "few")
    answers = [await few.raw(b"no json"), await few.raw(b"[]", ("content-type", "text/plain")), await few.raw(b"no json")]
    assert [answer.status for answer in answers] == [400, 415, 429]
    assert answers[2].why == "limited"
    assert (await few.call("echo")).status == 429


async def test_virtual_servers_that_are_not_there_count(limited: Hub) -> None:
    nowhere = Client(limited, "bare", "nowhere")
    answers = await asyncio.gather(*(nowhere.call("echo") for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [404, 404, 404, 429, 429]
