"""What an answer of a model says of itself: which model it was, under which id, and why it ended. Nothing of what was said is read.

Of a whole answer only these members are looked at. Of a stream the reasons are told by their bytes, from a closed list, so that no text
of an answer can be taken for one. Pure.
"""

import re
from typing import Any

import msgspec
from msgspec import Struct

_REASONS = (
    "stop|length|tool_calls|function_call|content_filter|end_turn|max_tokens|stop_sequence|tool_use|pause_turn|refusal"
    "|model_context_window_exceeded"
)
_REASON = re.compile(rb'"(?:finish_reason|stop_reason)"\s*:\s*"(' + _REASONS.encode() + rb')"')
_KNOWN = frozenset(_REASONS.split("|")) | {"completed", "incomplete", "failed", "cancelled", "error"}
_MODEL = re.compile(rb'"model"\s*:\s*"([\w./:@-]{1,128})"')
_ID = re.compile(rb'"id"\s*:\s*"([A-Za-z0-9_.-]{1,128})"')
_NAMED = re.compile(r"[\w./:@-]{1,128}")
_CARRY = 64
"""Bytes of a chunk that are looked at again with the next one: a reason may be cut in two."""


class Said(Struct):
    """Empty where an answer does not say."""

    id: str = ""
    model: str = ""
    reasons: list[str] = msgspec.field(default_factory=list[str])


class _Choice(Struct):
    finish_reason: Any = None


class _Answer(Struct):
    id: Any = None
    model: Any = None
    choices: list[_Choice] = msgspec.field(default_factory=list[_Choice])
    stop_reason: Any = None
    status: Any = None


_answer = msgspec.json.Decoder(_Answer)


def whole(body: bytes) -> Said:
    """Of an answer in one piece."""
    try:
        found = _answer.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return Said()
    reasons = [choice.finish_reason for choice in found.choices] or [found.stop_reason or found.status]
    return Said(_named(found.id), _named(found.model), [str(reason) for reason in reasons if reason in _KNOWN])


def _named(value: Any) -> str:
    return value if isinstance(value, str) and _NAMED.fullmatch(value) else ""


class Listener:
    """Of an answer in pieces: `hear` each, then ask for `said`."""

    def __init__(self) -> None:
        self.said = Said()
        self._began = False
        self._edge = b""

    def hear(self, chunk: bytes) -> None:
        if not self._began:
            self._began = True
            model, ident = _MODEL.search(chunk), _ID.search(chunk)
            self.said.model = model[1].decode() if model else ""
            self.said.id = ident[1].decode() if ident else ""
        probe = self._edge + chunk
        last = 0
        for found in _REASON.finditer(probe):
            self.said.reasons.append(found[1].decode())
            last = found.end()
        self._edge = probe[max(last, len(probe) - _CARRY) :]
