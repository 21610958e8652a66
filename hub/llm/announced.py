"""What a Responses answer says of itself that the hub must know before its client does: its id, and whether it is kept. Pure."""

from typing import Any

import msgspec
from msgspec import Struct

from hub import sse

MAX_EVENT = 32 * 1024 * 1024
_MOST_ITEMS = 512
RUNNING = frozenset({"queued", "in_progress"})
"""What the status of an answer says that is still being made."""
OVER = frozenset({"completed", "incomplete", "failed", "cancelled"})
"""And of one that is not. Another word, or none, says neither."""


class _Item(Struct):
    id: Any = None


class Announced(Struct, frozen=True):
    """`store` None: it does not say. `status` is `completed`, `queued`, …; `items` are the ids in its output.

    `background`: whether it was made while nobody waited.
    """

    id: str
    store: bool | None = None
    status: str = ""
    items: tuple[str, ...] = ()
    background: bool = False


class _Answer(Struct):
    id: str = ""
    store: Any = None
    status: Any = None
    background: Any = None
    output: list[_Item] | None = None


class _Event(Struct):
    response: _Answer | None = None


_answer = msgspec.json.Decoder(_Answer)
_event = msgspec.json.Decoder(_Event)


def announced(body: bytes) -> Announced | None:
    """Of a whole answer; None where it has no id that can be read."""
    try:
        return _read(_answer.decode(body))
    except (msgspec.DecodeError, RecursionError):
        return None


def _read(answer: _Answer | None) -> Announced | None:
    if answer is None or not answer.id:
        return None
    items = tuple(item.id for item in answer.output or () if isinstance(item.id, str))
    status = answer.status if isinstance(answer.status, str) else ""
    return Announced(
        answer.id, None if answer.store is None else answer.store is True, status, items[:_MOST_ITEMS], answer.background is True
    )


class Announcement:
    """Looks for it in the events of a stream. What belongs to an event that is not whole yet is kept back: it may bear the id."""

    def __init__(self) -> None:
        self.said: Announced | None = None
        self._parser = sse.Parser(MAX_EVENT)
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """What may go on, if `said` was heard and kept. Raises `hub.sse.Overflow`."""
        events = self._parser.feed(chunk)
        for event in events:
            try:
                self.said = self.said or _read(_event.decode(event.data).response)
            except (msgspec.DecodeError, RecursionError):
                continue
        held = self._held + chunk
        if not events and self.said is None:
            self._held = held
            return b""
        self._held = b""
        if self.said is not None:
            return held
        end = max(held.rfind(end) + len(end) if end in held else 0 for end in (b"\n\n", b"\n\r\n", b"\r\r"))
        self._held = held[end:]
        return held[:end]

    def rest(self) -> bytes:
        """What was kept back to the end."""
        held, self._held = self._held, b""
        return held


def last_of(events: bytes) -> Announced | None:
    """The same of the last events of a stream, where the output is whole."""
    found: Announced | None = None
    for event in sse.Parser(MAX_EVENT).feed(events):
        try:
            found = _read(_event.decode(event.data).response) or found
        except (msgspec.DecodeError, RecursionError):
            continue
    return found
