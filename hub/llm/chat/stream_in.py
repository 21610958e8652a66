"""A chat completions stream, read: chunks in, canonical events out. Source: platform.openai.com/docs/api-reference/chat-streaming. Pure.

Providers differ here more than anywhere: tool calls without an index or all under index 0, an id in every fragment, usage in the last
chunk, in one of its own or in Groq's member, errors instead of chunks, no `[DONE]`. All of that is read.
"""

from typing import Any, cast

import orjson

from hub import sse
from hub.call import Tokens
from hub.llm.canonical import Delta, Event, Failed, Fault, Finished, Reasoning, Refused, Started, Text, ToolCall
from hub.llm.chat.reply import arguments_of, spoken, stop_of, usage_of
from hub.llm.chat.thoughts import read_thoughts, thought
from hub.llm.errors import fault_of
from hub.llm.fields import Members
from hub.llm.names import given_id
from hub.llm.tracks import Track
from hub.refusal import UpstreamFault

_TRUNCATED = Fault("broken", "the provider's stream ended before its answer did")
_UNREADABLE = Fault("broken", "the provider's stream could not be read")


class Reader:
    """Feed it one stream's events, then say that it ended. After `Finished` or `Failed` nothing more comes."""

    def __init__(self) -> None:
        self._track = Track()
        self._id = ""
        self._started = False
        self._over = False
        self._finish: str | None = None
        self._sequence = ""
        self.usage: Tokens | None = None
        """What has been said so far of the consumption: some providers say it in each chunk."""
        self._calls: dict[int, tuple[int, str]] = {}
        """By a call's index in the stream: the index of its part, its id."""
        self._count = 0

    def feed(self, event: sse.Event) -> list[Event]:
        if self._over:
            return []
        if event.data.strip() == b"[DONE]":
            return self.end()
        try:
            value: Any = orjson.loads(event.data)
            if not isinstance(value, dict):
                return self._fail(_UNREADABLE)
            chunk = cast("dict[str, Any]", value)
            if event.event == "error" or chunk.get("error"):
                return self._fail(fault_of(chunk, 0, "openai"))
            return self._chunk(chunk)
        except (orjson.JSONDecodeError, UpstreamFault):
            return self._fail(_UNREADABLE)

    def end(self) -> list[Event]:
        """The bytes ended, or `[DONE]` came. Without a reason to finish, the answer was cut off."""
        if self._over:
            return []
        if self._finish is None:
            return self._fail(_TRUNCATED)
        self._over = True
        stop = stop_of(self._finish, bool(self._calls), bool(self._sequence))
        return [*self._track.stop(), Finished(stop, self._sequence, self.usage)]

    def _fail(self, fault: Fault) -> list[Event]:
        self._over = True
        return [Failed(fault)]

    def _chunk(self, chunk: dict[str, Any]) -> list[Event]:
        source = Members(chunk, fails=UpstreamFault)
        events: list[Event] = []
        if not self._started and (chunk.get("id") or chunk.get("choices")):  # Azure begins with a chunk that says nothing yet
            self._started, self._id = True, source.text("id", "")
            events.append(Started(self._id, source.text("model", ""), source.whole("created") or 0))
        self.usage = usage_of(chunk) or self.usage
        for choice in source.each("choices"):
            if choice.whole("index"):
                continue
            delta = choice.members("delta")
            if delta is not None:
                events += self._delta(delta)
            self._finish = choice.text("finish_reason", "") or self._finish
            if self._finish == "error":
                choice.refuse("says that the answer failed", "finish_reason")
            sequence = choice.any("stop_reason")
            self._sequence = sequence if isinstance(sequence, str) else self._sequence
        return events

    def _delta(self, delta: Members) -> list[Event]:
        events = self._thoughts(delta)
        for kind, text in spoken(delta.any("content")):
            events += self._track.add(Reasoning() if kind == "thinking" else Text(""), text)
        if refusal := delta.text("refusal", ""):
            events += self._track.add(Refused(), refusal)
        for fragment in delta.each("tool_calls"):
            events += self._fragment(fragment)
        return events

    def _thoughts(self, delta: Members) -> list[Event]:
        events: list[Event] = []
        text = thought(delta)
        if text:
            events += self._track.add(Reasoning(), text)
        if not delta.any("reasoning_details"):
            return events
        for one in read_thoughts(delta):
            if one.hidden:
                events += [*self._track.start(one), *self._track.stop()]
                continue
            if one.text and not text:
                events += self._track.add(Reasoning(), one.text)
            if one.seal:
                events += self._track.seal(one)
        return events

    def _fragment(self, fragment: Members) -> list[Event]:
        function = fragment.members("function") or Members({}, fragment.place("function"), UpstreamFault)
        identity, name = fragment.text("id", ""), function.text("name", "")
        index = fragment.whole("index")
        if index is None:
            index = self._count if name or not self._count else self._count - 1
        known = self._calls.get(index)
        events: list[Event] = []
        if known is None or (identity and name and identity != known[1]):
            identity = identity or given_id(self._id, self._count)
            self._count += 1
            events += self._track.start(ToolCall(identity, function.text("name")))
            self._calls[index] = known = (self._track.index, identity)
        text = arguments_of(function.any("arguments"))
        if text and (self._track.open is None or known[0] != self._track.index):
            function.refuse("belongs to a call that was over")
        if text:
            events.append(Delta(known[0], text))
        return events
