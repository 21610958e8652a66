"""What the hub reads of a body that a provider defines: these members and no others. Everything else goes on as it came. Pure.

For whoever reads the document (`hub.llm.described`); requests are read by `hub.llm.head`, which says the same.
"""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

Model = Annotated[str, Meta(min_length=1, description="A name of `models`, or `provider:model`, or `provider/model`.")]
Streams = Annotated[bool | UnsetType | None, Meta(description="Whether the answer is a stream of server-sent events.")]
Bound = Annotated[int, Meta(ge=0, description="What is written at most: so much of a budget is set aside.")] | UnsetType | None
Tags = Annotated[dict[str, Any] | UnsetType | None, Meta(description="Up to 16 texts of it go with the call into the usage ledger.")]
User = Annotated[str | UnsetType | None, Meta(description="Whom the call is made for, in your words.")]
Tier = Annotated[str | UnsetType | None, Meta(description="A class of service, which has its own price.")]
Tools = list[dict[str, Any]] | UnsetType | None


class StreamOptions(Struct):
    """How a stream of chat is written."""

    include_usage: Annotated[bool | UnsetType | None, Meta(description="Whether a last chunk says what was consumed.")] = UNSET


class ChatRequest(Struct):
    """A chat completion, as OpenAI defines it."""

    model: Model
    messages: Annotated[list[Any], Meta(min_length=1)]
    stream: Streams = UNSET
    stream_options: StreamOptions | UnsetType | None = UNSET
    max_completion_tokens: Bound = UNSET
    max_tokens: Bound = UNSET
    n: Annotated[int, Meta(ge=1, description="How many answers; each is paid for.")] | UnsetType | None = UNSET
    tools: Tools = UNSET
    user: User = UNSET
    safety_identifier: User = UNSET
    metadata: Tags = UNSET
    service_tier: Tier = UNSET


class ResponsesRequest(Struct):
    """A response, as OpenAI defines it."""

    model: Model
    input: str | list[Any]
    stream: Streams = UNSET
    max_output_tokens: Bound = UNSET
    tools: Tools = UNSET
    user: User = UNSET
    safety_identifier: User = UNSET
    metadata: Tags = UNSET
    service_tier: Tier = UNSET


class CompletionRequest(Struct):
    """A completion of a text, as OpenAI defines it."""

    model: Model
    prompt: str | list[Any]
    stream: Streams = UNSET
    max_tokens: Bound = UNSET
    n: Annotated[int, Meta(ge=1)] | UnsetType | None = UNSET
    user: User = UNSET


class EmbeddingsRequest(Struct):
    """Embeddings, as OpenAI defines them."""

    model: Model
    input: str | list[Any]
    user: User = UNSET


class ModerationRequest(Struct):
    """A moderation, as OpenAI defines it."""

    model: Model
    input: str | list[Any]


class MessagesMetadata(Struct):
    """Of a request in Anthropic's words."""

    user_id: User = UNSET


class CountRequest(Struct):
    """What is to be counted, as Anthropic defines it."""

    model: Model
    messages: Annotated[list[Any], Meta(min_length=1)]
    system: str | list[Any] | UnsetType | None = UNSET
    tools: Tools = UNSET


class MessagesRequest(CountRequest):
    """A message, as Anthropic defines it."""

    max_tokens: Annotated[int, Meta(ge=0, description="What is written at most.")] | UnsetType = UNSET
    stream: Streams = UNSET
    metadata: MessagesMetadata | UnsetType | None = UNSET
    service_tier: Tier = UNSET


class OpenAIModel(Struct):
    """A model, as OpenAI's SDKs read it. `owned_by` is the organisation it belongs to."""

    id: str
    object: Annotated[str, Meta(pattern="^model$")]
    created: int
    owned_by: str


class OpenAIModels(Struct):
    """The models a key may use, as OpenAI's SDKs read them."""

    object: Annotated[str, Meta(pattern="^list$")]
    data: tuple[OpenAIModel, ...]


class AnthropicModel(Struct):
    """A model, as Anthropic's SDKs read it."""

    type: Annotated[str, Meta(pattern="^model$")]
    id: str
    display_name: str
    created_at: str


class AnthropicModels(Struct):
    """The models a key may use, as Anthropic's SDKs read them: always one page."""

    data: tuple[AnthropicModel, ...]
    has_more: bool
    first_id: str | None
    last_id: str | None


class InputTokens(Struct):
    """How many tokens a model would read."""

    input_tokens: int
