"""Keys in PostgreSQL: several processes at once, commits of which nobody heard, and organisations that do not see each other."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest

from hub.call import Credential
from hub.config.callers import KeySpec
from hub.config.values import Secret
from hub.identity.admin import Admin, declared
from hub.identity.authenticate import Identity
from hub.identity.keys import mint
from hub.identity.rows_postgres import PostgresKeys
from hub.refusal import InvalidRequest, StoreDown, Unauthenticated
from hub.store.postgres import Postgres
from tests.identity.conftest import Counted
from tests.services.postgres import PostgresServer
from tests.support.media import PostgresStore
from tests.support.wire_cutter import cutter

PEPPER = b"p" * 32
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def store(postgres: PostgresServer, emptied_name: str):
    made = PostgresStore(postgres, emptied_name)
    await made.open()
    yield made
    await made.close()


FIRST = """
import asyncio, sys
from hub.identity.admin import Admin
from hub.identity.rows_postgres import PostgresKeys
from hub.store.postgres import Postgres

async def main():
    postgres = Postgres(sys.argv[1], patience=10.0)
    admin = Admin(PostgresKeys(postgres), b"p" * 32)
    print("ready", flush=True)
    sys.stdin.readline()
    await postgres.open()
    made = await admin.first_start()
    print(len(made or ()), flush=True)
    await postgres.close()

asyncio.run(main())
"""


def test_of_two_processes_that_start_at_the_same_moment_one_makes_the_first_keys(
    postgres: PostgresServer, database_name: str, database_url: str
):
    processes = [
        subprocess.Popen([sys.executable, "-c", FIRST, database_url], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:  # all begin on an empty database, with its migrations
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    made = sorted(process.communicate(timeout=60)[0].strip() for process in processes)
    assert made == ["0", "0", "2"]
    assert postgres.sql("SELECT count(*) FROM api_key", database_name) == "2"


async def test_of_two_hubs_that_ask_for_a_name_at_once_one_gets_it(store: PostgresStore, emptied_url: str):
    other = Postgres(emptied_url)
    await other.open()
    admins = [Admin(store.keys, PEPPER), Admin(PostgresKeys(other), PEPPER)]
    results = await asyncio.gather(*(admins[n % 2].create(f"org{n % 3}", "ci") for n in range(12)), return_exceptions=True)
    assert sum(isinstance(found, InvalidRequest) for found in results) == 11
    assert await store.count("api_key") == 1
    await other.close()


async def test_a_revocation_is_seen_by_another_hub_within_the_polls_time(store: PostgresStore, emptied_url: str):
    other = Postgres(emptied_url)
    await other.open()
    keys = Counted(PostgresKeys(other))
    here, there = Identity(store.keys, PEPPER), Identity(keys, PEPPER)
    await here.open()
    await there.open()
    for n in range(4):
        made = await here.create("acme", f"ci-{n}")
        await there.refresh()
        there.authenticate(Credential(made.text))
        await here.revoke("acme", made.key.id)
        before = keys.reads
        async with asyncio.timeout(30):
            while lets_in(there, made.text):
                await asyncio.sleep(0.001)
        assert keys.reads - before <= 2, "with the next poll, or the one after where that had begun"
    for identity in (here, there):
        await identity.close()
    await other.close()


def lets_in(identity: Identity, text: str) -> bool:
    try:
        identity.authenticate(Credential(text))
    except Unauthenticated:
        return False
    return True


@pytest.mark.parametrize("cut", ["after", "before"])
async def test_a_change_whose_commit_was_not_answered_is_looked_up(store: PostgresStore, emptied_url: str, cut):
    spec = declared((KeySpec(name="file", org="a", secret=Secret(mint().text)),))
    async with cutter(emptied_url) as (proxy, url):
        through = Postgres(url, connections=2, patience=20.0)
        await through.open()
        admin = Admin(PostgresKeys(through), PEPPER)
        going = await admin.create("a", "going")

        async def outcome(call) -> bool:
            proxy.cut = cut
            try:
                await call
            except StoreDown:
                return False
            return True

        held = cut == "after"
        assert await outcome(admin.create("a", "made")) is held
        assert await outcome(admin.revoke("a", going.key.id)) is held
        assert await outcome(admin.revoke("a", "file", declared=spec)) is held
        assert proxy.cuts == 3
        found = {key.name: bool(key.revoked) for key in await Admin(store.keys, PEPPER).list("a", declared=spec)}
        assert found == {"going": held, "file": held} | ({"made": False} if held else {})
        await through.close()


async def test_a_change_that_may_yet_take_hold_is_not_called_undone(store: PostgresStore, emptied_url: str):
    async with cutter(emptied_url) as (proxy, url):
        through = Postgres(url, connections=2, patience=2.0)
        await through.open()
        proxy.cut = "late"
        with pytest.raises(StoreDown):
            await Admin(PostgresKeys(through), PEPPER).create("a", "late")
        assert await store.count("api_key") == 0
        proxy.let_go.set()
        async with asyncio.timeout(30):
            while await store.count("api_key") == 0:
                await asyncio.sleep(0.02)
        await through.close()


TABLES = ("epoch", "api_key", "key_tombstone", "policy_sets", "catalogue", "hub_secret")


async def test_a_query_without_its_tenant_sees_nothing_and_changes_nothing(store: PostgresStore, emptied_url: str):
    admin = Admin(store.keys, PEPPER)
    await admin.create("a", "one")
    await admin.create("b", "two")
    await admin.revoke("a", "file", declared=declared((KeySpec(name="file", org="a", secret=Secret(mint().text)),)))
    await store.sql(
        "INSERT INTO policy_sets VALUES ('h', '', ''); INSERT INTO catalogue VALUES ('u', '', '', ''); INSERT INTO hub_secret VALUES ('x', 'y')"
    )
    connection = await asyncpg.connect(emptied_url)
    try:

        async def seen() -> list[int]:
            return [await connection.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES]

        assert await seen() == [0] * 6
        assert await connection.execute("UPDATE api_key SET revoked = ''") == "UPDATE 0"
        await connection.execute("SELECT set_config('hub.org', 'a', false)")
        assert await seen() == [1, 1, 1, 0, 0, 0], "an organisation sees its own, and nothing of what belongs to all"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("INSERT INTO epoch VALUES ('c', 1)")
        await connection.execute("SELECT set_config('hub.org', '*', false)")
        assert await seen() == [2, 2, 1, 1, 1, 1]
    finally:
        await connection.close()


async def test_every_table_with_an_organisation_is_bound_by_row_level_security(store: PostgresStore):
    open_ones = await store.sql(
        "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'public' AND relkind = 'r'"
        " AND NOT (relrowsecurity AND relforcerowsecurity) ORDER BY 1"
    )
    assert open_ones.split() == ["hub_migration", "journal_boot", "journal_meta", "usage_rolled"], "which hold nothing of any organisation"


async def test_many_organisations_cost_a_poll_one_number(store: PostgresStore):
    await store.sql("INSERT INTO epoch SELECT 'org' || n, 1 FROM generate_series(1, 20000) AS n")
    identity = Identity(store.keys, PEPPER, clock=lambda: 0.0)
    await identity.refresh()
    known = identity._epochs
    assert len(known) == 20_000
    assert (await store.keys.changes(known, time.monotonic)).epochs is known, "none of them was read"
    made = await identity.create("org7", "ci")
    await identity.refresh()
    assert identity.authenticate(Credential(made.text)).org == "org7"


async def test_what_a_standby_that_took_over_has_not_heard_of_is_forgotten(store: PostgresStore):
    identity = Identity(store.keys, PEPPER)
    kept = await identity.create("acme", "kept")
    await identity.refresh()
    epoch = (await store.epochs())["acme"]
    lost, elsewhere = await identity.create("acme", "lost"), await identity.create("other", "elsewhere")
    await identity.revoke("acme", "kept")
    await identity.refresh()
    await store.sql(f"DELETE FROM api_key WHERE name = 'lost'; UPDATE api_key SET revoked = '', epoch = {epoch} WHERE name = 'kept'")
    await store.sql(f"UPDATE epoch SET value = {epoch} WHERE org = 'acme'")
    await identity.refresh()
    assert not lets_in(identity, lost.text)
    assert lets_in(identity, kept.text), "its revocation was lost as well: what the store says is what counts"
    assert lets_in(identity, elsewhere.text)
    await Admin(store.keys, PEPPER).revoke("acme", "kept")
    await identity.refresh()
    assert not lets_in(identity, kept.text)
