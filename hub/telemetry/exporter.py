"""Sends spans to one place in the background, in batches. What cannot be sent in time is dropped and counted: no call ever waits for it.

Sources: OpenTelemetry specification, trace/sdk (batching) and protocol/exporter; the specification of OTLP over HTTP in
opentelemetry-proto (429, 502, 503 and 504 are tried again, anything else is not).
"""

import asyncio
import gzip
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from msgspec import Struct

from hub.backoff import pause
from hub.telemetry.logs import fields
from hub.telemetry.span import Span

log = logging.getLogger("hub.telemetry")

AGAIN = frozenset({429, 502, 503, 504})
BATCH = 512
"""Spans of one request."""
_FIRST, _LONGEST = 0.5, 30.0

Reason = Literal["full", "refused", "stopping"]


class Posted(Struct, frozen=True):
    """What came back. `status` 0: nothing did. `after` are the seconds it asks to wait, 0 where it does not say."""

    status: int
    body: bytes = b""
    after: float = 0.0


Post = Callable[[bytes], Awaitable[Posted]]
"""Sends one gzipped body. Never raises; takes no longer than its own limit."""


class Tally:
    """What became of the spans for one place."""

    def __init__(self) -> None:
        self.sent = 0
        self.dropped: dict[Reason, int] = {"full": 0, "refused": 0, "stopping": 0}


class Exporter:
    """`start` it in the loop, `offer` spans, `close` it."""

    def __init__(
        self, name: str, post: Post, encode: Callable[[Sequence[Span]], bytes], rejected: Callable[[bytes], int], *, room: int, every: float
    ) -> None:
        """`room`: spans that may wait. `every`: seconds between batches. `encode` is called in a thread; `rejected` says of how many spans
        an answer says that they were not taken."""
        self.name = name
        self.tally = Tally()
        self._post = post
        self._encode = encode
        self._rejected = rejected
        self._room = room
        self._every = every
        self._waiting: deque[Span] = deque()
        self._under_way = 0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"spans-{self.name}")

    def offer(self, spans: Sequence[Span]) -> None:
        """All of them, or none where there is no room."""
        if len(self._waiting) + self._under_way + len(spans) > self._room:
            self.tally.dropped["full"] += len(spans)
            return
        self._waiting.extend(spans)
        if len(self._waiting) >= BATCH:
            self._wake.set()

    async def close(self, grace: float) -> None:
        """Send what waits, for at most `grace` seconds; drop the rest."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        try:
            async with asyncio.timeout(grace):
                while self._waiting and await self._batch():
                    pass
        except TimeoutError:
            pass
        self.tally.dropped["stopping"] += len(self._waiting) + self._under_way
        self._waiting.clear()

    async def _run(self) -> None:
        while True:
            if len(self._waiting) < BATCH:
                self._wake.clear()
                try:
                    async with asyncio.timeout(self._every):
                        await self._wake.wait()
                except TimeoutError:
                    pass
            while self._waiting:
                await self._batch()

    async def _batch(self) -> bool:
        """Send one batch, again and again while that may help. False: nobody took it."""
        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        self._under_way = len(batch)
        try:
            body = await asyncio.to_thread(self._packed, batch)
            while True:
                posted = await self._post(body)
                if posted.status and posted.status not in AGAIN:
                    return self._settled(posted, len(batch))
                self._failed(posted.status)
                await asyncio.sleep(max(posted.after, pause(self._failures, _FIRST, _LONGEST)))
        except asyncio.CancelledError:
            self._waiting.extendleft(reversed(batch))
            raise
        finally:
            self._under_way = 0

    def _packed(self, batch: Sequence[Span]) -> bytes:
        return gzip.compress(self._encode(batch), compresslevel=1)

    def _settled(self, posted: Posted, count: int) -> bool:
        taken = 200 <= posted.status < 300
        lost = min(count, self._rejected(posted.body)) if taken else count
        self.tally.sent += count - lost
        self.tally.dropped["refused"] += lost
        if lost:
            log.warning("spans were refused", extra=fields(target=self.name, status=posted.status, spans=lost))
        if self._failures and taken:
            log.info("spans are taken again", extra=fields(target=self.name))
        self._failures = 0
        return taken

    def _failed(self, status: int) -> None:
        self._failures += 1
        if self._failures == 1:
            log.warning("spans cannot be sent; what does not fit in the queue is dropped", extra=fields(target=self.name, status=status))
