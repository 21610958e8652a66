"""Spans as collectors get them, from a hub that serves models and tools: the tree of a call, what is sampled, and what never leaves."""

import json
import secrets
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest

from tests.support import provider as scripted
from tests.support.collector import Collector, Langfuse, Span, served
from tests.support.hub import Hub, wait_for
from tests.support.journal import records
from tests.support.mcp import Client
from tests.support.servers import SDK, stdio

CANARY = "canary-prompt-7f3a9c"
KEYS = ("pk-lf-1234", "sk-lf-canary-5678")
TALK: list[Any] = [{"role": "user", "content": CANARY}]


class Where:
    def __init__(self, hub: Hub, behind: scripted.Provider, collector: Collector, langfuse: Langfuse) -> None:
        self.hub, self.behind, self.collector, self.langfuse = hub, behind, collector, langfuse

    def settled(self, trace_id: str, count: int) -> list[Span]:
        """The spans of a trace, once they are all there, at both places: the hub's own first."""
        for place in (self.langfuse, self.collector):
            wait_for(lambda place=place: len(place.of(trace_id)) >= count or place.problems, 30)
            assert not place.problems
            assert len(place.of(trace_id)) == count
        return self.collector.of(trace_id)

    def ask(self, headers: dict[str, str], **body: Any) -> httpx.Response:
        found = {"model": "fast", "messages": TALK, **body}
        return httpx.post(f"{self.hub.url}/v1/chat/completions", json=found, headers={**self.key, **headers}, timeout=30)

    @property
    def key(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.hub.keys['ann']}"}


def config(behind: str, collector: str, langfuse: str, notes: str) -> dict[str, Any]:
    return {
        "keys": [
            {"name": "root", "roles": ["admin"]},
            {"name": "ann", "subject": "user:ann", "grants": [{"model": "*"}, {"virtual_server": "*"}]},
        ],
        "providers": {
            "openai": {"wire": "openai", "base_url": f"{behind}/v1"},
            "hashed": {"wire": "openai", "base_url": f"{behind}/v1", "attribution": True, "like": "openai"},
            "gone": {"wire": "openai", "base_url": "http://127.0.0.1:9/v1"},
            "narrow": {"wire": "openai", "base_url": f"{behind}/v1", "concurrency": 1},
        },
        "models": {
            "fast": {"route": [{"provider": "openai", "model": "gpt-5-mini"}]},
            "sure": {"route": [{"provider": "gone", "model": "x"}, {"provider": "openai", "model": "gpt-5-mini"}], "retry": {"times": 0}},
            "narrow": {"route": [{"provider": "narrow", "model": "gpt-5-mini"}]},
            "lost": {"route": [{"provider": "gone", "model": "x"}], "retry": {"times": 0}},
        },
        "upstreams": {"pipe": stdio(SDK, "stdio", notes)},
        "virtual_servers": {"main": {"include": [{"from": "pipe"}]}},
        "telemetry": {
            "access_log": True,
            "sample": 0,
            "every": 0.05,
            "otlp": {"collector": {"endpoint": collector, "headers": {"x-tenant": "one"}, "protocol": "http/json"}},
            "langfuse": {"lf": {"url": langfuse, "public_key": KEYS[0], "secret_key": "${LANGFUSE_SECRET}", "environment": "test"}},
        },
        "server": {"drain": 1},
    }


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Generator[Where]:
    folder = tmp_path_factory.mktemp("spans")
    with scripted.provider() as behind, served(Collector()) as collector, served(Langfuse(*KEYS)) as langfuse:
        assert isinstance(langfuse, Langfuse)
        hub = Hub(folder, config(behind.url, collector.url, langfuse.url, str(folder / "notes")))
        hub.environment["LANGFUSE_SECRET"] = KEYS[1]
        hub.start().settled("pipe")
        try:
            yield Where(hub, behind, collector, langfuse)
        finally:
            assert hub.stop() == 0
            said = hub.log.read_text()
            assert "Traceback" not in said
            for secret in (CANARY, KEYS[1], hub.keys["ann"]):
                assert secret not in said
                assert all(secret.encode() not in raw for place in (collector, langfuse) for raw in place.raw)


def parent(*, sampled: bool = True) -> tuple[str, str, dict[str, str]]:
    trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
    return trace_id, span_id, {"traceparent": f"00-{trace_id}-{span_id}-{'01' if sampled else '00'}", "x-session-id": "talk-1"}


def test_a_model_call_with_a_fallback_is_a_tree_of_the_call_what_was_asked_and_each_attempt(where: Where) -> None:
    trace_id, span_id, headers = parent()
    answer = where.ask(headers, model="sure")
    assert answer.status_code == 200
    whole, asked, first, second = where.settled(trace_id, 4)
    assert (whole.name, whole.kind, whole.parent_span_id) == ("llm.chat sure", 2, span_id)
    assert (asked.name, asked.kind, asked.parent_span_id) == ("chat gpt-5-mini", 3, whole.span_id)
    assert {first.parent_span_id, second.parent_span_id} == {asked.span_id}
    said = asked.said
    assert said["gen_ai.operation.name"] == "chat"
    assert said["gen_ai.provider.name"] == "openai"
    assert (said["gen_ai.request.model"], said["gen_ai.response.model"]) == ("gpt-5-mini", "gpt-5-mini")
    assert (said["gen_ai.usage.input_tokens"], said["gen_ai.usage.output_tokens"]) == (9, 3)
    assert said["gen_ai.response.finish_reasons"] == ["stop"]
    assert said["server.address"] == "127.0.0.1"
    assert said["server.port"] == int(where.behind.url.rpartition(":")[2])
    assert first.said["error.type"] == "upstream_unavailable"
    assert first.status.code == 2
    assert first.said["hub.attempt.target"] == "gone/x"
    assert (second.said["http.response.status_code"], second.said["http.request.resend_count"]) == (200, 1)
    assert (whole.status.code, asked.status.code, second.status.code) == (0, 0, 0)
    steps = {name.removeprefix("hub.step."): value for name, value in whole.said.items() if name.startswith("hub.step.")}
    parts = {"auth", "receive", "resolve", "policy", "limits", "reserve", "intent", "upstream", "settle"}
    assert set(steps) == parts | {"outcome", "total"}
    assert sum(value for name, value in steps.items() if name != "total") <= steps["total"]
    assert steps["total"] == pytest.approx(whole.seconds, abs=1e-6)
    assert where.behind.asked[-1].headers["traceparent"] == f"00-{trace_id}-{asked.span_id}-01"
    assert whole.said["user.id"] == "user:ann"
    assert whole.said["hub.org"] == "default"
    assert where.collector.resources[-1]["service.name"] == "countersign"
    for span in where.langfuse.of(trace_id):
        assert span.said["langfuse.user.id"] == "user:ann"
        assert span.said["langfuse.session.id"] == "talk-1"
        assert span.said["langfuse.trace.tags"] == ["org:default"]
    (generation,) = [span for span in where.langfuse.of(trace_id) if span.said["langfuse.observation.type"] == "generation"]
    assert json.loads(generation.said["langfuse.observation.usage_details"]) == {"input": 9, "output": 3, "total": 12}
    assert generation.said["langfuse.observation.model.name"] == "gpt-5-mini"
    assert where.langfuse.resources[-1]["langfuse.environment"] == "test"


def test_a_stream_says_when_it_began_why_it_ended_and_what_it_used(where: Where) -> None:
    trace_id, _, headers = parent()
    with openai.OpenAI(base_url=where.hub.url + "/v1", api_key=where.hub.keys["ann"], max_retries=0) as client:
        list(client.chat.completions.create(model="fast", messages=TALK, stream=True, extra_headers=headers))
    whole, asked, _ = where.settled(trace_id, 3)
    said = asked.said
    assert said["gen_ai.request.stream"] is True
    assert 0 < said["gen_ai.response.time_to_first_chunk"] <= asked.seconds
    assert said["gen_ai.response.finish_reasons"] == ["stop"]
    assert said["gen_ai.response.model"] == "gpt-5-mini"
    assert (said["gen_ai.usage.input_tokens"], said["gen_ai.usage.output_tokens"]) == (9, 3)
    assert whole.said["hub.step.first_byte"] == said["gen_ai.response.time_to_first_chunk"]


def test_a_call_nobody_could_answer_and_one_refused_differ(where: Where) -> None:
    trace_id, _, headers = parent()
    assert where.ask(headers, model="lost").status_code == 502
    whole, asked, attempt = where.settled(trace_id, 3)
    for span in (whole, asked, attempt):
        assert (span.status.code, span.said["error.type"]) == (2, "upstream_unavailable")
    trace_id, _, headers = parent()
    assert where.ask(headers, model=CANARY).status_code == 404
    (whole,) = where.settled(trace_id, 1)
    assert (whole.name, whole.said["hub.status"], whole.said["hub.code"], whole.status.code) == ("llm.chat", "refused", "not_found", 0)
    trace_id, _, headers = parent()
    assert (
        httpx.post(
            f"{where.hub.url}/v1/chat/completions", content=b"{", headers={**where.key, **headers, "content-type": "application/json"}
        ).status_code
        == 400
    )
    (whole,) = where.settled(trace_id, 1)
    assert whole.said["hub.code"] == "parse_error"


async def test_a_tool_call_is_a_server_span_and_a_client_span_by_the_conventions_of_mcp(where: Where) -> None:
    trace_id, span_id, headers = parent()
    client = Client(where.hub, "ann")
    answer = await client.modern("tools/call", {"name": "echo", "arguments": {"text": CANARY}}, ("traceparent", headers["traceparent"]))
    assert CANARY in json.dumps(answer.json)
    whole, asked = where.settled(trace_id, 2)
    assert (whole.name, whole.kind, whole.parent_span_id) == ("tools/call echo", 2, span_id)
    assert (asked.name, asked.kind, asked.parent_span_id) == ("tools/call echo", 3, whole.span_id)
    assert whole.said["mcp.method.name"] == asked.said["mcp.method.name"] == "tools/call"
    assert whole.said["mcp.protocol.version"] == "2026-07-28"
    assert whole.said["gen_ai.operation.name"] == asked.said["gen_ai.operation.name"] == "execute_tool"
    assert asked.said["gen_ai.tool.name"] == "echo"
    assert asked.said["network.transport"] == "pipe"
    (tool,) = [span for span in where.langfuse.of(trace_id) if span.said["langfuse.observation.type"] == "tool"]
    assert tool.span_id == asked.span_id


def test_what_is_not_sampled_has_no_span_and_its_header_goes_on(where: Where) -> None:
    quiet, _, unsampled = parent(sampled=False)
    assert where.ask(unsampled).status_code == 200
    assert where.behind.asked[-1].headers["traceparent"].startswith(f"00-{quiet}-")
    assert where.behind.asked[-1].headers["traceparent"].endswith("-00")
    assert where.ask({}).status_code == 200  # a new trace: `sample` is 0
    fresh = where.behind.asked[-1].headers["traceparent"].split("-")[1]
    marker, _, headers = parent()
    where.ask(headers)
    where.settled(marker, 3)
    assert not where.collector.of(quiet)
    assert not where.collector.of(fresh)


def test_the_access_log_has_a_line_for_each_call_sampled_or_not(where: Where) -> None:
    answer = where.ask({})
    ident = answer.headers["x-request-id"]

    def line() -> dict[str, Any] | None:
        lines = [json.loads(one) for one in where.hub.log.read_text().splitlines() if one.startswith("{")]
        return next((one for one in lines if one.get("logger") == "hub.access" and one["request"] == ident), None)

    found = wait_for(line, 30)
    assert found["kind"] == "llm.chat"
    assert (found["org"], found["door"], found["target"], found["status"]) == ("default", "fast", "openai/gpt-5-mini", "ok")
    assert (found["input_tokens"], found["output_tokens"]) == (9, 3)
    assert found["us"] > 0
    assert {"resolve", "policy", "reserve", "intent", "upstream", "settle", "outcome", "total"} <= set(found["steps"])
    assert all(isinstance(us, int) for us in found["steps"].values())
    assert len(found["trace"]) == 32


def test_who_has_to_wait_for_room_is_told_how_long_in_span_and_record(where: Where) -> None:
    held, (trace_id, _, headers) = threading.Event(), parent()
    where.behind.script.append(scripted.hang(held))
    count = len(where.behind.asked)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(where.ask, {}, model="narrow")
        wait_for(lambda: len(where.behind.asked) > count, 30)
        second = pool.submit(where.ask, headers, model="narrow")
        wait_for(lambda: any(one.get("trace") == trace_id for one in records(where.hub.database)), 30)
        for _ in range(2):  # its intent is durable: by the time this is answered it stands where it has to wait
            where.hub.status()
        held.set()
        assert (first.result().status_code, second.result().status_code) == (200, 200)
    whole, *_ = where.settled(trace_id, 3)
    outcome = [one for one in records(where.hub.database) if one.get("trace") == trace_id][-1]
    (attempt,) = outcome["route"]
    assert 0 < attempt["queued_us"] <= attempt["us"]
    assert whole.said["hub.step.queue"] == pytest.approx(attempt["queued_us"] / 1e6)
    assert whole.said["hub.step.queue"] <= whole.said["hub.step.upstream"]
    assert outcome["steps"]["queue"] == attempt["queued_us"]
    before = {"auth", "receive", "resolve", "policy", "limits", "reserve", "intent"}
    assert set(outcome["steps"]) == before | {"queue", "upstream", "settle"}


def test_a_provider_is_told_a_hash_of_who_asks_where_the_operator_wants_it(where: Where) -> None:
    body = b'{ "model": "hashed:m", "messages": [{"role": "user", "content": "Hi."}], "top_p": 0.50 }'
    url, headers = f"{where.hub.url}/v1/chat/completions", {**where.key, "content-type": "application/json"}
    assert httpx.post(url, content=body, headers=headers).status_code == 200
    raw = where.behind.asked[-1].raw
    told = json.loads(raw)["safety_identifier"]
    assert len(told) == 32
    assert raw == b'{"safety_identifier":"%b",' % told.encode() + body[1:].replace(b"hashed:m", b"m")
    assert where.ask({}).status_code == 200
    assert "safety_identifier" not in where.behind.asked[-1].json


def test_metrics_of_models_have_configured_names_only(where: Where) -> None:
    assert where.ask({}, model="openai:some-model-of-the-clients").status_code == 200
    list(where.ask({}, stream=True).iter_lines())
    text = where.hub.admin("GET", "/metrics")
    assert 'hub_model_tokens_total{kind="input",model="fast",provider="openai"}' in text
    assert 'hub_model_seconds_count{model="",provider="openai"}' in text
    assert 'hub_model_first_byte_seconds_count{model="fast",provider="openai"}' in text
    assert 'hub_model_attempts_total{provider="openai",result="ok"}' in text
    assert "some-model" not in text
    assert 'hub_spans_sent_total{target="collector"}' in text


def test_a_collector_that_is_away_slow_or_refuses_costs_spans_and_never_a_call(tmp_path: Path) -> None:
    with scripted.provider() as behind, served(Collector()) as slow, served(Collector()) as busy:
        settings = config(behind.url, slow.url, "http://127.0.0.1:9", str(tmp_path / "notes"))
        settings["telemetry"]["otlp"]["busy"] = {"endpoint": busy.url + "/v1/traces", "protocol": "http/json"}
        settings["telemetry"] |= {"sample": 1, "queue": 9, "grace": 0.2}
        del settings["upstreams"], settings["virtual_servers"]
        settings["keys"][1]["grants"] = [{"model": "*"}]
        slow.open.clear()
        busy.statuses = [503, 429, 400]
        hub = Hub(tmp_path, settings)
        hub.environment["LANGFUSE_SECRET"] = KEYS[1]
        hub.start()
        try:
            place = Where(hub, behind, slow, Langfuse(*KEYS))
            place.langfuse.close()
            for _ in range(6):
                assert place.ask({}).status_code == 200
            wait_for(lambda: busy.asked >= 3, 30)  # 503 and 429 are tried again, 400 is not
            for target in ("collector", "lf"):
                assert wait_for(
                    lambda target=target: f'hub_spans_dropped_total{{reason="full",target="{target}"}} 9.0' in hub.admin("GET", "/metrics"),
                    30,
                )
            wait_for(lambda: 'hub_spans_dropped_total{reason="refused",target="busy"} 0.0' not in hub.admin("GET", "/metrics"), 30)
            slow.open.set()
            wait_for(lambda: len(slow.spans) == 9, 30)
            assert not slow.problems
        finally:
            assert hub.stop() == 0
        assert "Traceback" not in hub.log.read_text()
