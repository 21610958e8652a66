"""A journal in a SQLite file, read beside a hub that may be writing it."""

import contextlib
import json
import sqlite3
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from hub.audit import rows_sqlite as rows
from hub.audit.reader import Log, NotFound, salt_of

_LOG = "SELECT name, id, origin, vkey, size, signed, number FROM journal_org"


@contextlib.contextmanager
def reading_sqlite(source: Path | sqlite3.Connection) -> Generator["SqliteReader"]:
    """One read transaction. A connection is taken as it is, in whatever transaction it stands."""
    if isinstance(source, sqlite3.Connection):
        yield SqliteReader(source)
        return
    if not source.is_file():
        raise NotFound(f"no database at {source}")
    connection = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        connection.execute("BEGIN")
        yield SqliteReader(connection)
    except sqlite3.DatabaseError as error:
        raise NotFound(f"{source} cannot be read as a journal: {error}") from None
    finally:
        connection.close()


class SqliteReader:
    """A `Reader`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def logs(self) -> list[Log]:
        return [Log(*row) for row in self._connection.execute(f"{_LOG} ORDER BY name")]

    def find(self, org: str) -> Log | None:
        row = self._connection.execute(f"{_LOG} WHERE name = ? OR id = ?", (org, org)).fetchone()
        return Log(*row) if row else None

    def leaves(self, log: Log, begin: int, end: int) -> Iterator[tuple[int, bytes, bytes]]:
        return ((index, hash_, leaf) for index, _, hash_, leaf in rows.leaves(self._connection, log, begin, end))

    def hashes(self, log: Log, begin: int, end: int) -> Iterator[bytes]:
        return rows.hashes(self._connection, log, begin, end)

    def checkpoints(self, log: Log, begin: int) -> list[tuple[int, str]]:
        return rows.checkpoints(self._connection, log, begin)

    def index(self, log: Log, identifier: str) -> int | None:
        low, high = rows.bounds(log, 0, log.size)
        row = self._connection.execute(
            "SELECT key FROM journal_record WHERE id = ? AND key >= ? AND key < ? ORDER BY phase DESC, key DESC", (identifier, low, high)
        ).fetchone()
        return None if row is None else int(row[0]) - low

    def decided(self, identifier: str) -> tuple[Log, int, dict[str, Any]] | None:
        row = self._connection.execute(
            "SELECT key, leaf FROM journal_record WHERE id = ? AND phase < 2 ORDER BY phase DESC", (identifier,)
        ).fetchone()
        if row is None:
            return None
        number, index = divmod(row[0], 1 << rows.INDEX_BITS)
        log = Log(*self._connection.execute(f"{_LOG} WHERE number = ?", (number,)).fetchone())
        return log, index, json.loads(row[1])

    def salt(self, log: Log, index: int) -> bytes | None:
        low, key = rows.bounds(log, 0, index)
        row = self._connection.execute(
            "SELECT key, salts FROM journal_salt WHERE key BETWEEN ? AND ? ORDER BY key DESC LIMIT 1", (low, key)
        ).fetchone()
        return None if row is None else salt_of(row[1], key - row[0])
