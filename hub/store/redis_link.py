"""One connection to a Redis server, shared by all who ask: commands go out in one write a turn of the loop, replies come back in order.

It does not know what the commands mean, and it is used until it is lost; whoever holds it makes the next one. A reply belongs to whoever
asked at its place in the order, so that somebody who stopped waiting disturbs nobody: his reply is dropped when it comes.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from hub.refusal import StoreDown
from hub.store.resp import MAX_REPLY, Garbled, ReplyError, pack, read

MOST_WAITING = 8192
"""Commands without a reply, beyond which more are refused: a server that far behind has stopped keeping up."""

IDLE = 1.0
"""Seconds without a word after which the server is asked whether it is there, so that idle processes see an outage too."""

PING = pack("PING")


def down(detail: str) -> StoreDown:
    """What everybody is told who needs Redis while it cannot be had. `detail` is for the log and holds no secret."""
    return StoreDown("state shared by the replicas cannot be reached at the moment", retry_after=1.0, detail=f"Redis: {detail}")


class Link(asyncio.Protocol):
    """Made by `create_connection`. `patience`: seconds the server has for a reply; after that the connection is given up whole."""

    def __init__(self, patience: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._patience = patience
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._asked: deque[tuple[int, float]] = deque()
        """(number of the last command of a write, when it was written), oldest first, of writes not yet answered whole."""
        self._sent = self._answered = 0
        self._rest = bytearray()
        self._need = 0
        self.heard = self._loop.time()
        """When the server last said anything, by the loop's time."""
        self._pushed: Callable[[list[Any]], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._why = "it closed the connection"
        self.stalled = False
        """Whether it was given up because the server did not answer."""
        self._on_end: Callable[[str], None] | None = None
        self.lost: asyncio.Future[str] = self._loop.create_future()
        """Ends with the reason when the connection is lost or closed."""

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self.lost.done()

    def send(self, packed: bytes) -> asyncio.Future[Any]:
        """Send one command; the future ends with its reply, with `ReplyError`, or with `StoreDown` when the connection is lost.

        What was sent when that happens may have been done or not. Raises `StoreDown` at once where nothing can be sent.
        """
        if not self.usable:
            raise down(self._why)
        if len(self._waiting) >= MOST_WAITING:
            raise down("too many commands wait for their reply")
        future = self._loop.create_future()
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(packed)
        self._waiting.append(future)
        return future

    def on_end(self, ended: Callable[[str], None]) -> None:
        """Have `ended(reason)` called in the moment in which nothing more can be sent; at once where that is so already."""
        if self.usable:
            self._on_end = ended
        else:
            ended(self._why)

    def listen(self, pushed: Callable[[list[Any]], None], packed: bytes) -> None:
        """Turn this into a connection of a subscriber: send `packed`, and give each array that comes from now on to `pushed`."""
        assert not self._waiting
        self._pushed = pushed
        self.tell(packed)

    def tell(self, packed: bytes) -> None:
        """Send a command of a subscriber, which has no reply of its own."""
        if self._transport is not None:
            self._transport.write(packed)

    def close(self, why: str = "the connection was closed") -> None:
        """End it; who waits is told."""
        if self._transport is not None and not self.lost.done():
            self._why = why
            self._transport.abort()
            self._end()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._timer = self._loop.call_later(self._patience / 4, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and not self.lost.done():
            self._why = f"{type(exc).__name__} on the connection"
        self._end()

    def data_received(self, data: bytes) -> None:
        self.heard = self._loop.time()
        whole: bytes | bytearray = data
        if self._rest:
            self._rest += data
            whole = self._rest
            if len(whole) < self._need:
                return
        at, end = 0, len(whole)
        try:
            while at < end:
                reply, after = read(whole, at)
                if after < 0:
                    self._need = -after - at
                    break
                at = after
                self._deliver(reply)
            if end - at > MAX_REPLY:  # and it is not whole yet: read anew from its beginning each time, it would hold up the loop
                raise Garbled("a reply larger than any the hub asks for")
        except Garbled as garbled:
            self.close(f"its answer cannot be read: {garbled}")
            return
        self._rest = bytearray(memoryview(whole)[at:]) if at < end else bytearray()
        asked, answered = self._asked, self._answered
        while asked and asked[0][0] <= answered:
            asked.popleft()

    def _deliver(self, reply: Any) -> None:
        if self._pushed is not None:
            if isinstance(reply, list):
                self._pushed(cast(list[Any], reply))
            elif isinstance(reply, ReplyError):
                raise Garbled(reply.code)
            return
        if not self._waiting:
            raise Garbled("an answer nobody asked for")
        future = self._waiting.popleft()
        self._answered += 1
        if future.done():  # its caller has left
            return
        if isinstance(reply, ReplyError):
            future.set_exception(reply)
        else:
            future.set_result(reply)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if not self.usable:
            return
        assert self._transport is not None
        self._sent += len(out)
        self._asked.append((self._sent, self._loop.time()))
        self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def _look(self) -> None:
        """Four times within the patience: whether the oldest write has waited too long, and whether there is anybody at all."""
        now = self._loop.time()
        late = now - self._asked[0][1] > self._patience if self._asked else False
        silent = self._pushed is not None and now - self.heard > IDLE + self._patience
        if late or silent:
            self.stalled = True
            self.close("no answer in time")
            return
        if not self._waiting and now - self.heard > IDLE and self.usable:
            if self._pushed is not None:
                self.tell(PING)
            else:
                self.send(PING).add_done_callback(seen)
        self._timer = self._loop.call_later(self._patience / 4, self._look)

    def _end(self) -> None:
        if self.lost.done():
            return
        if self._timer is not None:
            self._timer.cancel()
        self.lost.set_result(self._why)
        if self._on_end is not None:
            self._on_end(self._why)
        waiting, self._waiting = self._waiting, deque()
        self._out, self._rest = [], bytearray()
        for future in waiting:
            if not future.done():
                future.set_exception(down(self._why))


def seen(future: "asyncio.Future[Any]") -> None:
    """Nobody waits for this one: a failure shows in the next command that somebody does wait for."""
    with contextlib.suppress(asyncio.CancelledError):
        future.exception()
