"""One process that serves alone: what others would have to know stands in its memory, and there is nobody to tell."""

from collections.abc import Callable
from typing import Any

from hub.budget.budgets import Alert, Budgets
from hub.budget.budgets_memory import MemoryBudgets
from hub.budget.daily import Days
from hub.budget.limiter import Limiter
from hub.budget.limits import Limits
from hub.budget.usage import Ledger as UsageLedger
from hub.config.callers import LimitSpec
from hub.config.model import Config
from hub.identity.authenticate import Identity
from virtual_servers.fleet import Fleet
from virtual_servers.sessions import Sessions, SessionStore
from virtual_servers.streams import Switchboard
from virtual_servers.underway import Underway


class OnMemory:
    """A `Commons`."""

    def __init__(self) -> None:
        self.sessions: SessionStore = Sessions()
        self.switchboard = Switchboard()
        self.underway = Underway()

    async def open(self) -> None:
        return

    async def close(self) -> None:
        return

    def limiter(self, days: Days, specs: tuple[LimitSpec, ...], local: Callable[[], None]) -> Limiter:
        return Limits(days, specs)

    def budgets(self, usage: UsageLedger, config: Config, alert: Alert) -> Budgets:
        return MemoryBudgets(usage, config.budgets, config.limits, alert=alert)

    def compare(self, config: Callable[[], str]) -> None:
        return

    def configs(self) -> dict[str, int]:
        return {}

    def standing(self) -> dict[str, Any]:
        return {}

    def announce(self, identity: Identity) -> None:
        return

    def follow(self, fleet: Fleet, changed: Callable[[], None]) -> None:
        fleet.on_changed = changed
