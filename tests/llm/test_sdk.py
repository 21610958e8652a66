"""The official SDKs read what the hub writes: whole replies, streams through their own accumulators, errors as their own exceptions."""

import json
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from pydantic import BaseModel

from hub.llm import errors
from hub.llm.canonical import Failed, Fault, Finished
from hub.refusal import (
    Denied,
    Draining,
    Internal,
    InvalidRequest,
    JournalDown,
    Limited,
    NotFound,
    OutcomeUnrecorded,
    ParseFailed,
    Refusal,
    StoreDown,
    TooLarge,
    Unauthenticated,
    UpstreamDown,
    UpstreamFault,
    UpstreamTimeout,
    WrongHost,
)
from tests.llm.answers import CASES, STREAMS, sse
from tests.llm.matrix import DIALECTS, events, reply, request_of, stream, writer

ASK: dict[str, Any] = {"model": "fast", "messages": [{"role": "user", "content": "hi"}]}
PAIRS = [pytest.param(back, case, id=f"{back}-{case}") for back in DIALECTS for case in CASES]
ARGUMENTS = [{"city": "Bern", "days": 1}, {"city": "Rome", "days": 2}]
TEXTS = {
    "text": "Hello, wörld.",
    "tools": "Let me look.",
    "schema": '{"name":"Ada","age":36}',
    "length": "One, two",
    "filter": "One",
    "usage": "Yes.",
}


class Weather(BaseModel):
    city: str
    days: int


class Person(BaseModel):
    name: str
    age: int


def transport(status: int, headers: dict[str, str], body: bytes, seen: list[httpx2.Request] | None = None) -> httpx2.Client:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if seen is not None:
            seen.append(request)
        return httpx2.Response(status, headers=headers, content=body)

    return httpx2.Client(transport=httpx2.MockTransport(answer))


def of_openai(
    status: int, headers: dict[str, str], body: bytes, seen: list[httpx2.Request] | None = None, retries: int = 0
) -> openai.OpenAI:
    client = transport(status, headers, body, seen)
    return openai.OpenAI(api_key="hub_k", base_url="http://hub/v1", http_client=client, max_retries=retries)


def of_anthropic(
    status: int, headers: dict[str, str], body: bytes, seen: list[httpx2.Request] | None = None, retries: int = 0
) -> anthropic.Anthropic:
    client = transport(status, headers, body, seen)
    return anthropic.Anthropic(api_key="hub_k", base_url="http://hub", http_client=client, max_retries=retries)


JSON = {"content-type": "application/json"}
EVENTS = {"content-type": "text/event-stream"}


@pytest.mark.parametrize(("back", "case"), PAIRS)
def test_a_chat_stream_accumulates_to_the_whole_reply(back: str, case: str) -> None:
    whole = of_openai(200, JSON, json.dumps(reply("chat", back, case)).encode()).chat.completions.create(**ASK)
    state = ChatCompletionStreamState()
    for chunk in of_openai(200, EVENTS, stream("chat", back, case)).chat.completions.create(**ASK, stream=True):
        list(state.handle_chunk(chunk))
    final = state.current_completion_snapshot
    message, expected = final.choices[0].message, whole.choices[0].message
    assert message.content == expected.content == TEXTS.get(case, message.content)
    assert message.refusal == expected.refusal
    assert final.choices[0].finish_reason == whole.choices[0].finish_reason
    assert final.usage == whole.usage
    calls = [json.loads(call.function.arguments) for call in message.tool_calls or []]
    assert calls == [json.loads(call.function.arguments) for call in expected.tool_calls or []] == _arguments(case)
    assert [call.id for call in message.tool_calls or []] == [call.id for call in expected.tool_calls or []]
    assert getattr(message, "reasoning_content", None) == getattr(expected, "reasoning_content", None)


def _arguments(case: str) -> list[dict[str, Any]]:
    return ARGUMENTS[: {"tools": 1, "parallel": 2}.get(case, 0)]


@pytest.mark.parametrize(("back", "case"), PAIRS)
def test_a_responses_stream_accumulates_to_the_whole_reply(back: str, case: str) -> None:
    ask = {"model": "fast", "input": "hi"}
    whole = of_openai(200, JSON, json.dumps(reply("responses", back, case)).encode()).responses.create(**ask)
    with of_openai(200, EVENTS, stream("responses", back, case)).responses.stream(**ask) as source:
        seen = [event.type for event in source]
        ended = next((event for event in seen if event in ("response.completed", "response.incomplete")), None)
    assert ended == f"response.{whole.status}"
    assert whole.output_text == TEXTS.get(case, whole.output_text)
    if ended == "response.completed":
        with of_openai(200, EVENTS, stream("responses", back, case)).responses.stream(**ask) as source:
            final = source.get_final_response()
        assert final.output_text == whole.output_text
        assert final.usage == whole.usage
        calls = [json.loads(item.arguments) for item in final.output if item.type == "function_call"]
        assert calls == [json.loads(item.arguments) for item in whole.output if item.type == "function_call"] == _arguments(case)
        assert [item.id for item in final.output] == [item.id for item in whole.output]


@pytest.mark.parametrize(("back", "case"), PAIRS)
def test_a_messages_stream_accumulates_to_the_whole_reply(back: str, case: str) -> None:
    ask: dict[str, Any] = {**ASK, "max_tokens": 100}
    whole = of_anthropic(200, JSON, json.dumps(reply("messages", back, case)).encode()).messages.create(**ask)
    with of_anthropic(200, EVENTS, stream("messages", back, case)).messages.stream(**ask) as source:
        first = next(event for event in source if event.type == "message_start")
        final = source.get_final_message()
    assert first.message.usage.input_tokens > 0
    assert [block.to_dict() for block in final.content] == [block.to_dict() for block in whole.content]
    assert (final.stop_reason, final.stop_sequence) == (whole.stop_reason, whole.stop_sequence)
    assert "".join(block.text for block in final.content if block.type == "text") == TEXTS.get(case, _text(whole))
    assert [block.input for block in final.content if block.type == "tool_use"] == _arguments(case)
    for name in ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"):
        assert getattr(final.usage, name) == getattr(whole.usage, name)


def _text(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


@pytest.mark.parametrize("back", DIALECTS)
def test_the_parse_helpers_parse(back: str) -> None:
    body = json.dumps(reply("chat", back, "schema")).encode()
    chat = of_openai(200, JSON, body).chat.completions.parse(**ASK, response_format=Person)
    assert chat.choices[0].message.parsed == Person(name="Ada", age=36)
    body = json.dumps(reply("responses", back, "schema")).encode()
    assert of_openai(200, JSON, body).responses.parse(model="fast", input="hi", text_format=Person).output_parsed == Person(
        name="Ada", age=36
    )
    body = json.dumps(reply("messages", back, "schema")).encode()
    parsed = of_anthropic(200, JSON, body).messages.parse(**ASK, max_tokens=9, output_format=Person)
    assert parsed.parsed_output == Person(name="Ada", age=36)
    tool = openai.pydantic_function_tool(Weather, name="get_weather")
    body = stream("chat", back, "parallel")
    with of_openai(200, EVENTS, body).chat.completions.stream(**ASK, tools=[tool]) as source:
        calls = source.get_final_completion().choices[0].message.tool_calls or []
    assert [call.function.parsed_arguments for call in calls] == [Weather.model_validate(one) for one in ARGUMENTS]


@pytest.mark.parametrize("back", DIALECTS)
def test_an_error_in_a_stream_is_raised(back: str) -> None:
    def failing(front: str) -> bytes:
        target: Any = writer(front, request_of("responses", "text"))
        begun = [event for event in events(back, sse(back, STREAMS[back]["text"])) if not isinstance(event, Finished)]
        broken = [*begun, Failed(Fault("overloaded", "too busy"))]
        return b"".join(target.write(event) for event in broken)

    with pytest.raises(openai.APIError, match="too busy"):
        list(of_openai(200, EVENTS, failing("chat")).chat.completions.create(**ASK, stream=True))
    with pytest.raises(openai.APIError, match="too busy"):
        list(of_openai(200, EVENTS, failing("responses")).responses.create(model="fast", input="hi", stream=True))
    with pytest.raises(anthropic.APIError, match="too busy"):
        list(of_anthropic(200, EVENTS, failing("messages")).messages.create(**ASK, max_tokens=9, stream=True))


WHICH: list[tuple[Refusal, type[Exception], type[Exception]]] = [
    (Unauthenticated(), openai.AuthenticationError, anthropic.AuthenticationError),
    (Denied("no"), openai.PermissionDeniedError, anthropic.PermissionDeniedError),
    (WrongHost("no"), openai.PermissionDeniedError, anthropic.PermissionDeniedError),
    (NotFound("no such model", data={"param": "model"}), openai.NotFoundError, anthropic.NotFoundError),
    (InvalidRequest("bad", data={"param": "n"}), openai.BadRequestError, anthropic.BadRequestError),
    (ParseFailed("bad"), openai.BadRequestError, anthropic.BadRequestError),
    (TooLarge("big"), openai.APIStatusError, anthropic.ContentTooLargeError),
    (Limited("slow", retry_after=2.5, data={"limit": "rpm"}), openai.RateLimitError, anthropic.RateLimitError),
    (Limited("spent", retry_after=9000, data={"budget": "team"}), openai.RateLimitError, anthropic.RateLimitError),
    (JournalDown("down"), openai.InternalServerError, anthropic.ServiceUnavailableError),
    (StoreDown("down"), openai.InternalServerError, anthropic.ServiceUnavailableError),
    (Draining("bye", retry_after=1), openai.InternalServerError, anthropic.ServiceUnavailableError),
    (UpstreamDown("away"), openai.InternalServerError, anthropic.InternalServerError),
    (UpstreamFault("odd"), openai.InternalServerError, anthropic.InternalServerError),
    (UpstreamTimeout("late"), openai.InternalServerError, anthropic.GatewayTimeoutError),
    (OutcomeUnrecorded(), openai.InternalServerError, anthropic.ServiceUnavailableError),
    (Internal("oops"), openai.InternalServerError, anthropic.InternalServerError),
]


@pytest.mark.parametrize(("refusal", "theirs", "others"), [pytest.param(*row, id=f"{row[0].code}-{row[0].message[:5]}") for row in WHICH])
def test_each_refusal_is_the_sdks_own_exception(refusal: Refusal, theirs: type[Exception], others: type[Exception]) -> None:
    answer = errors.refused(refusal, "chat", "req-1")
    with pytest.raises(theirs) as raised:
        of_openai(answer.status, {**dict(answer.headers), "x-request-id": "req-1"}, answer.body).chat.completions.create(**ASK)
    assert raised.value.body["message"] == refusal.message
    assert raised.value.body["hub"]["code"] == refusal.code
    assert raised.value.request_id == "req-1"
    assert raised.value.param == refusal.data.get("param")
    answer = errors.refused(refusal, "messages", "req-1")
    with pytest.raises(others) as raised:
        of_anthropic(answer.status, {**dict(answer.headers), "request-id": "req-1"}, answer.body).messages.create(**ASK, max_tokens=9)
    assert raised.value.body["error"]["message"] == refusal.message
    assert raised.value.body["error"]["hub"]["code"] == refusal.code
    assert raised.value.request_id == "req-1"


@pytest.mark.parametrize(
    ("refusal", "tries"),
    [
        (Limited("slow", retry_after=0.01), 3),
        (Limited("spent", retry_after=0.01, data={"budget": "team"}), 1),
        (Limited("long", retry_after=3600), 1),
        (Limited("never"), 1),
        (OutcomeUnrecorded(), 1),
        (InvalidRequest("bad"), 1),
    ],
    ids=lambda value: value.message[:8] if isinstance(value, Refusal) else None,
)
def test_the_sdks_try_again_only_where_that_can_help(refusal: Refusal, tries: int) -> None:
    clients: list[Callable[[list[httpx2.Request]], Any]] = []
    answer = errors.refused(refusal, "chat")
    clients.append(lambda seen: of_openai(answer.status, dict(answer.headers), answer.body, seen, 2).chat.completions.create(**ASK))
    other = errors.refused(refusal, "messages")
    clients.append(lambda seen: of_anthropic(other.status, dict(other.headers), other.body, seen, 2).messages.create(**ASK, max_tokens=9))
    for client in clients:
        seen: list[httpx2.Request] = []
        with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)):
            client(seen)
        assert len(seen) == tries
