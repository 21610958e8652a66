"""Ways to take the disk away from a hub that runs, and to give it back. Each works on the hub's files from outside."""

import array
import contextlib
import errno
import fcntl
import os
import resource
import shlex
import sqlite3
import subprocess
from pathlib import Path
from typing import Protocol

from tests.chaos.world import Victim

_GET_FLAGS, _SET_FLAGS, _IMMUTABLE = 0x80086601, 0x40086602, 0x10
SIZE = 16 * 1024 * 1024


class Fault(Protocol):
    def prefix(self, folder: Path) -> list[str]:
        """What the hub must be started by, so that its state in `folder` can be taken away."""
        ...

    def begin(self, hub: Victim) -> None: ...

    def end(self, hub: Victim) -> None: ...


class FullDisk:
    """The state folder is a file system of its own, which is filled up (ENOSPC)."""

    def prefix(self, folder: Path) -> list[str]:
        return mounted(f"mount -t tmpfs -o size={SIZE} tmpfs {shlex.quote(str(folder))}")

    def begin(self, hub: Victim) -> None:
        with (hub.database.parent / "filler").open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"x" * size)

    def end(self, hub: Victim) -> None:
        (hub.database.parent / "filler").unlink()


class NoWriting:
    """Every write of the process to a file fails (EFBIG), to its database as well as to its log; what it reads it may."""

    def prefix(self, folder: Path) -> list[str]:
        return []

    def begin(self, hub: Victim) -> None:
        resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def end(self, hub: Victim) -> None:
        resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


class ReadOnly:
    """The database's files become immutable while they are open (EPERM)."""

    def prefix(self, folder: Path) -> list[str]:
        return []

    def begin(self, hub: Victim) -> None:
        for file in self._files(hub):
            set_immutable(file, yes=True)

    def end(self, hub: Victim) -> None:
        for file in self._files(hub):
            set_immutable(file, yes=False)

    def _files(self, hub: Victim) -> list[Path]:
        return [hub.database, hub.database.with_name("hub.db-wal")]


class Taken:
    """Another process holds the database's write lock."""

    def prefix(self, folder: Path) -> list[str]:
        return []

    def begin(self, hub: Victim) -> None:
        self._holder = sqlite3.connect(hub.database, isolation_level=None, timeout=10)
        self._holder.execute("BEGIN IMMEDIATE")

    def end(self, hub: Victim) -> None:
        self._holder.execute("ROLLBACK")
        self._holder.close()


def mounted(command: str) -> list[str]:
    """A prefix that runs `command`, a mount, in a mount namespace that only the process started sees."""
    return ["unshare", "-m", "sh", "-c", f'{command} && exec "$@"', "sh"]


def can_mount(folder: Path) -> bool:
    try:
        return subprocess.run([*FullDisk().prefix(folder), "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def can_freeze(file: Path) -> bool:
    """Whether files here can be made immutable: by root, on most disk file systems."""
    file.touch()
    try:
        with file.open("r+b", buffering=0) as held:
            set_immutable(file, yes=True)
            try:
                held.write(b"x")
            except OSError as problem:
                return problem.errno == errno.EPERM
            finally:
                set_immutable(file, yes=False)
    except OSError:
        return False
    return False


def set_immutable(file: Path, *, yes: bool) -> None:
    """ioctl_iflags(2). Raises `OSError`."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        flags = array.array("L", [0])
        fcntl.ioctl(descriptor, _GET_FLAGS, flags, True)
        flags[0] = flags[0] | _IMMUTABLE if yes else flags[0] & ~_IMMUTABLE
        fcntl.ioctl(descriptor, _SET_FLAGS, flags, True)
    finally:
        os.close(descriptor)
