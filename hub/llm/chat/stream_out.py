"""A chat completions stream, written: canonical events in, bytes out, in the order the SDKs' accumulators want. Pure.

The role comes with the first part; a tool call's id and name in its first fragment alone, under indices without gaps; then the chunk
with the reason to finish; then usage in a chunk without choices, only if it was asked for; then `[DONE]`.
"""

from typing import Any

import orjson

from hub.llm.canonical import (
    Delta,
    Event,
    Failed,
    Finished,
    PartStarted,
    PartStopped,
    Ping,
    Reasoning,
    Refused,
    Sealed,
    Started,
    Text,
    ToolCall,
)
from hub.llm.chat.reply import FINISHES
from hub.llm.chat.thoughts import detail
from hub.llm.errors import in_band
from hub.llm.names import answer_id
from hub.llm.usage import to_chat


class Writer:
    """One answer. `model` stands for the provider's name of it where given; `now` in Unix seconds where the provider gave no time."""

    def __init__(self, *, model: str = "", include_usage: bool = False, now: int = 0) -> None:
        self._model = model
        self._include_usage = include_usage
        self._head: dict[str, Any] = {"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": now, "model": model}
        self._spoken = False
        self._over = False
        self._part: Text | ToolCall | Reasoning | Refused | None = None
        self._thought = ""
        self._calls = 0
        self._thoughts = 0
        self._empty = False

    def write(self, event: Event) -> bytes:
        if self._over:
            return b""
        match event:
            case Started():
                self._head["id"] = answer_id(event.id, "chatcmpl-")
                self._head["created"] = event.created or self._head["created"]
                self._head["model"] = self._model or event.model
                return b""
            case PartStarted():
                return self._start(event.part)
            case Delta():
                return self._delta(event.text)
            case Sealed():
                return self._sealed(event)
            case PartStopped():
                return self._stop()
            case Ping():
                return b": ping\n\n"
            case Finished():
                return self._finish(event)
            case Failed():
                self._over = True
                return in_band(event.fault, "chat")

    def _start(self, part: Text | ToolCall | Reasoning | Refused) -> bytes:
        self._part, self._empty, self._thought = part, True, ""
        if isinstance(part, ToolCall):
            self._calls += 1
            function = {"name": part.name, "arguments": ""}
            return self._say({"tool_calls": [{"index": self._calls - 1, "id": part.id, "type": "function", "function": function}]}, None)
        if isinstance(part, Reasoning):
            self._thoughts += 1
            return self._say({"reasoning_details": [detail(part, self._thoughts - 1)]}, None) if part.hidden else b""
        return b"" if self._spoken else self._say({}, "" if isinstance(part, Text) else None)

    def _delta(self, text: str) -> bytes:
        self._empty = False
        if isinstance(self._part, ToolCall):
            return self._say({"tool_calls": [{"index": self._calls - 1, "function": {"arguments": text}}]})
        if isinstance(self._part, Reasoning):
            self._thought += text
            return self._say({"reasoning_content": text}, None)
        return self._say({"refusal" if isinstance(self._part, Refused) else "content": text})

    def _sealed(self, event: Sealed) -> bytes:
        one = Reasoning(self._thought, event.seal, event.origin, id=event.id)
        return self._say({"reasoning_details": [detail(one, self._thoughts - 1)]}, None)

    def _stop(self) -> bytes:
        called_with_nothing = isinstance(self._part, ToolCall) and self._empty
        said = self._delta("{}") if called_with_nothing else b""
        self._part = None
        return said

    def _finish(self, event: Finished) -> bytes:
        self._over = True
        opened = b"" if self._spoken else self._say({}, "")
        last = self._chunk([{"index": 0, "delta": {}, "finish_reason": FINISHES[event.stop]}])
        usage = b""
        if self._include_usage and event.usage is not None:
            usage = self._chunk([], usage=to_chat(event.usage))
        return opened + last + usage + b"data: [DONE]\n\n"

    def _say(self, delta: dict[str, Any], content: str | None = None) -> bytes:
        """One delta; the first of all bears the role and what there is of `content`."""
        if not self._spoken:
            self._spoken = True
            delta = {"role": "assistant", "content": content, **delta}
        return self._chunk([{"index": 0, "delta": delta, "finish_reason": None}])

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        return b"data: " + orjson.dumps({**self._head, "choices": choices, **more}) + b"\n\n"
