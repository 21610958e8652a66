"""Stored responses are looked up for whom limits and policy let through, and for nobody else: here the table is away while they ask."""

from collections.abc import Generator
from typing import Any

import httpx2 as httpx
import pytest

from tests.services.postgres import PostgresServer
from tests.support import provider as scripted
from tests.support.hub import Hub
from tests.support.journal import receipt_stands, verified
from tests.support.responses import Shelf

KEYS = [
    {"name": "ann", "subject": "user:ann", "grants": [{"model": "*"}]},
    {"name": "ann-busy", "subject": "user:ann", "grants": [{"model": "*"}]},
    {"name": "ann-few", "subject": "user:ann", "grants": [{"model": "fast", "endpoints": ["chat"]}]},
]


def config(provider: str) -> dict[str, Any]:
    return {
        "keys": KEYS,
        "limits": [{"name": "once", "scope": "key", "match": "ann-busy", "per_day": 2}],
        "providers": {"one": {"wire": "openai", "base_url": f"{provider}/v1", "like": "openai"}},
        "models": {"fast": {"route": [{"provider": "one", "model": "gpt-5-mini"}]}},
        "telemetry": {"access_log": True},
        "server": {"drain": 1},
    }


@pytest.fixture(params=["memory", "redis"])
def hub(request: pytest.FixtureRequest, database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[Hub]:
    redis = request.getfixturevalue("redis_url") if request.param == "redis" else ""
    with scripted.provider() as provider:
        provider.always = Shelf().answer
        made = Hub(tmp_path_factory.mktemp("look"), config(provider.url), postgres=database_url, redis=redis).start()
        try:
            yield made
        finally:
            made.stop()
        verified(made.database)


def asked(hub: Hub, key: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    sent = {"authorization": f"Bearer {hub.keys[key]}", **headers}
    return httpx.post(f"{hub.url}/v1/responses", json=body, headers=sent, timeout=60)


def recalled(hub: Hub, key: str, response: str) -> httpx.Response:
    return httpx.get(f"{hub.url}/v1/responses/{response}", headers={"authorization": f"Bearer {hub.keys[key]}"}, timeout=60)


def test_who_is_limited_or_denied_costs_no_look_up(hub: Hub, postgres: PostgresServer, database_name: str) -> None:
    first = asked(hub, "ann-busy", {"model": "fast", "input": "Hello."}).json()["id"]
    following = {"model": "fast", "input": "And?", "previous_response_id": first}
    found = asked(hub, "ann-busy", following)
    assert (found.status_code, found.json()["previous_response_id"]) == (200, first)
    postgres.sql("ALTER TABLE stored_response RENAME TO hidden", database_name)
    try:
        for response in (asked(hub, "ann-busy", following), recalled(hub, "ann-busy", first)):
            assert (response.status_code, response.json()["error"]["code"]) == (429, "rate_limit_exceeded"), response.text
        assert asked(hub, "ann-busy", following, **{"hub-dry-run": "1"}).status_code == 429
        denied = asked(hub, "ann-few", following)
        assert (denied.status_code, denied.json()["error"]["code"]) == (403, "permission_denied"), denied.text
        record = receipt_stands(hub.database, denied.headers["hub-receipt"])
        assert (record["kind"], record["target"]["name"], record["decision"]["effect"]) == ("llm.responses", "gpt-5-mini", "deny")
        assert asked(hub, "ann", following | {"model": "none"}).status_code == 404
        assert asked(hub, "ann", following | {"previous_response_id": 7}).status_code == 400
        for response in (asked(hub, "ann", following), asked(hub, "ann", following, **{"hub-dry-run": "1"}), recalled(hub, "ann", first)):
            assert response.status_code >= 500, "for all others it is looked up"
    finally:
        postgres.sql("ALTER TABLE hidden RENAME TO stored_response", database_name)
    assert asked(hub, "ann", following, **{"hub-dry-run": "1"}).json()["would_be_refused"] is False
    followed = asked(hub, "ann", following)
    assert followed.status_code == 200
    record = receipt_stands(hub.database, followed.headers["hub-receipt"])
    assert recalled(hub, "ann", first).json()["id"] == first
    assert recalled(hub, "ann-few", first).status_code == 403
