"""A worker among the others: what it does when its parent says so, and what it knows of them."""

import asyncio
import contextlib
import itertools
import logging
import socket
from typing import Any

import msgspec

from hub.app import Hub
from hub.config.load import Loaded
from hub.policy.decide import PolicyInvalid
from hub.processes import scrape
from hub.processes.channel import Channel, Closed
from hub.processes.handover import Plug
from hub.processes.messages import (
    Adopt,
    Adopted,
    Adopting,
    Ask,
    Check,
    Count,
    Counted,
    Drain,
    Family,
    Hurry,
    Notice,
    Ready,
    Retire,
    Serve,
    Serving,
    Standing,
    Standings,
    Totals,
    ToWorker,
    Unplugged,
    Vote,
)
from hub.processes.parcel import unpack
from hub.processes.server import Shared
from hub.processes.totals import total
from hub.telemetry.logs import fields
from virtual_servers.hosted import StdioHost

log = logging.getLogger("hub")

ASK = 2.0
"""Seconds until the counts of this worker have to do for all: the parent, which gives each worker half of it, does not answer."""


class Member:
    """`listen` to the parent from the start; `serving` is set when it says so, `leaving` when this worker is to end."""

    def __init__(self, number: int, generation: int, channel: Channel[ToWorker]) -> None:
        self.number = number
        self.generation = generation
        self.serving = asyncio.Event()
        self.leaving = asyncio.Event()
        self.hub: Hub | None = None
        self.server: Shared | None = None
        self.failed = False
        self.noticed = False
        """Whether the hub is about to stop."""
        self._channel = channel
        self._others: tuple[Standing, ...] = ()
        self._checked: tuple[int, Loaded] | None = None
        self._changes: asyncio.Queue[Check | Adopt] = asyncio.Queue()
        self._asks = itertools.count(1)
        self._asked: dict[int, asyncio.Future[tuple[Family, ...]]] = {}
        self._signalled = False
        self._following: list[asyncio.Task[None]] = []
        self._lines: set[asyncio.Task[None]] = set()

    # What the parent says

    async def listen(self) -> None:
        """Do what the parent says until it is gone; then stop."""
        try:
            while True:
                self._told(await self._channel.receive())
        except Closed:
            log.error("the parent is gone: this worker takes no more connections, drains and ends")
            self.leave()
        except Exception:
            log.exception("what the parent said could not be dealt with: this worker ends")
            self.failed = True
            self.leave()

    def _told(self, message: ToWorker) -> None:
        match message:
            case Serve():
                self.serving.set()
            case Check() | Adopt():
                self._changes.put_nowait(message)
            case Count():
                self._channel.send(Counted(message.ask, self._counts()))
            case Totals():
                if (waiting := self._asked.pop(message.ask, None)) is not None and not waiting.done():
                    waiting.set_result(message.families)
            case Standings():
                self._others = message.workers
            case Notice():
                self._notice()
            case Retire():
                self._retire()
            case Drain():
                self.leave()
            case Hurry():
                self.hurry()
            case _:
                log.error("the parent said what this worker does not understand", extra=fields(message=type(message).__name__))

    # How it ends

    def _notice(self) -> None:
        self.noticed = True
        if self.hub is not None:
            self.hub.leaving = True
        if self.server is not None:
            self.server.last_answers()

    def leave(self) -> None:
        """Not ready from now on; no new connections; then the drain. Asked again it does nothing more."""
        self.leaving.set()
        if self.hub is not None:
            self.hub.clients.draining = True
        if self.server is not None:
            self.server.stop()

    def hurry(self) -> None:
        """The same, and no more patience with what is under way."""
        self.leave()
        if self.server is not None:
            self.server.hurry()

    def signalled(self) -> None:
        """SIGTERM or SIGINT came to this process itself: the first time it leaves, the second time it hurries."""
        if self._signalled:
            self.hurry()
        self._signalled = True
        self.leave()

    def farewell(self) -> None:
        """Leave behind what was counted."""
        self._channel.send(Counted(0, self._counts()))

    def _retire(self) -> None:
        if self.server is None or self.hub is None:
            self.leave()
            return
        log.info("this worker makes room for another")
        self.hub.switchboard.close()  # those who listen for changes come again, to another worker
        self.server.retire(self.hub.loaded.config.server.drain)

    # The stdio host

    def joined(self, plug: int) -> StdioHost:
        """The process that owns the stdio servers, by lines that come through this descriptor."""
        host = StdioHost(lambda line: self._channel.send(Unplugged(line)))

        def take(end: socket.socket, number: int) -> None:
            task = asyncio.create_task(host.plug(end, number), name="line")
            self._lines.add(task)
            task.add_done_callback(self._lines.discard)

        Plug(plug, take).open()
        return host

    # The configuration

    def ready(self, *, welcomed: bool) -> None:
        """The hub has started: say so, and follow what becomes of the configuration until `settled`."""
        self._following.append(asyncio.create_task(self._change(), name="configuration"))
        self._channel.send(Ready(welcomed))

    def serves(self) -> None:
        """Connections are taken."""
        self._channel.send(Serving())

    async def settled(self) -> None:
        """Follow no more: the hub is about to stop."""
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)

    async def _change(self) -> None:
        """Check and adopt, one after the other, in the order in which it was said."""
        while True:
            message = await self._changes.get()
            if isinstance(message, Check):
                self._channel.send(Vote(message.generation, await self._check(message)))
                continue
            try:
                await self._adopt(message.generation)
            except Exception:
                log.exception("a configuration that was found good could not be put in force: this worker ends")
                self.failed = True
                self.leave()

    async def _check(self, message: Check) -> str:
        """Why the configuration cannot be put in force; empty where it can."""
        assert self.hub is not None
        try:
            loaded = unpack(message.config)
            await self.hub.check(loaded)
        except (PolicyInvalid, ValueError, msgspec.MsgspecError) as error:
            return str(error)
        except Exception as error:
            log.exception("a configuration could not be checked")
            return f"it could not be checked ({type(error).__name__}; the log has more)"
        self._checked = (message.generation, loaded)
        return ""

    async def _adopt(self, generation: int) -> None:
        assert self.hub is not None
        if self._checked is None or self._checked[0] != generation:
            raise RuntimeError(f"generation {generation} was not checked")
        loaded, self._checked = self._checked[1], None
        self._channel.send(Adopting(generation))
        await self.hub.adopt(loaded)
        for earlier in self._following[1:]:
            earlier.cancel()
        self._following[1:] = [asyncio.create_task(self._adopted(self.hub, generation, loaded.hash), name="adoption")]

    async def _adopted(self, hub: Hub, generation: int, config: str) -> None:
        """Say so once it is recorded, which takes as long as the journal is away; the next configuration does not wait for that."""
        await hub.generations.settled()
        self.generation = generation
        self._channel.send(Adopted(generation, config))
        log.info("configuration reloaded", extra=fields(hash=config, generation=generation))

    # What it shows

    def among(self) -> dict[str, Any]:
        """What `/health/ready` shows of this worker and the others."""
        return {"worker": self.number, "generation": self.generation, "workers": self._others}

    async def exposition(self) -> bytes:
        """The metrics of all workers as text; where the parent does not answer in time, those of this one."""
        ask = next(self._asks)
        answer = self._asked[ask] = asyncio.get_running_loop().create_future()
        self._channel.send(Ask(ask))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ASK):
                return scrape.text(await answer)
        self._asked.pop(ask, None)
        log.warning("the parent does not answer: these metrics are of one worker")
        return scrape.text(total({self.number: self._counts()}))

    def _counts(self) -> tuple[Family, ...]:
        return scrape.read(self.hub.metrics.registry) if self.hub is not None else ()
