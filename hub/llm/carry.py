"""One call carried to one deployment and back, in the client's own dialect or translated. It sends nothing itself.

A carrier knows the request in the client's words and the provider's. `Carrier.whole` turns an answer around, `Carrier.stream` begins a
stream. What a provider says goes to the client byte for byte where both speak the same dialect.
"""

import re
import time
from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct

from hub import sse
from hub.call import Tokens
from hub.llm import body, chat, messages, responses
from hub.llm.canonical import Failed, Finished
from hub.llm.endpoints import TALKS, Endpoint
from hub.llm.errors import Answer, Dialect, family, read_fault, translated
from hub.llm.head import Head, read, write
from hub.llm.quirks import OPENAI, Claude, Quirks, claude
from hub.llm.relay import MAX_EVENT, Relay, usage_of
from hub.llm.seals import foreign, purged
from hub.llm.toolnames import LONGEST, Names, fitted, restored, restored_event
from hub.refusal import UpstreamFault

_ENDS = {
    "chat": re.compile(rb"data: ?\[DONE\]"),
    "messages": re.compile(rb"event: ?message_stop"),
    "responses": re.compile(rb"event: ?response\.(completed|incomplete|failed|cancelled)"),
}
_CUT = "the provider's stream ended before it was complete"


class Whole(Struct, frozen=True):
    """An answer as the client gets it. `tokens` None: nobody said."""

    answer: Answer
    tokens: Tokens | None


class Stream(Protocol):
    """A stream on its way. `last` are its final bytes, which wait for the record of its end; `failed`: they say that it went wrong.

    `tokens`: what the provider has said of its consumption so far; `told`: it has said so of the whole answer.
    """

    last: bytes

    @property
    def tokens(self) -> Tokens | None: ...

    @property
    def told(self) -> bool: ...

    @property
    def failed(self) -> bool: ...

    def feed(self, chunk: bytes) -> bytes:
        """What goes on to the client at once. Raises `UpstreamFault`."""
        ...

    def finish(self) -> None:
        """The provider's bytes ended. Raises `UpstreamFault` where they were cut off."""
        ...


class Passing:
    """Front and back speak the same dialect."""

    def __init__(self, endpoint: Endpoint, head: Head, model: str, quirks: Quirks) -> None:
        if foreign(head.body):
            head = read(body.dump(purged(body.load(head.body))), endpoint.kind)
        self.path = endpoint.path
        self.back: Dialect = endpoint.dialect
        self._endpoint = endpoint
        self._ask = endpoint.kind in ("chat", "completions") and head.stream and not head.include_usage and quirks.stream_options
        self.request = write(head, model, ask_usage=self._ask, quirks=quirks if endpoint.wire == "openai" else OPENAI)
        self.version = ""

    def whole(self, status: int, headers: Mapping[str, str], found: bytes, request_id: str) -> Whole:
        kept = tuple([(name, headers[name]) for name in _KEPT if name in headers])
        answer = Answer(status, kept, found)
        return Whole(answer, usage_of(found, self._endpoint.kind) if status == 200 else None)

    def stream(self) -> Stream:
        return Passed(self._endpoint.dialect, strip=self._ask)


def kept_headers(headers: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    """Those of a provider's answer that its client gets, ready to send."""
    return tuple((name.encode(), headers[name].encode("latin-1", "replace")) for name in _KEPT if name in headers)


_KEPT = ("content-type", "retry-after", "retry-after-ms", "x-should-retry", "openai-processing-ms", "openai-version")


class Passed:
    def __init__(self, dialect: Dialect, *, strip: bool) -> None:
        self.last = b""
        self._dialect = dialect
        self._relay = Relay(dialect, strip=strip)

    @property
    def tokens(self) -> Tokens | None:
        return self._relay.tokens

    @property
    def told(self) -> bool:
        return self._relay.told

    @property
    def failed(self) -> bool:
        return self._relay.fault is not None

    def feed(self, chunk: bytes) -> bytes:
        relay = self._relay
        if relay.ended:
            self.last += chunk
            return b""
        try:
            kept = relay.feed(chunk)
        except sse.Overflow:
            raise UpstreamFault("an event of the provider's stream is too long") from None
        if not relay.ended:
            return kept
        found = _ENDS[self._dialect].search(kept)
        at = found.start() if found else 0
        self.last = kept[at:] + relay.finish()
        return kept[:at]

    def finish(self) -> None:
        self.last += self._relay.finish()
        if not (self._relay.ended or self._relay.fault):
            raise UpstreamFault(_CUT)


class Translating:
    """Front and back speak different dialects: what is asked and answered goes by canonical values."""

    def __init__(self, front: Endpoint, back: Endpoint, head: Head, model: str, how: Quirks | Claude) -> None:
        self.path = back.path
        self.back: Dialect = back.dialect
        self._front: Dialect = front.dialect
        self._estimate = head.prompt_bytes // 4
        self._asked = _DIALECTS[self._front].read_request(body.load(head.body))
        told, self._names = fitted(self._asked, LONGEST[self.back])
        written = _DIALECTS[self.back].write_request(told, model, how)
        self.dropped = written.dropped
        self.request = body.dump(written.body)
        self.version = how.version if isinstance(how, Claude) else ""

    def whole(self, status: int, headers: Mapping[str, str], found: bytes, request_id: str) -> Whole:
        if status != 200:
            fault = read_fault(status, found, family(self.back))
            return Whole(translated(fault, self._front, headers, request_id), None)
        reply = restored(_DIALECTS[self.back].read_reply(body.load_reply(found)), self._names)
        return Whole(Answer(200, _JSON, body.dump(self._written(reply))), reply.usage)

    def stream(self) -> Stream:
        return _Translated(_DIALECTS[self.back].Reader(), self._writer(), self._names)

    def _written(self, reply: Any) -> dict[str, Any]:
        now = int(time.time())
        match self._front:
            case "chat":
                return chat.write_reply(reply, now=now)
            case "responses":
                return responses.write_reply(reply, self._asked, now=now)
            case "messages":
                return messages.write_reply(reply)

    def _writer(self) -> Any:
        now = int(time.time())
        match self._front:
            case "chat":
                return chat.Writer(include_usage=self._asked.include_usage, now=now)
            case "responses":
                return responses.Writer(self._asked, now=now)
            case "messages":
                return messages.Writer(input_tokens=self._estimate)


_JSON = (("content-type", "application/json"),)
_DIALECTS: dict[str, Any] = {"chat": chat, "responses": responses, "messages": messages}


class _Translated:
    def __init__(self, reader: Any, writer: Any, names: Names) -> None:
        self.told = False
        self.failed = False
        self.last = b""
        self._reader = reader
        self._writer = writer
        self._names = names
        self._parser = sse.Parser(MAX_EVENT)

    @property
    def tokens(self) -> Tokens | None:
        return self._reader.usage

    def feed(self, chunk: bytes) -> bytes:
        try:
            events = self._parser.feed(chunk)
        except sse.Overflow:
            raise UpstreamFault("an event of the provider's stream is too long") from None
        return b"".join(self._write(one) for event in events for one in self._reader.feed(event))

    def finish(self) -> None:
        for one in self._reader.end():
            self.last += self._write(one)
        if not self.last:
            raise UpstreamFault(_CUT)

    def _write(self, event: Any) -> bytes:
        written: bytes = self._writer.write(restored_event(event, self._names))
        if isinstance(event, Finished | Failed):
            self.failed = isinstance(event, Failed)
            self.told = isinstance(event, Finished) and event.usage is not None
            self.last += written
            return b""
        return written


Carrier = Passing | Translating


def carrier(front: Endpoint, wire: str, head: Head, model: str, quirks: Quirks, version: str) -> Carrier | None:
    """How a call of `front` goes to a provider of this wire; None where the provider has nothing like it.

    Raises `InvalidRequest` for a request that cannot be said in the provider's words.
    """
    if front.wire == wire and (front.kind != "responses" or quirks.responses):
        return Passing(front, head, model, quirks)
    if front.kind not in TALKS:
        return None
    back = TALKS["messages"] if wire == "anthropic" else TALKS["chat"]
    return Translating(front, back, head, model, claude(model, version or "2023-06-01") if wire == "anthropic" else quirks)
