"""The commands on a PostgreSQL database, with and without anything in it."""

import json
from pathlib import Path

import pytest
from redis import Redis as Client

from hub.identity.relay import CHANGED
from tests.cli.test_commands import Shell
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer
from tests.support.journal import changes


class Placed(Shell):
    """Runs commands on the database of `url`, which they get from the environment."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder)
        self.environ["TEST_DATABASE"] = url
        (folder / "hub.yaml").write_text("stores: {database: '${TEST_DATABASE}'}")


@pytest.fixture
def hub(tmp_path: Path, database_url: str) -> Placed:
    return Placed(tmp_path, database_url)


def test_the_database_is_made_by_its_migrations_and_says_where_it_is(hub: Placed, postgres: PostgresServer) -> None:
    before = hub.json("db", "status")
    assert before["migration"] == 0
    assert before["pending"]
    assert hub.json("db", "migrate")["applied"] == before["pending"]
    assert hub.json("db", "migrate")["applied"] == []
    after = hub.json("db", "status")
    assert after == {**before, "bytes": after["bytes"], "migration": int(before["pending"][-1].split("_")[0]), "pending": []}
    assert after["database"].startswith("postgresql://hub:***@127.0.0.1:")
    assert (after["in_use"], after["hubs"]) == (False, 0)
    assert postgres.password not in json.dumps(after)


def test_keys_are_made_listed_and_revoked_with_no_hub_running_and_the_journal_says_so(hub: Placed) -> None:
    assert "there is nothing in postgresql://hub:***@" in hub.fails("keys", "list")
    made = hub.json("keys", "create", "alice", "--server", "demo")
    assert made["key"].startswith("hub_")
    assert [key["name"] for key in hub.json("keys", "list")["keys"]] == ["alice"]
    assert hub.json("keys", "list", "--org", "acme")["keys"] == []
    hub.json("keys", "revoke", "alice")
    assert hub.fails("keys", "revoke", "alice") == "hub: no live key has this name or id"
    assert changes([entry["record"] for entry in hub.json("audit", "tail")]) == ["admin.key.create", "admin.key.revoke"]
    export, key = hub.folder / "export", hub.json("audit", "key")["vkey"]
    hub.json("audit", "export", "--out", str(export))
    hub.json("audit", "verify", str(export), "--key", key, code=3)
    proof = hub.json("audit", "prove", "0")["proof"]
    (hub.folder / "proof").write_text(proof)
    assert hub("audit", "verify", str(hub.folder / "proof"), "--key", key).returncode in (0, 3)


def test_a_key_made_or_revoked_here_is_said_to_hubs_that_run(hub: Placed, redis_url: str, redis: RedisServer) -> None:
    (hub.folder / "hub.yaml").write_text("stores: {database: '${TEST_DATABASE}', redis: '${TEST_REDIS}'}")
    hub.environ["TEST_REDIS"] = redis_url
    with Client.from_url(redis_url, protocol=2).pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe(f"hub:0:{CHANGED}")
        heard.get_message(timeout=10)
        for command in (("create", "alice", "--server", "demo"), ("revoke", "alice")):
            hub.json("keys", *command)
            assert len(heard.get_message(timeout=10)["data"]) == 8
    redis.kill()
    hub.json("keys", "create", "bob", "--server", "demo")  # they find it by their polls
    assert hub.json("keys", "revoke", "bob")["revoked"]["name"] == "bob"


def test_with_other_secrets_keys_are_not_made(hub: Placed) -> None:
    hub.json("keys", "create", "alice", "--server", "demo")
    (hub.folder / ".hub" / "secret" / "master.key").unlink()
    said = hub.fails("keys", "create", "bob", "--server", "demo")
    assert "not what this database was first used with: secrets.master;" in said


@pytest.mark.parametrize(
    "command", [["db", "status"], ["db", "migrate"], ["keys", "list"], ["keys", "create", "x", "--role", "admin"], ["audit", "tail"]]
)
def test_a_database_that_is_away_or_lets_nobody_in_is_one_sentence_without_its_password(
    tmp_path: Path, database_url: str, postgres: PostgresServer, command: list[str]
) -> None:
    for url, why in (
        (database_url.replace(f":{postgres.port}/", ":1/"), "Connect"),
        (database_url.replace(postgres.password, "hunter2hunter2"), "InvalidPasswordError"),
        (database_url.replace("/test_", "/none_"), "InvalidCatalogNameError"),
    ):
        said = Placed(tmp_path, url).fails(*command)
        assert len(said.splitlines()) == 1
        assert why in said
        assert postgres.password not in said
        assert "hunter2" not in said


def test_a_later_versions_database_is_left_alone(hub: Placed, postgres: PostgresServer, database_name: str) -> None:
    hub.json("db", "migrate")
    postgres.sql("INSERT INTO hub_migration (number, name) VALUES (9999, 'later')", database_name)
    for command in (["db", "migrate"], ["keys", "list"], ["keys", "create", "x", "--role", "admin"]):
        assert "later version" in hub.fails(*command)


def test_an_earlier_versions_database_is_read_only_once_it_is_up_to_date(hub: Placed, postgres: PostgresServer, database_name: str) -> None:
    hub.json("db", "migrate")
    postgres.sql("DELETE FROM hub_migration WHERE number > 3", database_name)
    assert "run `hub db migrate`" in hub.fails("keys", "list")


def test_check_asks_the_stores_where_it_is_told_to(hub: Placed, database_url: str, postgres: PostgresServer, redis_url: str) -> None:
    assert hub("check", "hub.yaml", "--connect").returncode == 0
    away = database_url.replace(f":{postgres.port}/", ":1/")
    assert hub("check", "hub.yaml", TEST_DATABASE=away).returncode == 0
    said = hub.fails("check", "hub.yaml", "--connect", TEST_DATABASE=away)
    assert said.startswith("hub.yaml: stores.database: postgresql://hub:***@127.0.0.1:1/")
    assert postgres.password not in said
    (hub.folder / "hub.yaml").write_text("stores: {database: '${TEST_DATABASE}', redis: '${TEST_REDIS}'}")
    assert hub("check", "hub.yaml", "--connect", TEST_REDIS=redis_url).returncode == 0
    said = hub.fails("check", "hub.yaml", "--connect", TEST_REDIS="redis://:hunter2@127.0.0.1:1/0")
    assert said.startswith("hub.yaml: stores.redis: redis://:***@127.0.0.1:1/0 cannot be used")


def test_what_is_wrong_with_the_stores_is_said_before_anything_is_started(hub: Placed) -> None:
    for url, says in (("postgresql://u:${P}@h/d?sslmode=on", "`sslmode` must be one of"), ("postgres:/x", "not a URL")):
        (hub.folder / "hub.yaml").write_text(f"stores: {{database: '{url}'}}")
        done = hub("check", "hub.yaml", P="hunter2")
        assert done.returncode == 1
        assert says in done.stderr
        assert "hunter2" not in done.stderr
        assert hub.program("serve", "--config", "hub.yaml", P="hunter2").returncode == 2


def test_several_workers_without_redis_are_refused(hub: Placed) -> None:
    done = hub.program("serve", "--config", "hub.yaml", "--workers", "2")
    assert done.returncode == 2
    assert "needs PostgreSQL and Redis" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_dump_holds_journal_and_keys_and_is_restored_into_an_empty_database(
    hub: Placed, postgres: PostgresServer, database_url: str
) -> None:
    """As docs/postgresql.md has it, by the hub's own role."""
    hub.json("keys", "create", "alice", "--server", "demo")
    hub.json("keys", "create", "bob", "--server", "demo")
    hub.json("keys", "revoke", "bob")
    before, key = hub.json("keys", "list"), hub.json("audit", "key")["vkey"]
    dump = str(postgres.folder / "hub.dump")
    postgres._run("pg_dump", "-Fc", "--enable-row-security", "-f", dump, f"{database_url}?options=-c%20hub.org%3D*")
    new = postgres.create_database()
    try:
        postgres._run("pg_restore", "--no-owner", "--exit-on-error", "-d", postgres.url(new), dump)
        hub.environ["TEST_DATABASE"] = postgres.url(new)
        assert hub.json("keys", "list") == before
        hub.json("audit", "export", "--out", str(hub.folder / "export"))
        hub.json("audit", "verify", str(hub.folder / "export"), "--key", key, code=3)
        hub.json("keys", "create", "carol", "--server", "demo")
        assert postgres.sql("SELECT count(*) FROM pg_class WHERE relforcerowsecurity", new) != "0", "and it is as closed as before"
    finally:
        postgres.drop_database(new)
