"""Spans in OTLP's binary encoding, held against the official messages of `opentelemetry-proto`; and a collector that takes nothing else."""

import gzip
from pathlib import Path
from typing import Any

import httpx2 as httpx
from hypothesis import given
from hypothesis import strategies as some
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Theirs
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from hub.telemetry import otlp_protobuf
from hub.telemetry.span import CLIENT, SERVER, Span, Value
from tests.observe.test_spans import TALK, config, parent
from tests.support import provider as scripted
from tests.support.collector import Collector, Langfuse, served
from tests.support.hub import Hub, wait_for

TEXTS = some.text(some.characters(exclude_categories=["Cs"]), max_size=200)
INT64 = some.integers(-(1 << 63), (1 << 63) - 1)
VALUES = some.one_of(TEXTS, some.booleans(), INT64, some.floats(allow_nan=False), some.lists(TEXTS, max_size=5))
ATTRIBUTES = some.dictionaries(TEXTS, VALUES, max_size=8)
TIMES = some.integers(1, (1 << 64) - 1)


def ids(length: int) -> some.SearchStrategy[str]:
    return some.binary(min_size=length, max_size=length).map(bytes.hex)


SPANS = some.builds(
    Span,
    TEXTS,
    some.sampled_from([SERVER, CLIENT]),
    ids(16),
    ids(8),
    some.one_of(some.just(""), ids(8)),
    TIMES,
    TIMES,
    ATTRIBUTES,
    TEXTS,
    TEXTS,
)


def pair(key: str, value: Value) -> KeyValue:
    match value:
        case bool():
            found = AnyValue(bool_value=value)
        case str():
            found = AnyValue(string_value=value)
        case int():
            found = AnyValue(int_value=value)
        case float():
            found = AnyValue(double_value=value)
        case list():
            found = AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=one) for one in value]))
    return KeyValue(key=key, value=found)


def theirs(span: Span) -> Theirs:
    return Theirs(
        trace_id=bytes.fromhex(span.trace_id),
        span_id=bytes.fromhex(span.span_id),
        parent_span_id=bytes.fromhex(span.parent_id),
        trace_state=span.state,
        name=span.name,
        kind=Theirs.SPAN_KIND_SERVER if span.kind == SERVER else Theirs.SPAN_KIND_CLIENT,
        start_time_unix_nano=span.start,
        end_time_unix_nano=span.end,
        attributes=[pair(key, value) for key, value in span.attributes.items()],
        status=Status(code=Status.STATUS_CODE_ERROR) if span.error else None,
        flags=1,
    )


@given(some.lists(SPANS, max_size=4), ATTRIBUTES, TEXTS)
def test_what_is_written_is_what_the_official_messages_write(spans: list[Span], resource: dict[str, Value], version: str) -> None:
    expected = ExportTraceServiceRequest()
    whole = expected.resource_spans.add()
    whole.resource.attributes.extend(pair(key, value) for key, value in resource.items())
    scoped = whole.scope_spans.add()
    scoped.scope.name, scoped.scope.version = "countersign", version
    scoped.spans.extend(theirs(span) for span in spans)
    whole.resource.SetInParent()
    written = otlp_protobuf.encoded(spans, resource, version)
    assert ExportTraceServiceRequest.FromString(written) == expected
    assert written == expected.SerializeToString(deterministic=True)


def test_half_of_a_pair_does_not_stop_a_batch() -> None:
    span = Span("a\ud800b", SERVER, "0" * 31 + "1", "0" * 15 + "1", "", 1, 2)
    found = ExportTraceServiceRequest.FromString(otlp_protobuf.encoded([span], {}, "1"))
    assert found.resource_spans[0].scope_spans[0].spans[0].name == "a?b"


@given(some.integers(0, (1 << 63) - 1), TEXTS, some.binary(max_size=40))
def test_how_many_were_refused_is_read_and_nothing_that_cannot_be_read_fails(count: int, why: str, noise: bytes) -> None:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans, answer.partial_success.error_message = count, why
    assert otlp_protobuf.rejected(answer.SerializeToString()) == count
    assert otlp_protobuf.rejected(b"") == 0
    assert otlp_protobuf.rejected(b"{}") == 0
    assert otlp_protobuf.rejected(noise) >= 0
    assert otlp_protobuf.rejected(answer.SerializeToString()[:-1]) in (0, count)


class Binary(Collector):
    """Takes protobuf and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.exports: list[ExportTraceServiceRequest] = []

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        assert (path, headers["content-type"]) == (self.path, "application/x-protobuf")
        self.exports.append(ExportTraceServiceRequest.FromString(gzip.decompress(body)))

    def named(self, trace_id: str) -> dict[str, Any]:
        """The spans of a trace by name."""
        found = [span for one in self.exports for whole in one.resource_spans for scoped in whole.scope_spans for span in scoped.spans]
        return {span.name: span for span in found if span.trace_id.hex() == trace_id}


def test_a_collector_of_which_nothing_is_said_gets_the_same_spans_in_binary(tmp_path: Path) -> None:
    with scripted.provider() as behind, served(Collector()) as collector, served(Binary()) as binary, served(Langfuse("pk", "sk")) as other:
        assert isinstance(binary, Binary)
        settings = config(behind.url, collector.url, other.url, str(tmp_path / "notes"))
        settings["telemetry"] |= {"otlp": {**settings["telemetry"]["otlp"], "binary": {"endpoint": binary.url}}, "langfuse": {}}
        for name in ("upstreams", "virtual_servers"):
            del settings[name]
        settings["keys"][1]["grants"] = [{"model": "*"}]
        hub = Hub(tmp_path, settings).start()
        trace_id, span_id, headers = parent()
        try:
            body = {"model": "fast", "messages": TALK}
            key = {"authorization": f"Bearer {hub.keys['ann']}"}
            assert httpx.post(f"{hub.url}/v1/chat/completions", json=body, headers={**key, **headers}, timeout=30).status_code == 200
            wait_for(lambda: len(binary.named(trace_id)) == 3 and len(collector.of(trace_id)) == 3, 30)
        finally:
            assert hub.stop() == 0
        assert not binary.problems
        for span in collector.of(trace_id):
            found = binary.named(trace_id)[span.name]
            assert (found.span_id.hex(), found.parent_span_id.hex()) == (span.span_id, span.parent_span_id)
            assert str(found.start_time_unix_nano) == span.start_time_unix_nano
            assert {one.key for one in found.attributes} == set(span.said)
        assert binary.named(trace_id)["llm.chat fast"].parent_span_id.hex() == span_id
