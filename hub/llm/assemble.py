"""A stream's events as one reply, and one reply as a stream's events. Pure.

The first serves those who must see an answer whole; the second a client that asked for a stream where there is only a whole answer.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from hub.llm.canonical import (
    Delta,
    Event,
    Failed,
    Fault,
    Finished,
    Part,
    PartStarted,
    PartStopped,
    Reasoning,
    Refused,
    Reply,
    Sealed,
    Started,
    Text,
    ToolCall,
)


class Assembler:
    """Feed it events in order. `reply` is what there is so far; `fault` is set where the stream failed, `done` where it came to its end."""

    def __init__(self) -> None:
        self.reply = Reply("", "")
        self.fault: Fault | None = None
        self.done = False
        self._part: Text | ToolCall | Reasoning | Refused | None = None
        self._texts: list[str] = []

    def feed(self, events: Iterable[Event]) -> None:
        for event in events:
            self._one(event)

    def _one(self, event: Event) -> None:
        match event:
            case Started():
                self.reply = replace(self.reply, id=event.id, model=event.model, created=event.created, usage=event.usage)
            case PartStarted():
                self._part, self._texts = event.part, []
            case Delta():
                self._texts.append(event.text)
            case Sealed():
                if isinstance(self._part, Reasoning):
                    self._part = replace(self._part, seal=event.seal, origin=event.origin, id=event.id)
            case PartStopped():
                self._stop()
            case Finished():
                self.done = True
                usage = event.usage or self.reply.usage
                self.reply = replace(self.reply, stop=event.stop, stop_sequence=event.stop_sequence, usage=usage)
            case Failed():
                self.fault = event.fault
            case _:
                pass

    def _stop(self) -> None:
        part, text = self._part, "".join(self._texts)
        if part is None:
            return
        whole: Part = replace(part, arguments=text) if isinstance(part, ToolCall) else replace(part, text=text)
        self.reply = replace(self.reply, parts=(*self.reply.parts, whole))
        self._part = None


def events(reply: Reply) -> list[Event]:
    """The stream a provider would have sent for this reply, each part in one delta."""
    found: list[Event] = [Started(reply.id, reply.model, reply.created, reply.usage)]
    index = 0
    for part in reply.parts:
        if not isinstance(part, Text | ToolCall | Reasoning | Refused):
            continue
        found += _part(index, part)
        index += 1
    return [*found, Finished(reply.stop, reply.stop_sequence, reply.usage)]


def _part(index: int, part: Text | ToolCall | Reasoning | Refused) -> list[Event]:
    match part:
        case Reasoning() if part.hidden:
            return [PartStarted(index, part), PartStopped(index)]
        case ToolCall():
            start, text = ToolCall(part.id, part.name), part.arguments
        case _:
            start, text = type(part)(""), part.text
    found: list[Event] = [PartStarted(index, start)]
    if text:
        found.append(Delta(index, text))
    if isinstance(part, Reasoning) and part.seal:
        found.append(Sealed(index, part.seal, part.origin, part.id))
    return [*found, PartStopped(index)]
