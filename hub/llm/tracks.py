"""Parts of a streamed answer in order: one open at a time, numbered without gaps, each stopped once. Pure."""

from hub.llm.canonical import Delta, Event, PartStarted, PartStopped, Reasoning, Refused, Sealed, Text, ToolCall


class Track:
    """What a stream's reader opens, adds to and closes. Each method gives the events that say so."""

    __slots__ = ("index", "open")

    def __init__(self) -> None:
        self.index = -1
        self.open: Text | ToolCall | Reasoning | Refused | None = None

    def start(self, part: Text | ToolCall | Reasoning | Refused) -> list[Event]:
        events = self.stop()
        self.index += 1
        self.open = part
        events.append(PartStarted(self.index, part))
        return events

    def add(self, part: Text | Reasoning | Refused, text: str) -> list[Event]:
        """Text for a part of this kind: the open one, or a new one."""
        events: list[Event] = [] if type(self.open) is type(part) and not _hidden(self.open) else self.start(part)
        if text:
            events.append(Delta(self.index, text))
        return events

    def seal(self, one: Reasoning) -> list[Event]:
        """The seal of the open reasoning; one that nothing was heard of before is opened for it."""
        events: list[Event] = [] if isinstance(self.open, Reasoning) and not _hidden(self.open) else self.start(Reasoning(id=one.id))
        events.append(Sealed(self.index, one.seal, one.origin, one.id))
        return events

    def stop(self) -> list[Event]:
        if self.open is None:
            return []
        self.open = None
        return [PartStopped(self.index)]


def _hidden(part: object) -> bool:
    return isinstance(part, Reasoning) and part.hidden
