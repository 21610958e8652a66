"""Server-sent events without I/O: bytes in, events out, bounded. It does not know what the events mean.

The grammar is that of the HTML standard, section 9.2.6 ("Interpreting an event stream"): lines end in LF, CR or CRLF, also across
chunk borders; a leading byte order mark is dropped; comments are skipped; an event without data is not dispatched.
"""

from msgspec import Struct

BOM = b"\xef\xbb\xbf"


class Overflow(ValueError):
    """An event or a line is longer than the bound."""


class Event(Struct, frozen=True):
    """One event. `data` holds the data lines joined by LF, as the bytes that were sent; `retry` is in milliseconds."""

    data: bytes
    event: str = "message"
    id: str = ""
    retry: int | None = None


class Parser:
    """Feed it what arrives, in any cut. `limit` bounds the bytes of one event, its unfinished line included."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tail: list[bytes] = []
        self._held = 0
        self._skip_lf = False
        self._first = True
        self._data: list[bytes] = []
        self._size = 0
        self._event = ""
        self._retry: int | None = None
        self.last_id = ""
        """The last event id seen, for `Last-Event-ID`."""

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk` completes, in order. Raises `Overflow`; the parser is of no use after that."""
        if self._skip_lf and chunk:
            self._skip_lf = False
            if chunk[:1] == b"\n":
                chunk = chunk[1:]
        if chunk[-1:] == b"\r":
            self._skip_lf = True
        lines = _lines(chunk)
        events: list[Event] = []
        for line in lines[:-1]:
            if self._tail:
                self._tail.append(line)
                line = b"".join(self._tail)
                self._tail.clear()
                self._held = 0
            self._line(line, events)
        if lines[-1]:
            self._tail.append(lines[-1])
            self._held += len(lines[-1])
            if self._held + self._size > self._limit:
                raise Overflow("event is too long")
        return events

    def _line(self, line: bytes, events: list[Event]) -> None:
        if self._first:
            self._first = False
            line = line.removeprefix(BOM)
        if not line:
            self._dispatch(events)
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._size += len(value) + 1
            if self._size > self._limit:
                raise Overflow("event is too long")
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id":
            if b"\0" not in value:
                self.last_id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self._retry = int(value)

    def _dispatch(self, events: list[Event]) -> None:
        if self._data:
            data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
            events.append(Event(data, self._event or "message", self.last_id, self._retry))
            self._data = []
            self._retry = None
        self._size = 0
        self._event = ""

    @property
    def retry(self) -> int | None:
        """A reconnection time announced without an event, in milliseconds."""
        return self._retry


def _lines(chunk: bytes) -> list[bytes]:
    """`chunk` cut at each line end; the last part is the unfinished line."""
    if b"\r" in chunk:
        chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return chunk.split(b"\n")
