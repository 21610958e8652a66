"""What providers answer in the matrix, by dialect and case: the whole reply, and the stream as the objects of its events.

Written by hand after the APIs' references and recordings, never with the code under test.
"""

from typing import Any

import orjson

from tests.llm.cases import ENCRYPTED, SIGNATURE

Whole = dict[str, Any]
CASES = ("text", "tools", "parallel", "reasoning", "schema", "refusal", "length", "filter", "usage")


def _chat(message: Whole, finish: str, usage: Whole | None = None) -> Whole:
    return {
        "id": "chatcmpl-C1",
        "object": "chat.completion",
        "created": 1763000000,
        "model": "gpt-5-mini-2025-08-07",
        "choices": [{"index": 0, "message": {"role": "assistant", "refusal": None, **message}, "logprobs": None, "finish_reason": finish}],
        "usage": usage or {"prompt_tokens": 20, "completion_tokens": 8, "total_tokens": 28},
        "service_tier": "default",
        "system_fingerprint": None,
    }


_CALL_A = {"id": "call_a1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Bern","days":1}'}}
_CALL_B = {"id": "call_b2", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Rome","days":2}'}}
_CHAT_USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": 300,
    "total_tokens": 1500,
    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 192, "audio_tokens": 0, "accepted_prediction_tokens": 0},
}

CHAT: dict[str, Whole] = {
    "text": _chat({"content": "Hello, wörld."}, "stop"),
    "tools": _chat({"content": "Let me look.", "tool_calls": [_CALL_A]}, "tool_calls"),
    "parallel": _chat({"content": None, "tool_calls": [_CALL_A, _CALL_B]}, "tool_calls"),
    "reasoning": _chat({"content": "No.", "reasoning_content": "7 times 13."}, "stop"),
    "schema": _chat({"content": '{"name":"Ada","age":36}'}, "stop"),
    "refusal": _chat({"content": None, "refusal": "I cannot help with that."}, "stop"),
    "length": _chat({"content": "One, two"}, "length"),
    "filter": _chat({"content": "One"}, "content_filter"),
    "usage": _chat({"content": "Yes."}, "stop", _CHAT_USAGE),
}


def _chunks(deltas: list[Whole], finish: str, usage: Whole | None = None) -> list[Whole | str]:
    head = {"id": "chatcmpl-C1", "object": "chat.completion.chunk", "created": 1763000000, "model": "gpt-5-mini-2025-08-07"}
    found: list[Whole | str] = [
        {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}], "usage": None} for delta in deltas
    ]
    found.append({**head, "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": finish}], "usage": None})
    found.append({**head, "choices": [], "usage": usage or {"prompt_tokens": 20, "completion_tokens": 8, "total_tokens": 28}})
    return [*found, "[DONE]"]


def _fragment(index: int, **members: Any) -> Whole:
    return {"tool_calls": [{"index": index, **members}]}


_ROLE: Whole = {"role": "assistant", "content": "", "refusal": None}
CHAT_STREAMS: dict[str, list[Whole | str]] = {
    "text": _chunks([_ROLE, {"content": "Hello, "}, {"content": "wörld."}], "stop"),
    "tools": _chunks(
        [
            _ROLE,
            {"content": "Let me look."},
            _fragment(0, id="call_a1", type="function", function={"name": "get_weather", "arguments": ""}),
            _fragment(0, function={"arguments": '{"city":'}),
            _fragment(0, function={"arguments": '"Bern","days":1}'}),
        ],
        "tool_calls",
    ),
    "parallel": _chunks(
        [
            {
                "role": "assistant",
                "content": None,
                **_fragment(0, id="call_a1", type="function", function={"name": "get_weather", "arguments": ""}),
            },
            _fragment(0, function={"arguments": '{"city":"Bern","days":1}'}),
            _fragment(1, id="call_b2", type="function", function={"name": "get_weather", "arguments": ""}),
            _fragment(1, function={"arguments": '{"city":"Rome",'}),
            _fragment(1, function={"arguments": '"days":2}'}),
        ],
        "tool_calls",
    ),
    "reasoning": _chunks(
        [{"role": "assistant", "content": None, "reasoning_content": "7 times"}, {"reasoning_content": " 13."}, {"content": "No."}], "stop"
    ),
    "schema": _chunks([_ROLE, {"content": '{"name":"Ada",'}, {"content": '"age":36}'}], "stop"),
    "refusal": _chunks([_ROLE, {"refusal": "I cannot "}, {"refusal": "help with that."}], "stop"),
    "length": _chunks([_ROLE, {"content": "One, two"}], "length"),
    "filter": _chunks([_ROLE, {"content": "One"}], "content_filter"),
    "usage": _chunks([_ROLE, {"content": "Yes."}], "stop", _CHAT_USAGE),
}


def _messages(content: list[Whole], reason: str, usage: Whole | None = None, **more: Any) -> Whole:
    return {
        "id": "msg_01M1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": usage or {"input_tokens": 20, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 8},
        **more,
    }


_USE_A = {"type": "tool_use", "id": "toolu_a1", "name": "get_weather", "input": {"city": "Bern", "days": 1}}
_USE_B = {"type": "tool_use", "id": "toolu_b2", "name": "get_weather", "input": {"city": "Rome", "days": 2}}
_MESSAGES_USAGE = {
    "input_tokens": 76,
    "cache_creation_input_tokens": 100,
    "cache_read_input_tokens": 1024,
    "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40},
    "output_tokens": 300,
    "output_tokens_details": {"thinking_tokens": 192},
    "service_tier": "standard",
}
_REFUSED = {"type": "refusal", "category": "general_harms", "explanation": "I cannot help with that."}

MESSAGES: dict[str, Whole] = {
    "text": _messages([{"type": "text", "text": "Hello, wörld."}], "end_turn"),
    "tools": _messages([{"type": "text", "text": "Let me look."}, _USE_A], "tool_use"),
    "parallel": _messages([_USE_A, _USE_B], "tool_use"),
    "reasoning": _messages(
        [
            {"type": "thinking", "thinking": "7 times 13.", "signature": SIGNATURE},
            {"type": "redacted_thinking", "data": "EmwKAhgB=="},
            {"type": "text", "text": "No."},
        ],
        "end_turn",
    ),
    "schema": _messages([{"type": "text", "text": '{"name":"Ada","age":36}'}], "end_turn"),
    "refusal": _messages([], "refusal", stop_details=_REFUSED),
    "length": _messages([{"type": "text", "text": "One, two"}], "max_tokens"),
    "filter": _messages([{"type": "text", "text": "One"}], "refusal"),
    "usage": _messages([{"type": "text", "text": "Yes."}], "end_turn", _MESSAGES_USAGE),
}


def _blocks(blocks: list[tuple[Whole, list[Whole]]], reason: str, usage: Whole | None = None, **delta: Any) -> list[Whole | str]:
    usage = usage or {"input_tokens": 20, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 8}
    first = {**{name: value for name, value in usage.items() if name != "output_tokens_details"}, "output_tokens": 1}
    found: list[Whole | str] = [{"type": "message_start", "message": {**_messages([], "end_turn"), "stop_reason": None, "usage": first}}]
    for index, (start, deltas) in enumerate(blocks):
        found.append({"type": "content_block_start", "index": index, "content_block": start})
        if not index:
            found.append({"type": "ping"})
        found += [{"type": "content_block_delta", "index": index, "delta": one} for one in deltas]
        found.append({"type": "content_block_stop", "index": index})
    last = {name: value for name, value in usage.items() if name not in ("cache_creation", "service_tier")}
    found.append({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None, **delta}, "usage": last})
    return [*found, {"type": "message_stop"}]


def _said(*texts: str) -> tuple[Whole, list[Whole]]:
    return {"type": "text", "text": ""}, [{"type": "text_delta", "text": text} for text in texts]


def _used(block: Whole, *fragments: str) -> tuple[Whole, list[Whole]]:
    return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": text} for text in ("", *fragments)]


MESSAGES_STREAMS: dict[str, list[Whole | str]] = {
    "text": _blocks([_said("Hello, ", "wörld.")], "end_turn"),
    "tools": _blocks([_said("Let me look."), _used(_USE_A, '{"city":', '"Bern","days":1}')], "tool_use"),
    "parallel": _blocks([_used(_USE_A, '{"city":"Bern","days":1}'), _used(_USE_B, '{"city":"Rome",', '"days":2}')], "tool_use"),
    "reasoning": _blocks(
        [
            (
                {"type": "thinking", "thinking": "", "signature": ""},
                [
                    {"type": "thinking_delta", "thinking": "7 times"},
                    {"type": "thinking_delta", "thinking": " 13."},
                    {"type": "signature_delta", "signature": SIGNATURE},
                ],
            ),
            ({"type": "redacted_thinking", "data": "EmwKAhgB=="}, []),
            _said("No."),
        ],
        "end_turn",
    ),
    "schema": _blocks([_said('{"name":"Ada",', '"age":36}')], "end_turn"),
    "refusal": _blocks([], "refusal", stop_details=_REFUSED),
    "length": _blocks([_said("One, two")], "max_tokens"),
    "filter": _blocks([_said("One")], "refusal"),
    "usage": _blocks([_said("Yes.")], "end_turn", _MESSAGES_USAGE),
}


def _responses(output: list[Whole], usage: Whole | None = None, **more: Any) -> Whole:
    return {
        "id": "resp_R1",
        "object": "response",
        "created_at": 1763000000,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "model": "gpt-5-mini-2025-08-07",
        "output": output,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": usage
        or {
            "input_tokens": 20,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 8,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 28,
        },
        "metadata": {},
        **more,
    }


def _message(index: int, text: str = "", refusal: str = "") -> Whole:
    content = (
        {"type": "refusal", "refusal": refusal} if refusal else {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    )
    return {"id": f"msg_{index}", "type": "message", "status": "completed", "role": "assistant", "content": [content]}


def _function(index: int, call_id: str, arguments: str) -> Whole:
    return {
        "id": f"fc_{index}",
        "type": "function_call",
        "status": "completed",
        "call_id": call_id,
        "name": "get_weather",
        "arguments": arguments,
    }


_THOUGHT = {"id": "rs_0", "type": "reasoning", "summary": [{"type": "summary_text", "text": "7 times 13."}], "encrypted_content": ENCRYPTED}
_RESPONSES_USAGE = {
    "input_tokens": 1200,
    "input_tokens_details": {"cached_tokens": 1024, "cache_write_tokens": 0},
    "output_tokens": 300,
    "output_tokens_details": {"reasoning_tokens": 192},
    "total_tokens": 1500,
}
_CUT: Whole = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
_FILTERED: Whole = {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}

RESPONSES: dict[str, Whole] = {
    "text": _responses([_message(0, "Hello, wörld.")]),
    "tools": _responses([_message(0, "Let me look."), _function(1, "call_a1", '{"city":"Bern","days":1}')]),
    "parallel": _responses([_function(0, "call_a1", '{"city":"Bern","days":1}'), _function(1, "call_b2", '{"city":"Rome","days":2}')]),
    "reasoning": _responses([_THOUGHT, _message(1, "No.")]),
    "schema": _responses([_message(0, '{"name":"Ada","age":36}')]),
    "refusal": _responses([_message(0, refusal="I cannot help with that.")]),
    "length": _responses([_message(0, "One, two")], **_CUT),
    "filter": _responses([_message(0, "One")], **_FILTERED),
    "usage": _responses([_message(0, "Yes.")], _RESPONSES_USAGE),
}


def _stream(whole: Whole) -> list[Whole | str]:
    begun = {**whole, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    found: list[Whole] = [{"type": "response.created", "response": begun}, {"type": "response.in_progress", "response": begun}]
    for index, item in enumerate(whole["output"]):
        found += _item(index, item)
    found.append({"type": f"response.{whole['status']}", "response": whole})
    return [{"sequence_number": number, **event} for number, event in enumerate(found)]


def _item(index: int, item: Whole) -> list[Whole]:
    at: Whole = {"item_id": item["id"], "output_index": index}
    if item["type"] == "function_call":
        start = {**item, "arguments": "", "status": "in_progress"}
        deltas = [{"type": "response.function_call_arguments.delta", **at, "delta": text} for text in _halves(item["arguments"])]
        done = [{"type": "response.function_call_arguments.done", **at, "arguments": item["arguments"]}]
    elif item["type"] == "reasoning":
        start, text = {**item, "summary": [], "encrypted_content": ""}, item["summary"][0]["text"]
        at_summary = {**at, "summary_index": 0}
        deltas = [
            {"type": "response.reasoning_summary_part.added", **at_summary, "part": {"type": "summary_text", "text": ""}},
            *({"type": "response.reasoning_summary_text.delta", **at_summary, "delta": half} for half in _halves(text)),
        ]
        done = [
            {"type": "response.reasoning_summary_text.done", **at_summary, "text": text},
            {"type": "response.reasoning_summary_part.done", **at_summary, "part": {"type": "summary_text", "text": text}},
        ]
    else:
        start, content = {**item, "status": "in_progress", "content": []}, item["content"][0]
        kind = "refusal" if content["type"] == "refusal" else "output_text"
        member = "refusal" if kind == "refusal" else "text"
        at = {**at, "content_index": 0}
        deltas = [
            {"type": "response.content_part.added", **at, "part": {**content, member: ""}},
            *({"type": f"response.{kind}.delta", **at, "delta": half} for half in _halves(content[member])),
        ]
        done = [
            {"type": f"response.{kind}.done", **at, member: content[member]},
            {"type": "response.content_part.done", **at, "part": content},
        ]
    return [
        {"type": "response.output_item.added", "output_index": index, "item": start},
        *deltas,
        *done,
        {"type": "response.output_item.done", "output_index": index, "item": item},
    ]


def _halves(text: str) -> list[str]:
    middle = len(text) // 2
    return [text[:middle], text[middle:]]


RESPONSES_STREAMS = {case: _stream(whole) for case, whole in RESPONSES.items()}

WHOLE = {"chat": CHAT, "responses": RESPONSES, "messages": MESSAGES}
STREAMS = {"chat": CHAT_STREAMS, "responses": RESPONSES_STREAMS, "messages": MESSAGES_STREAMS}

ERRORS: dict[str, dict[str, tuple[int, Whole]]] = {
    "openai": {
        "invalid": (
            400,
            {"error": {"message": "Invalid type.", "type": "invalid_request_error", "param": "messages[0]", "code": "invalid_type"}},
        ),
        "limited": (429, {"error": {"message": "Slow down.", "type": "requests", "param": None, "code": "rate_limit_exceeded"}}),
        "quota": (429, {"error": {"message": "No credit.", "type": "insufficient_quota", "param": None, "code": "insufficient_quota"}}),
        "missing": (
            404,
            {"error": {"message": "No such model.", "type": "invalid_request_error", "param": None, "code": "model_not_found"}},
        ),
        "overloaded": (503, {"error": {"message": "Overloaded.", "type": "server_error", "param": None, "code": None}}),
    },
    "anthropic": {
        "invalid": (
            400,
            {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}, "request_id": "req_1"},
        ),
        "limited": (429, {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down."}}),
        "billing": (402, {"type": "error", "error": {"type": "billing_error", "message": "No credit."}}),
        "missing": (404, {"type": "error", "error": {"type": "not_found_error", "message": "No such model."}}),
        "overloaded": (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded."}}),
    },
}


FAILURES: dict[str, Whole | str] = {
    "chat": {"error": {"message": "Overloaded.", "type": "server_error", "param": None, "code": "overloaded"}},
    "responses": {"type": "error", "sequence_number": 7, "code": "server_error", "message": "Overloaded.", "param": None},
    "messages": {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded."}},
}
"""How each provider breaks off a stream in its midst."""


def broken(dialect: str) -> list[Whole | str]:
    """A stream of words that fails after the first of them."""
    begun = STREAMS[dialect]["text"]
    until = next(index for index, event in enumerate(begun) if "Hello" in str(event))
    return [*begun[: until + 1], FAILURES[dialect]]


def sse(dialect: str, events: list[Whole | str]) -> bytes:
    """The bytes a provider sends."""
    found: list[bytes] = []
    for event in events:
        if isinstance(event, str):
            found.append(b"data: " + event.encode() + b"\n\n")
            continue
        name = b"" if dialect == "chat" else b"event: " + str(event["type"]).encode() + b"\n"
        found.append(name + b"data: " + orjson.dumps(event) + b"\n\n")
    return b"".join(found)
