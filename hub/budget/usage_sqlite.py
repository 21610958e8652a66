"""The usage ledger in SQLite, whose single writer keeps the order of what it is given: a call's row costs no commit of its own.

What is to be written while an operation of this waits for its turn joins it. It stands in the store's queue before any record of the same
call that is appended afterwards, so that it is durable no later than that.
"""

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from msgspec import json as msgjson

from hub.budget.usage import COLUMNS, AlertRow, Ask, Sum, Usage, column, row_of, values
from hub.budget.usage_aside import Aside, Illegible, Unfit, legible
from hub.budget.usage_ask import Dialect, Statement
from hub.refusal import StoreDown
from hub.store.sqlite import Database

logger = logging.getLogger(__name__)

AGAIN = 1.0
"""Seconds until rows that could not be written are tried again."""

_NAMES = ", ".join(COLUMNS)
_PUT = f"INSERT INTO usage ({_NAMES}) VALUES ({', '.join('?' * len(COLUMNS))}) ON CONFLICT (id) DO NOTHING"  # noqa: S608 (constants)
_NOTE = "INSERT OR REPLACE INTO usage_open (id, row) VALUES (?, ?)"
_FORGET = "DELETE FROM usage_open WHERE id = ?"

_PASSED = "INSERT OR IGNORE INTO budget_alert (counter, who, start, percent, body, raised) VALUES (?, ?, ?, ?, ?, ?)"
_DUE = "UPDATE budget_alert SET at = ? WHERE sent = 0 AND at < ? RETURNING counter, who, start, percent, body, raised"
_TOLD = "UPDATE budget_alert SET sent = ? WHERE counter = ? AND who = ? AND start = ? AND percent = ?"

_UNFIT = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError, ValueError, TypeError, OverflowError)
"""What SQLite, or its driver, says of values that no table can hold; a text with half of a pair of surrogates is a `ValueError`."""

_Item = tuple[str, tuple[Any, ...]]
"""A statement and its values: each can be run again without harm."""


class SqliteUsage:
    """The `Ledger` of one SQLite database."""

    dialect: Dialect = "sqlite"

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writing: _Writing | None = None
        self._failed: list[_Item] = []
        self._aside = Aside()
        self.waiting = 0

    @property
    def aside(self) -> int:
        return self._aside.count

    async def open(self) -> None:
        return

    def on_written(self, call: Callable[[Sequence[Usage]], None]) -> None:
        """Beside SQLite nobody counts elsewhere than in memory, who would have to know."""
        raise NotImplementedError

    async def close(self) -> None:
        await self.settled()

    def put(self, row: Usage, *, holds: bool) -> None:
        items: list[_Item] = [(_PUT, values(row))]
        if holds:
            items.append((_FORGET, (row.id,)))
        self._write(items)

    def note(self, row: Usage) -> Awaitable[None] | None:
        self._write([(_NOTE, (row.id, msgjson.encode(values(row)).decode()))])
        return None

    def forget(self, call_id: str) -> None:
        self._write([(_FORGET, (call_id,))])

    async def recover(self, but: Collection[str] = ()) -> list[Usage]:
        found, unfit = await self._database.write(lambda connection: _recover(connection, but))
        self._aside.told(unfit)
        return found

    def sums(self, ask: Ask) -> Awaitable[list[Sum]]:
        self._writing = None  # what is put from now on is written behind this
        return self._sums(ask, self._database.write(_newest))

    async def last(self) -> int:
        return await self._database.read(lambda connection: int(connection.execute("SELECT coalesce(max(at), 0) FROM usage").fetchone()[0]))

    async def find(self, org: str | None, *, before: str = "", limit: int = 100, **equal: str) -> list[Usage]:
        where, given = ["(?1 IS NULL OR org = ?1)", "(?2 = '' OR id < ?2)"], [org, before]
        for name, value in equal.items():
            if name not in COLUMNS:
                raise ValueError(f"no column {name!r}")
            given.append(value)
            where.append(f"{name} = ?{len(given)}")
        query = f"SELECT {_NAMES} FROM usage WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT {int(limit)}"  # noqa: S608 (constants)
        return await self._database.survey(lambda connection: [row_of(found) for found in connection.execute(query, given)])

    async def select(self, statement: Statement, org: str | None) -> list[Sequence[Any]]:
        return await self._database.survey(lambda connection: selected(connection, statement))

    async def passed(self, row: AlertRow) -> None:
        given = (row.counter, row.who, row.start, row.percent, row.body, time.time_ns() // 1000)
        await self._database.write(lambda connection: connection.execute(_PASSED, given) and None)

    async def due(self, now: int, before: int) -> list[AlertRow]:
        return await self._database.write(lambda connection: [AlertRow(*found) for found in connection.execute(_DUE, (now, before))])

    async def told(self, row: AlertRow, now: int) -> None:
        given = (now, row.counter, row.who, row.start, row.percent)
        await self._database.write(lambda connection: connection.execute(_TOLD, given) and None)

    async def settled(self) -> None:
        failed, self._failed = self._failed, []
        if failed:
            self._write(failed, counted=True)
        if not self.waiting:
            return
        self._writing = None
        await self._database.write(_newest)
        await asyncio.sleep(0)  # the ends of what stood before it are told in the same turn
        if self._failed:
            raise StoreDown("what calls cost could not be written")

    def _write(self, items: list[_Item], *, counted: bool = False) -> None:
        if not counted:
            self.waiting += len(items)
        writing = self._writing
        if writing is not None and writing.join(items):
            return
        self._writing = writing = _Writing(items)
        try:
            future = self._database.write(writing)
        except StoreDown:
            self._keep(items)
            return
        future.add_done_callback(lambda done: self._written(writing, done))

    def _written(self, writing: "_Writing", done: "asyncio.Future[Any]") -> None:
        if done.cancelled() or done.exception() is not None:
            writing.close()
            error = None if done.cancelled() else done.exception()
            if error is not None and not isinstance(error, StoreDown):
                logger.error("what calls cost does not fit the database", exc_info=error)
            self._keep(writing.items)
        else:
            self.waiting -= len(writing.items)
            self._aside.told(done.result())

    def _keep(self, items: list[_Item]) -> None:
        """They are tried again until they are written, in their order."""
        if not self._failed:
            logger.error("what calls cost cannot be written at the moment; it is tried again")
            asyncio.get_running_loop().call_later(AGAIN, self._again)
        self._failed += items

    def _again(self) -> None:
        failed, self._failed = self._failed, []
        self._writing = None
        if failed:
            self._write(failed, counted=True)

    async def _sums(self, ask: Ask, newest: "asyncio.Future[int]") -> list[Sum]:
        """Read beside the writer, up to the row that was the newest when its turn came."""
        number = await newest
        if self._failed:
            raise StoreDown("what calls cost could not be written")
        return await self._database.survey(lambda connection: _summed(connection, ask, number))


class _Writing:
    """Statements that share an operation of the store, until its turn comes. Those of one kind are run together: a call is noted before
    it is forgotten, and never again after that."""

    __slots__ = ("_begun", "_lock", "items")

    def __init__(self, items: list[_Item]) -> None:
        self._begun = False
        self._lock = threading.Lock()
        self.items = items

    def __call__(self, connection: sqlite3.Connection) -> list[Unfit]:
        """Rows that the database cannot hold, which are kept aside."""
        self.close()
        try:
            for statement in (_NOTE, _PUT, _FORGET):
                connection.executemany(statement, self._of(statement))
        except _UNFIT:
            return self._singly(connection)
        return []

    def _singly(self, connection: sqlite3.Connection) -> list[Unfit]:
        """The same once more, one by one. A row that is kept aside stands where its call was noted."""
        connection.executemany(_NOTE, self._of(_NOTE))
        unfit = _put(connection, self._of(_PUT))
        kept = {one.row[0] for one in unfit}
        connection.executemany(_FORGET, [given for given in self._of(_FORGET) if given[0] not in kept])
        connection.executemany(_NOTE, [(one.id, one.text) for one in unfit])
        return unfit

    def _of(self, statement: str) -> list[tuple[Any, ...]]:
        return [given for each, given in self.items if each is statement]

    def join(self, items: list[_Item]) -> bool:
        """Whether they are in time. In the loop's thread; `close` comes from the store's."""
        with self._lock:
            if not self._begun:
                self.items += items
            return not self._begun

    def close(self) -> None:
        with self._lock:
            self._begun = True


def selected(connection: sqlite3.Connection, statement: Statement) -> list[Sequence[Any]]:
    """The rows of a statement. Raises `OverflowError` for a sum beyond 64 bits."""
    try:
        return connection.execute(statement.text, statement.values).fetchall()
    except sqlite3.OperationalError as error:
        if str(error) == "integer overflow":  # it has no code of its own
            raise OverflowError("a sum is beyond 64 bits") from None
        raise


def _newest(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(number), 0) FROM usage").fetchone()[0])


def _put(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> list[Unfit]:
    """Add rows; those that the database cannot hold."""
    unfit: list[Unfit] = []
    for row in rows:
        try:
            connection.execute(_PUT, row)
        except _UNFIT as error:
            unfit.append(Unfit(row, error))
    return unfit


def _recover(connection: sqlite3.Connection, but: Collection[str]) -> tuple[list[Usage], list[Unfit | Illegible]]:
    """What does not fit stays where it is."""
    found, illegible = legible(connection.execute("SELECT id, row FROM usage_open ORDER BY id").fetchall(), but)
    unfit = _put(connection, list(found.values()))
    kept = {one.row for one in unfit}
    connection.executemany(_FORGET, [(call,) for call in found])
    connection.executemany(_NOTE, [(one.id, one.text) for one in unfit])
    return [row_of(one) for one in found.values() if one not in kept], [*unfit, *illegible]


def _summed(connection: sqlite3.Connection, ask: Ask, number: int) -> list[Sum]:
    where, given = (
        ["at >= ?1", "number <= ?2", "(?3 = '' OR org = ?3)", "(?4 IS NULL OR run <> ?4 OR seq < ?5)"],
        [ask.since, number, ask.org, ask.run, ask.seq],
    )
    if name := column(ask.scope):
        given.append(ask.who)
        where.append(f"{name} = ?6")
    slot = f"at - at % {ask.slot}" if ask.slot else "0"
    query = (
        f"SELECT provider, model, {slot}, sum(coalesce(cost, 0)), sum(input), sum(output), count(*) FROM usage "  # noqa: S608 (constants)
        f"WHERE {' AND '.join(where)} GROUP BY 1, 2, 3"
    )
    return [Sum(*found) for found in connection.execute(query, given)]
