"""A journal on each medium: what it promises is the same. Tests that take `audit` run once on each."""

import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hub.audit import record
from hub.audit.checkpoint import Signer
from hub.audit.journal import Journal, Receipt
from hub.audit.ledger import Ledger
from hub.audit.ledger_postgres import PostgresLedger
from hub.audit.ledger_sqlite import SqliteLedger
from hub.call import Call, Caller, Credential, Decision, Target, Trace, new_id
from hub.store.postgres import Postgres, connect
from hub.store.sqlite import Database
from tests.services.postgres import PostgresServer
from tests.support.patience import as_the_hub_waits, patient_stores

__all__ = ["as_the_hub_waits", "patient_stores"]

SEED = b"\x07" * 32
ALLOW = Decision(True, ("grants",), "sha256:" + "a" * 64)

Store = Database | Postgres
Source = Path | str


def make_call(**changed: Any) -> Call:
    fields: dict[str, Any] = {
        "id": new_id(),
        "kind": "mcp.tools.call",
        "method": "tools/call",
        "door": "demo",
        "payload": b'{"name":"now"}',
        "credential": Credential("hub_secret"),
        "deadline": 0.0,
        "name": "time_now",
        "trace": Trace("0" * 31 + "1", "1" * 16),
        "target": Target("time", "tool", "now"),
    }
    return Call(**{**fields, **changed})


def make_caller(org: str = "acme") -> Caller:
    return Caller(org=org, subject="key:ci", key_id="abcdefghijkl")


async def govern(journal: Journal, org: str = "acme", call: Call | None = None) -> tuple[Receipt, Receipt]:
    """One call as the pipeline records it: intent, then outcome."""
    call, caller = call or make_call(), make_caller(org)
    intent = await journal.append(org, record.intent(call, caller, ALLOW, os.urandom(32)))
    outcome = await journal.append(
        org, record.outcome(call, caller, ALLOW, status="ok", code="", us=5, reply=b"{}", salt=os.urandom(32), of=intent)
    )
    return intent, outcome


async def open_store(source: Source) -> Store:
    if isinstance(source, Path):
        database = Database(source)
        database.open()
        return database
    postgres = Postgres(source)
    await postgres.open()
    return postgres


def ledger_on(store: Store, grace: float = 0.0) -> Ledger:
    return SqliteLedger(store) if isinstance(store, Database) else PostgresLedger(store, grace=grace)


@asynccontextmanager
async def opened(source: Source, *, grace: float = 0.0, **options: Any) -> AsyncIterator[tuple[Any, Journal]]:
    store = await open_store(source)
    journal = Journal(
        ledger_on(store, grace),
        Signer(SEED),
        build="0.1.0",
        **{"checkpoint_every": 3600.0, "sweep_every": 3600.0, "config_hash": "sha256:c", **options},
    )
    try:
        await journal.open()
        yield store, journal
    finally:
        await journal.close()
        await store.close()


async def forbid(store: Any) -> None:
    """From now on nothing can be written."""
    if isinstance(store, Database):
        await store.write(lambda connection: connection.execute("PRAGMA query_only=ON"))
    else:
        await store.write(lambda connection: connection.execute("REVOKE INSERT, UPDATE ON ALL TABLES IN SCHEMA public FROM CURRENT_USER"))


async def permit(store: Any) -> None:
    """Undo `forbid` where it outlives the store."""
    if isinstance(store, Postgres):
        await store.write(lambda connection: connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO CURRENT_USER"))


async def select(source: Source, query: str) -> list[tuple[Any, ...]]:
    """Rows of a query, as they are in the database."""
    if isinstance(source, Path):
        connection = sqlite3.connect(source)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()
    there = await connect(source, 5.0)
    try:
        await there.execute("SET hub.org = '*'")
        return [tuple(row) for row in await there.fetch(query)]
    finally:
        await there.close()


def kit(source: Source) -> SimpleNamespace:
    """What the tests of the journal share: a database, ways to open a journal there, to make calls, and to stand in the way."""
    opening: Callable[..., AbstractAsyncContextManager[tuple[Any, Journal]]] = opened
    governing: Callable[..., Awaitable[tuple[Receipt, Receipt]]] = govern
    return SimpleNamespace(
        path=source,
        opened=opening,
        govern=governing,
        call=make_call,
        caller=make_caller,
        allow=ALLOW,
        signer=Signer(SEED),
        store=open_store,
        ledger=ledger_on,
        forbid=forbid,
        permit=permit,
        select=select,
        many=isinstance(source, str),
    )


MEDIA = ("sqlite", "postgres")

_EMPTY = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();
DO $$ DECLARE names text; BEGIN
  SELECT string_agg(relname, ', ') INTO names FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname LIKE 'journal%';
  IF names IS NOT NULL THEN
    EXECUTE 'TRUNCATE ' || names || ' RESTART IDENTITY';
    EXECUTE 'GRANT ALL ON ALL TABLES IN SCHEMA public TO ' || (SELECT tableowner FROM pg_tables WHERE tablename = 'journal_org');
  END IF;
END $$"""
"""What a test left of the journal in a database, its sessions and its grants included. Making another database takes ten times as long."""


@pytest.fixture(scope="session")
def journal_database(postgres_server: PostgresServer) -> str:
    """One database for the journals of all these tests, one after the other; its name."""
    return postgres_server.create_database()


@pytest.fixture
def journal_url(postgres: PostgresServer, journal_database: str) -> str:
    """Its address. There is no journal in it."""
    postgres.sql(_EMPTY, journal_database)
    return postgres.url(journal_database)


@pytest.fixture(params=MEDIA)
def audit(request: pytest.FixtureRequest, tmp_path: Path) -> SimpleNamespace:
    return kit(tmp_path / "hub.db" if request.param == "sqlite" else request.getfixturevalue("journal_url"))


@pytest.fixture
def sqlite_audit(tmp_path: Path) -> SimpleNamespace:
    return kit(tmp_path / "hub.db")


@pytest.fixture
def postgres_audit(journal_url: str) -> SimpleNamespace:
    return kit(journal_url)


@pytest.fixture(scope="module", params=MEDIA)
def shared_audit(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The same, for a journal that a whole file of tests reads and none writes."""
    if request.param == "sqlite":
        yield kit(tmp_path_factory.mktemp("audit") / "hub.db")
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.create_database()
    yield kit(server.url(name))
    server.drop_database(name)
