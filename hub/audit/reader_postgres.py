"""A journal in PostgreSQL, read beside hubs that may be writing it. For commands: each question waits for its answer.

The connection lives in a thread with an event loop of its own, so that it serves callers with and without one.
"""

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import Any, TypeVar

from hub.audit.reader import Log, NotFound, salt_of
from hub.refusal import StoreDown
from hub.store.postgres_link import Connection, connect, typed

PATIENCE = 60.0
"""Seconds to wait for an answer: nobody but the reader waits."""

_CONNECTING = 5.0
_AT_ONCE = 1000
_LOG = "SELECT name, id, origin, vkey, size, signed, number FROM journal_org"
_BEGIN = """
SET idle_in_transaction_session_timeout = 0;
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT set_config('hub.org', '*', true)
"""

T = TypeVar("T")


@contextlib.contextmanager
def reading_postgres(address: str) -> Generator["PostgresReader"]:
    """One read transaction on the database of `address`. Raises `NotFound` where there is no journal, or it cannot be read."""
    with _loop() as run, _told():
        connection: Connection = run(connect(address, _CONNECTING))
        try:
            run(connection.execute(_BEGIN))
            if not run(connection.fetchval("SELECT count(*) FROM pg_class WHERE relname = 'journal_org' AND pg_table_is_visible(oid)")):
                raise NotFound("there is no journal in this database yet")
            yield PostgresReader(connection, run)
        finally:
            run(_end(connection))


class PostgresReader:
    """A `Reader`."""

    def __init__(self, connection: Connection, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._connection = connection
        self._run = run

    def logs(self) -> list[Log]:
        return [_log(row) for row in self._fetch(f"{_LOG} ORDER BY name")]

    def find(self, org: str) -> Log | None:
        found = self._fetch(f"{_LOG} WHERE name = $1 OR id = $1", org)
        return _log(found[0]) if found else None

    def leaves(self, log: Log, begin: int, end: int) -> Iterator[tuple[int, bytes, bytes]]:
        return ((row["index"], row["hash"], row["leaf"]) for row in self._records("index, hash, leaf", log, begin, end))

    def hashes(self, log: Log, begin: int, end: int) -> Iterator[bytes]:
        return (row["hash"] for row in self._records("hash", log, begin, end))

    def checkpoints(self, log: Log, begin: int) -> list[tuple[int, str]]:
        found = self._fetch("SELECT size, note FROM journal_checkpoint WHERE org = $1 AND size >= $2 ORDER BY size", log.number, begin)
        return [(row["size"], row["note"]) for row in found]

    def index(self, log: Log, identifier: str) -> int | None:
        found = self._fetch(
            "SELECT index FROM journal_record WHERE id = $1 AND org = $2 ORDER BY phase DESC, index DESC LIMIT 1", identifier, log.number
        )
        return found[0]["index"] if found else None

    def decided(self, identifier: str) -> tuple[Log, int, dict[str, Any]] | None:
        found = self._fetch(
            "SELECT org, index, leaf FROM journal_record WHERE id = $1 AND phase < 2 ORDER BY phase DESC, org, index LIMIT 1", identifier
        )
        if not found:
            return None
        log = self._fetch(f"{_LOG} WHERE number = $1", found[0]["org"])[0]
        return _log(log), found[0]["index"], json.loads(found[0]["leaf"])

    def salt(self, log: Log, index: int) -> bytes | None:
        found = self._fetch(
            "SELECT index, salts FROM journal_salt WHERE org = $1 AND index <= $2 ORDER BY index DESC LIMIT 1", log.number, index
        )
        return salt_of(found[0]["salts"], index - found[0]["index"]) if found else None

    def _records(self, columns: str, log: Log, begin: int, end: int) -> Iterator[Any]:
        """Some at a time: an export may be larger than memory."""
        chosen = f"SELECT {columns} FROM journal_record WHERE org = $1 AND index >= $2 AND index < $3 ORDER BY index"  # noqa: S608 - ours
        for first in range(begin, end, _AT_ONCE):
            yield from self._fetch(chosen, log.number, first, min(first + _AT_ONCE, end))

    def _fetch(self, query: str, *arguments: Any) -> list[Any]:
        return self._run(self._connection.fetch(query, *arguments, timeout=PATIENCE))


def _log(row: Any) -> Log:
    return Log(*tuple(row))


async def _end(connection: Connection) -> None:
    try:
        await connection.close(timeout=1.0)
    except Exception:  # a connection that cannot be closed in order is closed without
        connection.terminate()


@contextlib.contextmanager
def _told() -> Generator[None]:
    """Turns a fault of the database into a sentence."""
    try:
        yield
    except Exception as error:
        found = typed(error)
        if isinstance(found, StoreDown):
            raise NotFound(f"the journal cannot be read: {found.detail}") from None
        raise


@contextlib.contextmanager
def _loop() -> Generator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """A function that runs a coroutine to its end in a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="hub-journal-reader", daemon=True)
    thread.start()
    try:
        yield lambda work: asyncio.run_coroutine_threadsafe(work, loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
