"""What a model is asked and what it answers, in no provider's dialect: frozen values. Knows no wire.

A dialect reads its own JSON into these and writes them into its own JSON; two dialects meet nowhere else. Text is text as sent;
base64 stays base64; JSON Schemas and metadata are plain dicts that nobody changes.
"""

from typing import Any, Literal

from msgspec import Struct

from hub.call import Tokens

Role = Literal["system", "developer", "user", "assistant"]

Stop = Literal["end", "length", "stop_sequence", "tool", "filter", "pause", "context"]
"""Why a model stopped: done; its tokens were used up; a stop sequence; it waits for tools; withheld by a filter or refused by the
model as a whole; a long turn was paused; the context window is full."""

Origin = Literal["", "openai", "anthropic"]
"""Which family made an opaque value, and so may be given it again."""


class Text(Struct, frozen=True):
    text: str


class Image(Struct, frozen=True):
    """Either `url`, or `data` (base64) with its `media_type`. `detail` is OpenAI's hint: auto, low, high."""

    url: str = ""
    media_type: str = ""
    data: str = ""
    detail: str = ""


class Document(Struct, frozen=True):
    """One of `url`, `data` (base64, with `media_type`) and `text`. `name` is a title or a file's name."""

    url: str = ""
    media_type: str = ""
    data: str = ""
    text: str = ""
    name: str = ""


class ToolCall(Struct, frozen=True):
    """`arguments` is the JSON text as the model wrote it, which is not always JSON."""

    id: str
    name: str
    arguments: str = ""


class ToolResult(Struct, frozen=True):
    id: str
    parts: "tuple[Text | Image | Document, ...]" = ()
    is_error: bool = False


class Reasoning(Struct, frozen=True):
    """What a model thought. `seal` is opaque, for `origin` alone: a signature, or with `hidden` the thought itself, encrypted."""

    text: str = ""
    seal: str = ""
    origin: Origin = ""
    hidden: bool = False
    id: str = ""


class Refused(Struct, frozen=True):
    """The model's own words in declining."""

    text: str = ""


Part = Text | Image | Document | ToolCall | ToolResult | Reasoning | Refused


class Turn(Struct, frozen=True):
    """Tool results stand in turns of the user; tool calls, reasoning and refusals in turns of the assistant."""

    role: Role
    parts: tuple[Part, ...] = ()


class Tool(Struct, frozen=True):
    """`schema` is the JSON Schema of its arguments, None where none was given; `strict` None where nobody said."""

    name: str
    description: str = ""
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class Choice(Struct, frozen=True):
    """Which tool the model may take: `named` has the name."""

    kind: Literal["none", "auto", "required", "named"]
    name: str = ""


class Output(Struct, frozen=True):
    """The form of the answer: text, any JSON object, or JSON that fits a schema."""

    kind: Literal["text", "object", "schema"] = "text"
    name: str = ""
    description: str = ""
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class Sampling(Struct, frozen=True):
    """None: the provider's default. Numbers are kept as they were written."""

    temperature: float | int | None = None
    top_p: float | int | None = None
    top_k: int | None = None
    seed: int | None = None
    frequency_penalty: float | int | None = None
    presence_penalty: float | int | None = None


class Thinking(Struct, frozen=True):
    """How much a model should think. `effort`: none, minimal, low, medium, high, xhigh, max. `budget` is in tokens.

    `enabled` is None where nobody said; `summary`: whether the caller wants to read it (auto, concise, detailed, or `omitted`).
    """

    enabled: bool | None = None
    effort: str = ""
    budget: int | None = None
    summary: str = ""


class Request(Struct, frozen=True):
    """What is asked. `shared` holds hints that OpenAI's two dialects have in common, as they came, by their name there.

    `dropped` names members of the request that were hints for its own provider alone, or are unknown, and are not carried.
    """

    model: str
    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...] = ()
    choice: Choice | None = None
    parallel: bool | None = None
    output: Output = Output()
    sampling: Sampling = Sampling()
    stop: tuple[str, ...] = ()
    max_output: int | None = None
    thinking: Thinking = Thinking()
    user: str = ""
    metadata: dict[str, str] | None = None
    shared: dict[str, Any] = {}
    stream: bool = False
    include_usage: bool = False
    dropped: tuple[str, ...] = ()


class Written(Struct, frozen=True):
    """A request in a provider's dialect. `dropped` names what of it was only a hint and has no counterpart there, for the log."""

    body: dict[str, Any]
    dropped: tuple[str, ...] = ()


class Reply(Struct, frozen=True):
    """A whole answer. `created` is in Unix seconds, 0 where nobody said; `usage` None where none was reported."""

    id: str
    model: str
    parts: tuple[Part, ...] = ()
    stop: Stop = "end"
    stop_sequence: str = ""
    usage: Tokens | None = None
    created: int = 0


class Fault(Struct, frozen=True):
    """What a provider complained of. `kind` is the family-neutral class, `status` what it said over HTTP, 0 inside a stream."""

    kind: Literal[
        "invalid",
        "unauthenticated",
        "billing",
        "quota",
        "denied",
        "missing",
        "conflict",
        "too_large",
        "limited",
        "timeout",
        "overloaded",
        "broken",
    ]
    message: str
    status: int = 0
    code: str = ""
    param: str = ""


class Started(Struct, frozen=True):
    """First of a stream, once. `usage` holds what is known of the input by then."""

    id: str
    model: str
    created: int = 0
    usage: Tokens | None = None


class PartStarted(Struct, frozen=True):
    """Indices count from 0 without gaps; one part is open at a time. `part` holds what is known at once: a call's id and name."""

    index: int
    part: Text | ToolCall | Reasoning | Refused


class Delta(Struct, frozen=True):
    """More of the open part's text: of a tool call its arguments."""

    index: int
    text: str


class Sealed(Struct, frozen=True):
    """The seal of an open reasoning, before it stops."""

    index: int
    seal: str
    origin: Origin
    id: str = ""


class PartStopped(Struct, frozen=True):
    index: int


class Ping(Struct, frozen=True):
    """The provider is alive and has nothing to say."""


class Finished(Struct, frozen=True):
    """Last of a stream that came to its end, once."""

    stop: Stop
    stop_sequence: str = ""
    usage: Tokens | None = None


class Failed(Struct, frozen=True):
    """Last of a stream that did not."""

    fault: Fault


Event = Started | PartStarted | Delta | Sealed | PartStopped | Ping | Finished | Failed
