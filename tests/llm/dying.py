"""A process that looks after one answer made in the background, and kills itself at a given moment: run by a test, which settles what it left.

`python -m tests.llm.dying MOMENT DATABASE [REDIS]`. It waits for the answer `r` of the call `c` (streamed where the moment is one of `STREAMED`), sees
it done, settles it, and ends by SIGKILL at the moment, whose names say what has been done by then.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from hub.budget.budgets import Budgets, Reservation
from hub.budget.budgets_memory import MemoryBudgets
from hub.budget.budgets_redis import RedisBudgets
from hub.budget.prices import Price, Rates
from hub.budget.spend_keeper import Keeper
from hub.budget.usage import Facts, Ledger
from hub.budget.usage_postgres import PostgresUsage
from hub.budget.usage_sqlite import SqliteUsage
from hub.call import Tokens
from hub.llm.background import Background
from hub.llm.background_postgres import PostgresBackground
from hub.llm.background_rows import Rows
from hub.llm.background_sqlite import SqliteBackground
from hub.llm.due import Due
from hub.refusal import StoreDown
from hub.store.postgres import Postgres
from hub.store.redis import Redis
from hub.store.sqlite import Database
from tests.budget.purse import ANN, GPT, end, reserve, usd
from tests.support.patience import LONG

CAP, MOST, LEAST, COST = 100_000, 60_000, 40, 23_000
PRICE = Price(Rates(1_000_000_000, 5_000_000_000))
USED = Tokens(input=3, output=4)
DONE = b'{"id":"r","status":"completed","background":true,"usage":{"input_tokens":3,"output_tokens":4,"total_tokens":7}}'

WAITED = ("begun", "ended", "settling", "counted", "settled", "dropped")
STREAMED = ("streaming", "streamed: settling", "streamed: counted", "streamed: settled", "streamed: dropped")


class Place:
    """A database, with Redis or without."""

    budgets: Budgets
    rows: Rows
    ledger: Ledger

    def __init__(self, database: str, redis: str = "") -> None:
        self.redis = Redis(redis, patience=LONG) if redis else None
        self.database: Database | Postgres = Postgres(database, patience=LONG) if "://" in database else Database(Path(database))

    async def open(self) -> "Place":
        if isinstance(self.database, Database):
            self.database.open()
            self.ledger, self.rows = SqliteUsage(self.database), SqliteBackground(self.database)
        else:
            await self.database.open()
            self.ledger, self.rows = PostgresUsage(self.database), PostgresBackground(self.database)
        await self.ledger.open()
        if self.redis is not None:
            await self.redis.open()
            self.budgets = RedisBudgets(self.redis, self.ledger, (usd(CAP),), settling=0.0)
        else:
            self.budgets = MemoryBudgets(self.ledger, (usd(CAP),))
        await self.budgets.open(await self.rows.calls())
        return self

    def room(self) -> Background:
        return Background(dict, self.rows, self.budgets, alone=self.redis is None)

    async def close(self) -> None:
        await self.budgets.close()
        await self.ledger.close()
        await self.database.close()
        if self.redis is not None:
            await self.redis.close()

    async def held(self, call: str) -> Reservation:
        for _ in range(100):  # the counts of Redis have just begun
            try:
                return await reserve(self.budgets, call, MOST, tokens=Tokens(input=10, output=10_000))
            except StoreDown:
                await asyncio.sleep(0.1)
        raise AssertionError


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(place: Place, moment: str, held: Reservation) -> None:
    """Have what does that end with it."""
    kind = type(held)
    match moment.removeprefix("streamed: "):
        case "ended":
            _after(type(place.rows), "end")
        case "settling":
            settle = kind.settle

            def settling(*given: Any) -> None:
                settle(*given)
                die()

            kind.settle = cast("Any", settling)
        case "counted":  # by Redis; else what counts dies with it
            Keeper.put = cast("Any", lambda *_: die())
            place.ledger.put = cast("Any", lambda *_, **__: die())
        case "settled":
            _after(kind, "lasting")
        case "dropped":
            _after(type(place.rows), "drop")
        case _:
            die()


def _after(kind: type, name: str) -> None:
    does: Callable[..., Awaitable[Any]] = getattr(kind, name)

    async def done(*given: Any) -> None:
        await does(*given)
        die()

    setattr(kind, name, done)


async def main(moment: str, *stores: str) -> None:
    place = await Place(*stores).open()
    held = await place.held("c")
    await end(held.dispatching(LEAST, Tokens(input=LEAST), Facts("llm.responses", "fast", "unknown")))
    due, room = Due(held, PRICE, Facts("llm.responses", "fast")), place.room()
    if moment in STREAMED:
        await room.follow(ANN, "r", GPT, due)
        die_at(place, moment, held)
        await end(held.settle(COST, USED, due.facts))
    else:
        await room.tend(ANN, "r", GPT, due)
        die_at(place, moment, held)
        await room.seen(ANN, "r", DONE)
    await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
