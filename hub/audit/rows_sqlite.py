"""The journal's tables in SQLite: organisations and their heads, records, salts, checkpoints. Functions of a connection in a transaction.

Knows neither the event loop nor what records mean. Each function may be run again after a rollback.

Rows are inserted many to a statement: the interpreter's lock is given up once for each statement that runs, and under load the way back
to it is what takes time.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import orjson
from msgspec import Struct

from hub.audit.checkpoint import Signer
from hub.audit.entry import phase
from hub.audit.ledger import NO_SALT, Entry, Writer, opaque_id, seal
from hub.audit.ledger import hub_name as made_name
from hub.audit.receipt import Receipt
from hub.audit.tree import Range

INDEX_BITS = 40

_HEAD = "SELECT number, name, id, origin, size, range, boot, n, floor, signed FROM journal_org"
_LARGEST_INSERT = 64


class Numbered(Protocol):
    """A log by the store's own number."""

    @property
    def number(self) -> int: ...


class Head(Struct):
    """One tree's head, as read. `n` counts the records of `boot`, the writer of the last one."""

    number: int
    name: str
    id: str
    origin: str
    size: int
    range: bytes
    boot: str
    n: int
    floor: int
    signed: int


def hub_name(connection: sqlite3.Connection, configured: str) -> str:
    """The first part of new logs' origins: as configured, else a random name made once."""
    if configured:
        return configured
    connection.execute("INSERT OR IGNORE INTO journal_meta (key, value) VALUES ('name', ?)", (made_name(),))
    return str(connection.execute("SELECT value FROM journal_meta WHERE key = 'name'").fetchone()[0])


def heads(connection: sqlite3.Connection) -> list[Head]:
    return [Head(*row) for row in connection.execute(f"{_HEAD} ORDER BY name")]


def find(connection: sqlite3.Connection, org: str) -> Head | None:
    """The head of an organisation, by its name or its opaque id."""
    row = connection.execute(f"{_HEAD} WHERE name = ? OR id = ?", (org, org)).fetchone()
    return Head(*row) if row else None


def commit(connection: sqlite3.Connection, writer: Writer, entries: Sequence[Entry]) -> list[Receipt]:
    """Give each record its place in its organisation's tree, and store it. Receipts in the order of the entries."""
    first = entries[0][0]
    if all(entry[0] == first for entry in entries):
        return _commit_one(connection, writer, first, entries)
    groups: dict[str, list[int]] = {}
    for at, entry in enumerate(entries):
        groups.setdefault(entry[0], []).append(at)
    receipts: dict[int, Receipt] = {}
    for org in sorted(groups):  # every writer takes heads in this order
        places = groups[org]
        receipts.update(zip(places, _commit_one(connection, writer, org, [entries[at] for at in places]), strict=True))
    return [receipts[at] for at in range(len(entries))]


def _commit_one(connection: sqlite3.Connection, writer: Writer, org: str, entries: Sequence[Entry]) -> list[Receipt]:
    row = connection.execute(f"{_HEAD} WHERE name = ?", (org,)).fetchone()
    head = Head(*row) if row else _create(connection, writer, org)
    n = head.n if head.boot == writer.boot else 0
    index = head.size
    base = head.number << INDEX_BITS
    tree = Range.decode(head.range)
    append = tree.append
    fixed = writer.fixed(head.id)
    receipts: list[Receipt] = []
    values: list[Any] = []
    for _, record, _ in entries:
        n += 1
        hash_, leaf = seal(record, fixed, n)
        append(hash_)
        values += (base + index, record["id"], phase(record["kind"]), hash_, leaf)
        receipts.append(Receipt(head.origin, index, hash_))
        index += 1
    _insert(connection, values)
    if any(salt is not NO_SALT for _, _, salt in entries):
        salts = b"".join([salt for _, _, salt in entries])
        connection.execute("INSERT INTO journal_salt (key, salts) VALUES (?, ?)", (base + head.size, salts))
    connection.execute(
        "UPDATE journal_org SET size = ?, range = ?, boot = ?, n = ? WHERE number = ?",
        (index, tree.encode(), writer.boot, n, head.number),
    )
    return receipts


def _create(connection: sqlite3.Connection, writer: Writer, org: str) -> Head:
    opaque = opaque_id()
    origin = f"{writer.name}/audit/{opaque}"
    empty = Range().encode()
    connection.execute(
        "INSERT INTO journal_org (name, id, origin, vkey, range) VALUES (?, ?, ?, ?, ?)",
        (org, opaque, origin, writer.signer.vkey(origin), empty),
    )
    number = int(connection.execute("SELECT number FROM journal_org WHERE name = ?", (org,)).fetchone()[0])
    return Head(number, org, opaque, origin, 0, empty, "", 0, 0, 0)


def _insert(connection: sqlite3.Connection, values: list[Any]) -> None:
    """`values`: five for each row. There is a statement for each number of rows, which the connection prepares once."""
    for at in range(0, len(values), 5 * _LARGEST_INSERT):
        part = values[at : at + 5 * _LARGEST_INSERT]
        connection.execute(_INSERTS[len(part) // 5], part)


_INSERTS = [
    "INSERT INTO journal_record (key, id, phase, hash, leaf) VALUES " + ",".join(["(?,?,?,?,?)"] * many)  # noqa: S608 - constants
    for many in range(_LARGEST_INSERT + 1)
]


def settle(connection: sqlite3.Connection, writer: Writer, entries: Sequence[Entry]) -> list[Receipt] | None:
    """Where `entries` stand if an earlier attempt to commit them, that looked like a failure, took hold after all; else None."""
    receipts: list[Receipt] = []
    for org, record, _ in entries:
        head = find(connection, org)
        for key, hash_, leaf in [] if head is None else _candidates(connection, head, record):
            stored = orjson.loads(leaf)
            if stored["boot"] == writer.boot and (stored["ts"], stored["kind"]) == (record["ts"], record["kind"]) and head is not None:
                receipts.append(Receipt(head.origin, key - (head.number << INDEX_BITS), hash_))
                break
        else:
            return None
    return receipts


def _candidates(connection: sqlite3.Connection, head: Head, record: dict[str, Any]) -> list[tuple[int, bytes, bytes]]:
    low, high = bounds(head, 0, head.size)
    return connection.execute(
        "SELECT key, hash, leaf FROM journal_record WHERE id = ? AND phase = ? AND key >= ? AND key < ?",
        (record["id"], phase(record["kind"]), low, high),
    ).fetchall()


def bounds(head: Numbered, begin: int, end: int) -> tuple[int, int]:
    """Keys of the records `[begin, end)` of a tree."""
    base = head.number << INDEX_BITS
    return base + begin, base + end


def leaves(connection: sqlite3.Connection, head: Numbered, begin: int, end: int) -> Iterator[tuple[int, str, bytes, bytes]]:
    """(index, id, leaf hash, leaf) of the records `[begin, end)`."""
    rows = connection.execute(
        "SELECT key, id, hash, leaf FROM journal_record WHERE key >= ? AND key < ? ORDER BY key", bounds(head, begin, end)
    )
    for key, identifier, hash_, leaf in rows:
        yield key - (head.number << INDEX_BITS), identifier, hash_, leaf


def hashes(connection: sqlite3.Connection, head: Numbered, begin: int, end: int) -> Iterator[bytes]:
    """Leaf hashes of the records `[begin, end)`."""
    rows = connection.execute("SELECT hash FROM journal_record WHERE key >= ? AND key < ? ORDER BY key", bounds(head, begin, end))
    return (row[0] for row in rows)


def open_intents(connection: sqlite3.Connection, head: Head) -> list[tuple[int, dict[str, Any]]]:
    """(index, record) of the intents that have no outcome."""
    rows = connection.execute(
        """SELECT key, leaf FROM journal_record AS intent WHERE key >= ? AND key < ? AND phase = 1 AND NOT EXISTS (
             SELECT 1 FROM journal_record AS outcome
             WHERE outcome.id = intent.id AND outcome.phase = 2 AND outcome.key > ? AND outcome.key < ?)
           ORDER BY key""",
        (*bounds(head, head.floor, head.size), *bounds(head, -1, head.size)),
    )
    return [(key - (head.number << INDEX_BITS), orjson.loads(leaf)) for key, leaf in rows.fetchall()]


def sign(connection: sqlite3.Connection, signer: Signer, floors: dict[str, int]) -> int:
    """Sign the head of each tree that grew since it was last signed; note below which index no intent is open. How many were signed.

    `floors`: by organisation, an index below which no intent is open, where it is known.
    """
    grown = [Head(*row) for row in connection.execute(f"{_HEAD} WHERE signed < size")]
    for head in grown:
        note = signer.checkpoint(head.origin, head.size, Range.decode(head.range).root())
        connection.execute("INSERT INTO journal_checkpoint (org, size, note) VALUES (?, ?, ?)", (head.number, head.size, note))
        connection.execute(
            "UPDATE journal_org SET signed = ?, floor = ?, vkey = ? WHERE number = ?",
            (head.size, max(head.floor, floors.get(head.name, head.floor)), signer.vkey(head.origin), head.number),
        )
    return len(grown)


def checkpoints(connection: sqlite3.Connection, head: Numbered, begin: int = 0) -> list[tuple[int, str]]:
    """(size, signed note) of the checkpoints of at least `begin` records, in order."""
    return connection.execute(
        "SELECT size, note FROM journal_checkpoint WHERE org = ? AND size >= ? ORDER BY size", (head.number, begin)
    ).fetchall()


def begin(connection: sqlite3.Connection, boot: str) -> None:
    connection.execute("INSERT INTO journal_boot (boot, started) VALUES (?, strftime('%Y-%m-%dT%H:%M:%SZ'))", (boot,))


def end(connection: sqlite3.Connection, boot: str) -> None:
    connection.execute("UPDATE journal_boot SET ended = strftime('%Y-%m-%dT%H:%M:%SZ') WHERE boot = ?", (boot,))


def with_intent(connection: sqlite3.Connection, ids: Sequence[str]) -> set[str]:
    """Those of these calls whose intent is in a log."""
    select = "SELECT 1 FROM journal_record WHERE id = ? AND phase = 1"
    return {call for call in ids if connection.execute(select, (call,)).fetchone()}


def all_open(connection: sqlite3.Connection) -> list[tuple[str, int, dict[str, Any]]]:
    """(organisation, index, record) of every intent that has no outcome."""
    return [(head.name, index, record) for head in heads(connection) for index, record in open_intents(connection, head)]
