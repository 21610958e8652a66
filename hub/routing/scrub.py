"""Takes secrets out of bytes, whole or as they stream. It does not know whose they are.

A stream holds back only what may be the beginning of a secret, so where the end of a chunk cannot be one nothing waits. However the bytes
are cut into chunks, the result is the same: the leftmost secret goes first, of several that begin there the longest.
"""

import json
from collections.abc import Iterable, Mapping

SHORTEST = 8
"""Bytes. What is shorter is a word that answers have of themselves, such as `ollama` or `EMPTY`: it is not looked for."""

REDACTED = b"***"


class Scrubber:
    """Knows a set of secrets, as they are and as they stand in JSON. It never prints itself."""

    __slots__ = ("_ends", "_secrets")

    def __init__(self, secrets: Iterable[bytes]) -> None:
        forms = {form for secret in secrets for form in _forms(secret) if len(form) >= SHORTEST}
        self._secrets = tuple(sorted(forms, key=len, reverse=True))
        self._ends: dict[int, list[tuple[int, bytes]]] = {}
        """By its last byte, every proper beginning of a secret: how long it is, and of which secret. The longest first."""
        for size in range(len(self._secrets[0]) - 1 if self._secrets else 0, 0, -1):
            for secret in self._secrets:
                if size < len(secret):
                    self._ends.setdefault(secret[size - 1], []).append((size, secret))

    def __repr__(self) -> str:
        return "Scrubber(***)"

    def whole(self, body: bytes) -> bytes:
        """`body` without the secrets: itself, where there are none."""
        for secret in self._secrets:
            if secret in body:
                return self.parted(body, whole=True)[0]
        return body

    def fields(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """The same of the values of headers; all of them are looked through at once."""
        joined = "\n".join(headers.values()).encode("latin-1", "replace")
        if self.whole(joined) is joined:
            return headers
        return {name: self.whole(value.encode("latin-1", "replace")).decode("latin-1") for name, value in headers.items()}

    def stream(self) -> "Stream":
        return Stream(self)

    def clean(self, data: bytes) -> bool:
        """Whether there is no secret, and at the end no beginning of one."""
        for secret in self._secrets:
            if secret in data:
                return False
        return not data or data[-1] not in self._ends or self._tail(data, 0) == len(data)

    def parted(self, data: bytes, *, whole: bool) -> tuple[bytes, bytes]:
        """What can go on, scrubbed, and what has to wait for more (`whole`: nothing does, there is no more)."""
        out: list[bytes] = []
        at = 0
        while True:
            tail = len(data) if whole else self._tail(data, at)
            start, size = self._first(data, at)
            if size == 0 or start >= tail:
                out.append(data[at:tail])
                return b"".join(out), data[tail:]
            out += (data[at:start], REDACTED)
            at = start + size

    def _first(self, data: bytes, at: int) -> tuple[int, int]:
        """Where the leftmost secret begins and how long it is; a size of 0: there is none."""
        found = [(start, -len(secret)) for secret in self._secrets if (start := data.find(secret, at)) >= 0]
        start, size = min(found, default=(len(data), 0))
        return start, -size

    def _tail(self, data: bytes, at: int) -> int:
        """Where the longest beginning of a secret begins that the data end with; their length where they end with none."""
        if at < len(data):
            for size, secret in self._ends.get(data[-1], ()):
                if size <= len(data) - at and data.endswith(secret[:size]):
                    return len(data) - size
        return len(data)


class Stream:
    """One stream on its way. `feed` what comes, then `finish`."""

    __slots__ = ("_held", "_scrubber")

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """What goes on at once."""
        data = self._held + chunk if self._held else chunk
        if self._scrubber.clean(data):
            self._held = b""
            return data
        out, self._held = self._scrubber.parted(data, whole=False)
        return out

    def finish(self) -> bytes:
        """What was held back, when nothing follows."""
        held, self._held = self._held, b""
        return self._scrubber.whole(held)


def _forms(secret: bytes) -> set[bytes]:
    """A secret as it is, and in a JSON string, with and without the solidus escaped."""
    quoted = json.dumps(secret.decode("latin-1"), ensure_ascii=False)[1:-1].encode("latin-1")
    return {secret, quoted, quoted.replace(b"/", b"\\/")}
