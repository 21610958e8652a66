"""The vault in PostgreSQL, changed by whichever process is asked and seen by all of them."""

from collections.abc import Callable

from hub.routing.vault_rows import COLUMNS, Row, row, values
from hub.store.epochs import VAULT, bump_postgres
from hub.store.postgres import Postgres
from hub.store.postgres_link import Connection
from hub.store.postgres_turns import Turns

_SELECT = (
    f"SELECT {COLUMNS} FROM vault_secret WHERE sealed != ''::bytea "  # noqa: S608 (constants)
    'ORDER BY org COLLATE "C", name COLLATE "C", version DESC'
)
_INSERT = f"INSERT INTO vault_secret ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"  # noqa: S608 (constants)
_NEWEST = "SELECT version, sealed != ''::bytea AS live FROM vault_secret WHERE org = $1 AND name = $2 ORDER BY version DESC LIMIT 1"
_BEFORE = "DELETE FROM vault_secret WHERE org = $1 AND name = $2 AND version < $3"
_VALUE = "SELECT sealed FROM vault_secret WHERE org = $1 AND name = $2 AND version = $3"
_EXPIRE = "UPDATE vault_secret SET expires = $4 WHERE org = $1 AND name = $2 AND version = $3"
_EMPTY = "UPDATE vault_secret SET kek = '', wrapped = '', sealed = '' WHERE org = $1 AND name = $2 AND version = $3"
_WRAP = "UPDATE vault_secret SET kek = $4, wrapped = $5, sealed = $6 WHERE org = $1 AND name = $2 AND version = $3"


class PostgresVault:
    """The `Rows` of one PostgreSQL database."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._turns = Turns(postgres, 2, 1)

    async def all(self) -> tuple[int, list[Row]]:
        return await self._postgres.read(_all)

    async def put(self, org: str, name: str, make: Callable[[int], Row], keep: str) -> Row:
        made: list[Row] = []

        async def put(connection: Connection) -> Row:
            made[:] = [await _put(connection, org, name, make, keep)]
            return made[0]

        async def stands(connection: Connection) -> Row | None:
            found = await connection.fetchval(_VALUE, *made[0].key)
            return made[0] if found == made[0].envelope.sealed else None

        return await self._turns.change(put, stands)

    async def remove(self, org: str, name: str) -> int:
        removed = [0]

        async def remove(connection: Connection) -> int:
            removed[0] = await _remove(connection, org, name)
            return removed[0]

        async def gone(connection: Connection) -> int | None:
            found = await connection.fetchrow(_NEWEST, org, name)
            return removed[0] if found is None or not found["live"] else None

        return await self._turns.change(remove, gone)

    async def rewrite(self, change: Callable[[Row], Row | None]) -> int:
        count = [0]

        async def rewrite(connection: Connection) -> int:
            count[0] = await _rewrite(connection, change)
            return count[0]

        async def done(connection: Connection) -> int | None:
            return count[0] if all(change(found) is None for found in (await _all(connection))[1]) else None

        return await self._turns.change(rewrite, done)


async def _all(connection: Connection) -> tuple[int, list[Row]]:
    epoch = await connection.fetchval("SELECT value FROM epoch WHERE org = $1", VAULT)
    return epoch or 0, [row(tuple(found)) for found in await connection.fetch(_SELECT)]


async def _put(connection: Connection, org: str, name: str, make: Callable[[int], Row], keep: str) -> Row:
    found = await connection.fetchrow(_NEWEST, org, name)
    version, live = (found["version"], found["live"]) if found is not None else (0, False)
    await connection.execute(_BEFORE, org, name, version if live and keep else version + 1)
    await connection.execute(_EXPIRE, org, name, version, keep)
    made = make(version + 1)
    await connection.execute(_INSERT, *values(made))
    await bump_postgres(connection, VAULT)
    return made


async def _remove(connection: Connection, org: str, name: str) -> int:
    found = await connection.fetchrow(_NEWEST, org, name)
    if found is None or not found["live"]:
        return 0
    version: int = found["version"]
    await connection.execute(_BEFORE, org, name, version)
    await connection.execute(_EMPTY, org, name, version)
    await bump_postgres(connection, VAULT)
    return version


async def _rewrite(connection: Connection, change: Callable[[Row], Row | None]) -> int:
    changed = [after for before in (await _all(connection))[1] if (after := change(before)) is not None]
    for after in changed:
        it = after.envelope
        await connection.execute(_WRAP, *after.key, it.kek, it.wrapped, it.sealed)
    if changed:
        await bump_postgres(connection, VAULT)
    return len(changed)
