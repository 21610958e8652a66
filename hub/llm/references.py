"""Which stored things a Responses request names: what came before, a conversation, items of an earlier output. Pure.

Source: platform.openai.com/docs/api-reference/responses/create. An item that has an `id` and says neither what it is nor who speaks is a
reference too: its `type` may be left out.
"""

from typing import Any, NoReturn

import msgspec
import orjson
from msgspec import Raw, Struct

from hub.llm.head import Head
from hub.refusal import InvalidRequest


class Reference(Struct, frozen=True):
    """An id, and which member of the request names it."""

    id: str
    param: str


class _Item(Struct):
    type: Any = None
    role: Any = None
    id: Any = None


_members = msgspec.json.Decoder(dict[str, Raw])
_items = msgspec.json.Decoder(list[_Item])

MOST = 4096
"""Things that one request may name."""


def references(head: Head) -> tuple[Reference, ...]:
    """Raises `InvalidRequest` for what cannot be an id, for too many, and for items that are nested too deep."""
    found: list[Reference] = []
    if raw := head.value("previous_response_id"):
        found += _named(raw, "previous_response_id")
    if raw := head.value("conversation"):
        if raw[:1] == b"{":
            raw = bytes(_members.decode(raw).get("id", Raw(b"null")))
        found += _named(raw, "conversation")
    return (*found, *_referred(head.value("input")))


def _named(raw: bytes, param: str) -> list[Reference]:
    if raw == b"null":
        return []
    if raw[:1] != b'"':
        _refuse(param)
    return [Reference(orjson.loads(raw), param)]


def _referred(raw: bytes) -> list[Reference]:
    """Of the input. A key or a type may be spelled with escapes: where there is any, the items are read."""
    if raw[:1] != b"[" or not (b'"id"' in raw or b"\\u" in raw):
        return []
    try:
        items = _items.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        _refuse("input")
    found: list[Reference] = []
    for at, item in enumerate(items):
        if item.type == "item_reference" or (item.type is None and item.role is None and item.id is not None):
            if not isinstance(item.id, str):
                _refuse(f"input[{at}].id")
            if len(found) == MOST:
                raise InvalidRequest(f"input names more than {MOST} stored items", data={"param": "input"})
            found.append(Reference(item.id, f"input[{at}].id"))
    return found


def _refuse(param: str) -> NoReturn:
    raise InvalidRequest(f"{param} is not what the API takes there", data={"param": param})
