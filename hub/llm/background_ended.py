"""How an answer that was made in the background ended: what its call is settled by, as it is kept until it is. Pure."""

from typing import Any, cast

import msgspec
import orjson
from msgspec import Struct

from hub.call import Tokens
from hub.llm.announced import OVER, announced
from hub.llm.needs import BYTES_A_TOKEN
from hub.llm.relay import usage_of


class Ended(Struct, frozen=True, omit_defaults=True):
    """`status` as in the usage ledger. `tokens` None: the provider did not say; then `said` is how many its output is taken for, None where
    nobody has that either. `by`: who found out."""

    status: str
    tokens: Tokens | None = None
    said: int | None = None
    by: str = ""

    def text(self) -> str:
        return msgspec.json.encode(self).decode()


LOST = Ended("unknown")
"""Nobody can see any more what it used."""

_decoder = msgspec.json.Decoder(Ended)


def read(text: str) -> Ended | None:
    """What `text` made, None of nothing. Raises `msgspec.MsgspecError` for what a later version has written."""
    return _decoder.decode(text) if text else None


def ended(body: bytes) -> Ended | None:
    """By a whole answer; None of one that does not say that it is over."""
    said = announced(body)
    if said is None or said.status not in OVER:
        return None
    return Ended("ok" if said.status in ("completed", "incomplete") else "error", usage_of(body, "responses"), _said(body))


def _said(body: bytes) -> int | None:
    """Tokens that the output of a response is taken for: its texts and arguments. None where it cannot be read."""
    size = 0
    try:
        items: list[Any] = list(cast("dict[str, Any]", orjson.loads(body)).get("output") or [])
    except orjson.JSONDecodeError:  # what `announced` skips unread need not be JSON, or UTF-8
        return None
    while items:
        item = items.pop()
        if not isinstance(item, dict):
            continue
        members = cast("dict[str, Any]", item)
        size += sum(len(value.encode()) for name in ("text", "arguments", "refusal") if isinstance(value := members.get(name), str))
        for name in ("content", "summary"):
            if isinstance(more := members.get(name), list):
                items += cast("list[Any]", more)
    return -(-size // BYTES_A_TOKEN)
