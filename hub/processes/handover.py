"""Passing one end of a line to a child that runs already: a descriptor beside the line's number, over a socket of its own.

A child has one such socket, its plug, from its start. What a child does not take is lost with it; what does not fit is not sent.
"""

import asyncio
import os
import socket
from collections.abc import Callable

_NUMBER = 8
"""Bytes of a line's number."""


class Outlet:
    """The parent's end of a child's plug."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    @staticmethod
    def pair() -> "tuple[Outlet, socket.socket]":
        """An outlet, and the plug for it that a child is to inherit."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.setblocking(False)
        return Outlet(ours), theirs

    def hand(self, line: socket.socket, number: int) -> bool:
        """Whether it is on its way. It is not where the child has ended, or has taken none of many before."""
        try:
            socket.send_fds(self._end, [number.to_bytes(_NUMBER)], [line.fileno()])
        except OSError:
            return False
        return True

    def close(self) -> None:
        self._end.close()


class Plug:
    """The child's end: `take` is called with each line as it comes, and its number, from `open` until `close`."""

    def __init__(self, descriptor: int, take: Callable[[socket.socket, int], None]) -> None:
        os.set_inheritable(descriptor, False)
        self._end = socket.socket(fileno=descriptor)
        self._end.setblocking(False)
        self._take = take
        self._loop = asyncio.get_running_loop()

    def open(self) -> None:
        """Take what is there already, and what comes."""
        self._loop.add_reader(self._end.fileno(), self._ready)
        self._ready()

    def close(self) -> None:
        self._loop.remove_reader(self._end.fileno())
        self._end.close()

    def _ready(self) -> None:
        while True:
            try:
                said, descriptors, _, _ = socket.recv_fds(self._end, _NUMBER, 1)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                said, descriptors = b"", []
            if not said:  # the parent is gone: its channel says so too
                self._loop.remove_reader(self._end.fileno())
                return
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
                self._take(socket.socket(fileno=descriptor), int.from_bytes(said))
