"""Spans as Langfuse reads them: the names it gives precedence over all others, beside those of the conventions. Pure.

Sources: Langfuse's pages on OpenTelemetry (integrations/native/opentelemetry: endpoint, Basic auth, `x-langfuse-ingestion-version`,
attribute mapping, trace attributes on every span) and on token and cost tracking; its list of names (langfuse/langfuse,
packages/shared/src/server/otel/attributes.ts) and its reader of usage (the tests of `OtelIngestionProcessor`: parts of tokens are
apart from `input` and `output`, not within them).
"""

from base64 import b64encode
from datetime import UTC, datetime

import orjson

from hub.telemetry.span import Span, Value

PATH = "/api/public/otel/v1/traces"
INGESTION_VERSION = "4"
"""Has spans shown as they come; the highest that is taken."""
_LONGEST_ID = 200
"""Characters of a user's or session's id; longer ones are dropped by Langfuse."""

_GENERATIONS = frozenset({"chat", "text_completion", "embeddings"})
_PARTS = {
    "gen_ai.usage.cache_read.input_tokens": ("input", "input_cached_tokens"),
    "gen_ai.usage.cache_write.input_tokens": ("input", "input_cache_creation"),
    "gen_ai.usage.audio.input_tokens": ("input", "input_audio_tokens"),
    "gen_ai.usage.reasoning.output_tokens": ("output", "output_reasoning_tokens"),
    "gen_ai.usage.audio.output_tokens": ("output", "output_audio_tokens"),
}


def headers(public: str, secret: str) -> dict[str, str]:
    """What each request bears: the keys of a project, and how it is to be taken in."""
    token = b64encode(f"{public}:{secret}".encode()).decode()
    return {"authorization": f"Basic {token}", "x-langfuse-ingestion-version": INGESTION_VERSION}


def dressed(span: Span) -> dict[str, Value]:
    """The attributes of a span, and Langfuse's own besides. What names a trace stands on every span of it, as Langfuse asks."""
    given = span.attributes
    found: dict[str, Value] = {**given, "langfuse.observation.type": _type(span)}
    for theirs, ours in (("langfuse.user.id", "user.id"), ("langfuse.session.id", "session.id")):
        value = given.get(ours)
        if isinstance(value, str) and 0 < len(value) <= _LONGEST_ID and value.isascii():
            found[theirs] = value
    tags = [f"{name}:{given[key]}" for name, key in _TAGS if given.get(key)]
    if tags:
        found["langfuse.trace.tags"] = tags
    if span.error:
        found["langfuse.observation.level"] = "ERROR"
        found["langfuse.observation.status_message"] = span.error
    model = given.get("gen_ai.response.model") or given.get("gen_ai.request.model")
    if found["langfuse.observation.type"] in ("generation", "embedding") and isinstance(model, str):
        found["langfuse.observation.model.name"] = model
        _spent(span, found)
    return found


_TAGS = (("org", "hub.org"), ("team", "hub.team"), ("project", "hub.project"), ("app", "hub.app"))


def _type(span: Span) -> str:
    operation = span.attributes.get("gen_ai.operation.name")
    if span.kind == "client" and operation in _GENERATIONS:
        return "embedding" if operation == "embeddings" else "generation"
    return "tool" if span.kind == "client" and operation == "execute_tool" else "span"


def _spent(span: Span, found: dict[str, Value]) -> None:
    """Usage and cost, as objects in JSON. A cost that is not given is worked out by Langfuse, from prices of its own."""
    given = span.attributes
    usage = _usage(given)
    if usage:
        found["langfuse.observation.usage_details"] = orjson.dumps(usage).decode()
    cost = given.get("hub.cost.usd")
    if isinstance(cost, float):
        found["langfuse.observation.cost_details"] = orjson.dumps({"total": cost}).decode()
    first = given.get("gen_ai.response.time_to_first_chunk")
    if isinstance(first, float):
        found["langfuse.observation.completion_start_time"] = _moment(span.start + int(first * 1e9))


def _usage(given: dict[str, Value]) -> dict[str, int]:
    usage: dict[str, int] = {}
    for name in ("input", "output"):
        count = given.get(f"gen_ai.usage.{name}_tokens")
        if isinstance(count, int):
            usage[name] = count
    if not usage:
        return usage
    usage["total"] = sum(usage.values())
    for key, (whole, part) in _PARTS.items():
        count = given.get(key)
        if isinstance(count, int) and count:
            usage[part] = count
            usage[whole] = max(0, usage.get(whole, 0) - count)
    return usage


def _moment(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
