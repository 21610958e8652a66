"""One worker as its parent sees it: started in a fresh interpreter, spoken to over a socket, watched until it ends."""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable

from hub.processes.channel import Channel, Closed
from hub.processes.messages import Begin, Standing, State, ToParent, ToWorker

log = logging.getLogger("hub")

PROGRAM = "hub.processes.worker"

LAST_WORDS = 1.0
"""Seconds in which what it said last is read, once it has ended."""


class Child:
    """`told` is called with each message of it. `serving` and `ended` are for the parent to set; `code` is known once it has ended."""

    def __init__(self, number: int, begin: Begin, config: str, told: "Callable[[Child, ToParent], None]") -> None:
        self.number = number
        self.state: State = "starting"
        self.generation = begin.generation
        self.config = config
        self.greets = begin.welcome
        self.began = time.monotonic()
        self.serving = asyncio.Event()
        self.ended = asyncio.Event()
        self.code = 0
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
        """Start it. It inherits the socket to its parent, the listening socket and the board, and nothing else. Raises `OSError`."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                inherited = (theirs.fileno(), self._begin.listener, self._begin.board)
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", PROGRAM, str(self.number), str(theirs.fileno())),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=inherited,
                    start_new_session=True,  # what a terminal sends goes to the parent only, which passes it on
                )
            except OSError:
                ours.close()
                raise
        self._channel = await Channel[ToParent].open(ours, ToParent)
        self._channel.send(self._begin)

    async def live(self) -> None:
        """Follow it to its end."""
        following = asyncio.create_task(self._follow(), name=f"worker-{self.number}")
        self.code = await self._process.wait()
        await asyncio.wait([following], timeout=LAST_WORDS)
        following.cancel()
        await self._channel.close()

    def tell(self, message: ToWorker) -> None:
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
            log.exception("what a worker said could not be dealt with: it is killed")
            self.kill()
