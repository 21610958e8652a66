"""A tiny process that outlives the hub just long enough to end what the hub started. It uses the standard library only.

The hub holds the only write end of a pipe. `+<group> <mark>` registers a server's process group, `-<group> <mark>` says that the
server ended: what is left of it dies at once. When the pipe closes, because the hub stopped or was killed, everything registered
and every process that carries the hub's boot id in its environment gets TERM, and two seconds later KILL.

No gap between starting and registering: the write end closes on exec, so a child between fork and exec still holds the pipe open,
and after exec it carries the mark. Processes are found by process group, by session, by environment (so also those that changed
both), and by being a descendant of one found. What cannot be found is a process that left its session, cleared its environment and
lost its parent, all three, before the hub ended.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

BOOT = "HUB_BOOT"
SERVER = "HUB_SERVER"
GRACE = 2.0
"""Seconds between TERM and KILL."""


class Guard:
    """The hub's end. Not thread-safe: used from the loop's thread."""

    def __init__(self, boot: str) -> None:
        """`boot` names this run of the hub; it goes into the environment of every server. Letters, digits and `-` only."""
        self.boot = boot
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: dict[int, str] = {}
        self._counter = 0

    def start(self) -> None:
        """Start the process. Call it before any server is started. Raises `OSError`."""
        reader, writer = os.pipe()
        try:
            argv = [sys.executable, "-I", "-S", __file__, self.boot]
            null = subprocess.DEVNULL
            self._process = subprocess.Popen(argv, stdin=reader, stdout=null, stderr=null, cwd="/", env={}, start_new_session=True)
        except OSError:
            os.close(writer)
            raise
        finally:
            os.close(reader)
        self._pipe = writer

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def mark(self) -> dict[str, str]:
        """The environment variables the next server must be started with."""
        self._counter += 1
        return {BOOT: self.boot, SERVER: f"{self.boot}.{self._counter}"}

    def add(self, group: int, mark: str) -> None:
        """Register a process group under its `HUB_SERVER` value."""
        self._groups[group] = mark
        self._tell(f"+{group} {mark}\n")

    def remove(self, group: int) -> None:
        """The server ended: have what is left of it killed, and forget it."""
        mark = self._groups.pop(group, None)
        if mark is not None:
            self._tell(f"-{group} {mark}\n")

    def close(self, timeout: float = GRACE + 3) -> None:
        """Close the pipe and wait until the guard has ended what was left, `timeout` seconds at most. Blocks."""
        process, self._process = self._process, None
        if process is not None:
            os.close(self._pipe)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout)

    def _tell(self, line: str) -> None:
        if self._process is None:
            return
        try:
            os.write(self._pipe, line.encode())
        except BrokenPipeError:
            self._process.wait()
            os.close(self._pipe)
            self.start()
            everything = "".join(f"+{group} {mark}\n" for group, mark in self._groups.items())
            os.write(self._pipe, everything.encode())


class _Seen:
    """What `/proc` says of one process."""

    __slots__ = ("began", "dead", "group", "parent", "pid", "session")

    def __init__(self, pid: int, stat: bytes) -> None:
        fields = stat[stat.rindex(b")") + 2 :].split()
        self.pid = pid
        self.dead = fields[0] in (b"Z", b"X")
        self.began = fields[19]
        self.parent, self.group, self.session = int(fields[1]), int(fields[2]), int(fields[3])


def _processes() -> list[_Seen]:
    found: list[_Seen] = []
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError, ValueError), open(f"/proc/{name}/stat", "rb") as file:
                    found.append(_Seen(int(name), file.read()))
    return found


def _carries(pid: int, entry: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return entry in file.read().split(b"\0")
    except OSError:
        return False


def find(entry: str, groups: set[int], known: dict[int, bytes] | None = None) -> set[int]:
    """The processes that carry `entry` (`NAME=value`) in their environment, are in `groups` as group or session, or descend from these.

    `known` remembers them, by the time they began, so that one found as a descendant is still known when its parent has ended.
    """
    seen = [one for one in _processes() if not one.dead]
    known = {} if known is None else known
    raw = entry.encode()
    found = {
        one.pid for one in seen if one.group in groups or one.session in groups or known.get(one.pid) == one.began or _carries(one.pid, raw)
    }
    grew = True
    while grew:
        more = {one.pid for one in seen if one.parent in found} - found
        found |= more
        grew = bool(more)
    found -= {os.getpid(), os.getppid(), 1}
    known.update((one.pid, one.began) for one in seen if one.pid in found)
    return found


def _signal_all(find_now: Callable[[], set[int]], groups: set[int], number: int) -> bool:
    """Send the signal to all that can be found; whether there were any. Groups are signalled as well, for systems without `/proc`."""
    found = find_now()
    for group in groups:
        with contextlib.suppress(OSError):
            os.killpg(group, number)
    for pid in found:
        with contextlib.suppress(OSError):
            os.kill(pid, number)
    return bool(found)


def end(entry: str, groups: set[int], grace: float) -> None:
    """TERM, `grace` seconds at most, then KILL until two looks in a row, 50 ms apart, find nothing."""

    known: dict[int, bytes] = {}

    def look() -> set[int]:
        return find(entry, groups, known)

    if grace:
        _signal_all(look, groups, signal.SIGTERM)
        until = time.monotonic() + grace
        while time.monotonic() < until and look():
            time.sleep(0.05)
    clean = 0
    for _ in range(100):
        clean = 0 if _signal_all(look, groups, signal.SIGKILL) else clean + 1
        if clean == 2:
            return
        time.sleep(0.05)


def _lines() -> None:
    """Follow the pipe until it closes, then end everything of this boot."""
    boot = sys.argv[1]
    groups: set[int] = set()
    rest = b""
    while data := os.read(0, 65536):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            group, _, mark = line[1:].decode().partition(" ")
            if line[:1] == b"+":
                groups.add(int(group))
            else:
                groups.discard(int(group))
                end(f"{SERVER}={mark}", {int(group)}, 0)
    end(f"{BOOT}={boot}", groups, GRACE)


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(ignored, signal.SIG_IGN)
    _lines()
