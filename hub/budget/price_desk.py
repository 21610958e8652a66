"""Changing the price table: an operator stages another one, reads what would change, and confirms or rejects it.

Works on any open store: that of a serving hub, whose book follows what is in force, or one the command line has opened. Each change says
beforehand what it will be (`hub.change`), and returns what is then.
"""

import asyncio
import gzip
import logging
import time
from collections.abc import Collection
from fnmatch import fnmatchcase
from typing import Any

from msgspec import Struct

from hub.budget.price_book import PriceBook
from hub.budget.price_diff import Diff, diff
from hub.budget.price_shelf import Kept, PriceShelf
from hub.budget.price_table import BadTable, Table
from hub.change import EVERYBODY, Before, Planned, unannounced
from hub.refusal import InvalidRequest, NotFound, Refusal
from hub.telemetry.logs import fields

log = logging.getLogger("hub.budget")

EVERY = 5
"""Seconds between looks at which table is in force, where other processes may confirm one."""


class Decided(Struct, frozen=True):
    """A change of the price table. `record` is for the journal."""

    record: dict[str, Any]


class PriceDesk:
    """`book` gets each table that comes into force."""

    def __init__(self, shelf: PriceShelf, book: PriceBook) -> None:
        self._shelf = shelf
        self._book = book
        self._following: asyncio.Task[None] | None = None

    async def open(self, *, shared: bool = False) -> None:
        """Take up the table in force; where the store is shared, also those that others confirm. Raises `StoreDown`, `BadTable`."""
        await self.look()
        if shared:
            self._following = asyncio.create_task(self._follow(), name="prices")

    async def close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])

    async def look(self) -> None:
        """Have the book hold the table in force. Raises `StoreDown`, `BadTable`."""
        kept = await self._shelf.in_force()
        if kept is None or kept.hash == self._book.hash:
            return
        self._book.adopt(await self._read(kept))

    async def state(self) -> dict[str, Any]:
        """Which table is in force, and what is staged."""
        await self.look()
        staged, kept = await self._shelf.staged(), await self._shelf.in_force()
        table = self._book.table
        present = {"hash": table.hash, "date": table.date, "confirmed": kept.decided if kept else ""}
        return {"in_force": present, "staged": None if staged is None else {"hash": staged.hash, "staged": staged.staged}}

    async def compare(self, body: bytes) -> Diff:
        """What would change. Raises `InvalidRequest` where `body` is no price table."""
        await self.look()
        return await asyncio.to_thread(_compared, self._book.table, body)  # some tenths of a second, which calls are not to wait for

    async def stage(self, body: bytes, allow: Collection[str] = (), before: Before = unannounced) -> tuple[Diff, Decided]:
        """Keep a table until it is confirmed. `allow`: globs over `provider/model` whose changes are meant, however large.

        Raises `InvalidRequest` where it is no price table, where nothing would change, and where a change is not to be believed.
        """
        found = await self.compare(body)
        if found.new == found.old:
            raise InvalidRequest("this price table is in force already")
        doubted = [f"{one.provider}/{one.model}" for one in found.absurd]
        doubted = [name for name in dict.fromkeys(doubted) if not any(fnmatchcase(name, glob) for glob in allow)]
        if doubted:
            raise InvalidRequest(
                f"a price would fall to nothing, or change more than tenfold, of {', '.join(doubted[:10])}"
                f"{f' and {len(doubted) - 10} more' if len(doubted) > 10 else ''}: if that is meant, allow it by name"
            )
        packed = body if body.startswith(b"\x1f\x8b") else gzip.compress(body, mtime=0)
        record = {"table": found.new, "in_force": found.old}
        await before(Planned(EVERYBODY, "admin.prices.stage", record))
        await self._shelf.stage(found.new, packed)
        return found, Decided(record)

    async def decide(self, *, confirm: bool, table: str = "", before: Before = unannounced) -> Decided:
        """Put what is staged in force, or reject it. `table`: the hash it must have. Raises `NotFound` where it is not staged."""
        staged = await self._shelf.staged()
        if staged is None or (table and staged.hash != table):
            raise _not_staged()
        record = {"table": staged.hash, "in_force": self._book.hash}
        await before(Planned(EVERYBODY, f"admin.prices.{'confirm' if confirm else 'reject'}", record))
        if not await self._shelf.decide(staged.hash, confirm=confirm):
            raise _not_staged()
        await self.look()
        return Decided(record)

    async def _read(self, kept: Kept) -> Table:
        body = await self._shelf.body(kept.hash)
        table = Table(body) if body is not None else None
        if table is None or table.hash != kept.hash:
            raise BadTable(f"the price table kept under {kept.hash} has another hash: the database was changed")
        return table

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.look()
            except Refusal as refusal:  # the one before stays in force meanwhile
                log.debug("which price table is in force could not be seen", extra=fields(code=refusal.code))
            except BadTable as error:
                log.error("a confirmed price table cannot be used", extra=fields(reason=str(error)))


def _not_staged() -> NotFound:
    return NotFound("no such price table is staged")


def _compared(present: Table, body: bytes) -> Diff:
    try:
        table = Table(body)
        table.check()
        return diff(present, table, time.time_ns() // 1_000_000_000)
    except BadTable as error:
        raise InvalidRequest(str(error)) from None
