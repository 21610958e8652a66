"""What tests of budgets say again and again: a hub's budgets in each kind of store, on a clock that stands still until it is moved."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Protocol

from hub.budget.budgets import Budgets, Reservation, Reserved
from hub.budget.budgets_memory import MemoryBudgets
from hub.budget.budgets_redis import RedisBudgets
from hub.budget.usage import Ledger
from hub.budget.usage_postgres import PostgresUsage
from hub.budget.usage_sqlite import SqliteUsage
from hub.call import Caller, Target, Tokens
from hub.config.callers import LimitSpec
from hub.config.money import BudgetSpec
from hub.config.values import Dollars
from hub.store.postgres import Postgres
from hub.store.redis import Redis
from hub.store.sqlite import Database
from tests.services.redis import RedisServer

CLOCK = "redis.call('HMGET', 'clock', 'seconds', 'micros')"
"""What the scripts read in place of TIME."""

NOON = 1_900_000_800 - 1_900_000_800 % 86_400 + 43_200
GPT = Target("openai", "model", "gpt-5-mini")
CLAUDE = Target("anthropic", "model", "claude-sonnet")
ANN = Caller(org="acme", subject="user:ann", key_id="k1", key_name="ci", team="core", project="web")
BOB = Caller(org="acme", subject="user:bob", key_id="k2", key_name="dev", team="core", project="api")
EVE = Caller(org="evil", subject="app:crawler", key_id="k3", key_name="eve")


class Purse(Protocol):
    """Where budgets are counted, and what time it is there. Starts at noon UTC."""

    store: Ledger

    async def make(self, *specs: BudgetSpec, limits: tuple[LimitSpec, ...] = (), but: tuple[str, ...] = ()) -> Budgets:
        """One more hub with these rules, on the same ledger and counts as far as they are kept across restarts. `but`: calls it will adopt."""
        ...

    async def pass_(self, seconds: float) -> None: ...

    async def counts(self, budgets: Budgets) -> dict[tuple[str, str], tuple[int, int]]:
        """(spent, reserved) of each count, by rule and whom."""
        ...

    async def rows(self) -> list[Any]:
        """The ledger, once everything is in it."""
        ...


class OneProcess:
    """One process counts; `store` keeps its ledger."""

    store: Ledger

    def __init__(self) -> None:
        self.wall = NOON * 1_000_000

    async def make(self, *specs: BudgetSpec, limits: tuple[LimitSpec, ...] = (), but: tuple[str, ...] = ()) -> Budgets:
        await self.store.settled()
        budgets = MemoryBudgets(self.store, specs, limits, wall=lambda: self.wall)
        await budgets.open(but)
        return budgets

    async def pass_(self, seconds: float) -> None:
        self.wall += round(seconds * 1_000_000)

    async def counts(self, budgets: Budgets) -> dict[tuple[str, str], tuple[int, int]]:
        assert isinstance(budgets, MemoryBudgets)
        return {(one.rule.name, one.who): (one.spent, one.reserved) for one in budgets.counters()}

    async def rows(self) -> list[Any]:
        await self.store.settled()
        return await self.store.find(None, limit=1_000_000)


class InSqlite(OneProcess):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.database = Database(path)
        self.database.open()
        self.store = SqliteUsage(self.database)

    async def close(self) -> None:
        await self.database.close()


class InPostgres(OneProcess):
    """Without Redis."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.postgres = Postgres(url)
        self.store = PostgresUsage(self.postgres)

    async def open(self) -> None:
        await self.postgres.open()
        await self.store.open()

    async def close(self) -> None:
        await self.store.close()
        await self.postgres.close()


class InRedis:
    """Several hubs count in Redis, each with a ledger of its own on the same PostgreSQL."""

    def __init__(self, redis: Redis, server: RedisServer, url: str) -> None:
        self.redis = redis
        self.server = server
        self.postgres = Postgres(url)
        self.micros = NOON * 1_000_000
        self.made: list[RedisBudgets] = []
        self.stores: list[PostgresUsage] = []
        self.settling = 0.0
        self.lease = 30.0

    @property
    def store(self) -> Ledger:
        return self.stores[0]

    async def open(self) -> None:
        await self.postgres.open()
        await self.pass_(0)

    async def close(self) -> None:
        for budgets in self.made:
            await budgets.close()
        for store in self.stores:
            await store.close()
        await self.postgres.close()

    async def make(self, *specs: BudgetSpec, limits: tuple[LimitSpec, ...] = (), but: tuple[str, ...] = ()) -> Budgets:
        store = PostgresUsage(self.postgres)
        await store.open()
        budgets = RedisBudgets(self.redis, store, specs, limits, clock=CLOCK, settling=self.settling, lease=self.lease)
        await budgets.open(but)
        self.made.append(budgets)
        self.stores.append(store)
        return budgets

    async def pass_(self, seconds: float) -> None:
        self.micros += round(seconds * 1_000_000)
        self.server.ask("HSET", "clock", "seconds", self.micros // 1_000_000, "micros", self.micros % 1_000_000)

    async def counts(self, budgets: Budgets) -> dict[tuple[str, str], tuple[int, int]]:
        found: dict[tuple[str, str], tuple[int, int]] = {}
        run = self.server.ask("HGET", "hub:{spend}:meta", "run")
        for kind in ("budget", "limit"):
            for key in self.server.ask("KEYS", f"hub:{{spend}}:{kind}.*"):
                w = self.server.ask("HGETALL", key)
                w = w if isinstance(w, dict) else dict(zip(w[::2], w[1::2], strict=True))
                _, name, rest = key.removeprefix("hub:{spend}:").split(".", 2)
                if w["u"] == run:
                    found[name, rest.split(":")[2]] = (int(w["s"]) + int(w["b"]), int(w["r"]))
        return found

    async def rows(self) -> list[Any]:
        for budgets in self.made:
            await asyncio.gather(*budgets._ending)
        for store in self.stores:
            await store.settled()
        await asyncio.sleep(0)
        return await self.stores[0].find(None, limit=1_000_000)


def usd(nano: int, name: str = "b", scope: str = "org", window: str = "month", **more: Any) -> BudgetSpec:
    return BudgetSpec(name=name, scope=scope, window=window, usd=Dollars(nano), **more)  # type: ignore[arg-type]  # scope comes as plain text


async def held(entry: Reserved) -> Reservation:
    """As the path does it."""
    return entry if isinstance(entry, Reservation) else await entry


async def reserve(
    budgets: Budgets, call: str, bound: int | None, *, caller: Caller = ANN, target: Target = GPT, tokens: Tokens | None = None
) -> Reservation:
    return await held(budgets.reserve(call, caller, target, bound, tokens or Tokens()))


async def end(done: Awaitable[None] | None) -> None:
    if done is not None:
        await done


async def spend(budgets: Budgets, call: str, bound: int, cost: int | None = None, **more: Any) -> Reservation:
    """One call from beginning to end."""
    one = await reserve(budgets, call, bound, **more)
    await end(one.dispatching())
    await end(one.settle(bound if cost is None else cost, Tokens(input=1, output=1)))
    return one
