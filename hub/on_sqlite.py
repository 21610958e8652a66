"""A hub's state in one SQLite file, for one process."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from hub.audit.ledger import Ledger
from hub.audit.ledger_sqlite import SqliteLedger
from hub.budget.daily import Days
from hub.budget.daily_sqlite import SqliteDays
from hub.budget.override_rows import Rows as OverrideRows
from hub.budget.override_sqlite import SqliteOverrides
from hub.budget.price_shelf import PriceShelf
from hub.budget.price_shelf_sqlite import SqlitePriceShelf
from hub.budget.usage import Ledger as UsageLedger
from hub.budget.usage_hours import Hours
from hub.budget.usage_hours_sqlite import SqliteHours
from hub.budget.usage_sqlite import SqliteUsage
from hub.capture.rows import Contents
from hub.capture.rows_sqlite import SqliteContents
from hub.identity.rows import Keys
from hub.identity.rows_sqlite import SqliteKeys
from hub.llm.background_rows import Rows as BackgroundRows
from hub.llm.background_sqlite import SqliteBackground
from hub.llm.stored_rows import Rows as StoredRows
from hub.llm.stored_sqlite import SqliteStored
from hub.policy.snapshots import Snapshots
from hub.policy.snapshots_sqlite import SqliteSnapshots
from hub.routing.vault_rows import Rows
from hub.routing.vault_sqlite import SqliteVault
from hub.store.sqlite import Database
from virtual_servers.shelf import Catalogues
from virtual_servers.shelf_sqlite import SqliteCatalogues


class OnSqlite:
    """A `Medium`. Its file is locked while it is open: nobody can take the hub's place."""

    def __init__(self, file: Path) -> None:
        self._database = database = Database(file)
        self.kind = "sqlite"
        self.shared = False
        self.keys: Keys = SqliteKeys(database)
        self.snapshots: Snapshots = SqliteSnapshots(database)
        self.catalogues: Catalogues = SqliteCatalogues(database)
        self.days: Days = SqliteDays(database)
        self.prices: PriceShelf = SqlitePriceShelf(database)
        self.usage: UsageLedger = SqliteUsage(database)
        self.hours: Hours = SqliteHours(database)
        self.overrides: OverrideRows = SqliteOverrides(database)
        self.vault: Rows = SqliteVault(database)
        self.contents: Contents = SqliteContents(database)
        self.stored: StoredRows = SqliteStored(database)
        self.background: BackgroundRows = SqliteBackground(database)
        self.ledger: Ledger = SqliteLedger(database)

    @property
    def up(self) -> bool:
        return True

    async def open(self, lost: Callable[[], None], back: Callable[[], Awaitable[None]]) -> None:
        self._database.open()

    async def close(self) -> None:
        await self._database.close()

    def on_commit(self, observe: Callable[[int, float], None]) -> None:
        self._database.on_commit(observe)
