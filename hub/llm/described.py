"""What the model edge says of itself: one operation for each endpoint, held against what it answers by a test (tests/openapi/).

Requests and answers belong to whoever defined the dialect, and are described by reference: as open objects with what the hub reads.
"""

from typing import Any, Literal

from msgspec import Struct

from hub.llm import bodies, described_usage
from hub.llm.endpoints import ENDPOINTS, Kind
from hub.llm.shown_errors import ANTHROPIC, EITHER, OPENAI
from hub.openapi.operation import Answer, Body, Operation, Parameter

_VERSION = Parameter("anthropic-version", "header", "The version of Anthropic's API that is spoken; it goes on.", example="2023-06-01")
_BETA = Parameter("anthropic-beta", "header", "Anthropic's betas; they go on to the provider.")
_BY_BETA = Parameter(
    "beta", "query", "`true`, as Anthropic's SDKs say where their `beta` is asked; goes on to providers of the same dialect."
)
_IDEMPOTENCY = Parameter("idempotency-key", "header", "Goes on to the provider as a digest of it and of the caller.")
_SESSION = Parameter("x-session-id", "header", "What the client calls the conversation; for spans.")
_TRACE = Parameter("traceparent", "header", "W3C trace context: spans of the hub continue it, and the provider gets it.")
_COMMON = (_IDEMPOTENCY, _SESSION, _TRACE)
_OPEN: dict[str, Any] = {"type": "object", "additionalProperties": True}

_CHAT = 'from openai import OpenAI\n\nclient = OpenAI(base_url=HUB + "/v1", api_key=KEY)\n'
_CLAUDE = "from anthropic import Anthropic\n\nclient = Anthropic(base_url=HUB, api_key=KEY)\n"
_SAY: list[Any] = [{"role": "user", "content": "Say hello."}]


class _Told(Struct, frozen=True):
    """What there is to say of one kind of model call."""

    summary: str
    description: str
    request: type[Struct]
    example: dict[str, Any]
    reference: str
    python: str
    streams: bool = False
    answer: type[Struct] | None = None


_OPENAI_REFERENCE = "https://platform.openai.com/docs/api-reference/"
_ANTHROPIC_REFERENCE = "https://docs.anthropic.com/en/api/"
_TRANSLATED = "Any provider answers it: in its own dialect byte for byte, else in translation."

_TOLD: dict[Kind, _Told] = {
    "chat": _Told(
        "Chat completion",
        _TRANSLATED,
        bodies.ChatRequest,
        {"model": "fast", "messages": _SAY},
        f"{_OPENAI_REFERENCE}chat/create",
        _CHAT + 'answer = client.chat.completions.create(model="fast", messages=[{"role": "user", "content": "Say hello."}])',
        streams=True,
    ),
    "responses": _Told(
        "Response",
        _TRANSLATED,
        bodies.ResponsesRequest,
        {"model": "fast", "input": "Say hello."},
        f"{_OPENAI_REFERENCE}responses/create",
        _CHAT + 'answer = client.responses.create(model="fast", input="Say hello.")',
        streams=True,
    ),
    "completions": _Told(
        "Completion of a text",
        "By providers of the wire `openai`.",
        bodies.CompletionRequest,
        {"model": "fast", "prompt": "Once upon a time", "max_tokens": 32},
        f"{_OPENAI_REFERENCE}completions/create",
        _CHAT + 'answer = client.completions.create(model="fast", prompt="Once upon a time", max_tokens=32)',
        streams=True,
    ),
    "embeddings": _Told(
        "Embeddings",
        "By providers of the wire `openai`.",
        bodies.EmbeddingsRequest,
        {"model": "embed", "input": ["first text", "second text"]},
        f"{_OPENAI_REFERENCE}embeddings/create",
        _CHAT + 'answer = client.embeddings.create(model="embed", input=["first text", "second text"])',
    ),
    "moderations": _Told(
        "Moderation",
        "By providers of the wire `openai`.",
        bodies.ModerationRequest,
        {"model": "guard", "input": "Is this all right?"},
        f"{_OPENAI_REFERENCE}moderations/create",
        _CHAT + 'answer = client.moderations.create(model="guard", input="Is this all right?")',
    ),
    "messages": _Told(
        "Message",
        _TRANSLATED,
        bodies.MessagesRequest,
        {"model": "fast", "max_tokens": 256, "messages": _SAY},
        f"{_ANTHROPIC_REFERENCE}messages",
        _CLAUDE + 'answer = client.messages.create(model="fast", max_tokens=256, messages=[{"role": "user", "content": "Say hello."}])',
        streams=True,
    ),
    "count_tokens": _Told(
        "How many tokens a message has",
        "By providers of the wire `anthropic`.",
        bodies.CountRequest,
        {"model": "fast", "messages": _SAY},
        f"{_ANTHROPIC_REFERENCE}messages-count-tokens",
        _CLAUDE + 'answer = client.messages.count_tokens(model="fast", messages=[{"role": "user", "content": "Say hello."}])',
        answer=bodies.InputTokens,
    ),
}


def _asked(path: str) -> Operation:
    """The operation of one endpoint. Raises `KeyError` for a kind of call that nobody describes."""
    endpoint = ENDPOINTS[path]
    told = _TOLD[endpoint.kind]
    anthropic = endpoint.dialect == "messages"
    media: dict[str, Any] = {"application/json": told.answer or _OPEN} | ({"text/event-stream": str} if told.streams else {})
    headers = ("x-request-id", *(("request-id",) if anthropic else ()), "hub-receipt", "hub-cost-estimate", "x-hub-variant")
    return Operation(
        "POST",
        path,
        f"create_{endpoint.kind}",
        "Anthropic" if anthropic else "OpenAI",
        told.summary,
        (Answer("200", "The model's answer" + (", whole or, with `stream`, as it comes." if told.streams else "."), media, headers),),
        ANTHROPIC if anthropic else OPENAI,
        told.description,
        ((_VERSION, _BETA, _BY_BETA, *_COMMON) if anthropic else _COMMON),
        Body(told.request, told.example),
        reference=told.reference,
        python=told.python,
    )


_LISTED = "Only what the key may use. In Anthropic's form where the request names an `anthropic-version`."
_SEEN = ("x-request-id", "request-id", "hub-receipt")

_Method = Literal["GET", "POST", "DELETE"]
_RESPONSE = Parameter("response", "path", "The id of a response that the same subject had made.", example="resp_1")
_STORED = "Only for the subject that had it made; its provider answers, in its own words. What is another's is as if it were not there."
_LISTS = (
    Parameter("limit", "query", "Goes on to the provider."),
    Parameter("order", "query", "Goes on to the provider."),
    Parameter("after", "query", "Goes on to the provider."),
)


def _stored(method: _Method, rest: str, name: str, summary: str, *more: Parameter, streams: bool = False) -> Operation:
    """One thing to do with a response that a provider keeps."""
    media: dict[str, Any] = {"application/json": _OPEN} | ({"text/event-stream": str} if streams else {})
    return Operation(
        method,
        f"/v1/responses/{{response}}{rest}",
        f"{name}_response",
        "OpenAI",
        summary,
        (Answer("200", "The provider's answer as it came.", media, ("x-request-id", "hub-receipt")),),
        OPENAI,
        _STORED,
        (_RESPONSE, *more, _SESSION, _TRACE),
        reference=f"{_OPENAI_REFERENCE}responses",
    )


OPERATIONS: tuple[Operation, ...] = (
    *map(_asked, ENDPOINTS),
    _stored(
        "GET",
        "",
        "get",
        "A stored response",
        Parameter("stream", "query", "Whether it is told as a stream once more.", {"enum": ["true", "false"]}),
        streams=True,
    ),
    _stored("DELETE", "", "delete", "Delete a stored response"),
    _stored("POST", "/cancel", "cancel", "Cancel a response made in the background"),
    _stored("GET", "/input_items", "list_input_items_of", "What a stored response was made from", *_LISTS),
    *described_usage.OPERATIONS,
    Operation(
        "GET",
        "/v1/models",
        "list_models",
        "Models",
        "List models",
        (Answer("200", "The models there are for the key.", {"application/json": (bodies.OpenAIModels, bodies.AnthropicModels)}, _SEEN),),
        EITHER,
        _LISTED,
        (_VERSION,),
        python=_CHAT + "models = client.models.list()",
    ),
    Operation(
        "GET",
        "/v1/models/{model}",
        "get_model",
        "Models",
        "One model",
        (Answer("200", "It is there for the key.", {"application/json": (bodies.OpenAIModel, bodies.AnthropicModel)}, _SEEN),),
        EITHER,
        f"{_LISTED} One that is not there, and one that is another's, look the same.",
        (Parameter("model", "path", "Its name; that of a deployment may hold a slash.", example="fast"), _VERSION),
        python=_CHAT + 'model = client.models.retrieve("fast")',
    ),
)
