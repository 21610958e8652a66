"""The price table in the database, changed by a command where no hub is asked."""

from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hub.audit.deed import Deed
from hub.audit.journal import Journal
from hub.budget.price_book import PriceBook
from hub.budget.price_desk import PriceDesk
from hub.budget.price_diff import written
from hub.budget.price_table import BadTable
from hub.commands.direct import ACTOR, opened
from hub.commands.output import Failed


@asynccontextmanager
async def _desk(config: Path | None) -> AsyncGenerator[tuple[PriceDesk, Journal]]:
    try:
        async with opened(config) as (rooms, journal):
            yield PriceDesk(rooms.prices, PriceBook()), journal
    except BadTable as error:
        raise Failed(str(error)) from None


async def stage(config: Path | None, content: bytes, allow: Collection[str]) -> dict[str, Any]:
    """Stage a table, recorded in the journal; what it changes."""
    async with _desk(config) as (desk, journal), Deed(journal, ACTOR) as deed:
        found, decided = await desk.stage(content, allow, deed.begin)
        await deed.done(decided.record)
    return written(found)


async def decide(config: Path | None, table: str, *, confirm: bool) -> dict[str, Any]:
    """Confirm or reject what is staged, recorded in the journal."""
    async with _desk(config) as (desk, journal):
        await desk.look()
        async with Deed(journal, ACTOR) as deed:
            decided = await desk.decide(confirm=confirm, table=table, before=deed.begin)
            await deed.done(decided.record)
    return {"table": decided.record["table"], "decision": "confirmed" if confirm else "rejected"}
