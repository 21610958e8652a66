"""Daily counts in PostgreSQL, for a hub that is alone there because it has no Redis. It knows the table, not the rules.

Transactions overtake each other, so that a call waits for its count where it must be stored, and a lower count never takes a higher one's
place. Imported only where a `postgresql://` address is configured.
"""

import asyncio
from typing import Any

from hub.budget.daily import date
from hub.store.postgres import Postgres

_LOAD = "SELECT rule, who, used FROM daily_use WHERE day = $1"
_SAVE = "INSERT INTO daily_use (day, rule, who, used) VALUES ($1, $2, $3, $4) ON CONFLICT (day, rule, who) DO UPDATE SET used = "
_HIGHEST = f"{_SAVE}GREATEST(daily_use.used, excluded.used)"
_FINAL = f"{_SAVE}excluded.used"


class PostgresDays:
    """The `Days` of one PostgreSQL database."""

    ordered = False

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def load(self, day: int) -> list[tuple[str, str, int]]:
        rows = await self._postgres.read(lambda connection: connection.fetch(_LOAD, date(day)))
        return [(str(rule), str(who), int(used)) for rule, who, used in rows]

    def save(self, day: int, rule: str, who: str, used: int, *, final: bool = False) -> "asyncio.Future[Any]":
        statement = _FINAL if final else _HIGHEST
        return asyncio.ensure_future(self._postgres.write(lambda connection: connection.execute(statement, date(day), rule, who, used)))

    async def forget(self, before: int) -> None:
        await self._postgres.write(lambda connection: connection.execute("DELETE FROM daily_use WHERE day < $1", date(before)))
