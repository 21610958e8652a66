"""What passes through in the same dialect: usage read on its way, nothing re-encoded. Pure.

Events go on as they came, whole. Only those that can hold usage, an end or an error are looked into, told by a cheap search for their
bytes. Where the hub asked a chat stream for usage and the client did not, the chunk that brings it is taken out.
"""

import re
from collections.abc import Callable
from typing import Any, cast

import msgspec
import orjson
from msgspec import Struct

from hub import sse
from hub.call import Tokens
from hub.llm.canonical import Fault
from hub.llm.chat.reply import usage_of as usage_of_chat
from hub.llm.errors import Dialect, fault_of
from hub.llm.head import Kind
from hub.llm.responses.reply import usage_of as usage_of_responses
from hub.llm.usage import Anthropic, Reported, from_anthropic

MAX_EVENT = 32 * 1024 * 1024
"""Bytes of one event; longer ones raise `hub.sse.Overflow`. Answers with images come in one."""

_END = re.compile(rb"\n\n|\n\r\n|\r\r")
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_CUT_SHORT = re.compile(rb"response\.(?:completed|failed|incomplete|cancelled)")
"""Ends of Responses, which may come without usage."""
_TELLING: dict[Dialect, re.Pattern[bytes]] = {
    "chat": re.compile(rb'"error"|"usage"\s*:\s*\{|\[DONE\]'),
    "messages": re.compile(rb'"error"|"usage"\s*:\s*\{|message_stop'),
    "responses": re.compile(rb'"error"|"usage"\s*:\s*\{|response\.(?:completed|failed|incomplete|cancelled)'),
}
"""What an event holds that may matter; a false alarm costs a look. Slow, because what it looks for begins in several ways."""
_END_OF: dict[Dialect, Callable[[bytes], object]] = {
    "chat": lambda block: b"[DONE]" in block,
    "messages": lambda block: b"message_stop" in block,
    "responses": _CUT_SHORT.search,
}
_ENDED = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_ERROR = re.compile(rb'"error"\s*:\s*[{"]|"type"\s*:\s*"error"')


class _Tools(Struct):
    web_search: Any = None


class _Whole(Struct):
    usage: Any = None
    tool_usage: _Tools | None = None
    x_groq: Any = None


class _Message(Struct):
    usage: Anthropic | None = None


_whole = msgspec.json.Decoder(_Whole)
_message = msgspec.json.Decoder(_Message)


def usage_of(body: bytes, kind: Kind) -> Tokens | None:
    """What a whole answer says it consumed; None where it says nothing that can be read. Everything but the usage is skipped unread."""
    if b'"usage"' not in body:
        return None
    try:
        if kind == "messages":
            usage = _message.decode(body).usage
            return from_anthropic(usage) if usage else None
        found = _whole.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    value: dict[str, Any] = {"usage": found.usage, "x_groq": found.x_groq}
    if kind == "responses":
        return usage_of_responses(value | {"tool_usage": {"web_search": found.tool_usage.web_search}} if found.tool_usage else value)
    return usage_of_chat(value)


class Relay:
    """One stream of a provider's, on its way to a client of the same dialect.

    `tokens`: the usage seen so far, None before any; `told`: it says what the whole answer consumed. `ended`: the dialect's own end was
    seen, so nothing was cut off. `fault`: an error came in band. Not every provider of chat ends with `[DONE]`.
    """

    def __init__(self, dialect: Dialect, *, strip: bool = False, limit: int = MAX_EVENT) -> None:
        """`strip`: take out the usage chunk of a chat stream, because only the hub asked for it."""
        self._dialect: Dialect = dialect
        self._ends = _END_OF[dialect]
        self._strip = strip and dialect == "chat"
        self._limit = limit
        self._held: list[bytes] = []
        self._size = 0
        self._edge = b""
        self._reported = Reported()
        self.tokens: Tokens | None = None
        self.told = False
        self.ended = False
        self.fault: Fault | None = None

    def feed(self, chunk: bytes) -> bytes:
        """What goes on to the client: the events it completed. What stands between whole events, such as the receipt before the last one,
        must not come into the middle of one. Raises `hub.sse.Overflow`."""
        probe = self._edge + chunk
        cut = _last_end(probe) - len(self._edge)
        self._edge = probe[-3:]
        if cut <= 0:
            self._hold(chunk)
            return b""
        whole = b"".join([*self._held, chunk[:cut]])
        self._held, self._size = [], 0
        self._hold(chunk[cut:])
        return self._look(whole)

    def finish(self) -> bytes:
        """The bytes ended: what was held goes on as it is."""
        rest = b"".join(self._held)
        self._held = []
        if rest.strip():
            self._look(rest + b"\n\n")
        return rest

    def _hold(self, rest: bytes) -> None:
        if rest:
            self._held.append(rest)
            self._size += len(rest)
            if self._size > self._limit:
                raise sse.Overflow("event is too long")

    def _look(self, block: bytes) -> bytes:
        """Read what there is to read in whole events; give them back without what is to be stripped."""
        if not (self._ends(block) or b'"error"' in block or _USAGE.search(block)):  # nearly every time
            return block
        telling = _TELLING[self._dialect]
        first = telling.search(block)
        assert first is not None
        start = _last_end(block[: first.start()])
        kept = [block[:start]]
        for event in _split(block[start:]):
            if telling.search(event) is None:
                kept.append(event)
                continue
            drop = False
            for data in _said(event, self._limit):
                drop = self._event(data) or drop
            if not drop:
                kept.append(event)
        return b"".join(kept)

    def _event(self, data: bytes) -> bool:
        """Take in one event. True: the client did not ask for it."""
        if self._dialect == "chat" and data.strip() == b"[DONE]":
            self.ended = True
            return False
        if not self._may_matter(data):
            return False
        try:
            value: Any = orjson.loads(data)
        except orjson.JSONDecodeError:
            return False
        if not isinstance(value, dict):
            return False
        members = cast("dict[str, Any]", value)
        if self._dialect == "chat":
            return self._chat(members)
        if self._dialect == "messages":
            self._messages(members)
        else:
            self._responses(members)
        return False

    def _may_matter(self, data: bytes) -> bool:
        return bool(_USAGE.search(data) or _ERROR.search(data)) or b"message_stop" in data or bool(_CUT_SHORT.search(data))

    def _chat(self, chunk: dict[str, Any]) -> bool:
        if chunk.get("error"):
            self._fail(fault_of(chunk, 0, "openai"))
            return False
        self._tell(usage_of_chat(chunk))
        return self._strip and chunk.get("choices") == [] and isinstance(chunk.get("usage"), dict)

    def _messages(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        if kind == "error":
            self._fail(fault_of(event, 0, "anthropic"))
        elif kind == "message_stop":
            self.ended = True
        holder: Any = event.get("message") if kind == "message_start" else event if kind == "message_delta" else None
        if isinstance(holder, dict):
            try:
                later = msgspec.convert(cast("dict[str, Any]", holder).get("usage"), Anthropic)
            except msgspec.ValidationError:
                return
            self._reported.take(later, at_end=kind == "message_delta")
            self.tokens, self.told = self._reported.tokens, self._reported.whole

    def _responses(self, event: dict[str, Any]) -> None:
        kind, response = event.get("type"), event.get("response")
        if kind == "error":
            self.fault = fault_of(event, 0, "openai")
        if not isinstance(response, dict):
            return
        members = cast("dict[str, Any]", response)
        if kind == "response.failed":
            self.fault = fault_of(members, 0, "openai")
        if kind in _ENDED:
            self.ended = True
            self._tell(usage_of_responses(members))

    def _fail(self, fault: Fault) -> None:
        """What was said by now may be of a part only, as where each chunk says it."""
        self.fault, self.told = fault, False

    def _tell(self, tokens: Tokens | None) -> None:
        if tokens is not None:
            self.tokens, self.told = tokens, True


def _last_end(block: bytes) -> int:
    """Where the last whole event of a block ends; 0 where none does."""
    at = block.rfind(b"\n\n")
    found = at + 2 if at >= 0 else 0
    if b"\r" in block:
        for end in (b"\r\r", b"\n\r\n"):
            at = block.rfind(end)
            found = max(found, at + len(end) if at >= 0 else 0)
    return found


def _said(event: bytes, limit: int) -> list[bytes]:
    """The data of one whole event; of one line, as nearly all are, it stands between the words before and behind it."""
    if event.startswith(b"data: ") and event.endswith(b"\n\n") and event.count(b"\n") == 2 and b"\r" not in event:
        return [event[6:-2]]
    return [parsed.data for parsed in sse.Parser(limit).feed(event)]


def _split(block: bytes) -> list[bytes]:
    """The whole events of a block, each with its end."""
    found: list[bytes] = []
    at = 0
    for end in _END.finditer(block):
        found.append(block[at : end.end()])
        at = end.end()
    if at < len(block):
        found.append(block[at:])
    return found
