"""One JSON-RPC message from a client: read strictly, sliced without re-encoding. Knows no HTTP and no MCP method.

Source: JSON-RPC 2.0; MCP basic/index (ids are strings or integers, never null). Duplicate keys are refused anywhere in the message,
because two readers of a duplicate see two different requests.
"""

from typing import Any, cast

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from hub.jsonscan import scan
from hub.refusal import InvalidRequest

_MAX_ID = 256


class Message(Struct, frozen=True):
    """`id` is the raw JSON of the id, empty for a notification; `params` the raw JSON, empty when absent; `values` is `params` parsed."""

    method: str
    id: bytes
    params: bytes
    values: dict[str, Any]


class _Envelope(Struct):
    jsonrpc: str = ""
    method: str | UnsetType = UNSET
    id: Raw | UnsetType = UNSET
    params: Raw | UnsetType = UNSET
    result: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET


_envelope = msgspec.json.Decoder(_Envelope)
_raws = msgspec.json.Decoder(list[Raw])
_members = msgspec.json.Decoder(dict[str, Raw])


def read(body: bytes) -> Message:
    """Read one request or notification. Raises `ParseFailed` or `InvalidRequest`."""
    return _message(body, scan(body))


def read_batch(body: bytes) -> list[bytes]:
    """The raw messages of a JSON array. Raises `ParseFailed` or `InvalidRequest`."""
    scan(body)
    return [bytes(raw) for raw in _raws.decode(body)]


def is_batch(body: bytes) -> bool:
    return body.lstrip(b" \t\r\n")[:1] == b"["


def members(params: bytes) -> dict[str, Raw]:
    """The members of a JSON object, each as raw JSON. `params` has been read before, so it is known to be an object."""
    return _members.decode(params) if params else {}


def _message(body: bytes, value: Any) -> Message:
    if not isinstance(value, dict):
        raise InvalidRequest("the body must be one JSON-RPC object")
    try:
        envelope = _envelope.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"not a JSON-RPC request: {error}") from None
    if envelope.jsonrpc != "2.0":
        raise InvalidRequest('"jsonrpc" must be "2.0"')
    if envelope.method is UNSET:
        raise InvalidRequest('"method" is missing')
    if envelope.result is not UNSET or envelope.error is not UNSET:
        raise InvalidRequest("a message is a request or a response, not both")
    message = cast("dict[str, Any]", value)
    params = message.get("params", {})
    if not isinstance(params, dict):
        raise InvalidRequest('"params" must be an object')
    raw = b"" if envelope.params is UNSET else bytes(envelope.params)
    return Message(envelope.method, _id(message, envelope), raw, cast("dict[str, Any]", params))


def _id(message: dict[str, Any], envelope: _Envelope) -> bytes:
    if envelope.id is UNSET:
        return b""
    value = message["id"]
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidRequest('"id" must be a string or an integer')
    raw = bytes(envelope.id)
    if len(raw) > _MAX_ID:
        raise InvalidRequest(f'"id" must not be longer than {_MAX_ID} bytes')
    return raw
