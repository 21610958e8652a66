"""What the services, and tests that watch processes, need of the machine: its processes, its packages, and patience."""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 60.0
"""Seconds for a server to do what it was asked: PostgreSQL replays its log first after a kill."""

STANDS = "TtZX"
"""States of processes that do nothing more, at least for now; see `state`."""


def state(pid: int) -> str:
    """Its state as one letter (proc(5)); `X` where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return "X"


def children(parent: int) -> list[int]:
    """The processes that `parent` started and that are still there."""
    return families().get(parent, [])


def families() -> dict[int, list[int]]:
    """The processes there are, by who started them."""
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(") ")[2].split()
                found.setdefault(int(fields[1]), []).append(int(name))
    return found


def die_with_us() -> None:
    """For a process between fork and exec: SIGKILL when the thread that started it ends, whatever ends it (PR_SET_PDEATHSIG, prctl(2))."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def until(condition: Callable[[], bool], otherwise: str) -> None:
    """Look again until it holds: what is waited for is another program, which tells nobody."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(otherwise)
        time.sleep(0.01)


def install(package: str) -> None:
    """As root: for the whole machine. Raises `FileNotFoundError` with what apt said."""
    _apt("apt-get", "update", "-q")
    _apt("apt-get", "install", "-q", "-y", "--no-install-recommends", package)


def unpack(folder: Path, *packages: str) -> None:
    """Without root: the packages are fetched and taken apart into `folder`. Raises `FileNotFoundError` with what apt said."""
    folder.mkdir(parents=True, exist_ok=True)
    _apt("apt-get", "download", "-q", *packages, cwd=folder)
    for package in folder.glob("*.deb"):
        _apt("dpkg", "-x", str(package), str(folder))
        package.unlink()


def _apt(*command: str, cwd: Path | None = None) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)
    if done.returncode:
        raise FileNotFoundError(f"the tests need what '{' '.join(command)}' gives: {done.stderr.strip()[-500:]}")
