"""What the processes of one hub have in common beside its database: limits, sessions, and word of each other.

`hub.on_memory` is for a process that serves alone, `hub.on_redis` for several; `hub.app` chooses.
"""

from collections.abc import Callable
from typing import Any, Protocol

from hub.budget.budgets import Alert, Budgets
from hub.budget.daily import Days
from hub.budget.limiter import Limiter
from hub.budget.usage import Ledger as UsageLedger
from hub.config.callers import LimitSpec
from hub.config.model import Config
from hub.identity.authenticate import Identity
from virtual_servers.fleet import Fleet
from virtual_servers.sessions import SessionStore
from virtual_servers.streams import Switchboard
from virtual_servers.underway import Underway


class Commons(Protocol):
    """For as long as the hub runs."""

    sessions: SessionStore
    switchboard: Switchboard
    underway: Underway

    async def open(self) -> None:
        """Connect. Raises `StoreDown`."""
        ...

    async def close(self) -> None: ...

    def limiter(self, days: Days, specs: tuple[LimitSpec, ...], local: Callable[[], None]) -> Limiter:
        """The limits. `days` keeps the counts of a process that counts alone; `local` is called for each call that could not be counted."""
        ...

    def budgets(self, usage: UsageLedger, config: Config, alert: Alert) -> Budgets:
        """The budgets, and the limits on tokens. `usage` is the ledger; `alert` is told of thresholds that were passed."""
        ...

    def compare(self, config: Callable[[], str]) -> None:
        """Have others know which configuration is in force here, as `config()` says by its hash. Once, before `open`."""
        ...

    def configs(self) -> dict[str, int]:
        """How many processes have each configuration in force, by its hash, as far as is known here; empty where there can be one only."""
        ...

    def standing(self) -> dict[str, Any]:
        """What `/health/ready` shows of it."""
        ...

    def announce(self, identity: Identity) -> None:
        """Have others hear at once of keys that are changed here, and this process of those changed elsewhere."""
        ...

    def follow(self, fleet: Fleet, changed: Callable[[], None]) -> None:
        """Have `changed` called when a catalogue of the fleet has changed, as the fleet does; where there are others, they hear of it."""
        ...
