"""A process with one SQLite that spends from one budget: run by a test, which kills it.

`python -m tests.budget.spender_sqlite FILE CAP CALLS COST`: reserve COST for each of CALLS at once, say `admitted N`; mark all as sent and settle
half, wait until that is durable, say `settled N`; then go on settling one after the other until the end.
"""

import asyncio
import sys
from pathlib import Path

from hub.budget.budgets_memory import MemoryBudgets
from hub.budget.usage_sqlite import SqliteUsage
from hub.call import Tokens
from hub.store.sqlite import Database
from tests.budget.purse import reserve, usd


async def main(file: str, cap: str, calls: str, cost: str) -> None:
    database = Database(Path(file))
    database.open()
    store = SqliteUsage(database)
    budgets = MemoryBudgets(store, (usd(int(cap)), usd(int(cap), "all", "global", "1h")))
    await budgets.open()
    tries = await asyncio.gather(*(reserve(budgets, f"{n:05}", int(cost)) for n in range(int(calls))), return_exceptions=True)
    held = [one for one in tries if not isinstance(one, BaseException)]
    print(f"admitted {len(held)}", flush=True)
    for one in held[:-10]:
        one.dispatching(7, Tokens(input=1))
    for one in held[: len(held) // 2]:
        one.settle(int(cost) - 1, Tokens(input=2, output=1))
    await store.settled()
    print(f"settled {len(held) // 2}", flush=True)
    for one in held[len(held) // 2 : -10]:
        one.settle(int(cost) - 1, Tokens(input=2, output=1))
        await asyncio.sleep(0.002)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
