"""Which generation is served, and how the next one takes its place: after an edit of `hub.yaml`, after a catalogue has changed.

A generation is recorded and its policy set kept before the first call can be decided by it, so that every decision can be explained.
"""

import asyncio
import logging
from collections.abc import Mapping
from functools import partial

from hub.audit.journal import OPERATOR, Journal
from hub.audit.record import event
from hub.config.load import Loaded
from hub.policy.decide import PolicyInvalid
from hub.policy.snapshots import Snapshots
from hub.refusal import Refusal
from hub.telemetry.logs import fields
from virtual_servers.catalog import Catalogue
from virtual_servers.door import Door
from virtual_servers.fleet import Fleet
from virtual_servers.generation import Generation, build, build_what_fits, changes
from virtual_servers.lists import Lists
from virtual_servers.streams import Switchboard

log = logging.getLogger("hub")

AGAIN = 1.0
"""Seconds until a generation that could not be recorded is tried again."""


class Generations:
    """`loaded` is the configuration in force. `present` is None until the first generation is in place."""

    def __init__(
        self, loaded: Loaded, fleet: Fleet, lists: Lists, snapshots: Snapshots, journal: Journal, switchboard: Switchboard
    ) -> None:
        self.loaded = loaded
        self.present: Generation | None = None
        self._fleet = fleet
        self._lists = lists
        self._snapshots = snapshots
        self._journal = journal
        self._switchboard = switchboard
        self._lock = asyncio.Lock()
        self._said: set[str] = set()
        self._wanted = False
        self._rebuild: asyncio.Task[None] | None = None

    def door(self, name: str) -> Door | None:
        """A virtual server of the present generation."""
        return self.present.doors.get(name) if self.present is not None else None

    async def check(self, loaded: Loaded) -> None:
        """Compile `loaded` with the catalogues that are served and throw it away. Raises `PolicyInvalid`.

        A newer catalogue that the policies do not fit must not stand in the way of an edit: it may take away the very key or upstream
        that does the harm.
        """
        served: Mapping[str, Catalogue] = self.present.catalogues if self.present is not None else {}
        kept = {name: found for name, found in served.items() if name in loaded.config.upstreams}
        make = partial(build, loaded.config, loaded.hash, loaded.base)
        await asyncio.to_thread(make, kept, self._lists, self._fleet.upstream)

    async def swap(self) -> None:
        """Compile the next generation off the loop and put it in place. Raises `PolicyInvalid`, `JournalDown`, `StoreDown`."""
        async with self._lock:
            loaded = self.loaded
            before: Mapping[str, Catalogue] = self.present.catalogues if self.present is not None else {}
            make = partial(build_what_fits, loaded.config, loaded.hash, loaded.base)
            after = await asyncio.to_thread(make, self._catalogues(loaded), before, self._lists, self._fleet.upstream)
            await self._record(after)
            self._put_in_place(after)

    def changed(self) -> None:
        """Compile anew soon, once for all the catalogue changes that come while a compilation runs."""
        self._wanted = True
        if self._rebuild is None or self._rebuild.done():
            self._rebuild = asyncio.create_task(self._rebuild_all(), name="rebuild")

    @property
    def changing(self) -> bool:
        """Whether the next generation is on its way."""
        return self._rebuild is not None and not self._rebuild.done()

    async def settled(self) -> None:
        """Wait for the compilation under way, if there is one."""
        if self._rebuild is not None:
            await asyncio.shield(self._rebuild)

    async def close(self) -> None:
        if self._rebuild is not None:
            self._rebuild.cancel()
            await asyncio.gather(self._rebuild, return_exceptions=True)

    async def _rebuild_all(self) -> None:
        while self._wanted:
            self._wanted = False
            try:
                await self.swap()
            except Refusal as refusal:
                log.error("a generation could not be recorded; the one before it serves", extra=fields(code=refusal.code))
                self._wanted = True
                await asyncio.sleep(AGAIN)
            except PolicyInvalid as error:  # no edit gets here unchecked; a rebuild that ended would be the end of every later one
                log.error("the policies cannot be used; the generation before serves", extra=fields(reason=str(error)))

    def _catalogues(self, loaded: Loaded) -> dict[str, Catalogue]:
        return {name: found for name, found in self._fleet.catalogues.items() if name in loaded.config.upstreams}

    async def _record(self, after: Generation) -> None:
        before = self.present
        if before is not None and before.policy.hash == after.policy.hash and before.config_hash == after.config_hash:
            return
        await self._snapshots.save(after.policy)
        self._journal.config_hash = after.config_hash
        await self._journal.append(OPERATOR, event("config.generation", policy_set=after.policy.hash))

    def _put_in_place(self, after: Generation) -> None:
        """Serve `after` from now on, and tell those who listen what changed."""
        before, self.present = self.present, after
        self._lists.forget()
        for name in set(before.doors if before else ()) - set(after.doors):
            self._switchboard.close_door(name)
        for name, methods in changes(before, after).items():
            for method in methods:
                self._switchboard.tell(name, method)
        if before is not None:  # before the first catalogues have come everything is missing, which tells nobody anything
            for problem in sorted(set(after.problems) - self._said):
                log.warning("virtual server", extra=fields(problem=problem))
            self._said = set(after.problems)
