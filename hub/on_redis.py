"""Several processes as one hub: what they have in common stands in Redis. Imported only where such an address is configured."""

from collections.abc import Callable
from typing import Any

from hub.budget.budgets import Alert, Budgets
from hub.budget.budgets_redis import RedisBudgets
from hub.budget.daily import Days
from hub.budget.limiter import Limiter
from hub.budget.limits_redis import RedisLimits
from hub.budget.usage import Ledger as UsageLedger
from hub.config.callers import LimitSpec
from hub.config.model import Config
from hub.config.values import Address
from hub.identity.authenticate import Identity
from hub.identity.relay import Relay
from hub.replicas import Replicas
from hub.store.redis import Redis
from hub.store.signals import Signals
from virtual_servers.fleet import Fleet
from virtual_servers.relay import FarSwitchboard, FarUnderway, News
from virtual_servers.sessions import SessionStore
from virtual_servers.sessions_redis import RedisSessions
from virtual_servers.streams import Switchboard
from virtual_servers.underway import Underway


class OnRedis:
    """A `Commons`. Raises what `Redis` raises."""

    def __init__(self, address: Address) -> None:
        self.redis = Redis(address.url)
        self.signals = Signals(self.redis)
        self.sessions: SessionStore = RedisSessions(self.redis, self.signals)
        self.switchboard: Switchboard = FarSwitchboard(self.signals)
        self.underway: Underway = FarUnderway(self.signals)
        self._news: News | None = None
        self._replicas: Replicas | None = None

    async def open(self) -> None:
        await self.redis.open()
        self.signals.open()
        if self._replicas is not None:
            self._replicas.open()

    async def close(self) -> None:
        if self._news is not None:
            self._news.close()
        if self._replicas is not None:
            await self._replicas.close()
        await self.signals.close()
        await self.redis.close()

    def limiter(self, days: Days, specs: tuple[LimitSpec, ...], local: Callable[[], None]) -> Limiter:
        return RedisLimits(self.redis, specs, local=local)

    def budgets(self, usage: UsageLedger, config: Config, alert: Alert) -> Budgets:
        return RedisBudgets(self.redis, usage, config.budgets, config.limits, alert=alert)

    def compare(self, config: Callable[[], str]) -> None:
        self._replicas = Replicas(self.signals, config)

    def configs(self) -> dict[str, int]:
        return self._replicas.configs() if self._replicas is not None else {}

    def standing(self) -> dict[str, Any]:
        return {"redis": {"up": self.redis.up}, "configs": self.configs()}

    def announce(self, identity: Identity) -> None:
        Relay(self.signals, identity)

    def follow(self, fleet: Fleet, changed: Callable[[], None]) -> None:
        news = self._news = News(self.signals, fleet)

        def both() -> None:
            changed()
            news.changed()

        fleet.on_changed = both
