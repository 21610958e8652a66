"""The usage ledger in PostgreSQL: what is to be written goes through one queue, in order, many rows to a commit, beside the path of calls.

Every statement can be run again without harm, so that a commit of which no answer came is simply tried again. Imported only where a
`postgresql://` address is configured.
"""

import asyncio
import logging
import time
from asyncio import Future
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

import asyncpg
from msgspec import Struct
from msgspec import json as msgjson

from hub.budget.usage import COLUMNS, TOKENS, AlertRow, Ask, Sum, Usage, column, row_of, values
from hub.budget.usage_aside import Aside, Illegible, Unfit, legible
from hub.budget.usage_ask import Dialect, Statement
from hub.refusal import Refusal, StoreDown
from hub.store.postgres import Connection, Postgres

logger = logging.getLogger(__name__)

AGAIN = 0.25
"""Seconds until what could not be written is tried again."""

LAST = 3.0
"""Seconds a closing ledger waits for a database that is away."""

_TOGETHER = 500
_NAMES = ", ".join(COLUMNS)
_NUMBERS = {"at", "seq", "cost", "latency", "attempts", *TOKENS}
_TYPES = ", ".join(f"${n}::{'bigint' if name in _NUMBERS else 'text'}[]" for n, name in enumerate(COLUMNS, 1))
_PUT = f"INSERT INTO usage ({_NAMES}) SELECT * FROM unnest({_TYPES}) ON CONFLICT (id) DO NOTHING"  # noqa: S608 (constants)
_NOTE = "INSERT INTO usage_open (id, org, row) SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) ON CONFLICT (id) DO NOTHING"
_ASIDE = f"{_NOTE.partition(' ON CONFLICT')[0]} ON CONFLICT (id) DO UPDATE SET row = excluded.row"
_FORGET = "DELETE FROM usage_open WHERE id = ANY($1::text[])"

_UNFIT = (
    asyncpg.DataError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.IntegrityConstraintViolationError,
    ValueError,
    TypeError,
    OverflowError,
)
"""What PostgreSQL, or its driver, says of values that no table, or none of its indexes, can hold. What else can be wrong may pass."""

_PASSED = (
    "INSERT INTO budget_alert (counter, who, start, percent, body, raised) VALUES ($1, $2, $3, $4, $5, $6) "
    "ON CONFLICT (counter, who, start, percent) DO NOTHING"
)
_DUE = "UPDATE budget_alert SET at = $1 WHERE sent = 0 AND at < $2 RETURNING counter, who, start, percent, body, raised"
_TOLD = "UPDATE budget_alert SET sent = $1 WHERE counter = $2 AND who = $3 AND start = $4 AND percent = $5"


_ALONG = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off"
"""For reading along an index, in its order, up to the limit. The planner takes row-level security to keep one row in twenty, and would
rather fetch and sort all that a busy key or model ever did."""


class _Item(Struct, eq=False):
    """One thing to do: one of the first four is set; or a row, and the call whose note it takes the place of. These are written at once: a
    row that does not fit stands where the note was. `done` is told of its end, where somebody waits."""

    row: Usage | None = None
    note: Usage | None = None
    forget: str = ""
    ask: Ask | None = None
    done: "Future[Any] | None" = None


class PostgresUsage:
    """The `Ledger` of one PostgreSQL database."""

    dialect: Dialect = "postgresql"

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._queue: deque[_Item] = deque()
        self._arrived = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._written: Callable[[Sequence[Usage]], None] = lambda rows: None
        self._aside = Aside()

    @property
    def aside(self) -> int:
        return self._aside.count

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def on_written(self, call: Callable[[Sequence[Usage]], None]) -> None:
        """Have `call(rows)` called when rows are durable."""
        self._written = call

    async def open(self) -> None:
        self._worker = asyncio.create_task(self._work(), name="usage")

    async def close(self) -> None:
        """Raises `StoreDown` where something could not be written."""
        try:
            async with asyncio.timeout(LAST):
                await self.settled()
        except TimeoutError:
            raise StoreDown("what calls cost could not be written", detail=f"{len(self._queue)} rows") from None
        finally:
            if self._worker is not None:
                self._worker.cancel()
                await asyncio.gather(self._worker, return_exceptions=True)

    def put(self, row: Usage, *, holds: bool) -> None:
        self._add(_Item(row=row, forget=row.id if holds else ""))

    def note(self, row: Usage) -> Awaitable[None] | None:
        return self._told(_Item(note=row))

    def forget(self, call_id: str) -> None:
        self._add(_Item(forget=call_id))

    def sums(self, ask: Ask) -> Awaitable[list[Sum]]:
        return self._told(_Item(ask=ask))

    async def select(self, statement: Statement, org: str | None) -> list[Sequence[Any]]:
        async def run(connection: Connection) -> list[Any]:
            await connection.execute(_ALONG)
            return await connection.fetch(statement.text, *statement.values)

        return [tuple(row) for row in await self._postgres.read(run, org=org or "*")]

    async def passed(self, row: AlertRow) -> None:
        given = (row.counter, row.who, row.start, row.percent, row.body, time.time_ns() // 1000)
        await self._postgres.write(lambda connection: connection.execute(_PASSED, *given))

    async def due(self, now: int, before: int) -> list[AlertRow]:
        found = await self._postgres.write(lambda connection: connection.fetch(_DUE, now, before))
        return [AlertRow(*row) for row in found]

    async def told(self, row: AlertRow, now: int) -> None:
        given = (now, row.counter, row.who, row.start, row.percent)
        await self._postgres.write(lambda connection: connection.execute(_TOLD, *given))

    async def settled(self) -> None:
        if self._worker is None and not self._queue:
            return
        await self._told(_Item())

    async def recover(self, but: Collection[str] = ()) -> list[Usage]:
        found, unfit = await self._postgres.write(lambda connection: _recover(connection, list(but)))
        self._aside.told(unfit)
        return found

    async def last(self) -> int:
        found = await self._postgres.read(lambda connection: connection.fetchval("SELECT max(at) FROM usage"))
        return int(found or 0)

    async def find(self, org: str | None, *, before: str = "", limit: int = 100, **equal: str) -> list[Usage]:
        where, given = ["($1::text IS NULL OR org = $1)", "($2 = '' OR id COLLATE \"C\" < $2)"], [org, before]
        for name, value in equal.items():
            if name not in COLUMNS:
                raise ValueError(f"no column {name!r}")
            given.append(value)
            where.append(f"{name} = ${len(given)}")
        query = f'SELECT {_NAMES} FROM usage WHERE {" AND ".join(where)} ORDER BY id COLLATE "C" DESC LIMIT {int(limit)}'  # noqa: S608 (constants)
        rows = await self._postgres.read(lambda connection: connection.fetch(query, *given), org=org or "*")
        return [row_of(tuple(row)) for row in rows]

    def _add(self, item: _Item) -> None:
        self._queue.append(item)
        self._arrived.set()

    def _told(self, item: _Item) -> "Future[Any]":
        item.done = asyncio.get_running_loop().create_future()
        self._add(item)
        return item.done

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                await self._some()

    async def _some(self) -> None:
        """The next of the queue: questions one at a time, whatever is to be written together."""
        batch: list[_Item] = []
        for item in self._queue:
            if len(batch) >= _TOGETHER or (item.ask is not None and batch):
                break
            batch.append(item)
            if item.ask is not None:
                break
        try:
            result = await self._do(batch)
        except Exception as error:
            await self._failed(batch, error)
            return
        self._take(batch)
        rows = [item.row for item in batch if item.row is not None]
        if rows:
            self._written(rows)
        for item in batch:
            if item.done is not None and not item.done.done():
                item.done.set_result(result)

    async def _do(self, batch: list[_Item]) -> Any:
        ask = batch[0].ask
        if ask is not None:
            return await self._postgres.read(lambda connection: _summed(connection, ask))
        try:
            return await self._postgres.write(lambda connection: _write(connection, batch))
        except _Mixed:
            self._aside.told(await self._postgres.write(lambda connection: _singly(connection, batch)))

    async def _failed(self, batch: list[_Item], error: Exception) -> None:
        """Whoever waits is refused; what must not be lost is tried again."""
        if not isinstance(error, Refusal):
            logger.error("what calls cost could not be written: %s", type(error).__name__, exc_info=error)
        lost = [item for item in batch if item.done is not None]
        for item in lost:
            assert item.done is not None
            if not item.done.done():
                item.done.set_exception(error if isinstance(error, StoreDown) else StoreDown("what calls cost cannot be written"))
        self._take(batch, [item for item in batch if item.done is None])
        if not lost:
            await asyncio.sleep(AGAIN)

    def _take(self, batch: list[_Item], keep: Sequence[_Item] = ()) -> None:
        for _ in batch:
            self._queue.popleft()
        self._queue.extendleft(reversed(keep))


class _Mixed(Exception):
    """Something in a batch does not fit."""


async def _write(connection: Connection, batch: list[_Item]) -> None:
    """Raises `_Mixed`."""
    try:
        rows = [values(item.row) for item in batch if item.row is not None]
        if rows:
            await connection.execute(_PUT, *_arrays(rows))
        notes = [_note(item.note) for item in batch if item.note is not None]
        if notes:
            await connection.execute(_NOTE, *_arrays(notes))
    except _UNFIT as error:
        raise _Mixed from error
    gone = [item.forget for item in batch if item.forget]
    if gone:
        await connection.execute(_FORGET, gone)


async def _singly(connection: Connection, batch: list[_Item]) -> list[Unfit]:
    """The same once more, one by one. A row that does not fit is kept aside, where its call was noted; who waits for the note of one is
    refused."""
    unfit = await _put(connection, [values(item.row) for item in batch if item.row is not None])
    for item in batch:
        if item.note is None or item.done is None:
            continue
        error = await _fits(connection, _NOTE, lambda note=item.note: [_note(note)])
        if error is not None and not item.done.done():
            item.done.set_exception(StoreDown("what this call costs cannot be kept", detail=f"{type(error).__name__}"))
    kept = {one.row[0] for one in unfit}
    await connection.execute(_FORGET, [item.forget for item in batch if item.forget and item.forget not in kept])
    await _keep(connection, unfit)
    return unfit


async def _put(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> list[Unfit]:
    """Add rows; those that do not fit. One by one only where there are such."""
    if not rows or await _fits(connection, _PUT, lambda: rows) is None:
        return []
    found = [(row, await _fits(connection, _PUT, lambda row=row: [row])) for row in rows]
    return [Unfit(row, error) for row, error in found if error is not None]


async def _fits(connection: Connection, statement: str, rows: Callable[[], Sequence[tuple[Any, ...]]]) -> Exception | None:
    """Run a statement for rows; why it cannot be, where that is a row's own fault."""
    await connection.execute("SAVEPOINT one")
    try:
        await connection.execute(statement, *_arrays(rows()))
    except _UNFIT as error:
        await connection.execute("ROLLBACK TO SAVEPOINT one")
        return error
    await connection.execute("RELEASE SAVEPOINT one")
    return None


async def _keep(connection: Connection, unfit: list[Unfit]) -> None:
    if unfit:
        await connection.execute(_ASIDE, *_arrays([(one.id, one.org, one.text) for one in unfit]))


def _note(row: Usage) -> tuple[str, str, str]:
    return row.id, row.org, msgjson.encode(values(row)).decode()


def _arrays(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(one) for one in zip(*rows, strict=True)]


async def _recover(connection: Connection, but: list[str]) -> tuple[list[Usage], list[Unfit | Illegible]]:
    """What does not fit stays where it is."""
    open_ = await connection.fetch("SELECT id, row FROM usage_open WHERE id <> ALL($1::text[]) ORDER BY id FOR UPDATE SKIP LOCKED", but)
    found, illegible = legible((one["id"], one["row"]) for one in open_)
    await connection.execute(_FORGET, list(found))
    unfit = await _put(connection, list(found.values()))
    await _keep(connection, unfit)
    kept = {one.row for one in unfit}
    return [row_of(one) for one in found.values() if one not in kept], [*unfit, *illegible]


async def _summed(connection: Connection, ask: Ask) -> list[Sum]:
    where, given = (
        ["at >= $1", "($2 = '' OR org = $2)", "($3::text IS NULL OR run <> $3 OR seq < $4)", "id <> ALL($5::text[])"],
        [ask.since, ask.org, ask.run, ask.seq, list(ask.but)],
    )
    if name := column(ask.scope):
        given.append(ask.who)
        where.append(f"{name} = $6")
    slot = f"at - at % {int(ask.slot)}" if ask.slot else "0::bigint"
    query = (
        f"SELECT provider, model, {slot}, sum(coalesce(cost, 0))::bigint, sum(input)::bigint, sum(output)::bigint, count(*) FROM usage "  # noqa: S608 (constants)
        f"WHERE {' AND '.join(where)} GROUP BY 1, 2, 3"
    )
    return [Sum(*map(_plain, found)) for found in await connection.fetch(query, *given)]


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else int(value)
