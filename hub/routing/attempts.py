"""Tries one deployment after the other until one answers: what failed before its first byte is asked elsewhere, what began never is.

A client's own fault (another 4xx) is an answer: it would be the same anywhere.
"""

import time
from collections.abc import Callable, Sequence
from types import TracebackType

from msgspec import Struct

from hub.call import Target
from hub.refusal import Unavailable, UpstreamFault
from hub.routing.provider import Attempt

ELSEWHERE = frozenset({401, 403, 408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Statuses after which another deployment is asked: it is overloaded or broken, or does not take the hub's own key."""


class Tried(Struct, frozen=True):
    """An attempt and what came of it: `ok`, `status:429`, or the code of a refusal; `us` are microseconds to the first byte."""

    target: Target
    result: str
    us: int


class Attempts:
    """`async with` it for the attempt that answered. Raises what the last one raised where none did; `tried` says what was tried."""

    def __init__(self, targets: Sequence[Target], make: Callable[[Target], Attempt]) -> None:
        self.tried: list[Tried] = []
        self._targets = targets
        self._make = make
        self._open: Attempt | None = None

    async def __aenter__(self) -> Attempt:
        left = len(self._targets)
        for target in self._targets:
            left -= 1
            started = time.perf_counter_ns()
            attempt = self._make(target)
            try:
                await attempt.__aenter__()
            except Unavailable as refusal:
                self._note(target, refusal.code, started)
                if not left:
                    raise
                continue
            status = attempt.response.status
            self._note(target, "ok" if status == 200 else f"status:{status}", started)
            if left and status in ELSEWHERE:
                await attempt.__aexit__(None, None, None)
                continue
            self._open = attempt
            return attempt
        raise UpstreamFault("there is nowhere to ask")

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._open is not None:
            await self._open.__aexit__(kind, error, trace)

    def _note(self, target: Target, result: str, started: int) -> None:
        self.tried.append(Tried(target, result, (time.perf_counter_ns() - started) // 1000))
