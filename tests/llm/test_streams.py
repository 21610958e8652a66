"""Streams: the same events however the bytes are cut, the same answer as the whole reply, and the order every writer keeps."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hub.call import Tokens
from hub.llm import assemble, chat, messages, responses
from hub.llm.canonical import (
    Event,
    Failed,
    Finished,
    Part,
    PartStarted,
    PartStopped,
    Reasoning,
    Refused,
    Reply,
    Request,
    Started,
    Text,
    ToolCall,
)
from hub.refusal import UpstreamFault
from hub.sse import Event as Sse
from hub.sse import Parser
from tests.llm.answers import CASES, STREAMS, WHOLE, sse
from tests.llm.matrix import DIALECTS, ROOM, events, reader

PAIRS = [pytest.param(dialect, case, id=f"{dialect}-{case}") for dialect in DIALECTS for case in CASES]


@pytest.mark.parametrize(("dialect", "case"), PAIRS)
def test_a_stream_cut_at_any_byte_gives_the_same_events(dialect: str, case: str) -> None:
    raw = sse(dialect, STREAMS[dialect][case])
    expected = events(dialect, raw)
    for cut in range(0, len(raw), 7 if len(raw) > 4000 else 1):
        parser, source = Parser(1 << 20), reader(dialect)
        found: list[Event] = []
        for piece in (raw[:cut], raw[cut:]):
            for event in parser.feed(piece):
                found += source.feed(event)
        assert found + source.end() == expected


@pytest.mark.parametrize(("dialect", "case"), PAIRS)
def test_a_stream_says_what_the_whole_reply_says(dialect: str, case: str) -> None:
    assembler = assemble.Assembler()
    assembler.feed(events(dialect, sse(dialect, STREAMS[dialect][case])))
    whole: Reply = ROOM[dialect].read_reply(WHOLE[dialect][case])
    assert assembler.done
    assert assembler.fault is None
    assert replace(assembler.reply, created=whole.created, parts=_plain(assembler.reply)) == replace(whole, parts=_plain(whole))


def _plain(reply: Reply) -> tuple[Part, ...]:
    """A call's arguments as the value they are: a stream has the provider's own spaces."""
    return tuple(
        replace(part, arguments=json.dumps(json.loads(part.arguments))) if isinstance(part, ToolCall) else part for part in reply.parts
    )


@pytest.mark.parametrize(("dialect", "case"), PAIRS)
def test_a_stream_that_breaks_off_says_so_once_and_never_that_it_ended(dialect: str, case: str) -> None:
    script = STREAMS[dialect][case]
    raw = sse(dialect, script)
    last = script[-2] if dialect == "messages" else script[-3] if dialect == "chat" else script[-1]
    end = raw.index(sse(dialect, [last]))
    for cut in range(0, end, 11):
        found = events(dialect, raw[:cut])
        assert [type(event) for event in found].count(Failed) == 1
        assert isinstance(found[-1], Failed)
        assert not any(isinstance(event, Finished) for event in found)


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
parts = st.one_of(
    words.map(Text),
    st.builds(ToolCall, st.from_regex(r"call_[a-z0-9]{4}", fullmatch=True), st.just("f"), st.sampled_from(["", '{"a":1}', '{"a":"ü"}'])),
    st.builds(Reasoning, words, st.sampled_from(["", "c2VhbA=="]), st.just("anthropic")).map(
        lambda one: one if one.seal else Reasoning(one.text)
    ),
    words.map(Refused),
)
replies = st.builds(
    Reply,
    id=st.just("x1"),
    model=st.just("m"),
    parts=st.lists(parts, max_size=5).map(tuple),
    stop=st.sampled_from(["end", "length", "tool", "filter"]),
    usage=st.builds(Tokens, input=st.integers(1, 10**6), output=st.integers(0, 10**6)),
    created=st.just(5),
)


def write(dialect: str, events: list[Event]) -> bytes:
    made: Any = {
        "chat": lambda: chat.Writer(include_usage=True),
        "responses": lambda: responses.Writer(Request("m", ())),
        "messages": lambda: messages.Writer(input_tokens=3),
    }[dialect]()
    return b"".join(made.write(event) for event in events)


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(deadline=None, max_examples=60)
@given(reply=replies)
def test_what_a_writer_streams_its_reader_reads_back(dialect: str, reply: Reply) -> None:
    found = events(dialect, write(dialect, assemble.events(reply)))
    assembler = assemble.Assembler()
    assembler.feed(found)
    assert assembler.done
    assert assembler.reply.usage == reply.usage
    assert _said(assembler.reply) == _said(reply)
    assert _called(assembler.reply) == _called(reply)
    _in_order(found)


def _said(reply: Reply) -> str:
    return "".join(part.text for part in reply.parts if isinstance(part, Text | Refused))


def _called(reply: Reply) -> list[tuple[str, str, str]]:
    return [(part.id, part.name, part.arguments or "{}") for part in reply.parts if isinstance(part, ToolCall)]


def _in_order(found: list[Event]) -> None:
    """Parts counted from 0 without gaps, one open at a time, each stopped once."""
    started = [event.index for event in found if isinstance(event, PartStarted)]
    stopped = [event.index for event in found if isinstance(event, PartStopped)]
    assert started == stopped == list(range(len(started)))
    where = -1
    for event in found:
        if isinstance(event, PartStarted):
            where = event.index
        elif hasattr(event, "index"):
            assert event.index == where


@settings(deadline=None, max_examples=60)
@given(reply=replies)
def test_a_chat_stream_names_each_call_once_under_indices_without_gaps(reply: Reply) -> None:
    sent = [json.loads(event.data) for event in Parser(1 << 20).feed(write("chat", assemble.events(reply))) if event.data != b"[DONE]"]
    deltas = [choice["delta"] for chunk in sent for choice in chunk["choices"]]
    assert [index for index, delta in enumerate(deltas) if "role" in delta] == [0]
    fragments = [fragment for delta in deltas for fragment in delta.get("tool_calls", [])]
    named = [fragment["index"] for fragment in fragments if "id" in fragment]
    assert named == list(range(len(named)))
    assert all(("name" in fragment["function"]) == ("id" in fragment) for fragment in fragments)
    assert [choice["finish_reason"] for chunk in sent for choice in chunk["choices"]].count(None) == len(deltas) - 1
    assert [chunk["choices"] for chunk in sent].count([]) == 1


@settings(deadline=None, max_examples=60)
@given(reply=replies)
def test_a_responses_stream_counts_its_events_and_closes_what_it_opens(reply: Reply) -> None:
    sent = [json.loads(event.data) for event in Parser(1 << 20).feed(write("responses", assemble.events(reply)))]
    assert [event["sequence_number"] for event in sent] == list(range(len(sent)))
    for added, done in (
        ("response.output_item.added", "response.output_item.done"),
        ("response.content_part.added", "response.content_part.done"),
    ):
        assert [event["output_index"] for event in sent if event["type"] == added] == [
            event["output_index"] for event in sent if event["type"] == done
        ]
    assert [event["item"] for event in sent if event["type"] == "response.output_item.done"] == sent[-1]["response"]["output"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_writer_says_nothing_after_the_end_and_nothing_twice(dialect: str) -> None:
    reply = ROOM["chat"].read_reply(WHOLE["chat"]["tools"])
    once = assemble.events(reply)
    assert write(dialect, once + once) == write(dialect, once)


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> Sse:
    value = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", **more}
    return Sse(orjson.dumps({**value, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}))


def read(*chunks: Sse) -> tuple[assemble.Assembler, list[Event]]:
    source, assembler = chat.Reader(), assemble.Assembler()
    found = [event for one in chunks for event in source.feed(one)] + source.end()
    assembler.feed(found)
    return assembler, found


def call(name: str, arguments: Any, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"type": "function", "function": {"name": name, "arguments": arguments}, **more}]}


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        pytest.param(
            [chunk(call("f", '{"a":1}', id="c1", index=0)), chunk(call("f", '{"a":2}', id="c2", index=0))],
            [("c1", '{"a":1}'), ("c2", '{"a":2}')],
            id="every call under index 0",
        ),
        pytest.param(
            [chunk(call("f", '{"a":1}', id="c1")), chunk(call("f", '{"a":2}', id="c2"))],
            [("c1", '{"a":1}'), ("c2", '{"a":2}')],
            id="no index",
        ),
        pytest.param(
            [chunk(call("f", "", id="c1", index=0)), chunk({"tool_calls": [{"index": 0, "id": "c1", "function": {"arguments": "{}"}}]})],
            [("c1", "{}")],
            id="the id in every fragment",
        ),
        pytest.param([chunk(call("f", {"a": 1}, id="c1", index=0))], [("c1", '{"a":1}')], id="arguments as an object"),
        pytest.param(
            [chunk(call("f", "{}", id="c1", index=1)), chunk(call("f", "{}", id="c2", index=2))], [("c1", "{}"), ("c2", "{}")], id="from 1"
        ),
    ],
)
def test_tool_calls_are_read_however_a_provider_numbers_them(chunks: list[Sse], expected: list[tuple[str, str]]) -> None:
    assembler, found = read(*chunks, chunk({}, "stop"), Sse(b"[DONE]"))
    calls = [part for part in assembler.reply.parts if isinstance(part, ToolCall)]
    assert [(one.id, one.arguments) for one in calls] == expected
    assert assembler.reply.stop == "tool"
    _in_order(found)


def test_calls_without_ids_get_ids_that_no_other_answer_has() -> None:
    one, _ = read(chunk(call("f", "{}", index=0)), chunk(call("f", "{}", index=1)), chunk({}, "tool_calls"))
    other, _ = read(chunk(call("f", "{}", index=0), None, id="y"), chunk({}, "tool_calls"))
    ids = [part.id for reply in (one.reply, other.reply) for part in reply.parts if isinstance(part, ToolCall)]
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    "last",
    [
        [chunk({}, "stop", usage={"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7})],
        [chunk({}, "stop", x_groq={"usage": {"prompt_tokens": 5, "completion_tokens": 2}})],
        [chunk({}, "stop"), Sse(b'{"id":"x","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}'), Sse(b"[DONE]")],
    ],
    ids=["last chunk", "groq", "chunk of its own"],
)
def test_usage_is_read_wherever_a_provider_puts_it(last: list[Sse]) -> None:
    assembler, _ = read(chunk({"role": "assistant", "content": "hi"}), *last)
    assert assembler.reply.usage == Tokens(5, 2)


def test_a_first_chunk_that_says_nothing_does_not_name_the_answer() -> None:
    azure = Sse(b'{"id":"","model":"","created":0,"object":"","choices":[],"prompt_filter_results":[{"prompt_index":0}]}')
    assembler, found = read(azure, chunk({"content": "hi"}), chunk({}, "stop"), Sse(b"[DONE]"))
    assert (assembler.reply.id, assembler.reply.model, assembler.reply.parts) == ("x", "m", (Text("hi"),))
    assert [type(event) for event in found].count(Started) == 1


def test_an_answer_that_says_it_failed_is_a_failure() -> None:
    assembler, found = read(chunk({"content": "hi"}), chunk({}, "error"), Sse(b"[DONE]"))
    assert assembler.fault is not None
    assert isinstance(found[-1], Failed)
    whole = json.loads(json.dumps(WHOLE["chat"]["text"]))
    whole["choices"][0]["finish_reason"] = "error"
    with pytest.raises(UpstreamFault):
        chat.read_reply(whole)
    with pytest.raises(UpstreamFault) as raised:
        responses.read_reply(
            {**WHOLE["responses"]["text"], "status": "failed", "error": {"code": "server_error", "message": "key sk-1 is bad"}}
        )
    assert "sk-1" not in raised.value.detail + raised.value.message


def test_reasoning_is_read_under_every_name_and_only_once() -> None:
    for delta in (
        {"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm", "index": 0}]},
        {"reasoning_content": "hm", "reasoning": "hm"},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]},
    ):
        assembler, _ = read(chunk(delta), chunk({"content": "yes"}), chunk({}, "stop"))
        assert assembler.reply.parts == (Reasoning("hm"), Text("yes"))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_error_in_the_stream_is_the_last_of_it_in_the_clients_words(dialect: str) -> None:
    source = messages.Reader()
    start = sse("messages", STREAMS["messages"]["text"][:4])
    overloaded = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
    found = [event for one in Parser(1 << 20).feed(start + overloaded) for event in source.feed(one)] + source.end()
    sent = Parser(1 << 20).feed(write(dialect, [*found, Finished("end")]))
    last = json.loads(sent[-1].data)
    assert last["error"]["message"] == "Overloaded"
    assert last["error"]["type"] == ("overloaded_error" if dialect == "messages" else "server_error")
    assert b"[DONE]" not in [event.data for event in sent]
    if dialect == "responses":
        assert [json.loads(event.data)["type"] for event in sent[-2:]] == ["response.failed", "error"]


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(deadline=None, max_examples=150)
@given(
    data=st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-3, 3)
        | st.sampled_from(["", "x", "text", "function_call", "message", "thinking", "tool_use", "error"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "type",
                        "id",
                        "choices",
                        "delta",
                        "index",
                        "content",
                        "tool_calls",
                        "function",
                        "name",
                        "arguments",
                        "item",
                        "output_index",
                        "content_block",
                        "message",
                        "usage",
                        "input_tokens",
                        "response",
                        "part",
                        "text",
                        "error",
                        "finish_reason",
                        "summary",
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=12,
    ),
    kind=st.sampled_from(
        [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "response.created",
            "response.output_item.added",
            "response.output_item.done",
            "response.output_text.delta",
            "response.completed",
            "error",
            "",
        ]
    ),
)
def test_nothing_a_provider_sends_is_more_than_a_failure(dialect: str, data: Any, kind: str) -> None:
    source = reader(dialect)
    if isinstance(data, dict) and kind:
        data = {**data, "type": kind}
    found = source.feed(Sse(orjson.dumps(data), kind or "message")) + source.end()
    assert isinstance(found[-1], Failed | Finished)
    _in_order([event for event in found if not isinstance(event, Failed)]) if isinstance(found[-1], Finished) else None
