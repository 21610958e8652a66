"""Overrides of budgets in PostgreSQL, changed by whichever process is asked and seen by all of them."""

from hub.budget.override_rows import COLUMNS, Fits, room_beside, row, values
from hub.budget.overrides import Override
from hub.store.epochs import BUDGETS, bump_postgres
from hub.store.postgres import Connection, Postgres
from hub.store.postgres_turns import Turns

_NAMES = ", ".join(COLUMNS)
_STANDING = f"SELECT {_NAMES} FROM budget_override WHERE ended = 0 AND until > $1"  # noqa: S608 (constants)
_BESIDE = f"{_STANDING} AND basis = $2"
_LISTED = (
    f"SELECT {_NAMES} FROM budget_override WHERE ($1::text IS NULL OR org = $1) "  # noqa: S608 (constants)
    'AND ($2::bigint IS NULL OR ended = 0 AND until > $2) ORDER BY given DESC, id COLLATE "C" DESC LIMIT $3'
)
_COUNT = "SELECT count(*) FROM budget_override WHERE org = $1 AND ended = 0 AND until > $2"
_INSERT = f"INSERT INTO budget_override ({_NAMES}) VALUES ({', '.join(f'${n}' for n in range(1, len(COLUMNS) + 1))})"  # noqa: S608
_BEFORE = (
    "UPDATE budget_override SET ended = $1, ended_by = $2 WHERE basis = $3 AND org = $4 AND who = $5 AND ended = 0 AND until > $1 "
    "RETURNING id"
)
_END = (
    f"UPDATE budget_override SET ended = $1, ended_by = $2 WHERE id = $3 AND ended = 0 AND until > $1 "  # noqa: S608 (constants)
    "AND ($4::text IS NULL OR (org = $4 AND scope <> 'org' AND giver <> '')) "
    f"RETURNING {_NAMES}"
)
_ONE = f"SELECT {_NAMES} FROM budget_override WHERE id = $1"  # noqa: S608 (constants)


class PostgresOverrides:
    """The `Rows` of one PostgreSQL database."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._turns = Turns(postgres, 3, 1)

    async def standing(self, since: int) -> tuple[int, list[Override]]:
        async def read(connection: Connection) -> tuple[int, list[Override]]:
            epoch = await connection.fetchval("SELECT value FROM epoch WHERE org = $1", BUDGETS)
            return epoch or 0, [row(tuple(one)) for one in await connection.fetch(_STANDING, since)]

        return await self._postgres.read(read)

    async def listed(self, org: str | None, *, since: int | None, limit: int) -> list[Override]:
        found = await self._postgres.read(lambda connection: connection.fetch(_LISTED, org, since, limit), org=org or "*")
        return [row(tuple(one)) for one in found]

    async def give(self, one: Override, fits: Fits | None = None) -> str:
        before = [""]

        async def give(connection: Connection) -> str:
            if fits is not None:
                fits([row(tuple(found)) for found in await connection.fetch(_BESIDE, one.given, one.basis)])
            ended = await connection.fetchrow(_BEFORE, one.given, one.by, one.basis, one.org, one.who)
            room_beside(await connection.fetchval(_COUNT, one.org, one.given))
            await connection.execute(_INSERT, *values(one))
            await bump_postgres(connection, BUDGETS)
            before[0] = "" if ended is None else ended["id"]
            return before[0]

        async def stands(connection: Connection) -> str | None:
            return None if await connection.fetchrow(_ONE, one.id) is None else before[0]

        return await self._turns.change(give, stands)

    async def find(self, name: str) -> Override | None:
        found = await self._postgres.read(lambda connection: connection.fetchrow(_ONE, name))
        return None if found is None else row(tuple(found))

    async def end(self, org: str | None, name: str, now: int, by: str) -> Override | None:
        async def end(connection: Connection) -> tuple[Override | None]:
            found = await connection.fetchrow(_END, now, by, name, org)
            if found is None:
                return (None,)
            await bump_postgres(connection, BUDGETS)
            return (row(tuple(found)),)

        async def ended(connection: Connection) -> tuple[Override] | None:
            found = await connection.fetchrow(_ONE, name)
            one = None if found is None else row(tuple(found))
            return (one,) if one is not None and (one.ended, one.ended_by) == (now, by) else None

        return (await self._turns.change(end, ended))[0]
