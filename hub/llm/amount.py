"""How much of an answer a provider has streamed, where it ends before it says so itself: bytes of text and arguments, as tokens. Pure.

The chunks are only kept while they come; they are looked into when somebody asks, or when there are many.
"""

import re
from typing import Literal

import orjson

from hub.llm.errors import Dialect
from hub.llm.needs import BYTES_A_TOKEN

MOST_KEPT = 64 * 1024
"""Bytes of a stream that are kept before they are counted; more only of an event that has not come to the end of its line."""

Words = Dialect | Literal["completions"]

_SAID: dict[Words, re.Pattern[bytes]] = {
    "completions": re.compile(rb'"text"\s*:\s*"((?:[^"\\]|\\.)*)"'),
    "chat": re.compile(rb'"(?:content|refusal|reasoning_content|reasoning|arguments)"\s*:\s*"((?:[^"\\]|\\.)*)"'),
    "messages": re.compile(rb'"(?:text|partial_json|thinking)"\s*:\s*"((?:[^"\\]|\\.)*)"'),
    "responses": re.compile(rb'"delta"\s*:\s*"((?:[^"\\]|\\.)*)"'),
}
"""What each dialect's events bear of the answer itself; `completions` are those from before chat."""


class Amount:
    """Feed it a provider's stream, in whatever cut. `words` are the provider's."""

    __slots__ = ("_counted", "_kept", "_said", "_size")

    def __init__(self, words: Words) -> None:
        self._said = _SAID[words]
        self._kept: list[bytes] = []
        self._size = 0
        self._counted = 0

    def feed(self, chunk: bytes) -> None:
        self._kept.append(chunk)
        self._size += len(chunk)
        if self._size > MOST_KEPT and b"\n" in chunk:  # an event without an end in sight is not looked at again and again
            whole = _joined(self._kept)
            end = whole.rfind(b"\n") + 1
            self._counted += self._count(whole[:end])
            self._kept, self._size = [whole[end:]], len(whole) - end

    @property
    def length(self) -> int:
        """Bytes of text and arguments, in UTF-8."""
        return self._counted + self._count(_joined(self._kept))

    @property
    def tokens(self) -> int:
        """As many as these bytes are taken for in estimates, begun ones counted."""
        return -(-self.length // BYTES_A_TOKEN)

    def _count(self, block: bytes) -> int:
        return sum(_length(found) for found in self._said.findall(block))


def _joined(chunks: list[bytes]) -> bytes:
    return b"".join(chunks)


def _length(text: bytes) -> int:
    """Of a JSON string's value."""
    if b"\\" not in text:
        return len(text)
    try:
        return len(orjson.loads(b'"' + text + b'"').encode())
    except ValueError:  # half of a pair of surrogates, or no JSON at all: a provider's slip
        return len(text)
