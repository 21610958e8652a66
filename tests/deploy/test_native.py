"""What docker-compose.yml says, done on this machine: everything comes up healthy, a call goes through with the first key, it stops in time."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis as client

from tests.deploy import native
from tests.deploy.native import Native
from tests.support.journal import records, verified
from tests.support.mcp import Client


@pytest.fixture(scope="module")
def up() -> Iterator[Native]:
    """In a folder with a short path that others may enter: a socket's path is bounded, and PostgreSQL runs as another user."""
    folder = Path(tempfile.mkdtemp(prefix="hub-up-"))
    folder.chmod(0o755)
    try:
        with native.started(folder) as up:
            yield up
    finally:
        shutil.rmtree(folder)


def key(up: Native, kind: str) -> str:
    """From where `docker compose exec hub cat .hub/first-run` reads it."""
    text = (up.inside("hub", "/var/lib/countersign") / ".hub/first-run").read_text()
    return re.search(rf"^  {kind} +(hub_\w+)$", text, re.MULTILINE)[1]  # type: ignore[index]


def caller(up: Native, secret: str) -> Client:
    return Client(cast("Any", SimpleNamespace(keys={}, address=("127.0.0.1", up.ports["hub"]))), secret, "demo")


def database(up: Native) -> str:
    password = up.inside("hub", "/run/countersign/database").read_text().strip()
    return f"postgresql://hub:{password}@127.0.0.1:{up.ports['postgres']}/hub"


async def test_the_first_key_lists_and_calls_and_a_session_of_the_older_era_does(up: Native) -> None:
    first = caller(up, key(up, "API key"))
    listed = await first.modern("tools/list")
    assert listed.status == 200, listed
    assert [tool["name"] for tool in listed.result["tools"]] == ["now"]
    called = await first.call("now")
    assert re.fullmatch(r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", called.result["content"][0]["text"])
    assert called.headers["hub-receipt"]
    session = await first.session()
    assert "content" in (await session.call("now")).result
    assert (await session.end()).status == 204


async def test_the_first_keys_are_in_a_file_of_the_hubs_own_and_not_in_its_log(up: Native) -> None:
    file = up.inside("hub", "/var/lib/countersign") / ".hub/first-run"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "the first keys are in .hub/first-run" in up.log("hub")
    assert not re.search(r"hub_\w{12}_", up.log("hub"))


async def test_the_host_headers_that_reach_a_container_are_the_hubs_own(up: Native) -> None:
    first = caller(up, key(up, "API key"))
    for host, status in (("localhost:8080", 200), ("127.0.0.1:8080", 200), ("hub:8080", 200), ("attacker.example", 403)):
        assert (await first.modern("tools/list", None, ("host", host))).status == status, host


def test_the_hub_is_no_superuser_and_sees_no_row_without_saying_for_whom(up: Native) -> None:
    flags = "rolsuper, rolbypassrls, rolcreatedb, rolcreaterole, rolreplication"
    assert up.psql("-c", f"SELECT {flags} FROM pg_roles WHERE rolname = 'hub'").stdout.strip() == "f|f|f|f|f"
    count = "SELECT count(*) FROM journal_record"
    assert int(up.psql("-c", count, database="hub").stdout) > 0
    seen = up.run("postgres", ["psql", "-XqAt", "-c", count, database(up)])
    assert (seen.stdout.strip(), seen.returncode) == ("0", 0), seen.stderr


def test_the_superuser_has_no_password_and_the_hub_gets_in_nowhere_else(up: Native) -> None:
    password = up.inside("postgres", "/run/countersign/superuser").read_text().strip()
    refused = up.run("postgres", ["psql", "-c", "SELECT 1", f"postgresql://postgres:{password}@127.0.0.1:{up.ports['postgres']}/postgres"])
    assert "password authentication failed" in refused.stderr
    elsewhere = up.run("postgres", ["psql", "-c", "SELECT 1", database(up).removesuffix("/hub") + "/postgres"])
    assert "permission denied for database" in elsewhere.stderr


def test_redis_lets_strangers_ping_and_the_hub_use_its_own_keys_only(up: Native) -> None:
    password = up.inside("hub", "/run/countersign/redis").read_text().strip()
    with client.Redis(port=up.ports["redis"]) as stranger:
        assert stranger.ping()
        with pytest.raises(client.exceptions.NoPermissionError):
            stranger.get("hub:{default}:x")
    with client.Redis(port=up.ports["redis"], username="hub", password=password) as hub:
        assert hub.info("persistence")["aof_enabled"] == 1
        assert hub.set("hub:test", "1")
        assert hub.delete("hub:test") == 1
        for command in (("GET", "other"), ("FLUSHALL",), ("CONFIG", "GET", "*"), ("KEYS", "*")):
            with pytest.raises(client.exceptions.NoPermissionError):
                hub.execute_command(*command)


def test_no_secret_is_in_a_command_an_environment_or_a_log(up: Native) -> None:
    folder = up.folder / "volumes"
    kept = [file.read_text().strip() for name in ("hub-secrets", "postgres-secrets") for file in (folder / name).iterdir()]
    seen = [up.log(name) for name in up.processes]
    for process in up.processes.values():
        about = Path(f"/proc/{process.pid}")
        seen += [(about / name).read_text(errors="replace") for name in ("cmdline", "environ")]
    assert not [secret[:6] for secret in kept for text in seen if secret in text]


def test_what_a_dump_and_the_secrets_hold_is_enough_to_begin_again(up: Native) -> None:
    """As docs/compose.md has it: by the superuser, from inside."""
    dump = up.inside("postgres", "/tmp") / "hub.dump"
    socket = up.socket()
    done = up.run("postgres", ["pg_dump", *socket, "-U", "postgres", "-Fc", "-f", str(dump), "hub"])
    assert done.returncode == 0, done.stderr
    assert up.psql("-c", "CREATE DATABASE again OWNER hub TEMPLATE template0").returncode == 0
    restore = ["pg_restore", *socket, "-U", "postgres", "--role=hub", "--no-owner", "--exit-on-error", "-d", "again", str(dump)]
    done = up.run("postgres", restore)
    assert done.returncode == 0, done.stderr
    assert len(records(database(up).removesuffix("/hub") + "/again")) > 0
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert up.psql("-c", owners, database="again").stdout.strip() == "hub"


async def test_passwords_are_changed_by_taking_them_away_and_starting_what_reads_them_again(up: Native) -> None:
    before, first = database(up), key(up, "API key")
    for name in ("database", "redis"):
        up.inside("init", f"/secrets/hub/{name}").unlink()
    assert up.run("init", up.command("init", [])).returncode == 0
    done = up.psql("-f", str(up.inside("postgres", "/docker-entrypoint-initdb.d/hub.sql")))
    assert done.returncode == 0, done.stderr
    for name in ("hub", "redis"):
        assert up.down(name) == 0
    for name in ("redis", "hub"):
        up.start(name)
    assert database(up) != before
    assert up.run("postgres", ["psql", "-XqAtc", "SELECT 1", before]).returncode != 0
    assert (await caller(up, first).call("now")).result, "and every key is as good as before"


def test_everything_stops_in_order_within_its_time_and_the_journal_is_whole(up: Native) -> None:
    """The last one: nothing runs after it."""
    pids = [up.processes["hub"].pid, *descendants(up.processes["hub"].pid)]
    assert len(pids) >= 3, "a parent and two workers"
    assert up.down("hub") == 0
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert "Traceback" not in up.log("hub")
    assert verified(database(up))["default"] > 0
    assert up.down("redis") == 0
    assert up.down("postgres") == 0


def descendants(pid: int) -> list[int]:
    """Those a process has started, and those that they have."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parents[int(name)] = int(Path(f"/proc/{name}/stat").read_text().rpartition(") ")[2].split()[1])
            except OSError:
                continue
    found: list[int] = []
    wanted = [pid]
    while wanted:
        parent = wanted.pop()
        more = [one for one, of in parents.items() if of == parent]
        found += more
        wanted += more
    return found
