"""A server process: started without a shell in a session of its own, watched, stopped with patience. It does not know what it says.

The environment of the hub is not passed on: PATH and LANG, what the configuration names, and the guard's marks.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable

from hub.config.mcp import Stdio
from hub.config.values import Secret
from hub.refusal import UpstreamDown
from virtual_servers.guard import SERVER, Guard

PATIENCE = 2.0
"""Seconds a server gets after its input closed, and again after TERM."""

STDERR_KEPT = 64 * 1024
BUFFERED = 256 * 1024
"""Bytes waiting to be read by the server beyond which writers wait."""

POLL = 0.05


class Ring(asyncio.Protocol):
    """Keeps the last `STDERR_KEPT` bytes."""

    def __init__(self) -> None:
        self._data = bytearray()

    def data_received(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > 2 * STDERR_KEPT:
            del self._data[:-STDERR_KEPT]

    @property
    def tail(self) -> bytes:
        return bytes(self._data[-STDERR_KEPT:])


class Process:
    """One run of a server. `exited` ends with the exit code, negative for a signal."""

    def __init__(self, spec: Stdio, guard: Guard | None) -> None:
        self._spec = spec
        self._guard = guard
        self._loop = asyncio.get_running_loop()
        self._pidfd = -1
        self._transports: list[asyncio.BaseTransport] = []
        self.errors = Ring()
        self.exited: asyncio.Future[int] = self._loop.create_future()

    async def start(self, output: asyncio.Protocol, feed: asyncio.BaseProtocol) -> asyncio.WriteTransport:
        """Start it; what it prints goes to `output`, flow control to `feed`. Raises `UpstreamDown` where it cannot be started."""
        our_in, our_out, our_err = self._spawn()
        self._watch()
        return await self._connect(output, feed, our_in, our_out, our_err)

    def _spawn(self) -> tuple[int, int, int]:
        """Start it from this thread, and register it before anything else happens; our ends of its three pipes."""
        marks = self._guard.mark() if self._guard is not None else {}
        (child_in, our_in), (our_out, child_out), (our_err, child_err) = [os.pipe() for _ in range(3)]
        try:
            self._popen = subprocess.Popen(
                [self._spec.command, *self._spec.args],
                stdin=child_in,
                stdout=child_out,
                stderr=child_err,
                cwd=self._spec.cwd or None,
                env=_environment(self._spec, marks),
                start_new_session=True,
            )
        except (OSError, ValueError) as problem:
            for one in (our_in, our_out, our_err):
                os.close(one)
            raise UpstreamDown("the server cannot be started", detail=f"{type(problem).__name__}: {problem}") from None
        finally:
            for one in (child_in, child_out, child_err):
                os.close(one)
        self.pid = self._popen.pid
        if self._guard is not None:
            self._guard.add(self.pid, marks[SERVER])
        return our_in, our_out, our_err

    async def _connect(
        self, output: asyncio.Protocol, feed: asyncio.BaseProtocol, our_in: int, our_out: int, our_err: int
    ) -> asyncio.WriteTransport:
        reading: list[tuple[int, Callable[[], asyncio.Protocol]]] = [(our_out, lambda: output), (our_err, lambda: self.errors)]
        for number, protocol in reading:
            reader, _ = await self._loop.connect_read_pipe(protocol, os.fdopen(number, "rb", 0))
            self._transports.append(reader)
        writer, _ = await self._loop.connect_write_pipe(lambda: feed, os.fdopen(our_in, "wb", 0))
        writer.set_write_buffer_limits(high=BUFFERED)
        self._transports.append(writer)
        self._input = writer
        return writer

    def _watch(self) -> None:
        if hasattr(os, "pidfd_open"):
            self._pidfd = os.pidfd_open(self.pid)
            self._loop.add_reader(self._pidfd, self._reap)
        else:
            self._loop.call_later(POLL, self._poll)

    def _poll(self) -> None:
        self._reap()
        if not self.exited.done():
            self._loop.call_later(POLL, self._poll)

    def _reap(self) -> None:
        code = self._popen.poll()
        if code is None:
            return
        self._unwatch()
        if not self.exited.done():
            self.exited.set_result(code)

    def _unwatch(self) -> None:
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    async def stop(self, *, patience: float = PATIENCE) -> None:
        """Close its input, wait, TERM its group, wait, KILL it; then nothing of it is left. `patience` 0 kills at once."""
        try:
            if patience:
                self._input.close()
                for number in (0, signal.SIGTERM):
                    if number:
                        self._signal(number)
                    await asyncio.wait([self.exited], timeout=patience)
                    if self.exited.done():
                        break
        finally:
            self._signal(signal.SIGKILL)
            self._reap()
            self._forget()
            if self._guard is not None:
                self._guard.remove(self.pid)
        await asyncio.wait([self.exited], timeout=PATIENCE)

    def _forget(self) -> None:
        """Let go of the pipes, also of what could not be written."""
        for transport in self._transports:
            if isinstance(transport, asyncio.WriteTransport) and transport.get_write_buffer_size():
                transport.abort()
            else:
                transport.close()

    def _signal(self, number: int) -> None:
        """To the whole group: it exists as long as any member does, also after its first process was reaped."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def _environment(spec: Stdio, marks: dict[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    named = {name: value.value if isinstance(value, Secret) else value for name, value in spec.env.items()}
    return {**kept, **named, **marks}
