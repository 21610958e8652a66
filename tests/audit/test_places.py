"""What the database does with a batch (`journal_place`): the trees it writes, what it refuses, and a hub of the version before beside it."""

import json
import os
import random
from contextlib import asynccontextmanager
from hashlib import sha256

import asyncpg
import pytest

from hub.audit import rows_postgres as rows
from hub.audit.entry import MAX_LEAF
from hub.audit.graves import lock_key
from hub.audit.ledger import new_boot
from hub.audit.tree import Range
from hub.audit.wire_postgres import STATEMENTS
from hub.call import new_id
from hub.store.postgres_link import connect
from hub.store.postgres_migrations import migrations
from tests.audit.writing import check_log, written

APPEND = "SELECT journal_append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
ONE = STATEMENTS["journal_one"]


@pytest.fixture
def audit(postgres_audit):
    return postgres_audit


@pytest.fixture(autouse=True)
def seeded():
    """Says what a failure is repeated with."""
    seed = random.randrange(1 << 32)
    print("random.seed", seed)
    random.seed(seed)


@asynccontextmanager
async def session(audit):
    """A connection to the tables of a hub, and a boot that may write."""
    await (await audit.store(audit.path)).close()
    connection, boot = await connect(audit.path, 30.0), new_boot()
    try:
        await connection.execute("SET hub.org = '*'")
        await rows.begin(connection, boot)
        yield connection, boot
    finally:
        await connection.close()


async def make_log(connection, tree):
    name = new_id()
    await connection.execute(
        "INSERT INTO journal_org (name, id, origin, vkey, size, range) VALUES ($1, $1, $1, '', $2, $3)", name, tree.size, tree.encode()
    )
    return rows.Log(await connection.fetchval("SELECT number FROM journal_org WHERE name = $1", name), name, name, name)


def some_tree():
    """A tree of any size: often one in which the next leaf closes many subtrees."""
    size = random.choice(
        (random.randrange(200), (1 << random.randrange(60)) - random.randrange(3), random.getrandbits(random.randrange(60)))
    )
    size = max(0, size)
    return Range(size, [os.urandom(32) for _ in range(size.bit_count())])


def some_records(count, length=300):
    leaves = [random.randbytes(length) for _ in range(count)]
    return [(new_id(), random.randrange(3), sha256(b"\x00" + leaf).digest(), leaf) for leaf in leaves]


def batch(log, records, salts=b""):
    return rows.Batch(log, list(range(len(records))), len(records), records, salts)


async def place(connection, boot, batches, turn=0):
    said, firsts = await connection.fetchrow(rows.PLACE, *rows.arguments(boot, lock_key(boot), turn, fresh=True, batches=batches))
    return said, firsts


async def head(connection, log):
    return tuple(await connection.fetchrow("SELECT size, range FROM journal_org WHERE number = $1", log.number))


async def test_the_trees_that_the_database_writes_are_those_of_the_definition(audit):
    async with session(audit) as (connection, boot):
        for turn in range(60):
            trees = [some_tree() for _ in range(random.choice((1, 1, 2, 7)))]
            batches = []
            for tree in trees:
                records = some_records(1000 if turn == 0 else random.choice((1, 2, 3, random.randrange(1, 70))))
                salts = random.choice((b"", os.urandom(32 * len(records))))
                batches.append(batch(await make_log(connection, tree), records, salts))
            assert await place(connection, boot, batches) == ("done", [tree.size for tree in trees])
            for tree, each in zip(trees, batches, strict=True):
                first = tree.size
                for _, _, hash_, _ in each.records:
                    tree.append(hash_)
                assert await head(connection, each.log) == (tree.size, tree.encode())
                stored = await connection.fetch(
                    "SELECT index, id, phase, hash, leaf FROM journal_record WHERE org = $1 ORDER BY index", each.log.number
                )
                assert [tuple(row) for row in stored] == [(first + at, *record) for at, record in enumerate(each.records)]
                salts = await connection.fetch("SELECT index, salts FROM journal_salt WHERE org = $1", each.log.number)
                assert [tuple(row) for row in salts] == ([(first, each.salts)] if each.salts else [])
                floor = await connection.fetchval("SELECT floor FROM journal_writer WHERE boot = $1 AND org = $2", boot, each.log.number)
                assert floor == first


async def test_a_batch_of_the_largest_records_fits(audit):
    async with session(audit) as (connection, boot):
        log = await make_log(connection, Range())
        assert await place(connection, boot, [batch(log, some_records(100, MAX_LEAF))]) == ("done", [0])
        assert await connection.fetchval("SELECT sum(length(leaf)) FROM journal_record") == 100 * MAX_LEAF


async def place_one(connection, boot, each, turn=0):
    ((id_, phase, hash_, leaf),) = each.records
    return await connection.fetchval(ONE, lock_key(boot), boot, turn, each.log.number, each.salts, id_, phase, hash_, leaf)


async def test_one_record_alone_is_placed_as_a_batch_of_one_is(audit):
    async with session(audit) as (connection, boot):
        for _ in range(60):
            tree = some_tree()
            logs = [await make_log(connection, tree) for _ in range(2)]
            records, salts = some_records(1, random.choice((300, MAX_LEAF))), random.choice((b"", os.urandom(32)))
            assert await place(connection, boot, [batch(logs[0], records, salts)]) == ("done", [tree.size])
            assert await place_one(connection, boot, batch(logs[1], records, salts)) == tree.size
            assert await head(connection, logs[0]) == await head(connection, logs[1])
            for table, columns in (("journal_record", "index, id, phase, hash, leaf"), ("journal_salt", "index, salts")):
                one, other = [await connection.fetch(f"SELECT {columns} FROM {table} WHERE org = $1", log.number) for log in logs]
                assert one == other
                assert len(one) == (1 if table == "journal_record" else bool(salts))


async def test_one_record_that_is_refused_changes_nothing(audit):
    async with session(audit) as (connection, boot):
        log = await make_log(connection, some_tree())
        before, one = await head(connection, log), batch(log, some_records(1), os.urandom(32))
        gone = batch(rows.Log(log.number + 1, "gone", "gone", "gone"), some_records(1))

        async def refused(*what, turn=0):
            with pytest.raises(asyncpg.RaiseError, match="may not write here"):
                await place_one(connection, *what, turn=turn)

        await refused(boot, gone)
        await refused(boot, one, turn=1)
        await refused(new_boot(), one)
        await rows.end(connection, boot, settled=False)
        await refused(boot, one)
        assert await head(connection, log) == before
        for table in ("journal_record", "journal_salt"):
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_what_is_refused_changes_nothing(audit):
    async with session(audit) as (connection, boot):
        here, there = [await make_log(connection, some_tree()) for _ in range(2)]
        heads = [await head(connection, log) for log in (here, there)]
        gone = rows.Log(there.number + 1, "gone", "gone", "gone")
        sent = [batch(log, some_records(3)) for log in (here, there)]
        assert await place(connection, boot, [*sent, batch(gone, some_records(1))]) == ("gone", [*(size for size, _ in heads), None])
        assert (await place(connection, boot, sent, turn=1))[0] == "late"
        assert (await place(connection, new_boot(), sent))[0] == "ended"
        await rows.end(connection, boot, settled=False)
        assert (await place(connection, boot, sent))[0] == "ended"
        assert (await place(connection, boot, sent, turn=1))[0] == "ended"
        assert [await head(connection, log) for log in (here, there)] == heads
        for table in ("journal_record", "journal_salt", "journal_writer"):
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0


class Before:
    """A hub of the version before, which gives records their places itself where nobody else has written, and asks again where somebody has."""

    def __init__(self, connection, boot):
        self.connection, self.boot, self.n = connection, boot, 0
        self.heads = None

    async def append(self, log, made):
        """What the database said to it: one word, or two."""
        said = []
        if self.heads is None:
            self.heads = Range.decode((await head(self.connection, log))[1])
            await self.connection.execute("INSERT INTO journal_writer VALUES ($1, $2, $3)", self.boot, log.number, self.heads.size)
        while said[-1:] != ["done"]:
            first, tree = self.heads.size, Range(self.heads.size, self.heads.hashes)
            leaves = [
                json.dumps({**each, "boot": self.boot, "n": self.n + at}, sort_keys=True, separators=(",", ":"))
                for at, each in enumerate(made, 1)
            ]
            hashes = [sha256(b"\x00" + leaf.encode()).digest() for leaf in leaves]
            for hash_ in hashes:
                tree.append(hash_)
            said.append(
                await self.connection.fetchval(
                    APPEND,
                    *(lock_key(self.boot), self.boot, 0, [log.number], [first], [tree.size], [tree.encode()], [b""]),
                    *([log.number] * len(made), list(range(first, tree.size)), [each["id"] for each in made], [0] * len(made)),
                    *(hashes, [leaf.encode() for leaf in leaves]),
                )
            )
            assert said[-1] in ("moved", "done"), said
            self.heads = tree if said[-1] == "done" else Range.decode((await head(self.connection, log))[1])
        self.n += len(made)
        return said


async def test_a_hub_of_the_version_before_writes_beside_it_until_it_is_replaced(audit):
    async with session(audit) as (connection, boot), audit.opened(audit.path, sweep_every=3600.0, grace=3600.0) as (_, log):
        await audit.govern(log)
        acme = rows.Log(*await connection.fetchrow("SELECT number, name, id, origin FROM journal_org WHERE name = 'acme'"))
        like = next(each for each in written(audit.path) if each["kind"].endswith(".intent"))
        before, said = Before(connection, boot), []
        for turn in range(12):
            made = [{**like, "kind": "admin.test", "id": new_id()} for _ in range(random.randrange(1, 9))]
            said += await before.append(acme, made)
            if turn % 3:
                await audit.govern(log)
        assert said.count("moved") == 7  # after each turn but the last in which the other wrote as well
        await rows.end(connection, boot, settled=True)
    check_log(audit.path, audit.signer, [])
    assert len({each["boot"] for each in written(audit.path)}) == 2


async def test_a_database_of_the_version_before_is_brought_up_while_a_hub_of_that_version_goes_on(audit):
    """That hub knows `journal_place` alone; the rest is made beside it, and both go on with the same logs."""
    async with session(audit) as (connection, boot):
        await connection.execute("DROP FUNCTION journal_place_one, journal_grown")
        log = await make_log(connection, Range())
        records = some_records(40)
        assert await place(connection, boot, [batch(log, records[:3])]) == ("done", [0])
        await connection.execute(next(sql for _, name, sql in migrations() if name.endswith("_place_one.sql")))
        async with audit.opened(audit.path, sweep_every=3600.0, grace=3600.0) as (_, new):
            await audit.govern(new)
            assert await place(connection, boot, [batch(log, records[3:5])]) == ("done", [3])
            at = 5
            while at < len(records):
                count = min(len(records) - at, random.choice((1, 1, 2, 5)))
                each = batch(log, records[at : at + count])
                placed = await place_one(connection, boot, each) if count == 1 else (await place(connection, boot, [each]))[1][0]
                assert placed == at
                at += count
        tree = Range()
        for _, _, hash_, _ in records:
            tree.append(hash_)
        assert await head(connection, log) == (tree.size, tree.encode())
