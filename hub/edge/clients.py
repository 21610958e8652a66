"""Requests under way: who waits for what, and what happens when they leave, are revoked or the hub stops.

A client that leaves is seen only by receiving on its connection. One sweeper starts such a watch for requests that have lasted longer
than 50 ms, so that the many short ones do not pay for a task.
"""

import asyncio
import time
from typing import Literal

from hub.edge.exchange import Exchange

WATCH_AFTER = 0.05
Reason = Literal["", "client_gone", "key_revoked", "cancelled", "body_timeout", "keys_unchecked", "hub_stopping"]
"""Why a request was cut; the message its task is cancelled with."""


class Running:
    """One request under way. `cut` cancels its task and says why."""

    __slots__ = ("exchange", "key_id", "message_id", "reading", "reason", "since", "task", "version", "watch")

    def __init__(self, exchange: Exchange, loop: asyncio.AbstractEventLoop | None) -> None:
        task = asyncio.current_task(loop)  # without the loop it asks the system for the process's number, each time
        assert task is not None
        self.exchange = exchange
        self.task: asyncio.Task[object] = task
        self.since = exchange.since = time.monotonic()
        self.key_id = ""
        self.message_id = b""
        self.reading = True
        self.version = ""
        self.reason: Reason = ""
        self.watch: asyncio.Task[None] | None = None

    def cut(self, reason: Reason) -> None:
        if not self.reason and not self.exchange.finished:
            self.reason = reason
            self.task.cancel(reason)


class Clients:
    """All requests under way of one process."""

    def __init__(self, body_timeout: float = 30.0) -> None:
        """`body_timeout`: seconds a client has to send its body."""
        self.draining = False
        """Whether no new request is taken any more."""
        self._body_timeout = body_timeout
        self._running: dict[Running, None] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._empty: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __len__(self) -> int:
        return len(self._running)

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._sweeper = asyncio.create_task(self._sweep(), name="clients-sweeper")

    async def stop(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)

    def enter(self, exchange: Exchange) -> Running:
        running = Running(exchange, self._loop)
        self._running[running] = None
        return running

    def leave(self, running: Running) -> None:
        self._running.pop(running, None)
        if self._empty is not None and not self._running:
            self._empty.set()
        watch, running.watch = running.watch, None  # what it is cancelled with holds `running`: a circle, for the collector to find
        if watch is not None:
            watch.cancel()

    def cut_key(self, key_id: str) -> None:
        """Cut every request of a key that was revoked or has expired."""
        for running in list(self._running):
            if running.key_id == key_id:
                running.cut("key_revoked")

    def cut_streams(self) -> None:
        """Cut every answer that is being streamed, because nobody knows whether its key still counts.

        One that is sent whole needs no cutting: it waits for its record, and so for the store that would know.
        """
        for running in list(self._running):
            if running.exchange.streaming:
                running.cut("keys_unchecked")

    def cut_all(self) -> None:
        for running in list(self._running):
            running.cut("hub_stopping")

    async def idle(self, timeout: float) -> bool:
        """Wait until nothing is under way; False when `timeout` seconds were not enough."""
        self._empty = asyncio.Event()
        if self._running:
            try:
                async with asyncio.timeout(timeout):
                    await self._empty.wait()
            except TimeoutError:
                return False
        return True

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(WATCH_AFTER)
            self._look(time.monotonic())

    def _look(self, now: float) -> None:
        for running in self._running:  # in order of arrival: the first young one ends the look
            if running.since > now - WATCH_AFTER:
                break
            if running.reading:
                if running.since < now - self._body_timeout:
                    running.cut("body_timeout")
            elif running.watch is None:
                running.watch = asyncio.create_task(_watch(running), name="client-watch")


async def _watch(running: Running) -> None:
    await running.exchange.gone()
    running.cut("client_gone")
