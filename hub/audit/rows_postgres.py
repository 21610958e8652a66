"""The journal's tables in PostgreSQL: heads, records, salts, checkpoints, lives of processes. Functions of a connection in a transaction.

Knows neither which transaction nor what records mean. Heads are always locked in the order of their numbers. Records are given their places
by the database (`PLACE`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from msgspec import Struct

from hub.audit.checkpoint import Signer
from hub.audit.entry import phase
from hub.audit.ledger import NO_SALT, Entry, Writer, hub_name, opaque_id, seal
from hub.audit.receipt import Receipt
from hub.audit.tree import Range
from hub.store.postgres import Connection

SIGNING = 0x68756201
"""The advisory lock of whoever signs."""


class Ended(Exception):
    """This life of the process was ended by another, which took it for dead: it may write no more."""


class Log(Struct, frozen=True):
    """What never changes of a log."""

    number: int
    name: str
    id: str
    origin: str


class Batch(Struct, frozen=True):
    """Sealed records of one log that follow each other: (id, phase, hash, leaf).

    `which` says where each stands among what is written, `n` what the writer has counted after them.
    """

    log: Log
    which: list[int]
    n: int
    records: list[tuple[str, int, bytes, bytes]]
    salts: bytes


async def name(connection: Connection, configured: str) -> str:
    """The first part of new logs' origins: as configured, else a random name made once."""
    if configured:
        return configured
    await connection.execute("INSERT INTO journal_meta (key, value) VALUES ('name', $1) ON CONFLICT DO NOTHING", hub_name())
    return str(await connection.fetchval("SELECT value FROM journal_meta WHERE key = 'name'"))


async def logs(connection: Connection, names: Iterable[str], writer: Writer) -> list[Log]:
    """The logs of these organisations; those that are not there yet are made.

    In a transaction of their own: whoever made one would keep another from it while it waits for a head that the other has locked.
    """
    wanted = sorted(names)
    chosen = "SELECT number, name, id, origin FROM journal_org WHERE name = ANY($1)"
    found = {row["name"]: Log(*tuple(row)) for row in await connection.fetch(chosen, wanted)}
    missing = [each for each in wanted if each not in found]
    if missing:
        await connection.executemany(
            "INSERT INTO journal_org (name, id, origin, vkey, range) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO NOTHING",
            [_made(each, writer) for each in missing],
        )
        found = {row["name"]: Log(*tuple(row)) for row in await connection.fetch(chosen, wanted)}
    return list(found.values())


def _made(org: str, writer: Writer) -> tuple[str, str, str, str, bytes]:
    opaque = opaque_id()
    origin = f"{writer.name}/audit/{opaque}"
    return org, opaque, origin, writer.signer.vkey(origin), Range().encode()


async def lock(connection: Connection, numbers: Iterable[int]) -> None:
    """Lock the heads of these logs."""
    await connection.execute("SELECT 1 FROM journal_org WHERE number = ANY($1) ORDER BY number FOR UPDATE", list(numbers))


def sealed(logs: Mapping[str, Log], writer: Writer, counts: Mapping[str, int], entries: Sequence[Entry]) -> list[Batch]:
    """The batches that these entries make up, in the order of their logs' numbers. `counts`: what was counted in each log before."""
    groups: dict[str, list[int]] = {}
    for at, (org, _, _) in enumerate(entries):
        groups.setdefault(org, []).append(at)
    batches = [_sealed(logs[org], writer, counts.get(org, 0), which, entries) for org, which in groups.items()]
    return sorted(batches, key=lambda batch: batch.log.number)


def _sealed(log: Log, writer: Writer, n: int, which: list[int], entries: Sequence[Entry]) -> Batch:
    fixed = writer.fixed(log.id)
    records: list[tuple[str, int, bytes, bytes]] = []
    salts: list[bytes] = []
    for at in which:
        _, record, salt = entries[at]
        n += 1
        hash_, leaf = seal(record, fixed, n)
        records.append((record["id"], phase(record["kind"]), hash_, leaf))
        salts.append(salt)
    salted = any(salt is not NO_SALT for salt in salts)
    return Batch(log, which, n, records, b"".join(salts) if salted else b"")


PLACE = "SELECT said, firsts FROM journal_place($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
"""Write batches, each where its log ends, with all that goes before it: one statement, which may be a transaction of its own.

`said` and `firsts` are explained in its migration.
"""


def arguments(boot: str, key: int, turn: int | None, *, fresh: bool, batches: Sequence[Batch]) -> tuple[Any, ...]:
    """What `PLACE` takes. `key`: the boot's advisory lock; `fresh`: the boot may not have written to all of these logs yet."""
    return (
        key,
        boot,
        turn,
        fresh,
        [batch.log.number for batch in batches],
        [batch.salts for batch in batches],
        [at for at, batch in enumerate(batches, 1) for _ in batch.records],
        *zip(*(record for batch in batches for record in batch.records), strict=True),
    )


def receipts(batches: Sequence[Batch], firsts: Sequence[int]) -> list[Receipt]:
    """One for each record, in the order in which they were given. `firsts`: the index of each batch's first record."""
    found = {
        at: Receipt(batch.log.origin, index, hash_)
        for batch, first in zip(batches, firsts, strict=True)
        for index, (at, (_, _, hash_, _)) in enumerate(zip(batch.which, batch.records, strict=True), first)
    }
    return [found[at] for at in range(len(found))]


async def took_hold(connection: Connection, boot: str, batches: Sequence[Batch]) -> tuple[list[int], int | None]:
    """The index of each batch's first record, where a commit of which no answer came did take hold; else none, and it never will.

    And the turn of `boot` from now on. The heads are locked first: if the commit is still under way this waits for it, and if it has not
    even begun it will find that its turn is over. A leaf names its boot and count: a record with the hash of one of ours is that one.
    """
    await lock(connection, [batch.log.number for batch in batches])
    turn = await next_turn(connection, boot)
    leading = [(batch.log.number, *batch.records[0][:3]) for batch in batches]
    found = await connection.fetch(
        """SELECT r.index
           FROM unnest($1::integer[], $2::text[], $3::smallint[], $4::bytea[]) WITH ORDINALITY AS ours (org, id, phase, hash, at)
           JOIN journal_record AS r USING (org, id, phase, hash) ORDER BY ours.at""",
        *zip(*leading, strict=True),
    )
    return [row["index"] for row in found], turn


async def next_turn(connection: Connection, boot: str) -> int | None:
    """The turn of `boot` from now on: what it still has on its way will do nothing when it comes. None where there is no such boot."""
    return await connection.fetchval("UPDATE journal_boot SET turn = turn + 1 WHERE boot = $1 RETURNING turn", boot)


async def lower(connection: Connection, boot: str, floors: dict[int, int]) -> None:
    """Note, by the log's number, below which index no intent of `boot` is open."""
    await connection.execute(
        """UPDATE journal_writer AS w SET floor = new.floor FROM unnest($2::integer[], $3::bigint[]) AS new (org, floor)
           WHERE w.boot = $1 AND w.org = new.org""",
        boot,
        list(floors),
        list(floors.values()),
    )


async def grown(connection: Connection, limit: int) -> list[tuple[int, str, int, bytes]]:
    """(number, origin, size, range) of logs that grew since they were last signed."""
    rows = await connection.fetch("SELECT number, origin, size, range FROM journal_org WHERE signed < size ORDER BY number LIMIT $1", limit)
    return [tuple(row) for row in rows]


def notes(signer: Signer, heads: Sequence[tuple[int, str, int, bytes]]) -> list[tuple[int, int, str, str]]:
    """(number, size, signed note, verifier key) of each head. Takes a while for many."""
    return [
        (number, size, signer.checkpoint(origin, size, Range.decode(range_).root()), signer.vkey(origin))
        for number, origin, size, range_ in heads
    ]


async def keep(connection: Connection, signed: Sequence[tuple[int, int, str, str]]) -> None:
    """Keep the checkpoints. The heads are locked for the moment only, in order like everywhere."""
    numbers, sizes, texts, keys = zip(*signed, strict=True)
    await connection.execute(
        """INSERT INTO journal_checkpoint (org, size, note)
           SELECT * FROM unnest($1::integer[], $2::bigint[], $3::text[]) ON CONFLICT DO NOTHING""",
        numbers,
        sizes,
        texts,
    )
    await connection.execute(
        """WITH locked AS MATERIALIZED (SELECT number FROM journal_org WHERE number = ANY($1) ORDER BY number FOR UPDATE)
           UPDATE journal_org AS o SET signed = new.size, vkey = new.vkey
           FROM locked JOIN unnest($1::integer[], $2::bigint[], $3::text[]) AS new (number, size, vkey) USING (number)
           WHERE o.number = locked.number AND o.signed < new.size""",
        numbers,
        sizes,
        keys,
    )


async def begin(connection: Connection, boot: str) -> None:
    await connection.execute("INSERT INTO journal_boot (boot) VALUES ($1) ON CONFLICT DO NOTHING", boot)


async def end(connection: Connection, boot: str, *, settled: bool) -> None:
    """`boot` writes no more. `settled`: and no intent of it is open."""
    await connection.execute(
        """UPDATE journal_boot SET ended = coalesce(ended, now()), settled = CASE WHEN $2 THEN coalesce(settled, now()) ELSE settled END
           WHERE boot = $1""",
        boot,
        settled,
    )
    if settled:
        await connection.execute("DELETE FROM journal_writer WHERE boot = $1", boot)


async def unsettled(connection: Connection, mine: str) -> tuple[list[str], set[int], float]:
    """Other boots that may have open intents, all keys of advisory locks that are held, and for how many seconds the server is up."""
    boots = await connection.fetch("SELECT boot FROM journal_boot WHERE settled IS NULL AND boot <> $1 ORDER BY boot", mine)
    locks = await connection.fetch(
        """SELECT (classid::bigint << 32) | objid::bigint AS key FROM pg_locks
           WHERE locktype = 'advisory' AND granted AND objsubid = 1
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
    )
    up = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8")
    return [row["boot"] for row in boots], {row["key"] for row in locks}, up


async def ended(connection: Connection, boot: str) -> bool:
    """Whether another has ended this boot."""
    return bool(await connection.fetchval("SELECT ended IS NOT NULL FROM journal_boot WHERE boot = $1", boot))


async def one_at_a_time(connection: Connection, boot: str) -> None:
    """Of several who close the intents of a boot, let one after the other."""
    await connection.execute("SELECT 1 FROM journal_boot WHERE boot = $1 FOR UPDATE", boot)


async def alone(connection: Connection, key: int) -> bool:
    """Take a lock to the end of the transaction, if nobody else has it."""
    return bool(await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", key))


async def open_intents(connection: Connection, boot: str, limit: int, timeout: float) -> list[tuple[str, int, dict[str, Any]]]:
    """(organisation, index, record) of intents of `boot` that have no outcome."""
    rows = await connection.fetch(
        """SELECT o.name, r.index, r.leaf FROM journal_writer AS w
             JOIN journal_org AS o ON o.number = w.org
             JOIN journal_record AS r ON r.org = w.org AND r.index >= w.floor AND r.phase = 1 AND position($2 IN r.leaf) > 0
           WHERE w.boot = $1 AND NOT EXISTS (
             SELECT 1 FROM journal_record AS outcome WHERE outcome.id = r.id AND outcome.phase = 2 AND outcome.org = r.org)
           ORDER BY r.org, r.index LIMIT $3""",
        boot,
        f'"boot":"{boot}"'.encode(),
        limit,
        timeout=timeout,
    )
    return [(row["name"], row["index"], orjson.loads(row["leaf"])) for row in rows]


async def open_among(connection: Connection, ids: Sequence[str]) -> list[tuple[str, int, dict[str, Any]]]:
    """(organisation, index, record) of the intents of these calls that have no outcome."""
    rows = await connection.fetch(
        """SELECT o.name, r.index, r.leaf FROM journal_record AS r JOIN journal_org AS o ON o.number = r.org
           WHERE r.id = ANY($1) AND r.phase = 1 AND NOT EXISTS (
             SELECT 1 FROM journal_record AS outcome WHERE outcome.id = r.id AND outcome.phase = 2 AND outcome.org = r.org)""",
        ids,
    )
    return [(row["name"], row["index"], orjson.loads(row["leaf"])) for row in rows]


async def closed(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those of these calls that have an outcome."""
    rows = await connection.fetch("SELECT id FROM journal_record WHERE id = ANY($1) AND phase = 2", ids)
    return {row["id"] for row in rows}
