"""Requests: what is read is written again with its meaning, what cannot be carried is refused with its place, what only hints is named."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hub.llm import chat, messages, responses, toolnames
from hub.llm.assemble import events
from hub.llm.body import arguments, dump, load
from hub.llm.canonical import (
    Choice,
    Image,
    Output,
    Part,
    PartStarted,
    Reasoning,
    Reply,
    Request,
    Sampling,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from hub.llm.quirks import OPENAI, PROVIDERS, claude, quirks_of
from hub.llm.seals import MARK, foreign, purged
from hub.refusal import InvalidRequest, ParseFailed
from tests.llm.cases import CHAT, MESSAGES, PERSON, RESPONSES, SIGNATURE
from tests.llm.matrix import ROOM

USER = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("front", "body", "param"),
    [
        ("chat", {"n": 2}, "n"),
        ("chat", {"logprobs": True}, "logprobs"),
        ("chat", {"modalities": ["text", "audio"]}, "modalities"),
        ("chat", {"functions": [{"name": "f"}]}, "functions"),
        ("chat", {"web_search_options": {}}, "web_search_options"),
        ("chat", {"messages": []}, "messages"),
        ("chat", {"messages": [{"role": "user"}]}, "messages[0].content"),
        ("chat", {"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ("chat", {"messages": [*USER, "x"]}, "messages[1]"),
        ("chat", {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0].type"),
        (
            "chat",
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
            "messages[0].content[0].file.file_id",
        ),
        (
            "chat",
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:oops"}}]}]},
            "messages[0].content[0].image_url.url",
        ),
        ("chat", {"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ("chat", {"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "tools[0].type"),
        ("chat", {"tool_choice": {"type": "allowed_tools"}}, "tool_choice.type"),
        ("chat", {"tool_choice": "sometimes"}, "tool_choice"),
        ("chat", {"response_format": {"type": "grammar"}}, "response_format.type"),
        ("chat", {"temperature": "hot"}, "temperature"),
        ("chat", {"max_tokens": 1.5}, "max_tokens"),
        ("chat", {"model": None}, "model"),
        ("responses", {"previous_response_id": "resp_1"}, "previous_response_id"),
        ("responses", {"conversation": "conv_1"}, "conversation"),
        ("responses", {"prompt": {"id": "p"}}, "prompt"),
        ("responses", {"background": True}, "background"),
        ("responses", {"input": None}, "input"),
        ("responses", {"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type"),
        ("responses", {"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ("responses", {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, "input[0].content[0].file_id"),
        ("messages", {"max_tokens": None}, "max_tokens"),
        ("messages", {"messages": []}, "messages"),
        ("messages", {"container": "c"}, "container"),
        ("messages", {"mcp_servers": [{"url": "x"}]}, "mcp_servers"),
        ("messages", {"inference_geo": "eu"}, "inference_geo"),
        ("messages", {"thread": {"type": "continue", "previous_message_id": "msg_1"}}, "thread"),
        ("messages", {"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type"),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "search_result"}]}]}, "messages[0].content[0].type"),
        (
            "messages",
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}]},
            "messages[0].content[0].source.type",
        ),
    ],
)
def test_what_cannot_be_carried_is_refused_with_its_place(front: str, body: dict[str, Any], param: str) -> None:
    whole: dict[str, Any] = {
        "chat": {"model": "m", "messages": USER},
        "responses": {"model": "m", "input": "hi"},
        "messages": {"model": "m", "max_tokens": 9, "messages": USER},
    }[front]
    with pytest.raises(InvalidRequest) as raised:
        ROOM[front].read_request({**whole, **body})
    assert raised.value.data == {"param": param}
    assert param in raised.value.message


@pytest.mark.parametrize(
    ("back", "request_of", "param"),
    [
        ("responses", {"stop": ("x",)}, "stop"),
        ("chat", {"stop": tuple("abcde")}, "stop"),
        ("messages", {"output": Output("object")}, "response_format"),
        ("messages", {"turns": (Turn("system", (Text("x"),)),)}, "messages"),
        ("chat", {"turns": (Turn("system", (Image(url="x"),)),)}, "messages"),
        ("responses", {"turns": (Turn("assistant", (Image(url="x"),)),)}, "messages"),
    ],
)
def test_what_a_provider_cannot_be_told_is_refused(back: str, request_of: dict[str, Any], param: str) -> None:
    request = replace(Request("m", (Turn("user", (Text("hi"),)),)), **request_of)
    with pytest.raises(InvalidRequest) as raised:
        ROOM[back].write_request(request, "m")
    assert raised.value.data == {"param": param}


def test_unknown_members_and_hints_are_named_never_lost_in_silence() -> None:
    body = {
        **CHAT["text"],
        "logit_bias": {"1": 2},
        "brand_new": True,
        "nothing": None,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {}}], "name": "ann"} for _ in range(3)],
    }
    assert chat.read_request(body).dropped == ("messages[].content[].cache_control", "messages[].name", "logit_bias", "brand_new")
    assert messages.write_request(chat.read_request(body), "claude").dropped[-1] == "brand_new"


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)
calls = st.builds(ToolCall, st.from_regex(r"call_[a-z]{3}", fullmatch=True), st.just("f"), st.sampled_from(['{"a":1}', '{"a":"ü"}', "{}"]))
results = st.builds(ToolResult, st.from_regex(r"call_[a-z]{3}", fullmatch=True), texts.map(lambda text: (Text(text),)))
images = st.sampled_from([Image(url="https://e.org/a.png"), Image(media_type="image/png", data="AAAA")])
users = st.builds(
    lambda first, rest: Turn("user", (*first, *rest)),
    st.lists(results, max_size=2),
    st.lists(texts.map(Text) | images, min_size=1, max_size=2),
)
assistants = st.builds(lambda text, many: Turn("assistant", (Text(text), *many)), texts, st.lists(calls, max_size=2))
requests = st.builds(
    Request,
    model=st.just("m"),
    turns=st.lists(st.tuples(users, assistants), min_size=1, max_size=3).map(
        lambda pairs: tuple(turn for pair in pairs for turn in pair)[:-1]
    ),
    tools=st.sampled_from([(), (Tool("f", "does", PERSON, True), Tool("g", "", {"type": "object", "properties": {}}))]),
    choice=st.sampled_from([None, Choice("auto"), Choice("required"), Choice("named", "f"), Choice("none")]),
    output=st.sampled_from([Output(), Output("schema", "output", "", PERSON, True)]),
    sampling=st.builds(Sampling, temperature=st.sampled_from([None, 0, 0.5, 1])),
    max_output=st.integers(1, 9999),
    thinking=st.sampled_from([Thinking(), Thinking(True, "high")]),
    user=st.sampled_from(["", "u"]),
    stream=st.booleans(),
)


@pytest.mark.parametrize("dialect", ["chat", "responses", "messages"])
@settings(deadline=None, max_examples=100)
@given(request_=requests)
def test_what_is_written_is_read_again_with_its_meaning(dialect: str, request_: Request) -> None:
    written = ROOM[dialect].write_request(request_, "m", claude("claude-opus-4-7") if dialect == "messages" else OPENAI)
    again = ROOM[dialect].read_request(json.loads(dump(written.body)))
    assert _spoken(again) == _spoken(request_)
    assert again.model == "m"
    for name in ("max_output", "user", "stream", "output"):
        assert getattr(again, name) == getattr(request_, name), name
    assert [tool.name for tool in again.tools] == [tool.name for tool in request_.tools]
    assert [tool.schema for tool in again.tools] == [tool.schema for tool in request_.tools]
    if request_.tools or dialect != "messages":
        assert again.choice == request_.choice
    if request_.sampling.temperature != again.sampling.temperature:
        assert "temperature" in written.dropped
    if not again.thinking.effort:
        assert not request_.thinking.effort or "reasoning" in written.dropped


def _spoken(request: Request) -> list[tuple[str, tuple[Part, ...]]]:
    """What was said by whom: turns of one side in a row count as one, tool results first."""
    found: list[tuple[str, list[Part]]] = []
    for turn in request.turns:
        parts = [replace(part, detail="") if isinstance(part, Image) else part for part in turn.parts]
        parts = [replace(part, arguments=part.arguments.replace("{}", "")) if isinstance(part, ToolCall) else part for part in parts]
        if found and found[-1][0] == turn.role:
            found[-1][1].extend(parts)
        else:
            found.append((turn.role, parts))
    return [(role, tuple(parts)) for role, parts in found]


def test_reasoning_goes_home_and_nowhere_else() -> None:
    """A thought of Anthropic's travels through both of OpenAI's dialects and back, and is never given to OpenAI."""
    thought = Reasoning("hm", SIGNATURE, "anthropic")
    hidden = Reasoning("", "c2VjcmV0", "anthropic", hidden=True)
    reply = Reply("x", "m", (thought, hidden, ToolCall("call_1", "f", "{}")), "tool")
    asked = Request("m", (Turn("user", (Text("hi"),)),))
    message = chat.write_reply(reply)["choices"][0]["message"]
    told = [{"role": "user", "content": "hi"}, message, {"role": "tool", "tool_call_id": "call_1", "content": "1"}]
    by_chat = chat.read_request({"model": "m", "messages": told})
    output = responses.write_reply(reply, asked)["output"]
    by_responses = responses.read_request(
        {"model": "m", "input": [*USER, *output, {"type": "function_call_output", "call_id": "call_1", "output": "1"}]}
    )
    for request in (by_chat, by_responses):
        thinking = replace(request, thinking=Thinking(True, budget=2000), max_output=9000)
        body = messages.write_request(thinking, "claude-sonnet-4-5").body
        assert body["messages"][1]["content"][:2] == [
            {"type": "thinking", "thinking": "hm", "signature": SIGNATURE},
            {"type": "redacted_thinking", "data": "c2VjcmV0"},
        ]
        assert body["thinking"] == {"type": "enabled", "budget_tokens": 2000}
        for back in (chat, responses):
            written = back.write_request(request, "gpt-5")
            assert SIGNATURE not in json.dumps(written.body)
            assert MARK not in json.dumps(written.body)
            assert "reasoning" in written.dropped
    assert foreign(json.dumps(told).encode())
    assert not foreign(json.dumps(MESSAGES["reasoning"]).encode())


def test_reasoning_of_openais_goes_home_through_messages() -> None:
    request = responses.read_request(RESPONSES["reasoning"])
    (thought,) = [part for turn in request.turns for part in turn.parts if isinstance(part, Reasoning)]
    content = messages.write_reply(Reply("x", "m", (thought, Text("No."))))["content"]
    body = {"model": "m", "max_tokens": 9, "messages": [*USER, {"role": "assistant", "content": content}, *USER]}
    again = messages.read_request(body)
    assert responses.write_request(again, "gpt-5").body["input"][1] == RESPONSES["reasoning"]["input"][1]
    assert "reasoning" in messages.write_request(again, "claude-sonnet-4-5").dropped


def test_what_is_passed_through_holds_no_reasoning_its_provider_did_not_make() -> None:
    """A conversation that OpenAI answered so far goes on at Anthropic in Anthropic's own dialect, and the other way round."""
    thought = Reasoning("hm", "c2VhbA==", "openai", id="rs_1")
    content = messages.write_reply(Reply("x", "m", (thought, ToolCall("call_1", "f", "{}")), "tool"))["content"]
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "1"}]}
    body: dict[str, Any] = {
        "model": "m",
        "max_tokens": 9000,
        "thinking": {"type": "enabled", "budget_tokens": 2000},
        "messages": [*USER, {"role": "assistant", "content": content}, result],
        "unknown": 1.0,
    }
    assert foreign(dump(body))
    kept = purged(body)
    assert kept["messages"] == [*USER, {"role": "assistant", "content": content[1:]}, result]
    assert "thinking" not in kept
    assert (kept["unknown"], body["messages"][1]["content"]) == (1.0, content)
    mine = {"type": "thinking", "thinking": "a", "signature": SIGNATURE}
    own = {**body, "messages": [*USER, {"role": "assistant", "content": [mine, *content]}, result]}
    assert purged(own)["messages"][1]["content"] == [mine, content[1]]
    assert purged(own)["thinking"] == body["thinking"]

    thought = Reasoning("hm", SIGNATURE, "anthropic")
    output = responses.write_reply(Reply("x", "m", (thought, Text("hi"))), Request("m", ()))["output"]
    assert purged({"model": "m", "input": [*USER, *output, *USER]})["input"] == [*USER, output[1], *USER]
    message = chat.write_reply(Reply("x", "m", (thought, Text("hi"))))["choices"][0]["message"]
    assert foreign(dump(message))
    assert purged({"model": "m", "messages": [message]})["messages"] == [{"role": "assistant", "content": "hi", "refusal": None}]


def test_a_model_amid_tools_whose_thoughts_are_gone_is_not_made_to_think() -> None:
    request = replace(chat.read_request(CHAT["tools"]), thinking=Thinking(True, "high"), max_output=9000)
    assert "thinking" not in messages.write_request(request, "claude-sonnet-4-5").body
    assert messages.write_request(request, "claude-opus-4-7").body["thinking"] == {"type": "adaptive"}


def test_each_version_of_anthropics_api_gets_what_it_takes() -> None:
    request = replace(chat.read_request(CHAT["text"]), sampling=Sampling(0.2, 0.9, 40))
    old = messages.write_request(request, "claude-sonnet-4-5", claude("claude-sonnet-4-5"))
    assert (old.body["temperature"], old.body["top_k"], "top_p" in old.body) == (0.2, 40, False)
    new = messages.write_request(request, "claude-sonnet-4-5", claude("claude-sonnet-4-5", "2026-10-21"))
    assert not {"temperature", "top_p", "top_k"} & set(new.body)
    assert new.dropped == ("temperature", "top_p", "top_k")
    assert claude("m", "2027-01-01").sampling is False
    assert [claude(model).thinking for model in ("claude-3-7-sonnet-latest", "claude-opus-4-1", "claude-opus-4-6", "claude-sonnet-5")] == [
        "budget",
        "budget",
        "adaptive",
        "adaptive",
    ]


@pytest.mark.parametrize("name", [*PROVIDERS, "somebody-elses"])
def test_no_provider_is_told_what_it_does_not_know(name: str) -> None:
    quirks = quirks_of(name)
    request = replace(
        chat.read_request(
            {**CHAT["parallel"], "tool_choice": "auto", "seed": 3, "user": "u", "service_tier": "flex", "reasoning_effort": "low"}
        ),
        max_output=9,
        stream=True,
        turns=(Turn("developer", (Text("d"),)), *chat.read_request(CHAT["parallel"]).turns),
    )
    body = chat.write_request(request, "m", quirks).body
    assert body[quirks.max_tokens] == 9
    assert body["messages"][0]["role"] == ("developer" if quirks.developer else "system")
    for member, known in {
        "stream_options": quirks.stream_options,
        "parallel_tool_calls": quirks.parallel_tool_calls,
        "seed": quirks.seed == "seed",
        "random_seed": quirks.seed == "random_seed",
        "user": quirks.user,
        "service_tier": quirks.shared,
        "reasoning_effort": quirks.reasoning_effort,
    }.items():
        assert (member in body) == known, member
    assert ("strict" in body["tools"][0]["function"]) == quirks.strict
    ids = [call["id"] for call in body["messages"][2]["tool_calls"]]
    assert ids == [message["tool_call_id"] for message in body["messages"][3:5]]
    assert all(len(one) == 9 and one.isalnum() for one in ids) == quirks.nine_digit_ids


def test_a_long_name_of_a_tool_fits_and_comes_back_whole() -> None:
    name, other = "mcp__" + "a" * 80, "mcp__" + "a" * 79 + "b"
    tools = [{"name": one, "input_schema": {"type": "object"}} for one in (name, other, "f")]
    content = [{"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}]
    body = {
        "model": "m",
        "max_tokens": 9,
        "messages": [*USER, {"role": "assistant", "content": content}, *USER],
        "tools": tools,
        "tool_choice": {"type": "tool", "name": other},
    }
    request = messages.read_request(body)
    told, names = toolnames.fitted(request, toolnames.LONGEST["chat"])
    written = chat.write_request(told, "m").body
    said = [tool["function"]["name"] for tool in written["tools"]]
    assert [len(one) for one in said] == [64, 64, 1]
    assert len(set(said)) == 3
    assert written["messages"][1]["tool_calls"][0]["function"]["name"] == said[0]
    assert written["tool_choice"]["function"]["name"] == said[1]
    reply = Reply("x", "m", (Text("a"), ToolCall("c", said[1]), ToolCall("d", "f")))
    assert [part.name for part in toolnames.restored(reply, names).parts if isinstance(part, ToolCall)] == [other, "f"]
    streamed = [toolnames.restored_event(event, names) for event in events(reply)]
    assert [event.part.name for event in streamed if isinstance(event, PartStarted) and isinstance(event.part, ToolCall)] == [other, "f"]
    assert toolnames.fitted(request, toolnames.LONGEST["messages"]) == (request, {})


def test_a_users_name_that_is_too_long_is_its_digest_everywhere() -> None:
    request = replace(messages.read_request(MESSAGES["text"]), user="u" * 300)
    for back, name in ((chat, "user"), (responses, "user")):
        assert len(back.write_request(request, "m").body[name]) == 64
    assert len(messages.write_request(request, "m").body["metadata"]["user_id"]) == 64


def test_integers_of_any_length_and_odd_arguments_are_kept() -> None:
    raw = b'{"a":123456789012345678901234567890,"b":1.5,"c":"\xc3\xbc"}'
    assert load(raw)["a"] == 123456789012345678901234567890
    assert load(dump(load(raw))) == load(raw)
    assert arguments(raw.decode()) == load(raw)
    assert arguments("") == {}
    assert arguments('{"cut": "o') == {"arguments": '{"cut": "o'}
    assert arguments("[1]") == {"arguments": "[1]"}
    with pytest.raises(InvalidRequest):
        load(b'{"a":{"b":1,"b":2}}')
    with pytest.raises(ParseFailed):
        load(b'{"a":')
