"""Spans as one request of OTLP over HTTP, in its JSON encoding. Pure.

The other encoding is in `otlp_protobuf.py`. Langfuse takes both, and gets this one, which can be read.
Source: the specification of OTLP over HTTP in opentelemetry-proto (JSON Protobuf encoding: ids in hex, 64-bit integers as decimal strings,
enums as numbers, names in lowerCamelCase).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from hub.telemetry.span import Span, Value

MEDIA_TYPE = "application/json"
PATH = "/v1/traces"
KINDS = {"server": 2, "client": 3}
ERROR = 2
SAMPLED = 1


def encoded(spans: Iterable[Span], resource: Mapping[str, Value], version: str) -> bytes:
    """An `ExportTraceServiceRequest`. `resource` says who speaks, `version` which hub made the spans."""
    scope = {"scope": {"name": "countersign", "version": version}, "spans": [_span(span) for span in spans]}
    return orjson.dumps({"resourceSpans": [{"resource": {"attributes": _attributes(resource)}, "scopeSpans": [scope]}]})


def _span(span: Span) -> dict[str, Any]:
    found: dict[str, Any] = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "name": span.name,
        "kind": KINDS[span.kind],
        "startTimeUnixNano": str(span.start),
        "endTimeUnixNano": str(span.end),
        "attributes": _attributes(span.attributes),
        "status": {"code": ERROR} if span.error else {},
        "flags": SAMPLED,
    }
    if span.parent_id:
        found["parentSpanId"] = span.parent_id
    if span.state:
        found["traceState"] = span.state
    return found


def _attributes(values: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Value) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case str():
            return {"stringValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list():
            return {"arrayValue": {"values": [{"stringValue": one} for one in value]}}


def rejected(body: bytes) -> int:
    """How many spans an answer of status 200 says were not taken (`partialSuccess`); 0 where it says nothing that can be read."""
    try:
        found: Any = orjson.loads(body)
        return int(found["partialSuccess"]["rejectedSpans"])
    except (ValueError, KeyError, TypeError):
        return 0
