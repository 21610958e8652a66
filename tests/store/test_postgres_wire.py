"""PostgreSQL's messages: what is written is what the server understands as meant, and answers are read from bytes that come in any pieces."""

import asyncio
import os
import shutil
import struct
from types import SimpleNamespace

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.refusal import StoreDown
from hub.store import postgres_wire as wire
from hub.store.base import Ambiguous
from hub.store.postgres import Postgres
from hub.store.postgres_line import Line
from tests.services.postgres import PostgresServer
from tests.store.test_redis_forms import certificates
from tests.support.wire_cutter import cutter

PATIENCE = 1.0

ECHO = """SELECT ARRAY[length($1::bytea), $2::smallint, $3::integer, $4::bigint, cardinality($5::bytea[])
  + coalesce((SELECT sum(length(each)) FROM unnest($5) AS each), 0)]::bigint[], $1, $5[cardinality($5)]"""


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", 4 + len(body)) + body


def row(values: list[bytes | None]) -> bytes:
    return struct.pack("!H", len(values)) + b"".join(
        struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value for value in values
    )


@settings(max_examples=200, deadline=None)
@given(values=st.lists(st.one_of(st.none(), st.binary(max_size=50)), max_size=5))
def test_columns_are_those_of_the_row_and_nothing_else_is_a_row(values):
    packed = row(values)
    assert wire.columns(packed) == values
    with pytest.raises(ValueError, match="add up"):
        wire.columns(packed + b"\x00")


def asked(answers, *, patience=PATIENCE):
    """A line on a connection that is not there, with a question under way: what it tells goes to `answers`."""
    ends = SimpleNamespace(sent=[], ended=0)
    transport = SimpleNamespace(set_protocol=lambda _: None, write=ends.sent.append)
    line = Line(SimpleNamespace(terminate=lambda: setattr(ends, "ended", ends.ended + 1)), transport, patience)
    line.ask(b"?", lambda row, fault: answers.append((row, fault)))
    return line, ends


ANSWER = [message(b"2", b""), message(b"D", row([b"\x00" * 8, None])), message(b"C", b"SELECT 1\x00"), message(b"Z", b"I")]
NOTICE = message(b"N", b"SWARNING\x00VWARNING\x00C01000\x00Mnothing\x00\x00")


@settings(max_examples=200, deadline=None)
@given(cuts=st.lists(st.integers(1, 80), max_size=6), notice=st.sampled_from([None, 0, 1, 3]))
def test_an_answer_in_any_pieces_is_told_once_when_it_is_whole(cuts, notice):
    async def run():
        answers: list = []
        line, _ = asked(answers)
        parts = list(ANSWER)
        if notice is not None:
            parts.insert(notice, NOTICE)
        data, before = b"".join(parts), 0
        for cut in sorted({*(cut for cut in cuts if cut < len(data)), len(data)}):
            assert answers == []
            line.data_received(data[before:cut])
            before = cut
        assert answers == [(row([b"\x00" * 8, None]), None)]
        assert line.usable

    asyncio.run(run())


ERROR = message(b"E", b"SFEHLER\x00VERROR\x00C23505\x00Mtwice\x00\x00")
FATAL = message(b"E", b"SFATAL\x00VFATAL\x00C57P01\x00Mbye\x00\x00")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (ERROR + message(b"Z", b"I"), StoreDown),
        (FATAL, Ambiguous),
        (b"\xff" * 40, Ambiguous),
        (message(b"H", b""), Ambiguous),
        (b"D" + struct.pack("!I", 1 << 30), Ambiguous),
        (b"D\x00\x00\x00\x00", Ambiguous),
    ],
)
async def test_whatever_is_no_answer_ends_the_line_and_says_whether_it_may_have_taken_hold(data, told):
    answers: list = []
    line, ends = asked(answers)
    line.data_received(data)
    ((nothing, fault),) = answers
    assert nothing is None
    assert type(fault) is told
    assert (line.lost, line.usable, ends.ended) == (True, False, 1)
    line.connection_lost(None)
    assert len(answers) == 1


async def test_an_answer_nobody_asked_for_ends_the_line():
    for unasked in (b"".join(ANSWER), FATAL):
        line, _ = asked(answers := [])
        line.data_received(b"".join(ANSWER))
        line.data_received(NOTICE)
        assert line.usable
        line.data_received(unasked)
        assert line.lost
        assert len(answers) == 1


@pytest.fixture
async def store(database_url):
    store = Postgres(database_url, patience=20.0)
    await store.open()
    yield store
    await store.close()


async def ready(lines):
    """The line, once it is made."""
    async with asyncio.timeout(30):
        while (line := lines.get()) is None:
            await asyncio.sleep(0.01)
    return line


async def answer(lines, packed):
    done = asyncio.get_running_loop().create_future()
    (await ready(lines)).ask(packed, lambda row, fault: done.set_result((row, fault)))
    return await done


async def test_the_server_understands_what_is_bound(store):
    lines = store.lines({"echo": ECHO})
    for blobs in ([b""], [b"abc", b"", b"\x00\xff"], [b"x" * 65_535] * 40):
        values = (b"\x00\x01" * 70, wire.int2(-2), wire.int4(-70_000), wire.int8(-(2**40)), wire.array(wire.BYTEA, blobs))
        found, fault = await answer(lines, wire.bind(b"echo", values))
        assert fault is None
        assert found is not None
        numbers, first, last = wire.columns(found)
        assert wire.integers(numbers) == [140, -2, -70_000, -(2**40), len(blobs) + sum(map(len, blobs))]
        assert (first, last) == (values[0], blobs[-1])


async def test_a_statement_that_fails_did_nothing_and_the_next_line_is_made(store):
    await store.write(lambda c: c.execute("CREATE TABLE t (n int PRIMARY KEY)"))
    lines = store.lines({"put": "INSERT INTO t VALUES ($1) RETURNING n"})
    for turn in range(2):
        assert await answer(lines, wire.bind(b"put", [wire.int4(turn)])) == (row([wire.int4(turn)]), None)
        _, fault = await answer(lines, wire.bind(b"put", [wire.int4(turn)]))
        assert type(fault) is StoreDown
        assert "23505" in fault.detail
    assert await store.read(lambda c: c.fetchval("SELECT count(*) FROM t")) == 2


async def test_a_line_on_which_nothing_answers_is_given_up_in_time_and_nobody_is_left_waiting(database_url):
    async with cutter(database_url) as (proxy, address):
        store = Postgres(address, patience=PATIENCE)
        await store.open()
        lines = store.lines({"one": "SELECT 1"})
        assert (await answer(lines, wire.bind(b"one", [])))[1] is None
        proxy.passing.clear()
        before = asyncio.get_running_loop().time()
        _, fault = await answer(lines, wire.bind(b"one", []))
        assert type(fault) is Ambiguous
        assert PATIENCE <= asyncio.get_running_loop().time() - before < PATIENCE + 10
        proxy.passing.set()
        assert (await answer(lines, wire.bind(b"one", [])))[1] is None
        line = await ready(lines)
        await store.close()
        assert line.lost
        assert lines.get() is None


async def test_a_line_that_the_server_ends_is_known_to_be_lost(store, postgres, database_url):
    lines = store.lines({"one": "SELECT 1"})
    line = await ready(lines)
    name = database_url.rpartition("/")[2]
    postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    async with asyncio.timeout(30):
        while not line.lost:
            await asyncio.sleep(0.01)
    assert await ready(lines) is not line
    assert (await answer(lines, wire.bind(b"one", [])))[1] is None


@pytest.fixture
def encrypted(postgres: PostgresServer, tmp_path):
    """The server speaks TLS, and may be spoken to without."""
    _, certificate, key = certificates(tmp_path, "localhost")
    for made, name in ((certificate, "server.crt"), (key, "server.key")):
        kept = postgres.folder / "data" / name
        shutil.copyfile(made, kept)
        kept.chmod(0o600)
        if os.getuid() == 0:
            shutil.chown(kept, postgres.folder.owner(), postgres.folder.group())
    postgres.sql("ALTER SYSTEM SET ssl = on")
    postgres.sql("SELECT pg_reload_conf()")
    yield
    postgres.sql("ALTER SYSTEM RESET ssl")
    postgres.sql("SELECT pg_reload_conf()")


@pytest.mark.usefixtures("encrypted")
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_line_is_encrypted_where_the_connection_is(database_url, loop):
    async def run():
        store = Postgres(f"{database_url}?sslmode=require", patience=10.0)
        await store.open()
        lines = store.lines({"tls": "SELECT (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), $1::bytea"})
        for length in (10, 400_000):
            found, fault = await answer(lines, wire.bind(b"tls", [b"x" * length]))
            assert (found, fault) == (row([b"\x01", b"x" * length]), None)
        await store.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())
