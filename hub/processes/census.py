"""What all workers have counted, asked of each and added up: one hub's metrics, whichever worker is scraped.

What workers had counted that have ended is kept, so that no counter of the hub ever goes back.
"""

import asyncio
from collections.abc import Callable, Collection

from hub.processes.child import Child
from hub.processes.families import counter, gauge
from hub.processes.messages import Count, Counted
from hub.processes.totals import Families, add, total

PATIENCE = 1.0
"""Seconds a worker has to answer. One that does not is left out, but for what it had counted when last it answered."""


class Census:
    """`children` are all workers there are; `wanted` is how many are to serve."""

    def __init__(self, children: Callable[[], Collection[Child]], wanted: int) -> None:
        self.ends = 0
        """Workers that ended without being told."""
        self.host: Child | None = None
        """The stdio host, while there is one."""
        self.host_wanted = False
        self.host_ends = 0
        self._children = children
        self._wanted = wanted
        self._past: Families = ()
        self._latest: dict[Child, Families] = {}
        self._asked: dict[Child, tuple[int, asyncio.Future[None]]] = {}
        self._asks = 0
        self._silences = 0

    async def take(self) -> Families:
        """Ask all, wait for each no longer than `PATIENCE`."""
        there = [child for child in self._children() if child.state != "starting"]
        host = self.host
        asked = there if host is None else [*there, host]
        waits = {child: self._ask(child) for child in asked}
        if waits:
            await asyncio.wait(waits.values(), timeout=PATIENCE)
        answered = {child for child, answer in waits.items() if answer.done() and child in self._latest}
        self._silences += sum(not waits[child].done() for child in there)
        present = {child.number: self._latest[child] for child in there if child in answered}
        absent = [families for child, families in self._latest.items() if child not in answered]
        shared = self._latest[host] if host is not None and host in answered else ()
        return (*total(present, [self._past, *absent], shared), *self._own(there, answered), *self._of_host(host in answered))

    def told(self, child: Child, message: Counted) -> None:
        """What a worker has counted."""
        self._latest[child] = message.families
        asked = self._asked.get(child)
        if asked is not None and asked[0] == message.ask:
            del self._asked[child]
            asked[1].set_result(None)

    def left(self, child: Child) -> None:
        """It has ended: what it had counted when last it said so stays counted."""
        if (latest := self._latest.pop(child, None)) is not None:
            self._past = add([self._past, latest])
        if (asked := self._asked.pop(child, None)) is not None:
            asked[1].set_result(None)

    def _ask(self, child: Child) -> "asyncio.Future[None]":
        """The answer to come. A worker that owes one is not asked again: it would have to read them all."""
        if child not in self._asked:
            self._asks += 1
            self._asked[child] = (self._asks, asyncio.get_running_loop().create_future())
            child.tell(Count(self._asks))
        return self._asked[child][1]

    def _own(self, there: Collection[Child], answered: Collection[Child]) -> Families:
        up = [({"worker": child.number}, child in answered) for child in there]
        generations = [({"worker": child.number}, child.generation) for child in there]
        return (
            gauge("hub_workers", "Workers that are to serve", [({}, self._wanted)]),
            gauge("hub_worker_up", "1 when the worker said in time what it has counted", up),
            gauge("hub_worker_generation", "Number of the configuration that the worker has in force", generations),
            counter("hub_worker_ends", "Workers that ended without being told", self.ends),
            counter("hub_worker_silences", "Times a worker did not say in time what it has counted", self._silences),
        )

    def _of_host(self, up: bool) -> Families:
        alive = "1 when the process that owns the stdio servers said in time how they are"
        ends = "Times that the process that owns the stdio servers ended without being told"
        return (
            gauge("hub_stdio_host_up", alive, [({}, up)] if self.host_wanted else []),
            counter("hub_stdio_host_ends", ends, self.host_ends),
        )
