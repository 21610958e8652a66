"""A Messages stream, written: canonical events in, bytes out, in the order the SDKs' accumulators want. Pure.

`message_start` and a ping; each block started, filled with deltas of its own kind and stopped; `message_delta` with the reason and the
usage of all; `message_stop`. Clients hold a session whose `input_tokens` are 0 at the start for broken, so an estimate stands there
where the provider counts at the end; the last event has the true figures.
"""

from typing import Any

import orjson

from hub.call import Tokens
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
from hub.llm.errors import in_band
from hub.llm.messages.reply import reason, write_block
from hub.llm.names import answer_id
from hub.llm.seals import marked
from hub.llm.usage import to_messages


class Writer:
    """One answer. `model` stands for the provider's name of it where given; `input_tokens` is the estimate."""

    def __init__(self, *, model: str = "", input_tokens: int = 1) -> None:
        self._model = model
        self._estimate = Tokens(input=max(input_tokens, 1))
        self._started = False
        self._over = False
        self._part: Text | ToolCall | Reasoning | Refused | None = None
        self._sealed = False
        self._refused = False

    def write(self, event: Event) -> bytes:
        if self._over:
            return b""
        match event:
            case Started():
                return self._start(event)
            case PartStarted():
                return self._open(event)
            case Delta():
                return self._delta(event)
            case Sealed():
                self._sealed = True
                one = Reasoning(seal=event.seal, origin=event.origin, id=event.id)
                return self._signature(event.index, one)
            case PartStopped():
                return self._close(event)
            case Ping():
                return _event({"type": "ping"})
            case Finished():
                return self._finish(event)
            case Failed():
                self._over = True
                return in_band(event.fault, "messages")

    def _start(self, event: Started) -> bytes:
        if self._started:
            return b""
        self._started = True
        usage = event.usage if event.usage and event.usage.input else self._estimate
        message: dict[str, Any] = {
            "id": answer_id(event.id, "msg_"),
            "type": "message",
            "role": "assistant",
            "model": self._model or event.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": to_messages(usage),
        }
        return _event({"type": "message_start", "message": message}) + _event({"type": "ping"})

    def _open(self, event: PartStarted) -> bytes:
        self._part, self._sealed = event.part, False
        block = write_block(event.part)
        if isinstance(event.part, Reasoning) and not event.part.hidden:
            block = {"type": "thinking", "thinking": "", "signature": ""}
        self._refused = self._refused or isinstance(event.part, Refused)
        return _event({"type": "content_block_start", "index": event.index, "content_block": block})

    def _delta(self, event: Delta) -> bytes:
        if isinstance(self._part, ToolCall):
            delta = {"type": "input_json_delta", "partial_json": event.text}
        elif isinstance(self._part, Reasoning):
            delta = {"type": "thinking_delta", "thinking": event.text}
        else:
            delta = {"type": "text_delta", "text": event.text}
        return _event({"type": "content_block_delta", "index": event.index, "delta": delta})

    def _signature(self, index: int, one: Reasoning) -> bytes:
        delta = {"type": "signature_delta", "signature": marked(one, "anthropic")}
        return _event({"type": "content_block_delta", "index": index, "delta": delta})

    def _close(self, event: PartStopped) -> bytes:
        last = b""
        if isinstance(self._part, Reasoning) and not self._part.hidden and not self._sealed:
            last = self._signature(event.index, self._part)
        self._part = None
        return last + _event({"type": "content_block_stop", "index": event.index})

    def _finish(self, event: Finished) -> bytes:
        self._over = True
        sequence = event.stop_sequence if event.stop == "stop_sequence" and event.stop_sequence else None
        delta = {"stop_reason": reason(event.stop, refused=self._refused), "stop_sequence": sequence}
        usage = to_messages(event.usage or self._estimate)
        return _event({"type": "message_delta", "delta": delta, "usage": usage}) + _event({"type": "message_stop"})


def _event(value: dict[str, Any]) -> bytes:
    return b"event: " + value["type"].encode() + b"\ndata: " + orjson.dumps(value) + b"\n\n"
