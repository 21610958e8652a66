"""Several hubs on one database and one Redis: they start at once, know the same keys, and none is let in that would count for itself."""

import asyncio
import base64
import json
import time
from collections.abc import Generator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from tests.journeys.conftest import ALL
from tests.services.postgres import PostgresServer
from tests.support.hub import Hub, eventually, wait_for
from tests.support.journal import verified
from tests.support.late import lateness
from tests.support.mcp import Client
from tests.support.servers import HttpServer

SECRETS = {"HUB_MASTER": base64.b64encode(b"m" * 32).decode(), "HUB_LOG": base64.b64encode(b"l" * 32).decode()}


def machine(folder: Path, downstream: HttpServer, **stores: str) -> Hub:
    """A hub in a folder of its own, as on a machine of its own, with the secrets all of them have."""
    settings: dict[str, Any] = {
        "secrets": {"master": "${HUB_MASTER}", "log": "${HUB_LOG}"},
        "limits": [{"name": "day", "scope": "subject", "match": "user:few", "per_day": 7}],
        "upstreams": {"http-newer": {"url": downstream.url}},
        "virtual_servers": {"main": {"include": [{"from": "http-newer"}]}},
        "server": {"drain": 1},
    }
    hub = Hub(folder, settings, **stores)
    hub.environment.update(SECRETS)
    return hub


@pytest.fixture
def hubs(tmp_path_factory: pytest.TempPathFactory, downstream: HttpServer, database_url: str, redis_url: str) -> Generator[tuple[Hub, Hub]]:
    """Two that were started at the same moment on an empty database. `keys` of both holds the first keys."""
    both = [machine(tmp_path_factory.mktemp(name), downstream, postgres=database_url, redis=redis_url) for name in ("one", "two")]
    begun = [hub.launch() for hub in both]
    try:
        for hub, at in zip(both, begun, strict=True):
            hub.await_ready(at)
        shown = [file.read_text() for hub in both if (file := hub.folder / ".hub" / "first-run").exists()]
        assert len(shown) == 1, "one of them makes the first keys, and shows them"
        admin, first = (line.split()[-1] for line in shown[0].splitlines() if line.startswith(("  admin key", "  API key")))
        for hub in both:
            hub.keys.update({"root": admin, "ann": first})
            wait_for(partial(knows, hub))  # the one that did not make them hears of them within a poll
            hub.settled("http-newer")
        yield both[0], both[1]
    finally:
        codes = {hub.stop() for hub in both if hub.alive}
    assert codes <= {0}


def knows(hub: Hub) -> bool:
    with suppress(HTTPError):
        return bool(hub.status())
    return False


async def status(hub: Hub, key: str) -> int:
    return (await Client(hub, key).call("echo", {"text": "x"})).status


async def test_both_serve_what_one_of_them_was_told_and_the_journal_of_both_verifies(
    hubs: tuple[Hub, Hub], postgres: PostgresServer, database_name: str
) -> None:
    one, two = hubs
    assert postgres.sql("SELECT count(*) FROM api_key", database_name) == "2"
    assert [await status(hub, "ann") for hub in hubs] == [200, 200]
    made = await asyncio.to_thread(one.admin, "POST", "/admin/v1/keys", {"name": "bob", "grants": ALL})

    async def answered(code: int) -> bool:
        return await status(two, made["key"]) == code

    await eventually(lambda: answered(200))
    await asyncio.gather(*(status(hub, "ann") for hub in hubs for _ in range(20)))
    with lateness() as late:
        started = time.monotonic()
        await asyncio.to_thread(two.admin, "DELETE", "/admin/v1/keys/bob")
        assert await status(two, made["key"]) == 401
        while await status(one, made["key"]) != 401:
            assert time.monotonic() - started < 1.0 + late.allowed, "a revocation holds everywhere within a second"
            await asyncio.sleep(0.01)
    assert one.status()["config"] == two.status()["config"]
    assert f'hub_config{{hash="{one.status()["config"]}"}} 1.0' in two.admin("GET", "/metrics")
    for hub in hubs:
        hub.stop()
    assert verified(one.database)["default"] > 80


async def test_a_count_of_the_day_is_one_for_both(hubs: tuple[Hub, Hub]) -> None:
    body = {"name": "few", "subject": "user:few", "grants": ALL}
    made = await asyncio.to_thread(hubs[0].admin, "POST", "/admin/v1/keys", body)

    async def known() -> bool:
        listed = (await Client(hubs[1], made["key"]).modern("tools/list")).status
        return listed == 200

    await eventually(known)
    used = 1
    answers = await asyncio.gather(*(status(hubs[n % 2], made["key"]) for n in range(20)))
    assert sorted(set(answers)) == [200, 429]
    assert used + answers.count(200) == 7


async def test_a_hub_without_redis_is_refused_beside_them_and_they_beside_one(
    hubs: tuple[Hub, Hub], tmp_path_factory: pytest.TempPathFactory, downstream: HttpServer, database_url: str, redis_url: str
) -> None:
    alone = machine(tmp_path_factory.mktemp("alone"), downstream, postgres=database_url)
    said = await asyncio.to_thread(alone.refused)
    assert "another hub serves from this database" in said
    for hub in hubs:
        hub.stop()
    await asyncio.to_thread(alone.start)
    try:
        said = await asyncio.to_thread(hubs[0].refused)
        assert "a hub without `stores.redis` serves from this database" in said
        assert json.loads(said.splitlines()[-1])["level"] == "error"
    finally:
        assert alone.stop() == 0
