"""Whose a stored response is, and which deployment keeps it: written before its client can know its id, forgotten after a month.

A response, its items, and what follows it are for the subject that made it, and for nobody else: not for another key of the same
organisation, nor for its administrators, since behind the id are prompts and answers. What is another's is as if it were not there.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence

from msgspec import Struct

from hub.call import Caller, Target
from hub.llm.announced import Announced
from hub.llm.references import Reference
from hub.llm.stored_rows import Row, Rows
from hub.refusal import InvalidRequest, Refusal
from hub.telemetry.logs import fields

log = logging.getLogger("hub.llm")

KEPT = 30 * 24 * 3600
"""Seconds until it is forgotten whose a response is: as long as OpenAI keeps one."""

SWEEP = 3600.0
"""Seconds between looks for what is older."""


class Pin(Struct, frozen=True):
    """What a request names was looked up: the one deployment that keeps it, or what is wrong with it."""

    target: Target | None
    param: str
    why: str = ""

    def refusal(self) -> InvalidRequest:
        return InvalidRequest(self.why, data={"param": self.param, "reason": "not_found"})

    def elsewhere(self) -> InvalidRequest:
        """The model that is asked for is not to be had of the provider that keeps it."""
        said = "what this request refers to is kept by a provider that this model is not asked of: name the model that made it"
        return InvalidRequest(said, data={"param": self.param, "reason": "kept_elsewhere"})


class Stored:
    """Of one process."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._sweeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._sweeper = asyncio.create_task(self._sweep(), name="stored-responses")

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)

    async def keep(self, caller: Caller, target: Target, door: str, said: Announced, *, whole: bool) -> None:
        """Write whose it is. `whole`: nothing of the answer goes out before its record is durable. Raises `StoreDown`."""
        at = time.time_ns() // 1000
        ids = dict.fromkeys((said.id, *said.items))
        rows = [Row(caller.org, caller.subject, one, said.id, target.upstream, target.name, door, at) for one in ids]
        writing = self._rows.put(rows)
        if whole and self._rows.in_order:
            asyncio.ensure_future(writing).add_done_callback(_written)
        else:
            await writing

    async def find(self, caller: Caller, response: str) -> Row | None:
        """Raises `StoreDown`."""
        found = await self._rows.find(caller.org, caller.subject, [response])
        return next((row for row in found if row.response == response), None)

    async def pin(self, caller: Caller, named: Sequence[Reference]) -> Pin:
        """Where all that a request names is kept. Raises `StoreDown`."""
        ids = [one.id for one in named if "\x00" not in one.id]  # PostgreSQL cannot even be asked for such a one
        found = {row.id: row for row in await self._rows.find(caller.org, caller.subject, ids)}
        for one in named:
            row = found.get(one.id)
            if row is None or (one.param == "previous_response_id" and row.response != one.id):
                return Pin(None, one.param, f"nothing with the id {one.id[:256]!r} was found")
            if row.provider != found[named[0].id].provider:
                return Pin(None, one.param, "what this request refers to is kept by different providers")
        return Pin(found[named[0].id].target, named[0].param)

    async def forget(self, row: Row) -> None:
        """The provider keeps it no longer. Raises `StoreDown`."""
        await self._rows.drop(row.org, row.subject, row.response)

    async def _sweep(self) -> None:
        while True:
            with contextlib.suppress(Refusal):  # the next look finds as much
                await self._rows.reap(time.time_ns() // 1000 - KEPT * 1_000_000)
            await asyncio.sleep(SWEEP)


def _written(done: "asyncio.Future[None]") -> None:
    """Nobody waits: the record of the call stands behind it in the same queue, and fails where this does."""
    if not done.cancelled() and (error := done.exception()) is not None:
        log.error("whose a stored response is could not be written", extra=fields(reason=str(error)))
