"""SQLite for one process: a single writer thread that groups what has arrived into one durable transaction.

What one turn of the loop gives it goes to the writer in one piece, so that what belongs together is synced once. It does not know what
the operations mean. Durability: WAL with `synchronous=FULL`, so an operation's result is delivered only after the commit that holds it
was synced. Reads have a connection and a thread of their own and see only committed state; those that may take long have others, so
that what calls wait for (whether a key still counts) never stands behind a report.
"""

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Any

from hub.refusal import StoreDown
from hub.store.base import LaterVersion, Locked

BATCH = 512
"""Operations from which on a transaction takes no more."""

LOOK = 1_000_000
"""Steps of SQLite's machine, some milliseconds, from one look of a long read at whether the database is being closed to the next."""

SURVEYORS = 2
"""Long reads under way at a time: a report, and what is counted of the past for a new budget."""

Operation = Callable[[sqlite3.Connection], Any]
_Item = tuple[Operation, asyncio.Future[Any]]
_Items = list[_Item]


class Database:
    """One SQLite file, held by one process for as long as it is open (a second one is refused: DECISIONS, one writer)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_file: int | None = None
        self._writes: queue.SimpleQueue[_Items | None] = queue.SimpleQueue()
        self._given: _Items = []
        self._late: _Items = []
        """What this turn of the loop gave so far, and what of it is to stand behind the rest."""
        self._reads: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._surveys: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._writers: list[threading.Thread] = []
        self._readers: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._observe: Callable[[int, float], None] | None = None
        self._serving = False
        self._file = (0, 0)
        self.last_write: Operation | None = None
        """The operation that will be run last of those given, until its turn comes."""

    def on_commit(self, observe: Callable[[int, float], None]) -> None:
        """Have `observe(operations, seconds)` called in the writer thread after each commit."""
        self._observe = observe

    def open(self) -> None:
        """Take the file's lock, migrate, start the threads.

        The file is made for its owner alone; SQLite gives its side files the same mode. Raises `Locked`, `LaterVersion`, or `sqlite3.Error`
        and OSError where the file cannot be used.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock()
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
                _prepare(connection)
                migrate(connection)
        except BaseException:
            self._unlock()
            raise
        self._file = _identity(self.path)
        self._loop = asyncio.get_running_loop()
        self._serving = True
        self._writers = [_started("writer", self._write_loop, self._writes)]
        surveyors = [_started("surveyor", self._survey_loop, self._surveys) for _ in range(SURVEYORS)]
        self._readers = [_started("reader", self._read_loop, self._reads), *surveyors]

    async def close(self) -> None:
        """Finish what was queued, close the connections, release the lock. What is asked from now on is refused, and so are long reads that
        are under way or have not begun.

        The writer's connection is closed last and alone: SQLite carries what the log beside the file holds into the file, and takes the
        log away, only where nobody else has the file open.
        """
        self._serving = False
        self._hand_over()
        self._reads.put(None)
        for _ in range(SURVEYORS):
            self._surveys.put(None)
        await self._joined(self._readers)
        self._writes.put(None)
        await self._joined(self._writers)
        self._unlock()

    async def _joined(self, threads: list[threading.Thread]) -> None:
        while threads:
            await asyncio.to_thread(threads.pop().join)

    def _lock(self) -> None:
        self._lock_file = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._unlock()
            raise Locked(f"{self.path} is in use by another hub") from None

    def _unlock(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def write(self, operation: Operation, *, late: bool = False) -> asyncio.Future[Any]:
        """Queue `operation(connection)`; the future ends when the commit that holds it is durable.

        Operations are run in the order given; `late`: behind all that is given before this turn of the loop ends. One that raises fails
        alone: the others of its batch are run again without it, so an operation must be free of effects outside the database until its
        future has ended. Raises `StoreDown` through the future, and at once where the database is not open.
        """
        loop = self._opened()
        future = loop.create_future()
        if not self._given and not self._late:
            loop.call_soon(self._hand_over)
        if late:
            self._late.append((operation, future))
        else:
            self._given.append((operation, future))
        if late or not self._late:
            self.last_write = operation
        return future

    def read(self, operation: Operation) -> asyncio.Future[Any]:
        """Run `operation(connection)` on the reading connection. For what is found at once, by an index."""
        future = self._opened().create_future()
        self._reads.put((operation, future))
        return future

    def survey(self, operation: Operation) -> asyncio.Future[Any]:
        """The same for what may look at a great many rows, on one of `SURVEYORS` connections."""
        future = self._opened().create_future()
        self._surveys.put((operation, future))
        return future

    def _opened(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or not self._serving:
            raise _closed()
        return self._loop

    def _hand_over(self) -> None:
        """The turn is over: the writer gets what was given in it."""
        given, self._given, self._late = self._given + self._late, [], []
        if given:
            self._writes.put(given)

    def _write_loop(self, source: "queue.SimpleQueue[_Items | None]") -> None:
        connection = sqlite3.connect(self.path, isolation_level=None, cached_statements=256)
        _prepare(connection)
        while batch := _take(source):
            if self.last_write is batch[-1][0]:
                self.last_write = None
            outcomes = _commit(connection, batch, self._observe)
            self._settle(outcomes if self._in_place() else [(future, None, _gone()) for _, future in batch])
        connection.close()

    def _read_loop(self, source: "queue.SimpleQueue[_Item | None]") -> None:
        connection = self._reading()
        while (item := source.get()) is not None:
            self._answer(connection, *item)
        connection.close()

    def _survey_loop(self, source: "queue.SimpleQueue[_Item | None]") -> None:
        connection = self._reading()
        connection.set_progress_handler(lambda: not self._serving, LOOK)
        while (item := source.get()) is not None:
            operation, future = item
            if not self._serving:
                self._settle([(future, None, _closed())])
            elif not future.cancelled():
                self._answer(connection, operation, future)
        connection.close()

    def _reading(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, cached_statements=256)
        _prepare(connection)
        connection.execute("PRAGMA query_only=ON")
        return connection

    def _answer(self, connection: sqlite3.Connection, operation: Operation, future: asyncio.Future[Any]) -> None:
        try:
            if not self._in_place():
                raise _gone()
            result: Any = operation(connection)
        except Exception as error:
            self._settle([(future, None, _typed(error))])
        else:
            self._settle([(future, result, None)])

    def _in_place(self) -> bool:
        """Whether the file is still the one that was opened: SQLite goes on with one that was deleted, and all of it is lost at the end."""
        try:
            return _identity(self.path) == self._file
        except OSError:
            return False

    def _settle(self, outcomes: "list[_Outcome]") -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(_deliver, outcomes)
        except RuntimeError:  # the loop is gone: nobody waits any more
            return


_Outcome = tuple[asyncio.Future[Any], Any, Exception | None]


def _deliver(outcomes: list[_Outcome]) -> None:
    for future, result, error in outcomes:
        if future.cancelled():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


def _take(source: "queue.SimpleQueue[_Items | None]") -> _Items:
    """Wait for operations, then take what else has already arrived. Empty means: stop."""
    batch = source.get()
    if batch is None:
        return []
    while len(batch) < BATCH:
        try:
            more = source.get_nowait()
        except queue.Empty:
            break
        if more is None:
            source.put(None)
            break
        batch += more
    return batch


def _commit(connection: sqlite3.Connection, batch: list[_Item], observe: Callable[[int, float], None] | None) -> list[_Outcome]:
    started = time.perf_counter()
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:  # locked, or gone: no operation is to blame, and each alone would only wait as long again
        _roll_back(connection)
        return [(future, None, _typed(error)) for _, future in batch]
    try:
        outcomes: list[_Outcome] = [(future, operation(connection), None) for operation, future in batch]
        connection.execute("COMMIT")
    except Exception as error:
        _roll_back(connection)
        if len(batch) == 1:
            return [(batch[0][1], None, _typed(error))]
        return [outcome for item in batch for outcome in _commit(connection, [item], observe)]
    if observe is not None:
        observe(len(batch), time.perf_counter() - started)
    return outcomes


def _roll_back(connection: sqlite3.Connection) -> None:
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:  # SQLite has already rolled back by itself (disk full, I/O error)
        return


def _identity(path: Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _started(name: str, run: "Callable[[queue.SimpleQueue[Any]], None]", source: "queue.SimpleQueue[Any]") -> threading.Thread:
    thread = threading.Thread(target=run, args=(source,), name=f"hub-sqlite-{name}", daemon=True)
    thread.start()
    return thread


def _closed() -> StoreDown:
    return StoreDown("the database is not open")


def _gone() -> StoreDown:
    return StoreDown("the database cannot be used at the moment", detail="its file was deleted or replaced while the hub runs")


def _typed(error: Exception) -> Exception:
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.IntegrityError):
        return StoreDown("the database cannot be used at the moment", detail=f"{type(error).__name__}: {error}")
    return error


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA busy_timeout=2000")
    connection.execute("PRAGMA foreign_keys=ON")


def migrations() -> list[tuple[int, str, str]]:
    """(number, name, SQL) of every migration, in order. Forward only."""
    folder = resources.files("hub.store") / "migrations" / "sqlite"
    files: Iterable[Any] = folder.iterdir()
    return sorted((int(f.name.split("_")[0]), f.name, f.read_text()) for f in files if f.name.endswith(".sql"))


def applied(connection: sqlite3.Connection) -> int:
    """The number of the last migration this database has."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> list[str]:
    """Apply what is missing, each migration in one transaction; return the names applied. Raises `LaterVersion`."""
    done: list[str] = []
    found = migrations()
    if applied(connection) > found[-1][0]:
        raise LaterVersion
    for number, name, sql in found:
        if number <= applied(connection):
            continue
        connection.executescript(f"BEGIN IMMEDIATE;\n{sql}\nPRAGMA user_version={number};\nCOMMIT;")
        done.append(name)
    return done
