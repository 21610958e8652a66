"""What the hub must know of a request it passes through, and the few members it changes, in the raw bytes. Pure.

One pass over the top level. Everything but what is replaced goes on byte for byte: spaces, the order of members, numbers of any length,
members nobody knows. Values are looked into only where this says so.
"""

import re
from typing import Any, Literal, NoReturn, cast

import msgspec
import orjson
from msgspec import Raw, Struct

from hub.llm.quirks import OPENAI, Quirks
from hub.refusal import InvalidRequest, ParseFailed

Kind = Literal["chat", "responses", "messages", "embeddings", "moderations", "completions", "count_tokens"]

_members = msgspec.json.Decoder(dict[str, Raw])
_list = msgspec.json.Decoder(list[Raw])
_MEMBER = re.compile(rb'[ \t\n\r]*,?[ \t\n\r]*("(?:[^"\\]|\\.)*")[ \t\n\r]*:[ \t\n\r]*')
_CLOSE = re.compile(rb"[ \t\n\r]*\}")
_MEDIA = re.compile(rb'(?:;base64,|"data"\s*:\s*")([A-Za-z0-9+/=_-]{256,})')
_PROMPT = ("messages", "input", "instructions", "system", "tools", "prompt", "response_format", "text", "functions")
_BOUNDS = ("max_completion_tokens", "max_tokens", "max_output_tokens")


class Head(Struct, frozen=True):
    """The top level of one request. Absent members have the API's defaults; `max_tokens` None: no bound was named.

    `prompt_bytes` is the size of what the model reads, without inline media: those are `media` in number and `media_bytes` of base64.
    """

    body: bytes
    spans: "dict[str, tuple[int, int, int]]"
    """For each member: where its key begins, where its value begins and ends."""
    model: str
    stream: bool = False
    max_tokens: int | None = None
    n: int = 1
    include_usage: bool = False
    tools: int = 0
    user: str = ""
    metadata: dict[str, Any] | None = None
    prompt_bytes: int = 0
    media: int = 0
    media_bytes: int = 0

    def __repr__(self) -> str:
        return f"Head(model={self.model!r}, {len(self.body)} bytes)"

    def value(self, name: str) -> bytes:
        """The raw JSON of a member; empty where it is absent."""
        span = self.spans.get(name)
        return self.body[span[1] : span[2]] if span else b""


def read(body: bytes, kind: Kind = "chat") -> Head:
    """Raises `ParseFailed` for what is not JSON in UTF-8, `InvalidRequest` for what is no object, has a top-level key twice or no model."""
    values, spans = _top(body)
    model = _string(values, "model")
    if not model:
        raise InvalidRequest("you must provide a model", data={"param": "model"})
    options = _object(values, "stream_options")
    size, media, media_bytes = _sizes(values)
    metadata = _object(values, "metadata")
    user = _string(values, "user") or _string(values, "safety_identifier")
    if kind in ("messages", "count_tokens") and metadata and isinstance(metadata.get("user_id"), str):
        user = metadata["user_id"]
    bounds = [bound for name in _BOUNDS if (bound := _whole(values, name)) is not None]
    return Head(
        body,
        spans,
        model,
        stream=_flag(values, "stream"),
        max_tokens=max(bounds, default=None),
        n=_whole(values, "n") or 1,
        include_usage=bool(options and options.get("include_usage") is True),
        tools=_count(values, "tools"),
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
    changes = [(head.spans["model"][1], head.spans["model"][2], orjson.dumps(model))]
    if ask_usage and not head.include_usage and head.stream and quirks.stream_options:
        changes.append(_asking(head))
    if quirks.max_tokens == "max_tokens" and "max_completion_tokens" in head.spans and "max_tokens" not in head.spans:
        start = head.spans["max_completion_tokens"][0]
        changes.append((start, head.body.index(b'"', start + 1) + 1, b'"max_tokens"'))
    if not quirks.developer and "messages" in head.spans and b"developer" in head.body:
        changes += _developers(head)
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
    given = cast("dict[str, Any] | None", orjson.loads(head.body[span[1] : span[2]]))
    return span[1], span[2], orjson.dumps({**(given or {}), "include_usage": True})


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
            values, spans = _top(message)
            if "role" in values and orjson.loads(values["role"]) == "developer":
                found.append((at + spans["role"][1], at + spans["role"][2], b'"system"'))
        at += len(message)
    return found


def _top(body: bytes) -> tuple[dict[str, bytes], dict[str, tuple[int, int, int]]]:
    """The members and where they stand. The values are found by walking along them in the order they came; where a key stands twice the
    walk does not end where the body does, or meets other bytes.
    """
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
    spans: dict[str, tuple[int, int, int]] = {}
    pieces: dict[str, bytes] = {}
    at = body.index(b"{") + 1
    for name, raw in values.items():
        key = _MEMBER.match(body, at)
        if key is None or _name(key[1]) != name:
            _refuse_twice()
        start = key.end()
        value = pieces[name] = bytes(raw)
        if not body.startswith(value, start):
            _refuse_twice()
        at = start + len(value)
        spans[name] = (key.start(1), start, at)
    if _CLOSE.match(body, at) is None:
        _refuse_twice()
    return pieces, spans


def _refuse_twice() -> NoReturn:
    raise InvalidRequest("an object has the same key twice")


def _name(key: bytes) -> str:
    return orjson.loads(key) if b"\\" in key else key[1:-1].decode()


def _sizes(values: dict[str, bytes]) -> tuple[int, int, int]:
    """(bytes of text, inline media, their bytes). Base64 is counted apart: as text it would be taken for a thousand times its tokens."""
    size = media = media_bytes = 0
    for name in _PROMPT:
        value = values.get(name)
        if value is None:
            continue
        size += len(value)
        if len(value) > 256 and b"base64" in value:
            for found in _MEDIA.finditer(value):
                media += 1
                media_bytes += found.end(1) - found.start(1)
    return size - media_bytes, media, media_bytes


def _parsed(values: dict[str, bytes], name: str) -> Any:
    raw = values.get(name)
    return None if raw is None else orjson.loads(raw)


def _count(values: dict[str, bytes], name: str) -> int:
    raw = values.get(name, b"")
    return len(_list.decode(raw)) if raw[:1] == b"[" else 0


def _string(values: dict[str, bytes], name: str) -> str:
    value = _parsed(values, name)
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(f"{name} must be a string", data={"param": name})
    return value or ""


def _flag(values: dict[str, bytes], name: str) -> bool:
    value = _parsed(values, name)
    if value is not None and not isinstance(value, bool):
        raise InvalidRequest(f"{name} must be true or false", data={"param": name})
    return value or False


def _whole(values: dict[str, bytes], name: str) -> int | None:
    value = _parsed(values, name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise InvalidRequest(f"{name} must be a whole number", data={"param": name})
    return value


def _object(values: dict[str, bytes], name: str) -> dict[str, Any] | None:
    value = _parsed(values, name)
    if value is not None and not isinstance(value, dict):
        raise InvalidRequest(f"{name} must be an object", data={"param": name})
    return cast("dict[str, Any] | None", value)
