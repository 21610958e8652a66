"""A Messages stream, read: server-sent events in, canonical events out. Source: docs.anthropic.com/en/api/messages-streaming. Pure."""

from typing import Any

from hub.llm.canonical import Delta, Event, Finished, Ping, Reasoning, Refused, Started, Text, ToolCall
from hub.llm.errors import fault_of
from hub.llm.fields import Members
from hub.llm.messages.reply import explained, read_block, read_usage, stop_of
from hub.llm.reading import TypedReader
from hub.llm.seals import unseal
from hub.llm.tracks import Track
from hub.llm.usage import Reported
from hub.refusal import UpstreamFault

_DELTAS = {"text_delta": "text", "input_json_delta": "partial_json", "thinking_delta": "thinking"}


class Reader(TypedReader):
    def __init__(self) -> None:
        super().__init__()
        self._track = Track()
        self._block: int | None = None
        """The provider's index of the open block."""
        self._reason = ""
        self._sequence = ""
        self._reported = Reported()

    def _event(self, source: Members, kind: str) -> list[Event]:
        """Events of a kind nobody knew are to be let pass, says the reference."""
        match kind:
            case "message_start":
                return self._start(source.members("message") or Members({}, "message", UpstreamFault))
            case "content_block_start":
                return self._open(source)
            case "content_block_delta":
                return self._delta(source)
            case "content_block_stop":
                self._block = None
                return self._track.stop()
            case "message_delta":
                return self._end(source)
            case "message_stop":
                self._over = True
                return [*self._track.stop(), Finished(stop_of(self._reason), self._sequence, self.usage if self._reported.whole else None)]
            case "ping":
                return [Ping()]
            case "error":
                return self._fail(fault_of(source.values, 0, "anthropic"))
            case _:
                return []

    def _start(self, message: Members) -> list[Event]:
        self._take(message.any("usage"), at_end=False)
        return [Started(message.text("id", ""), message.text("model", ""), 0, self.usage)]

    def _open(self, source: Members) -> list[Event]:
        self._block = source.whole("index")
        block = source.members("content_block") or Members({}, "content_block", UpstreamFault)
        match read_block(block):
            case Reasoning() as part if part.hidden:
                return self._track.start(part)
            case Reasoning() as part:
                return self._opened(Reasoning(), part.text)
            case Text() as part:
                return self._opened(Text(""), part.text)
            case ToolCall() as part:
                return self._opened(ToolCall(part.id, part.name), part.arguments if block.any("input") else "")

    def _opened(self, part: Text | ToolCall | Reasoning, text: str) -> list[Event]:
        """A block begins empty; what a provider gives with its start is its first delta."""
        events = self._track.start(part)
        return [*events, Delta(self._track.index, text)] if text else events

    def _delta(self, source: Members) -> list[Event]:
        if self._block is None or source.whole("index") != self._block:
            source.refuse("belongs to no open block", "index")
        delta = source.members("delta") or Members({}, "delta", UpstreamFault)
        kind = delta.text("type", "")
        if kind == "signature_delta":
            return self._track.seal(unseal(delta.text("signature"), "anthropic"))
        if kind not in _DELTAS:
            return []
        text = delta.text(_DELTAS[kind], "")
        return [Delta(self._track.index, text)] if text else []

    def _take(self, value: Any, *, at_end: bool) -> None:
        usage = read_usage(value)
        if usage is not None:
            self._reported.take(usage, at_end=at_end)
            self.usage = self._reported.tokens

    def _end(self, source: Members) -> list[Event]:
        delta = source.members("delta") or Members({}, "delta", UpstreamFault)
        self._reason = delta.text("stop_reason", "") or self._reason
        self._sequence = delta.text("stop_sequence", "") or self._sequence
        self._take(source.any("usage"), at_end=True)
        explanation = explained(delta.members("stop_details"))
        return [*self._track.add(Refused(), explanation), *self._track.stop()] if explanation else []
