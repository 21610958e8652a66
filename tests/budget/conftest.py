"""Limits, counted in the memory of one process or in Redis, on clocks that stand still until they are moved."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Protocol

import pytest

from hub.budget.daily_sqlite import SqliteDays
from hub.budget.limiter import Entry, Hold, Limiter
from hub.budget.limits import Limits
from hub.budget.limits_redis import RedisLimits
from hub.call import Caller, Target
from hub.config.callers import LimitSpec
from hub.refusal import Limited
from hub.store.redis import Redis
from hub.store.sqlite import Database
from tests.budget.purse import CLOCK, InPostgres, InSqlite, Purse
from tests.budget.purse import InRedis as PurseInRedis
from tests.services.redis import RedisServer
from tests.support.patience import as_the_hub_waits, patient_stores

__all__ = ["as_the_hub_waits", "patient_stores"]

NOON = 1_900_000_800 - 1_900_000_800 % 86_400 + 43_200
TOOL = Target("time", "tool", "get_time")


class World(Protocol):
    """Where limits count, and what time it is there. Starts at noon UTC."""

    async def make(self, *specs: LimitSpec) -> Limiter:
        """One more hub with these rules, on the same counts as far as they are kept across restarts."""
        ...

    def pass_(self, seconds: float) -> None: ...

    def set_back(self, seconds: float) -> None:
        """Set the calendar back."""
        ...


class InMemory:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.wall = float(NOON)
        self.ns = 10**15

    async def make(self, *specs: LimitSpec) -> Limiter:
        limits = Limits(SqliteDays(self.database), specs, clock=lambda: self.ns, wall=lambda: self.wall)
        await limits.open()
        return limits

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.ns += round(seconds * 1e9)

    def set_back(self, seconds: float) -> None:
        self.wall -= seconds


class InRedis:
    def __init__(self, redis: Redis, server: RedisServer) -> None:
        self.redis = redis
        self.server = server
        self.micros = NOON * 1_000_000
        self.elapsed = 0
        self.made: list[RedisLimits] = []
        self.pass_(0)

    async def make(self, *specs: LimitSpec) -> Limiter:
        limits = RedisLimits(self.redis, specs, clock=CLOCK, elapsed=lambda: self.elapsed)
        await limits.open()
        self.made.append(limits)
        return limits

    def pass_(self, seconds: float) -> None:
        self.elapsed += round(seconds * 1e9)
        self._move(seconds)

    def _move(self, seconds: float) -> None:
        self.micros += round(seconds * 1_000_000)
        self.server.ask("HSET", "clock", "seconds", self.micros // 1_000_000, "micros", self.micros % 1_000_000)

    def set_back(self, seconds: float) -> None:
        self._move(-seconds)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A real database in a temporary folder."""
    database = Database(tmp_path / "hub.db")
    database.open()
    yield database
    await database.close()


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Redis]:
    """A connection to the real Redis."""
    store = Redis(redis_url)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def memory(database: Database) -> InMemory:
    return InMemory(database)


@pytest.fixture
async def shared(store: Redis, redis: RedisServer) -> AsyncIterator[InRedis]:
    world = InRedis(store, redis)
    yield world
    for limits in world.made:
        await limits.close()


@pytest.fixture(params=["memory", "redis"])
def world(request: pytest.FixtureRequest) -> World:
    """Both, one after the other."""
    return request.getfixturevalue({"memory": "memory", "redis": "shared"}[request.param])


@pytest.fixture
async def in_sqlite(tmp_path: Path) -> AsyncIterator[InSqlite]:
    """Budgets, counted by one process that keeps its ledger in SQLite."""
    purse = InSqlite(tmp_path / "hub.db")
    yield purse
    await purse.close()


@pytest.fixture
async def in_postgres(emptied_url: str) -> AsyncIterator[InPostgres]:
    """The same in PostgreSQL."""
    purse = InPostgres(emptied_url)
    await purse.open()
    yield purse
    await purse.close()


@pytest.fixture
async def in_redis(store: Redis, redis: RedisServer, emptied_url: str) -> AsyncIterator[PurseInRedis]:
    """Budgets that several processes count, in Redis, with their ledger in PostgreSQL."""
    purse = PurseInRedis(store, redis, emptied_url)
    await purse.open()
    yield purse
    await purse.close()


@pytest.fixture(params=["in_sqlite", "in_postgres", "in_redis"])
def purse(request: pytest.FixtureRequest) -> Purse:
    """Each kind of store, one after the other."""
    return request.getfixturevalue(request.param)


def caller(key: str = "k1", *, org: str = "default", subject: str = "user:ann", name: str = "ci") -> Caller:
    return Caller(org=org, subject=subject, key_id=key, key_name=name)


def rule(name: str = "r", scope: str = "key", **more) -> LimitSpec:
    return LimitSpec(name=name, scope=scope, **more)  # type: ignore[arg-type]  # scope comes as plain text


async def held(entry: Entry) -> Hold:
    """As the path does it."""
    return entry if isinstance(entry, Hold) else await entry


async def enter(limits: Limiter, who: Caller) -> Hold:
    return await held(limits.enter_caller(who))


async def admitted(limits: Limiter, who: Caller, tries: int) -> int:
    count = 0
    for _ in range(tries):
        try:
            await enter(limits, who)
        except Limited:
            continue
        count += 1
    return count


async def refusal(entering: Awaitable[Hold]) -> Limited:
    with pytest.raises(Limited) as raised:
        await entering
    return raised.value


async def until(condition, patience: float = 30.0) -> None:
    async with asyncio.timeout(patience):
        while not condition():
            await asyncio.sleep(0.005)
