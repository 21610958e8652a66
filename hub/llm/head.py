"""What the hub must know of a request it passes through, and the few members it changes, in the raw bytes. Pure.

The top level is taken apart by C. Everything but what is replaced goes on byte for byte: spaces, the order of members, numbers of any
length, members nobody knows. Values are looked into only where this says so.
"""

import re
from typing import Any, Literal, NoReturn

import msgspec
import orjson
from msgspec import Raw, Struct

from hub.llm.quirks import OPENAI, Quirks
from hub.refusal import InvalidRequest, ParseFailed

Kind = Literal["chat", "responses", "messages", "embeddings", "moderations", "completions", "count_tokens"]

Spans = dict[str, tuple[int, int, int]]


class _Options(Struct):
    include_usage: Any = None


class _Known(Struct):
    """The members that are looked into, and those that the model reads, raw."""

    model: str | None = None
    stream: bool | None = None
    n: int | float | None = None
    best_of: int | float | None = None
    max_tokens: int | float | None = None
    max_completion_tokens: int | float | None = None
    max_output_tokens: int | float | None = None
    stream_options: _Options | None = None
    metadata: dict[str, Any] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    messages: Raw = Raw()
    input: Raw = Raw()
    instructions: Raw = Raw()
    system: Raw = Raw()
    tools: Raw = Raw()
    prompt: Raw = Raw()
    response_format: Raw = Raw()
    text: Raw = Raw()
    functions: Raw = Raw()
    prediction: Raw = Raw()
    output_config: Raw = Raw()
    output_format: Raw = Raw()


_PROMPT = ("messages", "input", "instructions", "system", "tools", "prompt", "response_format", "text", "functions")
_RARE = ("prediction", "output_config", "output_format")
"""What the model reads: all of it, and what few requests have."""

_MOST_TOKENS = (1 << 31) - 1
_MOST_ANSWERS = 1024
MOST_OUTPUT = _MOST_TOKENS * _MOST_ANSWERS
"""More than any API takes. What this costs can still be counted in 64 bits, at any price per token that there is."""

_BOUNDS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_MUST_BE = {
    "model": "a string",
    "user": "a string",
    "safety_identifier": "a string",
    "stream": "true or false",
    "stream_options": "an object",
    "metadata": "an object",
}
"""The others: whole numbers."""

_members = msgspec.json.Decoder(dict[str, Raw])
_known = msgspec.json.Decoder(_Known)
_list = msgspec.json.Decoder(list[Raw])
_AT = re.compile(r"`\$\.(\w+)")
_MEMBER = re.compile(rb'[ \t\n\r]*,?[ \t\n\r]*("(?:[^"\\]|\\.)*")[ \t\n\r]*:[ \t\n\r]*')
_CLOSE = re.compile(rb"[ \t\n\r]*\}")
_MEDIA = re.compile(rb'(?:;base64,|"data"\s*:\s*")([A-Za-z0-9+/=_-]{256,})')


class Head(Struct, frozen=True):
    """The top level of one request. Absent members have the API's defaults; `max_tokens` None: no bound was named.

    `prompt_bytes` is the size of what the model reads, without inline media: those are `media` in number and `media_bytes` of base64.
    """

    body: bytes
    spans: Spans
    """For each member: where its key begins, where its value begins and ends."""
    model: str
    stream: bool = False
    max_tokens: int | None = None
    n: int = 1
    best_of: int = 1
    include_usage: bool = False
    user: str = ""
    metadata: dict[str, Any] | None = None
    prompt_bytes: int = 0
    media: int = 0
    media_bytes: int = 0

    def __repr__(self) -> str:
        return f"Head(model={self.model!r}, {len(self.body)} bytes)"

    @property
    def tools(self) -> int:
        """How many."""
        raw = self.value("tools")
        return len(_list.decode(raw)) if raw[:1] == b"[" else 0

    @property
    def texts(self) -> int:
        """How many are to be written: `n`, or `best_of` to choose from, for each prompt. A list of numbers is one prompt, in tokens."""
        raw = self.value("prompt")
        prompts = _list.decode(raw) if raw[:1] == b"[" else []
        many = len(prompts) if prompts and bytes(prompts[0])[:1] in (b'"', b"[") else 1
        return many * max(self.n, self.best_of)

    def value(self, name: str) -> bytes:
        """The raw JSON of a member; empty where it is absent."""
        span = self.spans.get(name)
        return self.body[span[1] : span[2]] if span else b""


def read(body: bytes, kind: Kind = "chat") -> Head:
    """Raises `ParseFailed` for what is not JSON in UTF-8, `InvalidRequest` for what is no object, has a top-level key twice or no model."""
    spans = _top(body)
    try:
        known = _known.decode(body)
    except msgspec.ValidationError as error:
        name = found[1] if (found := _AT.search(str(error))) else ""
        raise InvalidRequest(f"{name} must be {_MUST_BE.get(name, 'a whole number')}", data={"param": name}) from None
    except msgspec.DecodeError as error:
        raise ParseFailed(f"the body is not JSON: {error}") from None
    if not known.model:
        raise InvalidRequest("you must provide a model", data={"param": "model"})
    metadata, user = known.metadata, known.user or known.safety_identifier or ""
    if metadata and kind in ("messages", "count_tokens") and isinstance(metadata.get("user_id"), str):
        user = metadata["user_id"]
    options = known.stream_options
    size, media, media_bytes = _sizes(known, body)
    return Head(
        body,
        spans,
        known.model,
        stream=known.stream or False,
        max_tokens=_bound(known),
        n=1 if known.n is None else _whole("n", known.n, _MOST_ANSWERS) or 1,
        best_of=1 if known.best_of is None else _whole("best_of", known.best_of, _MOST_ANSWERS),
        include_usage=options is not None and options.include_usage is True,
        user=user,
        metadata=metadata,
        prompt_bytes=size,
        media=media,
        media_bytes=media_bytes,
    )


def write(head: Head, model: str, *, ask_usage: bool = False, quirks: Quirks = OPENAI) -> bytes:
    """The body with the model's name replaced, and (`ask_usage`) usage asked of a stream.

    Where a provider knows no `max_completion_tokens` or no developer messages, these words are replaced too. Nothing else is touched.
    `quirks` are for chat alone; the other dialects have none. What was asked for the hub alone is to be stripped from the answer
    (`hub.llm.relay`).
    """
    changes: list[tuple[int, int, bytes]] = []
    if ask_usage and not head.include_usage and head.stream and quirks.stream_options:
        changes.append(_asking(head))
    if quirks.max_tokens == "max_tokens" and "max_completion_tokens" in head.spans and "max_tokens" not in head.spans:
        start = head.spans["max_completion_tokens"][0]
        changes.append((start, head.body.index(b'"', start + 1) + 1, b'"max_tokens"'))
    if not quirks.developer and "messages" in head.spans and b"developer" in head.body:
        changes += _developers(head)
    _, start, end = head.spans["model"]
    if not changes:
        return head.body[:start] + orjson.dumps(model) + head.body[end:]
    changes.append((start, end, orjson.dumps(model)))
    changes.sort()
    pieces: list[bytes] = []
    at = 0
    for start, end, text in changes:
        pieces += [head.body[at:start], text]
        at = end
    return b"".join([*pieces, head.body[at:]])


def _asking(head: Head) -> tuple[int, int, bytes]:
    span = head.spans.get("stream_options")
    if span is None:
        after = head.body.index(b"{") + 1
        return after, after, b'"stream_options":{"include_usage":true},'
    given = head.value("stream_options")
    return span[1], span[2], msgspec.json.encode({**({} if given == b"null" else _members.decode(given)), "include_usage": True})


def _developers(head: Head) -> list[tuple[int, int, bytes]]:
    """The role of each developer message, as `system`. Messages are found by walking along the array, as members are."""
    _, at, end = head.spans["messages"]
    found: list[tuple[int, int, bytes]] = []
    if head.body[at : at + 1] != b"[":
        raise InvalidRequest("messages must be an array", data={"param": "messages"})
    for raw in _list.decode(head.body[at:end]):
        message = bytes(raw)
        at = head.body.index(message, at, end)
        if b"developer" in message:
            _, start, stop = _top(message).get("role", (0, 0, 0))
            if stop and orjson.loads(message[start:stop]) == "developer":
                found.append((at + start, at + stop, b'"system"'))
        at += len(message)
    return found


def _top(body: bytes) -> Spans:
    """Where the members stand. Raises `InvalidRequest` where a key stands twice."""
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            raise ParseFailed("the JSON is not valid UTF-8") from None
    try:
        values = _members.decode(body)
    except msgspec.ValidationError:
        raise InvalidRequest("the body must be a JSON object") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise ParseFailed(f"the body is not JSON: {error}") from None
    return _close_packed(body, values) or _walked(body, values)


def _close_packed(body: bytes, values: dict[str, Raw]) -> Spans | None:
    """The same without a look at the bytes, as most clients write them: a body as long as its keys and values are together has nothing
    else in it, no space, no key twice and no sign in a key that is written longer than it is. None: this one has.
    """
    spans: Spans = {}
    at = 1
    for name, raw in values.items():
        start = at + len(name) + 3
        end = start + len(raw)
        spans[name] = (at, start, end)
        at = end + 1
    return spans if at == len(body) else None


def _walked(body: bytes, values: dict[str, Raw]) -> Spans:
    """The values are found by walking along them in the order they came; where a key stands twice the walk does not end where the body
    does, or meets other bytes.
    """
    spans: Spans = {}
    at = body.index(b"{") + 1
    for name, raw in values.items():
        key = _MEMBER.match(body, at)
        if key is None or _name(key[1]) != name or not body.startswith(bytes(raw), key.end()):
            _refuse_twice()
        start = key.end()
        at = start + len(raw)
        spans[name] = (key.start(1), start, at)
    if _CLOSE.match(body, at) is None:
        _refuse_twice()
    return spans


def _refuse_twice() -> NoReturn:
    raise InvalidRequest("an object has the same key twice")


def _name(key: bytes) -> str:
    return orjson.loads(key) if b"\\" in key else key[1:-1].decode()


def _sizes(known: _Known, body: bytes) -> tuple[int, int, int]:
    """(bytes of text, inline media, their bytes). Base64 is counted apart: as text it would be taken for a thousand times its tokens."""
    size = len(known.messages) + len(known.input) + len(known.instructions) + len(known.system) + len(known.tools)
    size += len(known.prompt) + len(known.response_format) + len(known.text) + len(known.functions)
    size += len(known.prediction) + len(known.output_config) + len(known.output_format)
    if b"base64" not in body:
        return size, 0, 0
    media = media_bytes = 0
    for name in (*_PROMPT, *_RARE):
        value = bytes(getattr(known, name))
        if b"base64" in value:
            for found in _MEDIA.finditer(value):
                media += 1
                media_bytes += found.end(1) - found.start(1)
    return size - media_bytes, media, media_bytes


def _bound(known: _Known) -> int | None:
    """The largest of the bounds of the output that were named."""
    bound: int | None = None
    for name in _BOUNDS:
        value = getattr(known, name)
        if value is not None:
            whole = _whole(name, value, _MOST_TOKENS)
            bound = whole if bound is None else max(bound, whole)
    return bound


def _whole(name: str, value: float, most: int) -> int:
    if value < 0 or value > most or int(value) != value:
        raise InvalidRequest(f"{name} must be a whole number, at most {most}", data={"param": name})
    return int(value)
