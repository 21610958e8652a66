"""What a hub keeps its state in, room by room. `hub.on_sqlite` and `hub.on_postgres` are the two there are; `hub.app` chooses."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from hub.audit.ledger import Ledger
from hub.budget.daily import Days
from hub.budget.override_rows import Rows as OverrideRows
from hub.budget.price_shelf import PriceShelf
from hub.budget.usage import Ledger as UsageLedger
from hub.budget.usage_hours import Hours
from hub.capture.rows import Contents
from hub.identity.rows import Keys
from hub.llm.background_rows import Rows as BackgroundRows
from hub.llm.stored_rows import Rows as StoredRows
from hub.policy.snapshots import Snapshots
from hub.routing.vault_rows import Rows
from virtual_servers.shelf import Catalogues


class Medium(Protocol):
    """One database, for as long as the hub runs."""

    kind: str
    """`sqlite` or `postgresql`."""

    shared: bool
    """Whether others can reach it, and change it, while this hub cannot."""

    keys: Keys
    snapshots: Snapshots
    catalogues: Catalogues
    days: Days
    prices: PriceShelf
    usage: UsageLedger
    hours: Hours
    overrides: OverrideRows
    vault: Rows
    contents: Contents
    stored: StoredRows
    background: BackgroundRows
    ledger: Ledger

    @property
    def up(self) -> bool:
        """Whether it answers, as far as is known here."""
        ...

    async def open(self, lost: Callable[[], None], back: Callable[[], Awaitable[None]]) -> None:
        """Bring the database up to date and take the hub's place on it.

        From then on `lost` is called when the place is not this hub's any more, and `back` when it is again. Raises `Locked`,
        `LaterVersion`, `UnusableSecret`, `StoreDown`, and what the file system raises.
        """
        ...

    async def close(self) -> None: ...

    def on_commit(self, observe: Callable[[int, float], None]) -> None:
        """Have `observe(operations, seconds)` called after each commit."""
        ...
