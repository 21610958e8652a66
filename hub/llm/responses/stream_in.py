"""A Responses stream, read: named events in, canonical events out. Pure.

Source: platform.openai.com/docs/api-reference/responses-streaming.
"""

from typing import Any

from hub.llm.canonical import Delta, Event, Finished, Reasoning, Refused, Started, Text, ToolCall
from hub.llm.errors import fault_of
from hub.llm.fields import Members
from hub.llm.reading import TypedReader
from hub.llm.responses.reply import stop_of, usage_of
from hub.llm.responses.request_in import thought
from hub.llm.tracks import Track
from hub.refusal import UpstreamFault

_ITEMS = ("message", "function_call", "reasoning")


class Reader(TypedReader):
    def __init__(self) -> None:
        super().__init__()
        self._track = Track()
        self._call: int | None = None
        """The provider's index of the open tool call."""
        self._thought = Reasoning()
        """The open item's reasoning as it begins: with its id."""
        self._heard = False
        self._calls = False

    def _event(self, source: Members, kind: str) -> list[Event]:
        match kind:
            case "response.created":
                response = _response(source)
                return [Started(response.text("id", ""), response.text("model", ""), int(response.number("created_at") or 0))]
            case "response.output_item.added":
                return self._added(source)
            case "response.function_call_arguments.delta":
                return self._arguments(source)
            case "response.content_part.done":
                return self._track.stop() if isinstance(self._track.open, Text | Refused) else []
            case "response.output_item.done":
                return self._done(source)
            case "response.completed" | "response.incomplete":
                self._over = True
                response = _response(source)
                self.usage = usage_of(response.values)
                return [*self._track.stop(), Finished(stop_of(response, self._calls), "", self.usage)]
            case "response.failed":
                response = _response(source)
                self.usage = usage_of(response.values)
                return self._fail(fault_of(response.values, 0, "openai"))
            case "error":
                return self._fail(fault_of(source.values, 0, "openai"))
            case _:
                return self._words(source, kind)

    def _words(self, source: Members, kind: str) -> list[Event]:
        """What is said, declined or thought; anything else is let pass: progress, parts begun, totals of what came in deltas."""
        match kind:
            case "response.output_text.delta":
                return self._track.add(Text(""), source.text("delta", ""))
            case "response.refusal.delta":
                return self._track.add(Refused(), source.text("delta", ""))
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                return self._track.add(self._thought, source.text("delta", ""))
            case "response.reasoning_summary_part.added" if source.whole("summary_index"):
                return self._track.add(self._thought, "\n\n")
            case _:
                return []

    def _added(self, source: Members) -> list[Event]:
        item = source.members("item") or Members({}, "item", UpstreamFault)
        kind = item.text("type")
        if kind not in _ITEMS:
            item.refuse(f"is {kind[:40]!r}", "type")
        if kind != "function_call":
            self._thought = Reasoning(id=item.text("id", "") if kind == "reasoning" else "")
            return self._track.stop()
        self._call, self._heard, self._calls = source.whole("output_index"), False, True
        return self._track.start(ToolCall(item.text("call_id"), item.text("name")))

    def _arguments(self, source: Members) -> list[Event]:
        if not isinstance(self._track.open, ToolCall) or source.whole("output_index") != self._call:
            source.refuse("belongs to no open call", "output_index")
        text = source.text("delta", "")
        self._heard = self._heard or bool(text)
        return [Delta(self._track.index, text)] if text else []

    def _done(self, source: Members) -> list[Event]:
        item = source.members("item") or Members({}, "item", UpstreamFault)
        kind = item.text("type", "")
        events: list[Event] = []
        if kind == "reasoning":
            one = thought(item)
            if one.text and not isinstance(self._track.open, Reasoning):
                events += self._track.add(self._thought, one.text)
            if one.seal and one.hidden:
                events += self._track.start(one)
            elif one.seal:
                events += self._track.seal(one)
        elif kind == "function_call" and not self._heard and isinstance(self._track.open, ToolCall):
            text: Any = item.text("arguments", "")
            events += [Delta(self._track.index, text)] if text else []
        return events + self._track.stop()


def _response(source: Members) -> Members:
    return source.members("response") or Members({}, "response", UpstreamFault)
