"""Keys in PostgreSQL, changed by whichever process is asked and seen by all of them."""

import time
from collections.abc import Callable, Sequence

from hub.identity.entry import KeyInfo, moment
from hub.identity.rows import COLUMNS, Changes, Row, meant, row, shadows, values
from hub.store.epochs import bump_postgres
from hub.store.postgres import Postgres
from hub.store.postgres_link import Connection
from hub.store.postgres_turns import Turns

_SELECT = f"SELECT {COLUMNS} FROM api_key"  # noqa: S608 (constants)
_INSERT = f"INSERT INTO api_key ({COLUMNS}, epoch) VALUES ({', '.join(f'${n}' for n in range(1, 17))})"  # noqa: S608 (constants)

_OF = " WHERE ($1::text IS NULL OR org = $1)"
"""Said in each question, whether or not row-level security says it again: a superuser's connection is not bound by that."""

_GRAVES = "SELECT id, revoked FROM key_tombstone"
_SINCE = " AS it JOIN unnest($1::text[], $2::bigint[]) AS known (org, since) ON it.org = known.org AND it.epoch > known.since"
_ROWS_SINCE = f"SELECT {', '.join('it.' + name for name in COLUMNS.split(', '))} FROM api_key{_SINCE}"  # noqa: S608 (constants)
_GRAVES_SINCE = f"SELECT it.id FROM key_tombstone{_SINCE}"  # noqa: S608 (constants)


class _Taken(Exception):
    """Nothing is to be stored: rolls the transaction back."""


class PostgresKeys:
    """The `Keys` of one PostgreSQL database."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._turns = Turns(postgres, 1, 1)

    async def changes(self, known: dict[str, int], clock: Callable[[], float]) -> Changes:
        at = clock()  # what is seen is of the moment in which the transaction begins, which is before its first answer
        return await self._postgres.read(lambda connection: _changes(connection, known, at))

    async def begun(self) -> bool:
        return await self._postgres.read(_begun)

    async def listed(self, org: str | None) -> tuple[list[KeyInfo], dict[str, str]]:
        return await self._postgres.read(lambda connection: _listed(connection, org), org=org or "*")

    async def live(self, org: str | None, name_or_id: str, declared: Sequence[KeyInfo]) -> KeyInfo | None:
        mine = meant(declared, org, name_or_id)
        return await self._postgres.read(lambda connection: _meant(connection, org, name_or_id, mine), org=org or "*")

    async def add(self, rows: Sequence[Row], *, first: bool = False) -> bool:
        try:
            return await self._turns.change(lambda connection: _add(connection, rows, first), lambda connection: _stand(connection, rows))
        except _Taken:
            return False

    async def revoke(self, org: str | None, name_or_id: str, declared: Sequence[KeyInfo], at: str) -> KeyInfo | None:
        mine = meant(declared, org, name_or_id)
        return await self._turns.change(
            lambda connection: _revoke(connection, org, name_or_id, mine, at),
            lambda connection: _revoked(connection, org, name_or_id, mine, at),
            org or "*",
        )


async def _changes(connection: Connection, known: dict[str, int], at: float) -> Changes:
    """Epochs only grow and no row of them goes, so where their sum is what it was nothing has changed; that is all a poll asks."""
    if await connection.fetchval("SELECT coalesce(sum(value), 0)::bigint FROM epoch") == sum(known.values()):
        return Changes(at, known, [], [])
    epochs: dict[str, int] = dict(await connection.fetch("SELECT org, value FROM epoch"))
    anew = frozenset(org for org, value in known.items() if epochs.get(org, 0) < value)
    moved = [org for org, value in epochs.items() if value != known.get(org, 0)]
    since = moved, [0 if org in anew else known.get(org, 0) for org in moved]
    rows = await connection.fetch(_ROWS_SINCE, *since)
    dead = await connection.fetch(_GRAVES_SINCE, *since)
    return Changes(at, epochs, [row(tuple(found)) for found in rows], [found["id"] for found in dead], anew)


async def _listed(connection: Connection, org: str | None) -> tuple[list[KeyInfo], dict[str, str]]:
    found = await connection.fetch(_SELECT + _OF + ' ORDER BY created COLLATE "C", id COLLATE "C"', org)
    graves = await connection.fetch(_GRAVES + _OF, org)
    return [row(tuple(one)).info for one in found], {grave["id"]: grave["revoked"] for grave in graves}


async def _begun(connection: Connection) -> bool:
    return await connection.fetchval("SELECT EXISTS (SELECT FROM api_key)")


async def _add(connection: Connection, rows: Sequence[Row], first: bool) -> bool:
    if first and await _begun(connection):
        raise _Taken
    for new in rows:
        rival = await _live(connection, None, new.info.name)
        if rival is not None:
            if moment(rival.expires) > time.time():
                raise _Taken
            await _end(connection, rival, new.info.created)
        await connection.execute(_INSERT, *values(new), await bump_postgres(connection, new.info.org))
    return True


async def _stand(connection: Connection, rows: Sequence[Row]) -> bool | None:
    """Whether these keys, which were stored all or none, are there. None where they are not."""
    return await connection.fetchval("SELECT true FROM api_key WHERE id = $1", rows[0].info.id)


async def _meant(connection: Connection, org: str | None, name_or_id: str, declared: Sequence[KeyInfo]) -> KeyInfo | None:
    """The live key of this id or name, stored or declared."""
    stored = await _live(connection, org, name_or_id)
    if stored is not None and not shadows(stored, name_or_id, declared):
        return stored
    for key in declared:
        if not await connection.fetchval("SELECT true FROM key_tombstone WHERE id = $1", key.id):
            return key
    return None


async def _revoke(connection: Connection, org: str | None, name_or_id: str, declared: Sequence[KeyInfo], at: str) -> KeyInfo | None:
    found = await _meant(connection, org, name_or_id, declared)
    if found is not None and found.source == "declared":
        await _bury(connection, found, at)
    elif found is not None:
        await _end(connection, found, at)
    return found


async def _revoked(connection: Connection, org: str | None, name_or_id: str, declared: Sequence[KeyInfo], at: str) -> KeyInfo | None:
    """What a `_revoke` of this moment ended."""
    found = await connection.fetchrow(_SELECT + _OF + " AND revoked = $2 AND $3 IN (id, name)", org, at, name_or_id)
    if found is not None:
        return row(tuple(found)).info
    graves = await connection.fetch("SELECT id FROM key_tombstone WHERE revoked = $1", at)
    return next((key for key in declared if key.id in {grave["id"] for grave in graves}), None)


async def _live(connection: Connection, org: str | None, name_or_id: str) -> KeyInfo | None:
    """The key of this id or name that was not revoked. An id wins over a name."""
    where = _OF + " AND revoked = '' AND (id = $2 OR name = $2) ORDER BY id = $2 DESC LIMIT 1"
    found = await connection.fetchrow(_SELECT + where, org, name_or_id)
    return None if found is None else row(tuple(found)).info


async def _end(connection: Connection, info: KeyInfo, at: str) -> None:
    epoch = await bump_postgres(connection, info.org)
    await connection.execute("UPDATE api_key SET revoked = $1, epoch = $2 WHERE id = $3", at, epoch, info.id)


async def _bury(connection: Connection, info: KeyInfo, at: str) -> None:
    row = (info.id, info.name, info.org, at, await bump_postgres(connection, info.org))
    await connection.execute("INSERT INTO key_tombstone (id, name, org, revoked, epoch) VALUES ($1, $2, $3, $4, $5)", *row)
