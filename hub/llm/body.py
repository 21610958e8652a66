"""JSON of a call that is translated: read strictly, written whole. Pure. Calls that are passed through are never read like this."""

import json
from typing import Any, cast

import orjson

from hub.jsonscan import scan
from hub.refusal import InvalidRequest, ParseFailed, UpstreamFault


def load(raw: bytes) -> dict[str, Any]:
    """A client's request. Integers keep all their digits. Raises `ParseFailed` or `InvalidRequest`."""
    value = scan(raw)
    if not isinstance(value, dict):
        raise InvalidRequest("the body must be a JSON object")
    return cast("dict[str, Any]", value)


def load_reply(raw: bytes) -> dict[str, Any]:
    """A provider's answer. Raises `UpstreamFault`."""
    try:
        return load(raw)
    except (ParseFailed, InvalidRequest) as refusal:
        raise UpstreamFault("the provider's answer could not be read", detail=refusal.message) from None


def dump(value: Any) -> bytes:
    """The same value as JSON. The quick writer knows no integer of more than 64 bits; the other one does."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def arguments(text: str) -> dict[str, Any]:
    """The arguments of a tool call as the object Anthropic wants.

    A model can write what is no JSON object, also by being cut off. That text then stands under `arguments`: the tool's schema will not
    take it, so that whoever runs the tool sees what came.
    """
    if not text.strip():
        return {}
    try:
        value = scan(text.encode("utf-8", "surrogatepass"))
    except (ParseFailed, InvalidRequest):
        return {"arguments": text}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {"arguments": text}


def arguments_text(value: Any) -> str:
    """The same the other way; empty where there are none."""
    return dump(value).decode() if value else ""
