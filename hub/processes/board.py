"""How many connections each worker has, in memory that all of them see: whoever has fewer takes the next one (docs/design/workers.md).

One signed 64-bit number for each worker; -1 is one that takes none. A number is written by its own worker only, and by the parent once
that worker is dead.
"""

import mmap
import os
import struct
import tempfile

_SIZE = 8
_AWAY = -1


class Board:
    """`slots` numbers behind the descriptor `file`."""

    def __init__(self, file: int, slots: int) -> None:
        self.file = file
        self._slots = slots
        self._memory = mmap.mmap(file, slots * _SIZE)
        self._all = struct.Struct(f"={slots}q")
        self._one = struct.Struct("=q")

    @staticmethod
    def make(slots: int) -> "Board":
        """A new one, on which nobody takes connections."""
        file = os.memfd_create("board") if hasattr(os, "memfd_create") else _unnamed()
        os.ftruncate(file, slots * _SIZE)
        board = Board(file, slots)
        for slot in range(slots):
            board.leave(slot)
        return board

    @staticmethod
    def find(file: int) -> "Board":
        """The one behind a descriptor that was inherited."""
        return Board(file, os.fstat(file).st_size // _SIZE)

    def write(self, slot: int, count: int) -> None:
        self._one.pack_into(self._memory, slot * _SIZE, count)

    def leave(self, slot: int) -> None:
        self.write(slot, _AWAY)

    def least(self, slot: int) -> int | None:
        """The fewest connections of any other worker that takes some; None where there is no other."""
        counts = self._all.unpack_from(self._memory)
        return min((count for other, count in enumerate(counts) if count != _AWAY and other != slot), default=None)


def _unnamed() -> int:
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
