"""One process of several that spend from one budget at once: run by the tests, which it tells on standard output what it was let do.

`python -m tests.budget.spenders REDIS DATABASE CAP CALLS COST NAME`: reserve COST for each of CALLS at once, say `admitted N`, then mark each as
sent and settle it at COST - 1, one after the other, and say `settled N`; stay until standard input ends.
"""

import asyncio
import contextlib
import itertools
import sys

from hub.budget.budgets_redis import RedisBudgets
from hub.budget.usage_postgres import PostgresUsage
from hub.call import Tokens
from hub.refusal import BudgetExceeded, StoreDown
from hub.store.postgres import Postgres
from hub.store.redis import Redis
from tests.budget.purse import end, reserve, usd
from tests.support.patience import LONG

LEASE = 5.0


def specs(cap: int):
    return (usd(cap), usd(2 * cap, "key", "key"), usd(cap + cap // 5, "all", "global", "day"))


async def main(redis_url: str, database_url: str, cap: str, calls: str, cost: str, name: str) -> None:
    redis, postgres = Redis(redis_url, patience=LONG), Postgres(database_url, patience=LONG)
    await redis.open()
    await postgres.open()
    store = PostgresUsage(postgres)
    await store.open()
    budgets = RedisBudgets(redis, store, specs(int(cap)), lease=LEASE, settling=0.5)
    await budgets.open()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)

    async def one(number: int):
        for again in itertools.count():
            try:
                return await reserve(budgets, f"{name}-{number:05}.{again}", int(cost))
            except BudgetExceeded:
                return None
            except StoreDown as down:  # the counts have just begun
                await asyncio.sleep(min(down.retry_after or 0.05, 0.05))
        return None

    held = [one for one in await asyncio.gather(*(one(n) for n in range(int(calls)))) if one is not None]
    print(f"admitted {len(held)}", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for number, reservation in enumerate(held):
        await end(reservation.dispatching(7, Tokens(input=1)))
        if number % 50 == 49:
            print(f"sent {number + 1}", flush=True)
        await end(reservation.settle(int(cost) - 1, Tokens(input=2, output=1)))
    print(f"settled {len(held)}", flush=True)
    with contextlib.suppress(BrokenPipeError):
        await asyncio.to_thread(sys.stdin.readline)
    await budgets.close()
    await store.close()
    await postgres.close()
    await redis.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
