"""One end of the socket between a worker and the stdio host: frames of four bytes of length, then msgpack. Bounded.

An end that does not read is cut: the other neither waits for it nor keeps what it does not take.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Generic, TypeVar, cast

import msgspec

log = logging.getLogger("hub.upstreams")

FULL = 1024 * 1024
"""Bytes that wait to be read beyond which those who can wait do."""

HELD = 256 * 1024 * 1024
"""Bytes that wait to be read beyond which the line is cut. One message more than that is held at most."""

STUCK = 10.0
"""Seconds in which something must be read of a full line; else it is cut."""

T = TypeVar("T", bound=msgspec.Struct)

_encode = msgspec.msgpack.Encoder().encode


class Line(asyncio.Protocol, Generic[T]):
    """`told` gets each message that arrives, of the union `kinds`; `lost` is called once, at the end, whoever ends it."""

    def __init__(self, kinds: object, told: Callable[[T], None], lost: Callable[[], None]) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kinds)  # pyright: ignore[reportArgumentType] (a union)
        self._told = told
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._held = bytearray()
        self._room: asyncio.Future[None] | None = None
        self._stuck: asyncio.TimerHandle | None = None
        self._sent = 0
        self.open = False

    def send(self, message: msgspec.Struct) -> None:
        """Hand it over without waiting. Where the line has ended nothing happens: `lost` has been called."""
        transport = self._transport
        if not self.open or transport is None:
            return
        if transport.get_write_buffer_size() > HELD:
            self.cut("it does not read what it is sent")
            return
        data = _encode(message)
        self._sent += 4 + len(data)
        transport.write(b"".join((len(data).to_bytes(4), data)))

    @property
    def full(self) -> bool:
        return self._room is not None

    async def room(self) -> None:
        """Wait until the line is not full, or has ended."""
        while self._room is not None:
            await asyncio.shield(self._room)

    def cut(self, why: str) -> None:
        """End it at once, whatever is under way."""
        if self.open and self._transport is not None:
            log.error("the line between a worker and the stdio host is cut: %s", why)
            self._transport.abort()
            self._end()

    def close(self) -> None:
        """End it; what was sent still arrives."""
        if self.open and self._transport is not None:
            self._transport.close()
            self._end()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=FULL)
        self.open = True

    def data_received(self, data: bytes) -> None:
        held = self._held
        held += data
        at = 0
        try:
            with memoryview(held) as view:
                while len(held) - at >= 4:
                    end = at + 4 + int.from_bytes(view[at : at + 4])
                    if end > len(held):
                        break
                    message = self._decoder.decode(view[at + 4 : end])
                    at = end
                    if self.open:
                        self._told(message)
        except msgspec.MsgspecError:
            self.cut("what arrived is no message")
            return
        del held[:at]

    def pause_writing(self) -> None:
        self._room = asyncio.get_running_loop().create_future()
        self._await_reading()

    def resume_writing(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
        room, self._room = self._room, None
        if room is not None:
            room.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _await_reading(self) -> None:
        self._stuck = asyncio.get_running_loop().call_later(STUCK, self._read_any, self._read)

    def _read_any(self, before: int) -> None:
        """A slow reader may keep the line full for as long as it reads."""
        if self._read > before:
            self._await_reading()
        else:
            self.cut("it does not read what it is sent")

    @property
    def _read(self) -> int:
        """Bytes of all that were sent which do not wait here any more."""
        return self._sent - (0 if self._transport is None else self._transport.get_write_buffer_size())

    def _end(self) -> None:
        self.resume_writing()
        if self.open:
            self.open = False
            self._lost()


async def unfilled(line: Line[T], seconds: float) -> bool:
    """Whether the line has room within so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await line.room()
    return not line.full
