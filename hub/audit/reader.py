"""Reading a journal, whatever keeps it: what an auditor's commands need of a database, and how to open one. Never writes."""

import contextlib
import sqlite3
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct


class NotFound(LookupError):
    """No such organisation, record or range in this journal. The message is safe to show."""


class Log(Struct, frozen=True):
    """One organisation's tree: `size` records of which the first `signed` stand under a signed checkpoint. `number` is the store's own."""

    org: str
    id: str
    origin: str
    vkey: str
    size: int
    signed: int
    number: int


class Reader(Protocol):
    """One state of a journal, which does not move while a hub goes on writing."""

    def logs(self) -> list[Log]:
        """By the organisation's name."""
        ...

    def find(self, org: str) -> Log | None:
        """The log of an organisation, by its name or its opaque id."""
        ...

    def leaves(self, log: Log, begin: int, end: int) -> Iterator[tuple[int, bytes, bytes]]:
        """(index, leaf hash, leaf) of the records `[begin, end)`."""
        ...

    def hashes(self, log: Log, begin: int, end: int) -> Iterator[bytes]:
        """Leaf hashes of the records `[begin, end)`."""
        ...

    def checkpoints(self, log: Log, begin: int) -> list[tuple[int, str]]:
        """(size, signed note) of the checkpoints of at least `begin` records, in order."""
        ...

    def index(self, log: Log, identifier: str) -> int | None:
        """Where the last record of a call stands: its outcome, else its intent."""
        ...

    def decided(self, identifier: str) -> tuple[Log, int, dict[str, Any]] | None:
        """(log, index, record) of the record that holds a call's decision: its intent, or the only one."""
        ...

    def salt(self, log: Log, index: int) -> bytes | None:
        """The salt of a record's commitments; None where it was erased."""
        ...


Source = Path | str | sqlite3.Connection | Reader
"""A SQLite file or a connection to one, the address of a PostgreSQL database, or a journal that is being read already."""


@contextlib.contextmanager
def snapshot(source: Source) -> Generator[Reader]:
    """Read one state of the journal. Raises `NotFound` where there is none, or it cannot be read."""
    if isinstance(source, str):
        from hub.audit.reader_postgres import reading_postgres

        with reading_postgres(source) as reader:
            yield reader
    elif isinstance(source, Path | sqlite3.Connection):
        from hub.audit.reader_sqlite import reading_sqlite

        with reading_sqlite(source) as reader:
            yield reader
    else:
        yield source


def salt_of(salts: bytes, at: int) -> bytes | None:
    """The one of the record `at` in its batch; None where it was overwritten with zeros, or there never was one."""
    salt = salts[at * 32 : at * 32 + 32]
    return salt if len(salt) == 32 and any(salt) else None
