"""A hub with abused servers behind it, that can be killed, starved and watched from outside. Tests only; knows no MCP message."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.services.machine import die_with_us
from tests.support.hub import PATIENCE, ROOT, START, Hub, wait_for

SERVER = str(Path(__file__).with_name("server.py"))
FORBID = 'forbid(principal, action == Hub::Action::"call_tool:web/forbidden", resource);'


class Victim(Hub):
    """A hub that may be ended without asking. `prefix` is what it is started by, such as `unshare`."""

    prefix: Sequence[str] = ()

    def spawn(self) -> int:
        """Start it without waiting for it; where its log stood before."""
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        environment["PYTHONPATH"] = str(ROOT)
        at = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "hub.cli", "serve", "--config", str(self.file), "--port", "0"],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_us,  # noqa: PLW1509 (one call into libc, which takes no lock)
            )
        return at

    def start(self) -> "Victim":
        at = self.spawn()
        found = wait_for(lambda: re.search(r"Countersign is at (http://[0-9.:]+)", self.log.read_text()[at:]) or self._ended(), START)
        assert isinstance(found, re.Match), f"the hub did not start:\n{self.tail}"
        self.url = found[1]
        wait_for(lambda: self._ready() or self._ended(), START)
        return self

    @property
    def tail(self) -> str:
        return self.log.read_text()[-4000:]

    async def readable(self) -> Path:
        """The database, where SQLite can open it."""
        return self.database

    def kill(self) -> None:
        """End it as a power cut would, but for the disk's own cache."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stumble(self, seconds: float) -> None:
        """Start it and kill it again so soon that it has hardly begun."""
        self.spawn()
        time.sleep(seconds)  # a moment, whichever it is: nothing is waited for
        self.kill()

    def memory(self) -> int:
        """Resident bytes."""
        fields = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", fields)[1]) * 1024  # type: ignore[index]  # it is always there


@contextlib.contextmanager
def victim(folder: Path, config: dict[str, Any], prefix: Sequence[str] = (), make: type[Victim] = Victim) -> Generator[Victim]:
    """Nothing of it is left behind, however the test ends."""
    hub = make(folder, config)
    hub.prefix = prefix
    try:
        yield hub
    finally:
        if hub.process is not None and hub.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(hub.process.pid, signal.SIGCONT)
            hub.kill()


@contextlib.contextmanager
def web(notes: Path) -> Generator[tuple[str, "subprocess.Popen[str]"]]:
    """The abused server over HTTP: its URL and its process."""
    process = subprocess.Popen(
        [sys.executable, SERVER, "http", str(notes)],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_us,  # noqa: PLW1509 (one call into libc, which takes no lock)
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/mcp", process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def pipe(notes: Path, **more: Any) -> dict[str, Any]:
    """The abused server over stdio, as hub.yaml names it."""
    return {"stdio": {"command": sys.executable, "args": [SERVER, "stdio", str(notes)], "env": {"CHAOS": str(notes)}}, **more}


def wrapped(notes: Path) -> dict[str, Any]:
    """The same behind a shell, with a grandchild in a session of its own."""
    script = f'"{sys.executable}" "{SERVER}" stdio "{notes}" brood; true'
    return {"stdio": {"command": "sh", "args": ["-c", script], "env": {"CHAOS": str(notes)}}}


def settings(url: str, notes: Path, **more: Any) -> dict[str, Any]:
    """hub.yaml with the three of them behind the virtual server `main`: tools `web_echo`, `pipe_echo`, `wrapped_echo` and so on."""
    upstreams = {"web": {"url": url}, "pipe": pipe(notes), "wrapped": wrapped(notes), **more.pop("upstreams", {})}
    return {
        "keys": [
            {"name": "root", "roles": ["admin"]},
            {"name": "user", "subject": "user:ann", "grants": [{"virtual_server": "main"}]},
        ],
        "limits": [
            {"name": "day", "scope": "key", "match": "user", "per_day": 100_000_000},
            {"name": "scarce", "scope": "tool", "match": "web/scarce", "per_minute": 60, "burst": 5},
        ],
        "policies": {"sets": {"house": {"cedar": FORBID}}},
        "upstreams": upstreams,
        "virtual_servers": {"main": {"include": [{"from": name} for name in upstreams], "naming": {"prefix": "always"}}},
        **more,
    }


def marked(entry: str) -> list[int]:
    """The processes that carry `entry` (`NAME=value`) in their environment, but for those that are only waiting to be reaped."""
    return bearing({entry})


def bearing(entries: Iterable[str]) -> list[int]:
    """The same of those that carry any one of these."""
    return _having("environ", entries)


def naming(*words: str) -> list[int]:
    """The processes that have one of `words` among their arguments."""
    return _having("cmdline", words)


def _having(what: str, words: Iterable[str]) -> list[int]:
    wanted = {word.encode() for word in words}
    return [pid for pid in _all() if not wanted.isdisjoint(_read(pid, what).split(b"\0")) and not _dead(pid)]


def no_orphans(notes: Path, boot: str, seconds: float = PATIENCE) -> float:
    """Wait until nothing that a hub of this boot started is left: servers by their environment, its guard by its arguments."""
    began = time.monotonic()
    wait_for(lambda: not marked(f"CHAOS={notes}") and not marked(f"HUB_BOOT={boot}") and not naming(boot), seconds)
    return time.monotonic() - began


def _all() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _read(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""


def _dead(pid: int) -> bool:
    stat = _read(pid, "stat")
    return not stat or stat[stat.rindex(b")") + 2 :][:1] in (b"Z", b"X")
