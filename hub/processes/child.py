"""One child as its parent sees it, a worker or the stdio host: started in a fresh interpreter, spoken to over a socket, watched until it
ends."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable

from msgspec import structs

from hub.processes.channel import Channel, Closed
from hub.processes.handover import Outlet
from hub.processes.messages import Begin, Hold, Standing, State, ToHost, ToParent, ToWorker
from hub.telemetry.logs import fields

log = logging.getLogger("hub")

PROGRAM = "hub.processes.worker"
HOST = "hub.processes.host"

KEPT = ("PATH", "LANG", "HOME", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME")
"""Of its environment, what the stdio host gets: the rest may hold secrets of the hub, and the host's servers run as the same user."""

GONE = 5.0
"""Seconds it has to end once it let go of its socket, or said what cannot be understood: nobody hears of it any more."""

LAST_WORDS = 1.0
"""Seconds in which what it said last is read, once it has ended."""


class Child:
    """`told` is called with each message of it. `serving` and `ended` are for the parent to set; `code` is known once it has ended.

    What it is follows from its first message. `lines` takes ends of lines between workers and the stdio host.
    """

    def __init__(self, number: int, begin: Begin | Hold, config: str, told: "Callable[[Child, ToParent], None]") -> None:
        self.number = number
        self.state: State = "starting"
        self.generation = begin.generation
        self.config = config
        self.greets = isinstance(begin, Begin) and begin.welcome
        self.began = time.monotonic()
        self.serving = asyncio.Event()
        self.ended = asyncio.Event()
        self.code = 0
        self.lines: Outlet
        self.line = 0
        """The number of the last line to the stdio host that it was given."""
        self._begin = begin
        self._told = told
        self._process: asyncio.subprocess.Process
        self._channel: Channel[ToParent]

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def standing(self) -> Standing:
        return Standing(self.number, self.state, self.generation, self.config)

    async def start(self) -> None:
        """Start it. It inherits the socket to its parent, the plug, for a worker the listening socket and the board, and nothing else.
        Raises `OSError`."""
        ours, theirs = socket.socketpair()
        self.lines, plug = Outlet.pair()
        begin = self._begin
        shared = (begin.listener, begin.board) if isinstance(begin, Begin) else ()
        with theirs, plug:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", PROGRAM if isinstance(begin, Begin) else HOST, str(self.number), str(theirs.fileno())),
                    stdin=asyncio.subprocess.DEVNULL,
                    env=None if isinstance(begin, Begin) else {name: os.environ[name] for name in KEPT if name in os.environ},
                    pass_fds=(theirs.fileno(), plug.fileno(), *shared),
                    start_new_session=True,  # what a terminal sends goes to the parent only, which passes it on
                )
            except OSError:
                ours.close()
                self.lines.close()
                raise
            begin = structs.replace(begin, plug=plug.fileno())
        self._channel = await Channel[ToParent].open(ours, ToParent)
        self._channel.send(begin)

    async def live(self) -> None:
        """Follow it to its end."""
        following = asyncio.create_task(self._follow(), name=f"child-{self.number}")
        ended = asyncio.create_task(self._process.wait())
        await asyncio.wait([following, ended], return_when=asyncio.FIRST_COMPLETED)
        if not (await asyncio.wait([ended], timeout=GONE if following.done() else None))[0]:
            said = fields(worker=self.number, pid=self.pid)
            log.error("a child speaks with its parent no more and does not end: it is killed", extra=said)
            self.kill()
        self.code = await ended
        await asyncio.wait([following], timeout=LAST_WORDS)
        following.cancel()
        self.lines.close()
        await self._channel.close()

    def tell(self, message: ToWorker | ToHost) -> None:
        self._channel.send(message)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def how_it_ended(self) -> str:
        """For people."""
        if self.code >= 0:
            return f"exit code {self.code}"
        try:
            return f"killed by {signal.Signals(-self.code).name}"
        except ValueError:
            return f"killed by signal {-self.code}"

    async def _follow(self) -> None:
        try:
            while True:
                self._told(self, await self._channel.receive())
        except Closed:
            return
        except Exception:
            log.exception("what a child said could not be dealt with: it is killed")
            self.kill()
