"""Pass-through: what the client gets is what the provider sent, usage is read on the way, and only the hub's own chunk is taken out."""

import itertools
import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.call import Tokens
from hub.llm import messages
from hub.llm.relay import Relay, usage_of
from hub.sse import Overflow, Parser
from tests.llm.answers import STREAMS, WHOLE, sse
from tests.llm.matrix import DIALECTS

CACHED = {
    "chat": Tokens(1200, 300, cache_read=1024, reasoning=192),
    "responses": Tokens(1200, 300, cache_read=1024, reasoning=192),
    "messages": Tokens(1200, 300, cache_read=1024, cache_write=60, cache_write_1h=40, reasoning=192),
}
cuts = st.lists(st.integers(0, 5000), max_size=6)


def pieces(raw: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(one, len(raw)) for one in at), len(raw)]
    return [raw[start:end] for start, end in itertools.pairwise(edges)]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
@settings(deadline=None, max_examples=25)
@given(at=cuts)
def test_a_stream_passes_byte_for_byte_and_its_usage_is_known(dialect: Any, ends: bytes, at: list[int]) -> None:
    raw = sse(dialect, STREAMS[dialect]["usage"]).replace(b"\n", ends)
    relay = Relay(dialect)
    assert b"".join(relay.feed(piece) for piece in pieces(raw, at)) + relay.finish() == raw
    assert relay.finish() == b""
    assert (relay.tokens, relay.ended, relay.fault) == (CACHED[dialect], True, None)


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
@settings(deadline=None, max_examples=50)
@given(at=cuts)
def test_the_chunk_the_hub_asked_for_is_taken_out_and_nothing_else(ends: bytes, at: list[int]) -> None:
    raw = sse("chat", STREAMS["chat"]["usage"]).replace(b"\n", ends)
    chunk = sse("chat", [STREAMS["chat"]["usage"][-2]]).replace(b"\n", ends)
    assert raw.count(chunk) == 1
    relay = Relay("chat", strip=True)
    found = b"".join(relay.feed(piece) for piece in pieces(raw, at)) + relay.finish()
    assert found == raw.replace(chunk, b"")
    assert (relay.tokens, relay.ended) == (CACHED["chat"], True)


def test_usage_beside_a_choice_is_read_and_left_where_it_is() -> None:
    raw = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
    relay = Relay("chat", strip=True)
    assert relay.feed(raw) == raw
    assert relay.tokens == Tokens(3, 2)
    assert not relay.ended


def test_words_that_look_like_usage_are_words() -> None:
    raw = b"".join(
        b"data: " + orjson.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}) + b"\n\n"
        for text in ('"usage":{"prompt_tokens":9}', "[DONE]", '{"error":{}}', "message_stop")
    )
    relay = Relay("chat", strip=True)
    assert relay.feed(raw) == raw
    assert (relay.tokens, relay.ended, relay.fault) == (None, False, None)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stream_cut_off_has_not_ended(dialect: Any) -> None:
    raw = sse(dialect, STREAMS[dialect]["text"][:-1])
    relay = Relay(dialect)
    relay.feed(raw)
    relay.finish()
    assert not relay.ended


def test_the_last_event_counts_though_its_blank_line_never_came() -> None:
    raw = sse("messages", STREAMS["messages"]["usage"]).rstrip(b"\n")
    relay = Relay("messages")
    assert relay.feed(raw) + relay.finish() == raw
    assert (relay.ended, relay.tokens) == (True, CACHED["messages"])


@pytest.mark.parametrize(
    ("dialect", "event", "kind"),
    [
        ("chat", b'data: {"error":{"message":"no","type":"server_error"}}\n\n', "broken"),
        ("messages", b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"no"}}\n\n', "overloaded"),
        ("responses", b'event: error\ndata: {"type":"error","code":"rate_limit_exceeded","message":"no","param":null}\n\n', "limited"),
        (
            "responses",
            b'event: response.failed\ndata: {"type":"response.failed","response":{"error":{"code":"server_error","message":"no"}}}\n\n',
            "broken",
        ),
    ],
)
def test_an_error_in_band_is_seen_and_passed_on(dialect: Any, event: bytes, kind: str) -> None:
    relay = Relay(dialect)
    assert relay.feed(event) == event
    assert relay.fault is not None
    assert (relay.fault.kind, relay.fault.message) == (kind, "no")


def test_an_event_without_end_is_bounded() -> None:
    relay = Relay("chat", strip=True, limit=1000)
    assert b"".join(relay.feed(b"x" * 100) for _ in range(10)) == b""
    with pytest.raises(Overflow):
        relay.feed(b"x")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_whole_reply_tells_its_usage_without_being_built(dialect: Any) -> None:
    assert usage_of(json.dumps(WHOLE[dialect]["usage"], indent=1).encode(), dialect) == CACHED[dialect]
    assert usage_of(b'{"usage":null}', dialect) is None
    assert usage_of(b'{"usage":{"prompt_tokens":"many"}}', dialect) is None
    assert usage_of(b'{"usage":', dialect) is None


@pytest.mark.parametrize(
    "usage", ["{}", '{"total_tokens":9}', '{"prompt_tokens":null,"output_tokens":null}', '{"service_tier":"standard"}']
)
def test_a_usage_without_a_count_reports_nothing(usage: str) -> None:
    """It would be an answer for nothing; what came is estimated instead."""
    for kind in ("chat", "responses", "messages", "embeddings", "completions"):
        assert usage_of(f'{{"usage":{usage}}}'.encode(), kind) is None
    said = "message_start", f'{{"type":"message_start","message":{{"id":"m","usage":{usage}}}}}'
    over = "message_stop", '{"type":"message_stop"}'
    raw = "".join(f"event: {name}\ndata: {data}\n\n" for name, data in (said, over)).encode()
    relay = Relay("messages")
    relay.feed(raw)
    assert (relay.ended, relay.tokens) == (True, None)
    reader = messages.Reader()
    found = [one for event in Parser(1 << 20).feed(raw) for one in reader.feed(event)]
    assert [getattr(one, "usage", None) for one in found] == [None] * len(found)
    relay = Relay("responses")
    relay.feed(f'data: {{"type":"response.completed","response":{{"id":"r","usage":{usage}}}}}\n\n'.encode())
    assert (relay.ended, relay.tokens) == (True, None)


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        ({"usage": {"prompt_tokens": 8, "total_tokens": 8}}, "embeddings", Tokens(8)),
        ({"usage": {"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10}}, "completions", Tokens(8, 2)),
        ({"id": "modr-1", "results": []}, "moderations", None),
        ({"input_tokens": 12}, "count_tokens", None),
        ({"usage": {"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 4}}, "chat", Tokens(9, 1, cache_read=4)),
        ({"x_groq": {"usage": {"prompt_tokens": 9, "completion_tokens": 1}}}, "chat", Tokens(9, 1)),
        (
            {
                "usage": {
                    "prompt_tokens": 9,
                    "completion_tokens": 1,
                    "total_tokens": 15,
                    "completion_tokens_details": {"reasoning_tokens": 5},
                }
            },
            "chat",
            Tokens(9, 6, reasoning=5),
        ),
        (
            {"usage": {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 99}}},
            "chat",
            Tokens(9, 1, cache_read=9),
        ),
        ({"usage": {"prompt_tokens": -9, "completion_tokens": 1}}, "chat", Tokens(0, 1)),
        (
            {"usage": {"input_tokens": 9, "output_tokens": 1}, "tool_usage": {"web_search": {"num_requests": 2}}},
            "responses",
            Tokens(9, 1, requests=2),
        ),
        (
            {"usage": {"input_tokens": 9, "output_tokens": 1, "server_tool_use": {"web_search_requests": 3}}},
            "messages",
            Tokens(9, 1, requests=3),
        ),
        *(
            ({"usage": {"input_tokens": 9, "output_tokens": 1}, "tool_usage": {"web_search": {"num_requests": many}}}, "responses", most)
            for many, most in (
                (10_001, Tokens(9, 1, requests=10_000)),
                (1 << 62, Tokens(9, 1, requests=10_000)),
                (10**30, Tokens(9, 1, requests=10_000)),
                (-5, Tokens(9, 1)),
                (True, Tokens(9, 1)),
                ("7", Tokens(9, 1)),
            )
        ),
        (
            {"usage": {"input_tokens": 9, "output_tokens": 1, "server_tool_use": {"web_search_requests": 1 << 62}}},
            "messages",
            Tokens(9, 1, requests=10_000),
        ),
    ],
)
def test_every_providers_words_for_usage_are_understood(body: dict[str, Any], kind: Any, expected: Tokens | None) -> None:
    assert usage_of(json.dumps(body).encode(), kind) == expected


@pytest.mark.parametrize("end", ["incomplete", "cancelled", "failed", "completed"])
def test_a_responses_stream_has_ended_also_where_its_end_bears_no_usage(end: str) -> None:
    relay = Relay("responses")
    event = {"type": f"response.{end}", "response": {"id": "r", "status": end, "usage": None, "error": None}}
    raw = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
    assert relay.feed(raw) == raw
    relay.finish()
    assert (relay.ended, relay.tokens) == (True, None)
