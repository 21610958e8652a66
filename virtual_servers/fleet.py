"""All upstreams of one process: started in parallel, their catalogues fetched, kept and refreshed. One that is slow or broken
delays nobody else: its last good catalogue stays, its calls fail by themselves. Knows no virtual server and no client.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from hub.call import Upstream
from hub.config.mcp import UpstreamSpec
from hub.egress import Egress
from hub.refusal import Refusal, UpstreamDown
from hub.telemetry.logs import fields
from virtual_servers.catalog import Catalogue
from virtual_servers.guard import Guard
from virtual_servers.hosted import StdioHost
from virtual_servers.shelf import Shelf
from virtual_servers.upstream import McpUpstream

log = logging.getLogger("hub.upstreams")

SETTLE = 0.2
"""Seconds over which changes of a catalogue are gathered, since servers announce several kinds at once."""
RETRY = (1.0, 2.0, 5.0, 15.0, 60.0)
"""Seconds between attempts to fetch a catalogue that could not be had."""


class Downstream(Upstream, Protocol):
    """What the fleet needs of a server, whoever owns it: `McpUpstream` or `Hosted`. Both say what the methods do."""

    name: str
    spec: UpstreamSpec
    era: str

    async def catalogue(self) -> Catalogue: ...

    async def stop(self) -> None: ...

    def status(self) -> dict[str, Any]: ...


class Fleet:
    """`on_changed`, where set, is called when a catalogue differs from the one before. `host`, where set before the first `configure`,
    is the process that owns the stdio servers; else they are this process's own."""

    def __init__(self, egress: Egress, guard: Guard, shelf: Shelf) -> None:
        self._egress = egress
        self._guard = guard
        self._shelf = shelf
        self.on_changed: Callable[[], None] | None = None
        self.host: StdioHost | None = None
        self._upstreams: dict[str, Downstream] = {}
        self._catalogues: dict[str, Catalogue] = {}
        self._refreshes: dict[str, asyncio.Task[None]] = {}
        self._first_look: dict[str, asyncio.Event] = {}
        self._stale: set[str] = set()

    @property
    def catalogues(self) -> Mapping[str, Catalogue]:
        """The last good catalogue of each upstream that ever had one."""
        return dict(self._catalogues)

    def upstream(self, name: str) -> Downstream:
        """Raises `UpstreamDown` for one that left the configuration while a call was on its way to it."""
        upstream = self._upstreams.get(name)
        if upstream is None:
            raise UpstreamDown("the server behind this call is no longer configured")
        return upstream

    def all(self) -> list[Downstream]:
        return list(self._upstreams.values())

    def own(self) -> list[McpUpstream]:
        """Those that belong to this process."""
        return [upstream for upstream in self._upstreams.values() if isinstance(upstream, McpUpstream)]

    async def look(self) -> None:
        """Find out how those are that do not."""
        if self.host is not None:
            await self.host.look()

    async def configure(self, specs: Mapping[str, UpstreamSpec]) -> None:
        """Take up a new set: what stayed the same keeps running, what changed or went is stopped, what came is looked at."""
        gone = [name for name, upstream in self._upstreams.items() if specs.get(name) != upstream.spec]
        await asyncio.gather(*(self._drop(name) for name in gone))
        for name, spec in specs.items():
            if name not in self._upstreams:
                await self._add(name, spec)

    async def close(self) -> None:
        await asyncio.gather(*(self._drop(name) for name in list(self._upstreams)))
        if self.host is not None:
            self.host.close()

    async def one_more(self, names: list[str], timeout: float) -> None:
        """Wait until one more of the upstreams named has been tried, or until `timeout` seconds have passed."""
        waits = [asyncio.ensure_future(self._first_look[name].wait()) for name in names if name in self._first_look]
        if waits:
            _, left = await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            for wait in left:
                wait.cancel()

    def unseen(self, names: list[str]) -> list[str]:
        """Of these, the ones that have no catalogue yet and have not been tried to the end."""
        return [name for name in names if name in self._first_look and not self._first_look[name].is_set() and name not in self._catalogues]

    async def _add(self, name: str, spec: UpstreamSpec) -> None:
        def changed(_: str) -> None:
            self.refresh(name)

        self._upstreams[name] = self._made(name, spec, changed)
        self._first_look[name] = asyncio.Event()
        kept = await self._shelf.take(name, spec)
        if kept is not None:
            self._catalogues[name] = kept
        self.refresh(name, delay=1.0 if kept else 0.0)

    def _made(self, name: str, spec: UpstreamSpec, changed: Callable[[str], None]) -> Downstream:
        if self.host is not None and spec.stdio is not None:
            return self.host.upstream(name, spec, changed)
        return McpUpstream(name, spec, egress=self._egress, guard=self._guard, on_changed=changed)

    async def _drop(self, name: str) -> None:
        refresh = self._refreshes.pop(name, None)
        if refresh is not None:
            refresh.cancel()
            await asyncio.gather(refresh, return_exceptions=True)
        upstream = self._upstreams.pop(name)
        self._catalogues.pop(name, None)
        self._first_look.pop(name).set()
        await upstream.stop()

    def refresh(self, name: str, delay: float = SETTLE) -> None:
        """Fetch the catalogue of `name` anew, soon. A change that is announced while it is being fetched has it fetched once more."""
        self._stale.add(name)
        running = self._refreshes.get(name)
        if running is None or running.done():
            self._refreshes[name] = asyncio.create_task(self._refresh(name, delay), name=f"catalogue-{name}")

    async def _refresh(self, name: str, delay: float) -> None:
        """Fetch until nothing was announced meanwhile; a server that announces a change at every look is looked at ever more seldom."""
        upstream, pause = self._upstreams[name], SETTLE
        await asyncio.sleep(delay)
        while name in self._stale:
            self._stale.discard(name)
            await self._took(name, upstream.spec, await self._fetched(upstream))
            await asyncio.sleep(pause)
            pause = min(2 * pause, RETRY[-1])

    async def _fetched(self, upstream: Downstream) -> Catalogue:
        """The catalogue, however often it takes."""
        for attempt in itertools.count():
            try:
                return await upstream.catalogue()
            except Refusal as refusal:
                self._first_look[upstream.name].set()
                pause = RETRY[min(attempt, len(RETRY) - 1)]
                log.warning(
                    "the catalogue of an upstream cannot be had",
                    extra=fields(upstream=upstream.name, code=refusal.code, reason=refusal.message, detail=refusal.detail, again_in=pause),
                )
                await asyncio.sleep(pause)
        raise AssertionError("counting does not end")

    async def _took(self, name: str, spec: UpstreamSpec, catalogue: Catalogue) -> None:
        before = self._catalogues.get(name)
        self._catalogues[name] = catalogue
        if before is None or before.items != catalogue.items or before.era != catalogue.era:
            log.info("catalogue", extra=fields(upstream=name, era=catalogue.era, items=len(catalogue.items)))
            if self.on_changed is not None:
                self.on_changed()
            await self._shelf.put(name, spec, catalogue)
        self._first_look[name].set()
