"""The hours of the usage ledger in PostgreSQL, where many write rows. See the trigger in migration 0017 for what they do about hours.

Imported only where a `postgresql://` address is configured.
"""

from collections.abc import Sequence

from hub.budget.usage_hours import COLUMNS, TOGETHER, Hour
from hub.budget.usage_sql import CALLS, UNPRICED
from hub.store.postgres import Connection, Postgres

LEAD = 0x686F757273
"""The advisory lock of who makes hours: "hours" in ASCII."""

_ALONE = "SELECT pg_advisory_xact_lock(4, 1)"
"""Waits for those who have written rows and not committed. The pairs of numbers are a space of their own: (4, …) is that of the ledger."""

_BEGIN = (
    "INSERT INTO usage_rolled (hour, state, dirty, turn, groups) SELECT hour, 0, 0, 1, 0 FROM unnest($1::bigint[]) AS hour ORDER BY hour "
    "ON CONFLICT (hour) DO UPDATE SET state = 0, dirty = 0, turn = usage_rolled.turn + 1 RETURNING hour, turn"
)
_MINE = "SELECT 1 FROM usage_rolled WHERE hour = $1 AND turn = $2 AND state = 0 AND dirty = 0 FOR UPDATE"
_COUNT = "UPDATE usage_rolled SET state = $1, groups = $2 WHERE hour = $3 AND turn = $4 AND state = 0 AND dirty = 0 RETURNING hour"
_NUMBERS = {"hour", UNPRICED, *CALLS}
_TYPES = ", ".join(f"${n}::{'bigint' if name in _NUMBERS else 'text'}[]" for n, name in enumerate(COLUMNS, 1))
_INSERT = f"INSERT INTO usage_hour ({', '.join(COLUMNS)}) SELECT * FROM unnest({_TYPES})"  # noqa: S608 (constants)


class PostgresHours:
    """The `Hours` of one PostgreSQL database."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def lead(self) -> bool:
        return self._postgres.holds(LEAD) or await self._postgres.hold(LEAD)

    async def begin(self, hours: Sequence[int]) -> dict[int, int]:
        async def begin(connection: Connection) -> dict[int, int]:
            await connection.execute(_ALONE)
            return {int(found["hour"]): int(found["turn"]) for found in await connection.fetch(_BEGIN, list(hours))}

        return await self._postgres.write(begin)

    async def keep(self, hour: Hour) -> bool:
        count = len(hour.rows or ())
        for at in range(0, max(1, count), TOGETHER):
            if not await self._postgres.write(lambda connection, at=at: _write(connection, hour, at)):
                return False
        made = (hour.state, count, hour.hour, hour.turn)
        return await self._postgres.write(lambda connection: connection.fetchval(_COUNT, *made)) is not None


async def _write(connection: Connection, it: Hour, at: int) -> bool:
    """Some rows from `at` on, if the hour is still this maker's; before the first what another left there goes."""
    if await connection.fetchval(_MINE, it.hour, it.turn) is None:
        return False
    if at == 0:
        await connection.execute("DELETE FROM usage_hour WHERE hour = $1", it.hour)
    rows = [(it.hour, *row) for row in (it.rows or ())[at : at + TOGETHER]]
    if rows:
        await connection.execute(_INSERT, *(list(one) for one in zip(*rows, strict=True)))
    return True
