"""Read the journal's tables for people and auditors: export files, proof files, the last records. Never writes, works beside a live hub.

An export ends at a signed checkpoint unless asked to end earlier: what is not signed yet is no evidence yet.
"""

import contextlib
import json
import sqlite3
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, BinaryIO

from msgspec import Struct

from hub.audit import ledger
from hub.audit.bundle import Header, Record, Signed
from hub.audit.ledger import Head
from hub.audit.proof import Proof
from hub.audit.tree import Range, cover, inclusion_spans, root

Source = Path | sqlite3.Connection

_EVERY = 1000


class NotFound(LookupError):
    """No such organisation, record or range in this journal. The message is safe to show."""


class Log(Struct, frozen=True):
    """One organisation's tree: `size` records of which the first `signed` stand under a signed checkpoint."""

    org: str
    id: str
    origin: str
    vkey: str
    size: int
    signed: int


def logs(source: Source) -> list[Log]:
    """What is in the journal, by the organisation's name; `-` is the operator log."""
    with _snapshot(source) as db:
        return [Log(head.name, head.id, head.origin, ledger.vkey(db, head), head.size, head.signed) for head in ledger.heads(db)]


def export(
    source: Source,
    org: str,
    out: BinaryIO,
    *,
    begin: int = 0,
    end: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Header:
    """Write records `[begin, end)` of an organisation (its name or opaque id) and their checkpoints to `out`.

    `end` defaults to the size of the newest signed checkpoint. `progress(done, of)` is called every thousand records.
    Raises `NotFound` for an unknown organisation and for a range that is empty or not signed yet.
    """
    with _snapshot(source) as db:
        head = _head(db, org)
        end = head.signed if end is None else end
        if not 0 <= begin < end <= head.signed:
            raise NotFound(
                f"the signed records of {org} are 0 to {head.signed - 1}" if head.signed else f"no record of {org} is signed yet"
            )
        notes = ledger.checkpoints(db, head, max(begin, 1))
        size = next(size for size, _ in notes if size >= end)
        before = _range(db, head, 0, begin).hashes
        after = tuple((level, _subtree(db, head, first, level)) for first, level in cover(end, size))
        header = Header(head.origin, head.id, ledger.vkey(db, head), size, begin, end, tuple(before), after)
        out.write(header.line())
        for index, _, hash_, leaf in ledger.leaves(db, head, begin, end):
            out.write(Record(index, hash_, leaf).line())
            if progress is not None and (index - begin + 1) % _EVERY == 0:
                progress(index - begin + 1, end - begin)
        for at, note in notes:
            if at <= end or at == size:
                out.write(Signed(at, note).line())
        return header


def prove(source: Source, org: str, what: int | str) -> str:
    """A tlog-proof file for one record: by index, or by call id (then its outcome, else its intent).

    It leads to the smallest signed checkpoint that holds the record. Raises `NotFound`, also for a record not signed yet.
    """
    with _snapshot(source) as db:
        head = _head(db, org)
        index = what if isinstance(what, int) else _index(db, head, what)
        row = next(ledger.leaves(db, head, index, index + 1), None) if index >= 0 else None
        if row is None:
            raise NotFound(f"no record {index} in the log of {org}")
        signed = ledger.checkpoints(db, head, index + 1)
        if not signed:
            raise NotFound("the record is not signed yet: a checkpoint follows within seconds while the hub runs")
        size, note = signed[0]
        hashes = tuple(root(ledger.hashes(db, head, begin, end)) for begin, end in inclusion_spans(index, size))
        return Proof(index, hashes, note, row[3]).text()


def tail(source: Source, org: str, n: int = 20) -> list[dict[str, Any]]:
    """The last `n` records, oldest first: `{"index": …, "hash": "<hex>", "record": {…}}`. Raises `NotFound`."""
    with _snapshot(source) as db:
        head = _head(db, org)
        rows = ledger.leaves(db, head, max(head.size - n, 0), head.size)
        return [{"index": index, "hash": hash_.hex(), "record": json.loads(leaf)} for index, _, hash_, leaf in rows]


def checkpoint(source: Source, org: str) -> str:
    """The newest signed checkpoint of an organisation, to be kept outside the hub. Raises `NotFound`."""
    with _snapshot(source) as db:
        head = _head(db, org)
        notes = ledger.checkpoints(db, head, head.signed)
        if not notes:
            raise NotFound(f"no record of {org} is signed yet")
        return notes[-1][1]


@contextlib.contextmanager
def _snapshot(source: Source) -> Generator[sqlite3.Connection]:
    """One read transaction: what is seen does not move while a hub goes on writing. Raises `NotFound` where there is no database."""
    if isinstance(source, sqlite3.Connection):
        yield source
        return
    if not source.is_file():
        raise NotFound(f"no database at {source}")
    connection = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        connection.execute("BEGIN")
        yield connection
    except sqlite3.DatabaseError as error:
        raise NotFound(f"{source} cannot be read as a journal: {error}") from None
    finally:
        connection.close()


def _head(db: sqlite3.Connection, org: str) -> Head:
    head = ledger.find(db, org)
    if head is None:
        raise NotFound(f"the journal has no log of {org}")
    return head


def _index(db: sqlite3.Connection, head: Head, identifier: str) -> int:
    low, high = ledger.bounds(head, 0, head.size)
    row = db.execute(
        "SELECT key FROM journal_record WHERE id = ? AND key >= ? AND key < ? ORDER BY phase DESC, key DESC", (identifier, low, high)
    ).fetchone()
    if row is None:
        raise NotFound(f"no record of {identifier} in this log")
    return int(row[0]) - low


def _range(db: sqlite3.Connection, head: Head, begin: int, end: int) -> Range:
    tree = Range()
    for hash_ in ledger.hashes(db, head, begin, end):
        tree.append(hash_)
    return tree


def _subtree(db: sqlite3.Connection, head: Head, first: int, level: int) -> bytes:
    return root(ledger.hashes(db, head, first, first + (1 << level)))
