"""Every refusal the edge can produce has its stable code, its HTTP status and its JSON-RPC code, and what a client needs to go on."""

import asyncio
import time
from collections.abc import Generator
from typing import Any

import pytest

from hub import refusal
from hub.audit.ledger import OPERATOR
from tests.edge.conftest import ALL
from tests.support.hub import Hub, running
from tests.support.journal import of_call, records
from tests.support.mcp import Client
from tests.support.servers import FOLDER, HttpServer, stdio
from tests.support.wire import Response

ELSEWHERE = {
    "refused": "the root of the family",
    "malformed": "a branch of the family",
    "unavailable": "a branch of the family",
    "missing_capability": "no method served today needs one",
    "journal_unavailable": "needs a broken disk: tests/chaos",
    "outcome_unrecorded": "needs a broken disk: tests/chaos",
    "store_unavailable": "needs a broken database: tests/chaos",
    "internal": "would be a fault of ours",
    "draining": "tests/journeys/test_stopping.py",
    "request_timeout": "tests/edge/test_http.py",
    "host_refused": "tests/edge/test_http.py",
    "too_large": "tests/edge/test_http.py",
    "wrong_media_type": "tests/edge/test_http.py",
    "not_acceptable": "tests/edge/test_http.py",
    "unauthenticated": "tests/edge/test_http.py",
    "not_found": "tests/edge/test_http.py",
    "session_not_found": "tests/edge/test_sessions.py",
    "parse_error": "tests/edge/test_bodies.py",
    "invalid_request": "tests/edge/test_bodies.py",
    "invalid_params": "tests/edge/test_bodies.py",
    "method_not_found": "tests/edge/test_newer.py",
    "header_mismatch": "tests/edge/test_newer.py",
    "unsupported_version": "tests/edge/test_newer.py",
    "denied": "tests/edge/test_views.py",
    "budget_exceeded": "tests/journeys/test_models_money.py",
    "model_not_priced": "tests/journeys/test_models_money.py",
    "credential_unavailable": "tests/journeys/test_vault.py",
    "limited": "here",
    "upstream_unavailable": "here",
    "upstream_timeout": "here",
    "upstream_fault": "here",
}


def test_no_refusal_is_forgotten() -> None:
    def family(kind: type[refusal.Refusal]) -> set[str]:
        return {kind.code}.union(*(family(child) for child in kind.__subclasses__() if child.__module__ == refusal.__name__))

    assert family(refusal.Refusal) == set(ELSEWHERE)


BAD = {
    "bad": ["hang", "wrong-id", "garbage", "not-an-object", "no-result", "oversized"],
    "dying": ["die"],
    "breaking": ["die-mid-answer"],
    "flooding": ["flood"],
}
"""Those that lose their server have one of their own, because it is not started again at once."""

CODES = {"upstream_unavailable": -31502, "upstream_fault": -31502, "upstream_timeout": -31504}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory, downstream: HttpServer) -> Generator[Hub]:
    """A good upstream beside one that fails in every way and one that is asked with little patience."""
    config: dict[str, Any] = {
        "keys": [{"name": "root", "roles": ["admin"]}, {"name": "ann", "grants": ALL}, {"name": "none", "grants": ALL}],
        "limits": [{"name": "once", "scope": "key", "match": "none", "per_minute": 1, "burst": 1}],
        "upstreams": {
            "good": {"url": downstream.url},
            "brief": {"url": downstream.url, "timeout": 0.3},
            **{name: stdio(str(FOLDER / "bad.py"), timeout=0.5, max_result=4096, breaker={"failures": 1000}) for name in BAD},
        },
        "virtual_servers": {
            "main": {
                "include": [
                    {"from": "good", "tools": ["echo"]},
                    {"from": "brief", "tools": ["wait"]},
                    *({"from": name, "tools": tools} for name, tools in BAD.items()),
                ]
            },
        },
        "server": {"drain": 1},
    }
    with running(tmp_path_factory.mktemp("faulty"), config) as hub:
        yield hub.settled("good", "brief", *BAD)


def refused(answer: Response, status: int, code: int, why: str) -> None:
    assert (answer.status, answer.code, answer.why) == (status, code, why), answer


async def test_a_server_that_takes_too_long_is_a_timeout(faulty: Hub) -> None:
    answer = await Client(faulty, "ann").call("wait", {"mark": "brief"})
    refused(answer, 200, -31504, "upstream_timeout")
    intent, outcome = of_call(faulty.database, answer)
    assert intent["kind"] == "mcp.tools.call.intent"
    assert outcome["outcome"]["status"] == "error"
    assert outcome["outcome"]["code"] == "upstream_timeout"


@pytest.mark.parametrize(
    ("tool", "why"),
    [
        ("die", "upstream_unavailable"),
        ("die-mid-answer", "upstream_unavailable"),
        ("hang", "upstream_timeout"),
        ("wrong-id", "upstream_timeout"),
        ("garbage", "upstream_timeout"),
        ("not-an-object", "upstream_fault"),
        ("no-result", "upstream_fault"),
        ("oversized", "upstream_fault"),
        ("flood", "upstream_timeout"),
    ],
)
async def test_each_fault_of_a_server_is_a_typed_answer_and_the_server_beside_it_is_well(faulty: Hub, tool: str, why: str) -> None:
    client = Client(faulty, "ann")
    for one in (await client.call(tool), await (await client.session()).call(tool)):
        late = one.why == "upstream_unavailable" and tool in BAD["dying"] + BAD["breaking"] + BAD["flooding"]  # it is not back yet
        refused(one, 200, CODES[one.why], one.why if late else why)
        assert len(of_call(faulty.database, one)) == 2
        good = await client.call("echo", {"text": tool})
        assert good.result["content"][0]["text"] == tool


async def test_a_limit_says_how_long_to_wait(hub: Hub) -> None:
    few = Client(hub, "few")
    answers = [await few.call("echo", {"text": str(i)}) for i in range(4)]
    good = [answer for answer in answers if answer.status == 200]
    assert len(good) == 2
    first = answers[2]
    refused(first, 429, -31429, "limited")
    assert 0 < first.error["data"]["retryAfterMs"] <= 10_000
    assert 1 <= int(first.headers["retry-after"]) <= 10
    assert first.error["data"]["limit"] == "few-calls"
    (record,) = of_call(hub.database, first)
    assert record["outcome"]["code"] == "limited"
    assert (await Client(hub, "ann").call("echo", {"text": "x"})).status == 200  # it is counted for each key


async def test_refusals_that_repeat_a_limit_within_a_second_are_counted_and_bear_no_receipt(faulty: Hub) -> None:
    none = Client(faulty, "none")
    assert (await none.call("echo", {"text": "x"})).status == 200
    started = time.time()
    answers = [await none.call("echo", {"text": "x"}) for _ in range(30)]
    seconds = int(time.time()) - int(started) + 1
    for answer in answers:
        refused(answer, 429, -31429, "limited")
    recorded = [answer for answer in answers if "hub-receipt" in answer.headers]
    assert "hub-receipt" in answers[0].headers
    assert 1 <= len(recorded) <= seconds
    assert [len(of_call(faulty.database, answer)) for answer in answers] == ["hub-receipt" in answer.headers for answer in answers]
    key = of_call(faulty.database, recorded[0])[0]["actor"]["id"]

    def counted() -> int:
        found = records(faulty.database, OPERATOR)
        return sum(one["count"] for one in found if (one["kind"], one.get("code"), one.get("source")) == ("edge.refused", "limited", key))

    until = time.monotonic() + 10
    while counted() < 30 - len(recorded):
        assert time.monotonic() < until, "the counts reach the operator log within seconds"
        await asyncio.sleep(0.05)
    assert counted() == 30 - len(recorded)
