"""A hub's state in PostgreSQL: for one hub, or with Redis beside it for any number. Imported only where such an address is configured."""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable

from hub import backoff
from hub.audit.ledger import Ledger
from hub.audit.ledger_postgres import PostgresLedger
from hub.budget.daily import Days
from hub.budget.daily_postgres import PostgresDays
from hub.budget.override_postgres import PostgresOverrides
from hub.budget.override_rows import Rows as OverrideRows
from hub.budget.price_shelf import PriceShelf
from hub.budget.price_shelf_postgres import PostgresPriceShelf
from hub.budget.usage import Ledger as UsageLedger
from hub.budget.usage_hours import Hours
from hub.budget.usage_hours_postgres import PostgresHours
from hub.budget.usage_postgres import PostgresUsage
from hub.capture.rows import Contents
from hub.capture.rows_postgres import PostgresContents
from hub.config.values import Address
from hub.identity.rows import Keys
from hub.identity.rows_postgres import PostgresKeys
from hub.llm.background_postgres import PostgresBackground
from hub.llm.background_rows import Rows as BackgroundRows
from hub.llm.stored_postgres import PostgresStored
from hub.llm.stored_rows import Rows as StoredRows
from hub.policy.snapshots import Snapshots
from hub.policy.snapshots_postgres import PostgresSnapshots
from hub.refusal import StoreDown
from hub.routing.vault_postgres import PostgresVault
from hub.routing.vault_rows import Rows
from hub.seat import Seat
from hub.store.postgres import Postgres
from hub.store.postgres_link import NoMore
from hub.store.postgres_secrets import agree
from hub.store.secrets import Secrets
from hub.telemetry.logs import fields
from virtual_servers.shelf import Catalogues
from virtual_servers.shelf_postgres import PostgresCatalogues

log = logging.getLogger("hub")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
"""Seconds between attempts to reach a database at the start."""


class OnPostgres:
    """A `Medium`. Its secrets must be those of every hub that ever ran on this database.

    `wait`: seconds in which a database that does not answer yet is tried again when it is opened.
    """

    def __init__(self, address: Address, secrets: Secrets, *, alone: bool, wait: float = 0.0) -> None:
        self._wait = wait
        self._postgres = postgres = Postgres(address.url)
        self._secrets = secrets
        self._seat = Seat(postgres, alone=alone)
        self.kind = "postgresql"
        self.shared = True
        self.keys: Keys = PostgresKeys(postgres)
        self.snapshots: Snapshots = PostgresSnapshots(postgres)
        self.catalogues: Catalogues = PostgresCatalogues(postgres)
        self.days: Days = PostgresDays(postgres)
        self.prices: PriceShelf = PostgresPriceShelf(postgres)
        self.usage: UsageLedger = PostgresUsage(postgres)
        self.hours: Hours = PostgresHours(postgres)
        self.overrides: OverrideRows = PostgresOverrides(postgres)
        self.vault: Rows = PostgresVault(postgres)
        self.contents: Contents = PostgresContents(postgres)
        self.stored: StoredRows = PostgresStored(postgres)
        self.background: BackgroundRows = PostgresBackground(postgres)
        self.ledger: Ledger = PostgresLedger(postgres)

    @property
    def up(self) -> bool:
        return self._postgres.up

    async def open(self, lost: Callable[[], None], back: Callable[[], Awaitable[None]]) -> None:
        await self._reach()
        await self._seat.take(lost, back)
        await agree(self._postgres, self._secrets)

    async def _reach(self) -> None:
        """Open the database. One that answers, if only by a no to our password, is not waited for."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._wait
        for failures in itertools.count(1):
            try:
                await self._postgres.open()
                break
            except StoreDown as down:
                pause = backoff.pause(failures, _FIRST_PAUSE, _LONGEST_PAUSE)
                if isinstance(down, NoMore) or loop.time() + pause > until:
                    raise
                log.warning("the database cannot be used yet", extra=fields(detail=down.detail, again_in=round(pause, 1)))
                await asyncio.sleep(pause)

    async def close(self) -> None:
        await self._seat.close()
        await self._postgres.close()

    def on_commit(self, observe: Callable[[int, float], None]) -> None:
        self._postgres.on_commit(observe)
