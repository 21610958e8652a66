"""One process of several that make the same calls: run by the tests, which it tells on standard output what it was let do and when.

`python -m tests.budget.hammer URL RULE SECONDS PATIENCE`: enter, hold for a few milliseconds, leave, again and again, until the time or the
day's calls are used up; where SECONDS is `told`, until it reads another line. Each admitted call is a line of three times on the clock all processes share: before it asked, when it was let in, before it left.
`python -m tests.budget.hammer URL RULE hold PATIENCE N LEASE`: enter N times, say `held`, and stay.
"""

import asyncio
import sys
import time

import msgspec

from hub.budget.limits_redis import RedisLimits
from hub.call import Caller
from hub.config.callers import LimitSpec
from hub.refusal import Limited, StoreDown
from hub.store.redis import Redis

WHO = Caller(org="acme", subject="user:ann", key_id="k1", key_name="ci")
TASKS = 8


async def hammer(limits: RedisLimits, over: asyncio.Event, said: list[str]) -> None:
    while not over.is_set():
        before = time.monotonic_ns()
        try:
            hold = await limits.enter_caller(WHO)
        except (Limited, StoreDown) as refused:
            if (refused.retry_after or 0) > 10:
                return
            await asyncio.sleep(0.001)
            continue
        entered = time.monotonic_ns()
        await asyncio.sleep(0.003)
        said.append(f"{before} {entered} {time.monotonic_ns()}")
        hold.release()
        await asyncio.sleep(0.003)  # or whoever left a place would always be the first to see it free


async def main(url: str, rule: str, what: str, patience: str, count: str = "0", lease: str = "6") -> None:
    redis = Redis(url, patience=float(patience))
    await redis.open()
    limits = RedisLimits(redis, (msgspec.json.decode(rule, type=LimitSpec),), lease=float(lease))
    await limits.open()
    if what == "hold":
        holds = [await limits.enter_caller(WHO) for _ in range(int(count))]
        print("held", flush=True)
        await asyncio.sleep(3600)
        print(len(holds))
        return
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    said, over = list[str](), asyncio.Event()
    hammering = asyncio.gather(*(hammer(limits, over, said) for _ in range(TASKS)))
    if what == "told":
        await asyncio.to_thread(sys.stdin.readline)
    else:
        await asyncio.wait((hammering,), timeout=float(what))
    over.set()
    await hammering
    print("\n".join(said), flush=True)
    await limits.close()
    await redis.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
