"""A Responses stream, written: canonical events in, bytes out, in the order the SDKs' accumulators want. Pure.

Named events under a number that grows by one; each item and each of its contents added, filled and done; `response.completed` (or
`.incomplete`) with the whole answer last, and no `[DONE]`. A text is held until it is done, for the dialect says it again then.
"""

from typing import Any

import orjson
from msgspec.structs import replace

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
    Request,
    Sealed,
    Started,
    Text,
    ToolCall,
)
from hub.llm.errors import in_band
from hub.llm.names import answer_id
from hub.llm.responses.reply import ended, item, response, said


class Writer:
    """One answer to `request`. `model` stands for the provider's name of it where given; `now` in Unix seconds where it gave no time."""

    def __init__(self, request: Request, *, model: str = "", now: int = 0) -> None:
        self._request = request
        self._model = model
        self._now = now
        self._head: dict[str, Any] = response("resp_0", model, now, request)
        self._number = -1
        self._started = False
        self._over = False
        self._part: Text | ToolCall | Reasoning | Refused | None = None
        self._texts: list[str] = []
        self._item = ""
        self._output: list[dict[str, Any]] = []

    def write(self, event: Event) -> bytes:
        if self._over:
            return b""
        match event:
            case Started():
                return self._start(event)
            case PartStarted():
                return self._open(event.part)
            case Delta():
                return self._delta(event.text)
            case Sealed():
                if isinstance(self._part, Reasoning):
                    self._part = replace(self._part, seal=event.seal, origin=event.origin, id=event.id)
                return b""
            case PartStopped():
                return self._close()
            case Ping():
                return b": ping\n\n"
            case Finished():
                return self._finish(event)
            case Failed():
                return self._fail(event)

    def _start(self, event: Started) -> bytes:
        if self._started:
            return b""
        self._started = True
        self._head = response(answer_id(event.id, "resp_"), self._model or event.model, event.created or self._now, self._request)
        return self._say("response.created", response=self._head) + self._say("response.in_progress", response=self._head)

    def _open(self, part: Text | ToolCall | Reasoning | Refused) -> bytes:
        self._part, self._texts = part, []
        begun = self._begun(part)
        self._item = begun["id"]
        added = self._say("response.output_item.added", output_index=len(self._output), item=begun)
        if isinstance(part, Text | Refused):
            return added + self._say("response.content_part.added", **self._place(), content_index=0, part=said(part))
        return added

    def _begun(self, part: Text | ToolCall | Reasoning | Refused) -> dict[str, Any]:
        """An item as it begins: empty, and not yet completed."""
        begun = item(part, self._head["id"], len(self._output))
        if isinstance(part, ToolCall):
            return begun | {"status": "in_progress", "arguments": ""}
        if isinstance(part, Reasoning):
            return {"id": begun["id"], "type": "reasoning", "summary": []}
        return begun | {"status": "in_progress", "content": []}

    def _delta(self, text: str) -> bytes:
        first = not self._texts
        self._texts.append(text)
        if isinstance(self._part, ToolCall):
            return self._say("response.function_call_arguments.delta", **self._place(), delta=text)
        if isinstance(self._part, Reasoning):
            summary = {"type": "summary_text", "text": ""}
            begun = self._say("response.reasoning_summary_part.added", **self._place(), summary_index=0, part=summary) if first else b""
            return begun + self._say("response.reasoning_summary_text.delta", **self._place(), summary_index=0, delta=text)
        if isinstance(self._part, Refused):
            return self._say("response.refusal.delta", **self._place(), content_index=0, delta=text)
        return self._say("response.output_text.delta", **self._place(), content_index=0, delta=text, logprobs=[])

    def _close(self) -> bytes:
        part, text = self._part, "".join(self._texts)
        if part is None:
            return b""
        place = self._place()
        match part:
            case Text():
                part = Text(text)
                done = self._say("response.output_text.done", **place, content_index=0, text=text, logprobs=[])
                done += self._say("response.content_part.done", **place, content_index=0, part=said(part))
            case Refused():
                part = Refused(text)
                done = self._say("response.refusal.done", **place, content_index=0, refusal=text)
                done += self._say("response.content_part.done", **place, content_index=0, part=said(part))
            case ToolCall():
                part = replace(part, arguments=text or "{}")
                done = b"" if text else self._say("response.function_call_arguments.delta", **place, delta="{}")
                done += self._say("response.function_call_arguments.done", **place, name=part.name, arguments=part.arguments)
            case Reasoning():
                part = replace(part, text=text)
                done = self._thought(place, text) if text else b""
        whole = item(part, self._head["id"], len(self._output)) | {"id": place["item_id"]}
        done += self._say("response.output_item.done", output_index=place["output_index"], item=whole)
        self._output.append(whole)
        self._part = None
        return done

    def _thought(self, place: dict[str, Any], text: str) -> bytes:
        done = self._say("response.reasoning_summary_text.done", **place, summary_index=0, text=text)
        part = {"type": "summary_text", "text": text}
        return done + self._say("response.reasoning_summary_part.done", **place, summary_index=0, part=part)

    def _place(self) -> dict[str, Any]:
        """The open item."""
        return {"item_id": self._item, "output_index": len(self._output)}

    def _finish(self, event: Finished) -> bytes:
        last = self._close()
        self._over = True
        whole = self._head | ended(event.stop, self._output, event.usage)
        return last + self._say(f"response.{whole['status']}", response=whole)

    def _fail(self, event: Failed) -> bytes:
        self._over = True
        code = "rate_limit_exceeded" if event.fault.kind in ("limited", "quota") else "server_error"
        error = {"code": code, "message": event.fault.message}
        failed = b""
        if self._started:
            failed = self._say("response.failed", response=self._head | {"status": "failed", "error": error, "output": self._output})
        self._number += 1
        return failed + in_band(event.fault, "responses", self._number)

    def _say(self, kind: str, **members: Any) -> bytes:
        self._number += 1
        value = {"type": kind, "sequence_number": self._number, **members}
        return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(value) + b"\n\n"
