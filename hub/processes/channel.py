"""Messages over a socket between two processes: four bytes of length, then msgpack. It does not know what they mean."""

import asyncio
import contextlib
import socket
from typing import Generic, TypeVar

import msgspec

LARGEST = 256 * 1024 * 1024
"""Bytes of one message: far more than any configuration, so that a frame that claims more is taken for garbage."""

T = TypeVar("T", bound=msgspec.Struct)


class Closed(Exception):
    """The other process has ended, or let go of its end."""


class Channel(Generic[T]):
    """One end. What arrives is of the union `kinds`; only one task may `receive`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kinds: object) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kinds)  # pyright: ignore[reportArgumentType] (a union)
        self._encoder = msgspec.msgpack.Encoder()

    @classmethod
    async def open(cls, end: socket.socket, kinds: object) -> "Channel[T]":
        """Take over one end of a socket pair."""
        end.setblocking(False)
        return cls(*await asyncio.open_connection(sock=end), kinds)

    def send(self, message: msgspec.Struct) -> None:
        """Hand it over without waiting. Where the other process is gone, nothing happens: `receive` says so."""
        if self._writer.is_closing():
            return
        data = self._encoder.encode(message)
        self._writer.write(len(data).to_bytes(4))
        self._writer.write(data)

    async def receive(self) -> T:
        """The next message. Raises `Closed`; also where what arrives is none of the messages, after which nothing can be understood."""
        try:
            length = int.from_bytes(await self._reader.readexactly(4))
            if length > LARGEST:
                raise Closed
            return self._decoder.decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, OSError, msgspec.MsgspecError):
            raise Closed from None

    async def close(self) -> None:
        """Let go of this end, once what was sent is on its way."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
