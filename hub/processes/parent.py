"""The parent of several workers: it holds the listening socket, starts workers and starts them again, and carries no traffic.

SIGTERM or Ctrl-C: give notice, then stop in order, the second time in a hurry. SIGHUP: read the configuration again now. SIGUSR2: a new
worker in the place of each, one after the other. A parent that is killed takes no call with it: its workers drain and end by themselves,
and after them the stdio host.
"""

import asyncio
import logging
import os
import signal
import socket
from bisect import insort
from collections.abc import Coroutine
from typing import Any

from hub import __version__
from hub.config.load import Loaded
from hub.config.serving import Server
from hub.hangup import on_hangup
from hub.listen import bind, url_of
from hub.os_signals import on_signal, past_signals
from hub.processes.agreement import Agreement
from hub.processes.board import Board
from hub.processes.census import Census
from hub.processes.child import Child
from hub.processes.either import either
from hub.processes.keeper import Keeper
from hub.processes.messages import (
    Adopted,
    Adopting,
    Ask,
    Begin,
    Counted,
    Drain,
    Holding,
    Hurry,
    Notice,
    Ready,
    Retire,
    Serve,
    Serving,
    Standings,
    ToParent,
    Totals,
    Unplugged,
    Vote,
)
from hub.processes.place import Place
from hub.telemetry.logs import fields
from hub.watch import Watch

log = logging.getLogger("hub")

REST = 20.0
"""Seconds a worker has to end beside those its calls have; then it is killed."""


def run_several(loaded: Loaded, host: str, port: int, workers: int) -> int:
    """Have `workers` processes serve until SIGTERM or Ctrl-C; the exit code."""
    try:
        listener = bind(host, port)
    except OSError as error:
        log.error("the hub cannot start", extra=fields(reason=str(error), address=f"{host}:{port}"))
        return 1
    return asyncio.run(_run(loaded, listener, url_of(host, listener), workers))


async def _run(loaded: Loaded, listener: socket.socket, url: str, workers: int) -> int:
    code = await Parent(loaded, listener, url, workers).run()
    past_signals()
    log.info("stopped")
    return code


class Parent:
    """`run` it once."""

    def __init__(self, loaded: Loaded, listener: socket.socket, url: str, workers: int) -> None:
        self._listener = listener
        self._url = url
        self._board = Board.make(workers + 2)  # numbers count from 1, and there is one more while one is renewed
        self._children: list[Child] = []
        self._numbers = list(range(1, workers + 2))
        """Those no worker has, in order."""
        self._waiting: list[Child] = []
        self._census = Census(lambda: self._children, workers)
        self._keeper = Keeper(self._census, lambda: self._children)
        self._agreement = Agreement(loaded, self._may_serve, self._changed, self._keeper.take)
        self._watch = Watch(loaded, self._agreement.propose)
        self._leaving = asyncio.Event()
        """Set when the hub is told to stop; it serves on for `server.notice` seconds, and then `_stop` is set."""
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._over = asyncio.Event()
        self._places = [Place(self._start, self._see_out, self._fell, self._stop) for _ in range(workers)]
        self._tasks: set[asyncio.Task[None]] = set()
        self._code = 0
        self._welcomed = self._greeting = False
        self._served = False
        self._renewing = False

    async def run(self) -> int:
        """Until it is told to stop and every worker has ended; the exit code."""
        self._handle_signals()
        self._watch.start()
        await self._keeper.begin(self._agreement.in_force)
        ending = asyncio.create_task(self._end(), name="end")
        await asyncio.gather(*(place.keep() for place in self._places))
        self._over.set()
        await ending
        await self._keeper.stop()
        while self._tasks:
            await asyncio.wait(self._tasks)
        return self._code

    # Signals

    def _handle_signals(self) -> None:
        for wanted in (signal.SIGTERM, signal.SIGINT):
            on_signal(wanted, self._asked_to_stop)
        on_signal(signal.SIGUSR2, lambda: self._soon(self._renew()))
        on_hangup(self._watch.now, self._asked_to_stop)

    def _asked_to_stop(self) -> None:
        if self._leaving.is_set():
            self._hurry.set()
        self._leaving.set()

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _renew(self) -> None:
        """A new worker in each place, one after the other, as long as new ones come up."""
        if self._renewing or self._leaving.is_set() or self._stop.is_set():
            log.warning("the workers are not renewed: they are being renewed, or the hub stops")
            return
        self._renewing = True
        try:
            for number, place in enumerate(self._places, 1):
                if not await place.renew():
                    log.error("a new worker could not take the place of an old one, which goes on", extra=fields(renewed=number - 1))
                    return
            log.info("every worker was renewed", extra=fields(workers=len(self._places)))
        finally:
            self._renewing = False

    # Workers

    async def _start(self) -> Child | None:
        """Start one more worker; None where that cannot be."""
        if self._stop.is_set():
            return None
        number = self._numbers.pop(0)
        in_force = self._agreement.in_force
        greets = not self._welcomed and not self._greeting
        self._greeting |= greets
        listener, board = self._listener.fileno(), self._board.file
        begin = Begin(__version__, in_force.number, in_force.parcel, self._url, greets, listener, board)
        child = Child(number, begin, in_force.loaded.hash, self._told)
        try:
            await child.start()
        except OSError as error:
            self._free(number)
            self._greeting &= not greets
            log.error("a worker could not be started", extra=fields(reason=str(error)))
            return None
        self._children.append(child)
        self._keeper.join(child)
        self._soon(self._follow(child))
        if self._stop.is_set():
            self._tell_to_stop(child)
        elif self._leaving.is_set():
            child.tell(Notice())
        return child

    async def _follow(self, child: Child) -> None:
        await child.live()
        self._children.remove(child)
        self._board.leave(child.number)
        self._free(child.number)
        if not self._served and child.code > 0 and not self._stop.is_set():
            log.error("the hub cannot start: a worker could not", extra=fields(worker=child.number, how=child.how_it_ended()))
            self._code = 1
            self._stop.set()
        self._greeting &= not child.greets
        self._waiting = [waiting for waiting in self._waiting if waiting is not child]
        self._census.left(child)
        self._agreement.left(child)
        self._changed()
        child.ended.set()

    def _free(self, number: int) -> None:
        insort(self._numbers, number)

    async def _see_out(self, child: Child) -> None:
        """Have it end in order, now that another has its place."""
        child.state = "retiring"
        child.tell(Retire())
        self._changed()
        await either(child.ended, self._stop, timeout=2 * self._settings.drain + REST)
        if not self._stop.is_set() and not child.ended.is_set():
            self._kill(child)
        await child.ended.wait()

    def _told(self, child: Child, message: ToParent) -> None:
        match message:
            case Ready():
                self._welcomed |= message.welcomed
                self._agreement.joined(child)
                if self._welcomed:
                    for waiting in self._waiting:
                        waiting.tell(Serve())
                    self._waiting.clear()
            case Serving():
                self._serves(child)
            case Vote() | Adopting() | Adopted():
                self._agreement.told(child, message)
            case Counted():
                self._census.told(child, message)
            case Ask():
                self._soon(self._answer(child, message.ask))
            case Unplugged():
                self._keeper.unplugged(child, message.line)
            case Holding():
                raise ValueError("a worker says that it is the stdio host")

    def _may_serve(self, child: Child) -> None:
        """Nobody is served before the first keys are where they can be read."""
        if self._welcomed:
            child.tell(Serve())
        else:
            self._waiting.append(child)

    def _serves(self, child: Child) -> None:
        if child.state == "starting":
            child.state = "serving"
        child.serving.set()
        self._changed()
        if not self._served:
            self._served = True
            said = fields(url=self._url, version=__version__, config=child.config, pid=os.getpid(), workers=len(self._places))
            log.info("serving", extra=said)

    async def _answer(self, child: Child, ask: int) -> None:
        child.tell(Totals(ask, await self._census.take()))

    def _changed(self) -> None:
        """Tell every worker where all of them stand."""
        standings = Standings(tuple(child.standing for child in self._children))
        for child in self._children:
            if child.state != "starting":
                child.tell(standings)

    def _fell(self) -> None:
        self._census.ends += 1

    # The end

    async def _end(self) -> None:
        """Once told to stop: give notice, tell the workers, wait, and kill what does not end."""
        await either(self._leaving, self._stop)
        if self._settings.notice and self._served and not self._stop.is_set():
            for child in self._children:
                child.tell(Notice())
            await either(self._stop, self._hurry, timeout=self._settings.notice)
        self._stop.set()
        await self._watch.stop()
        self._agreement.close()
        self._listener.close()
        for child in self._children:
            self._tell_to_stop(child)
        self._changed()
        await either(self._over, self._hurry, timeout=self._settings.drain + REST)
        if self._hurry.is_set():
            for child in self._children:
                child.tell(Hurry())
            await either(self._over, timeout=REST)
        for child in self._children:
            self._kill(child)

    def _tell_to_stop(self, child: Child) -> None:
        child.state = "stopping"
        child.tell(Drain())

    def _kill(self, child: Child) -> None:
        log.error("a worker did not end in time: it is killed", extra=fields(worker=child.number, pid=child.pid))
        child.kill()

    @property
    def _settings(self) -> Server:
        return self._agreement.in_force.loaded.config.server
