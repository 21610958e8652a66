"""Backup and restore as the pages have them, on both media: dumped while a hub serves, restored into nothing, served from, and verified.

What was signed before the backup verifies; what was signed after it shows that the restored log is older.
"""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hub.audit.export import checkpoint
from hub.audit.reader import NotFound
from tests.cli.test_commands import Shell
from tests.docs import pages
from tests.services.postgres import PostgresServer
from tests.support.hub import Hub, wait_for
from tests.support.journal import records
from tests.support.mcp import Client
from tests.support.servers import HttpServer, sdk_http

ALL = [{"virtual_server": "*"}]


class OnSqlite:
    """The lines of docs/operations.md."""

    page = "docs/operations.md"

    def url(self) -> str:
        return ""

    def back_up(self, hub: Hub) -> Path:
        (line,) = [line for line in documented(self.page) if ".backup(" in line]
        subprocess.run(["sh", "-c", line.replace("python3", shlex.quote(sys.executable), 1)], cwd=hub.folder, check=True)
        return hub.folder / "hub-backup.db"

    def restore(self, dump: Path, folder: Path) -> str:
        (folder / ".hub").mkdir()
        shutil.copy(dump, folder / ".hub" / "hub.db")
        return ""


class OnPostgres:
    """Those of docs/postgresql.md, by the hub's own role."""

    page = "docs/postgresql.md"

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._first, self._second = server.create_database(), server.create_database()

    def url(self) -> str:
        return self._server.url(self._first)

    def back_up(self, hub: Hub) -> Path:
        self._run("pg_dump", self._first)
        return self._server.folder / "hub.dump"

    def restore(self, dump: Path, folder: Path) -> str:
        self._run("pg_restore --no-owner", self._second)
        return self._server.url(self._second)

    def _run(self, begins: str, database: str) -> None:
        (line,) = [line for line in documented(self.page) if line.startswith(begins)]
        self._server._run(*shlex.split(line.replace("postgresql://hub@db.internal/hub", self._server.url(database))))

    def drop(self) -> None:
        for database in (self._first, self._second):
            self._server.drop_database(database)


def documented(page: str) -> list[str]:
    return [line for block in pages.fences(page, "sh") for line in block.splitlines()]


@pytest.fixture(params=["sqlite", "postgresql"])
def medium(request: pytest.FixtureRequest) -> Any:
    if request.param == "sqlite":
        yield OnSqlite()
        return
    medium = OnPostgres(request.getfixturevalue("postgres"))
    yield medium
    medium.drop()


@pytest.fixture(scope="module")
def downstream(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with sdk_http(tmp_path_factory.mktemp("downstream")) as server:
        yield server


def config(downstream: HttpServer) -> dict[str, Any]:
    return {
        "keys": [{"name": "root", "roles": ["admin"]}],
        "upstreams": {"good": {"url": downstream.url}},
        "virtual_servers": {"main": {"include": [{"from": "good"}]}},
        "server": {"drain": 1},
    }


def hub_in(folder: Path, downstream: HttpServer, url: str, keys: dict[str, str]) -> Hub:
    hub = Hub(folder, config(downstream), postgres=url)
    for name, secret in keys.items():
        hub.keys[name] = secret
        (folder / "keys" / name).write_text(secret)
    return hub


def taken(hub: Hub, size: int, name: str) -> Path:
    """The newest checkpoint once it covers so many records, in a file elsewhere."""
    note = hub.folder.parent / name

    def there() -> bool:
        with suppress(NotFound):
            note.write_text(checkpoint(hub.database, "default"))
            return signed(note) >= size
        return False

    wait_for(there, 30)
    return note


async def status(hub: Hub, key: str) -> int:
    return (await Client(hub, key).call("echo", {"text": "x"})).status


def shell(hub: Hub) -> Callable[..., subprocess.CompletedProcess[str]]:
    run = Shell(hub.folder)
    return lambda *arguments: run(*arguments, HUB_CONFIG=str(hub.file), **hub.environment)


def verify(hub: Hub, vkey: str, note: Path) -> subprocess.CompletedProcess[str]:
    """The export of a hub held against a checkpoint, by the command."""
    out = hub.folder / "all.jsonl"
    assert shell(hub)("audit", "export", "--out", str(out)).returncode == 0
    return shell(hub)("audit", "verify", str(out), "--key", vkey, "--checkpoint", str(note))


def signed(note: Path) -> int:
    """How many records a checkpoint covers."""
    return int(note.read_text().splitlines()[1])


def found(hub: Hub, vkey: str, note: Path) -> str:
    """What is said of a checkpoint that does not fit."""
    done = verify(hub, vkey, note)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "NOT VERIFIED"), done.stdout
    (said,) = [line for line in done.stdout.splitlines() if line.startswith("11. FAIL the outside checkpoint fits: ")]
    return said


async def test_a_backup_is_restored_served_from_and_verified_and_one_that_is_too_old_is_found_out(
    medium: OnSqlite | OnPostgres, tmp_path: Path, downstream: HttpServer
) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    hub = hub_in(before, downstream, medium.url(), {}).start().settled("good")
    stored = {name: hub.admin("POST", "/admin/v1/keys", {"name": name, "grants": ALL})["key"] for name in ("ann", "ben", "eve")}
    hub.admin("DELETE", "/admin/v1/keys/eve")
    assert [await status(hub, key) for key in stored.values()] == [200, 200, 401]
    early = taken(hub, len(records(hub.database)), "early")
    vkey = shell(hub)("audit", "key").stdout.strip()

    dump = medium.back_up(hub)  # while it serves
    shutil.copytree(before / ".hub" / "secret", tmp_path / "secret-backup")
    size = len(records(hub.database))
    hub.admin("DELETE", "/admin/v1/keys/ben")
    assert [await status(hub, stored["ann"]) for _ in range(5)] == [200] * 5
    late = taken(hub, size + 11, "late")
    assert hub.process is not None
    hub.process.kill()  # and lost it is
    hub.process.wait()

    url = medium.restore(dump, after)
    restored = hub_in(after, downstream, url, hub.keys)
    if isinstance(medium, OnPostgres):
        assert "not what this database was first used with" in restored.refused()
        shutil.rmtree(after / ".hub")
    shutil.copytree(tmp_path / "secret-backup", after / ".hub" / "secret")
    restored.start().settled("good")
    try:
        assert [await status(restored, key) for key in stored.values()] == [200, 200, 401], "a revocation after the backup is forgotten"
        taken(restored, size, "of the restored hub")
        held = verify(restored, vkey, early)
        assert held.returncode == 0, held.stdout
        assert held.stdout.rstrip().endswith("VERIFIED")
        assert found(restored, vkey, late).endswith(f"missing: a checkpoint of {signed(late)} records was signed")
        assert [await status(restored, stored["ann"]) for _ in range(10)] == [200] * 10
        taken(restored, signed(late) + 1, "of the restored hub")  # longer again than it was, and another log
        assert found(restored, vkey, late).endswith(f"at {signed(late)} records the root is another")
    finally:
        assert restored.stop() == 0


async def test_without_the_secrets_stored_keys_and_the_old_logs_key_are_lost_and_declared_keys_are_not(
    tmp_path: Path, downstream: HttpServer
) -> None:
    hub = hub_in(tmp_path, downstream, "", {}).start().settled("good")
    stored = hub.admin("POST", "/admin/v1/keys", {"name": "ann", "grants": ALL})["key"]
    assert await status(hub, stored) == 200
    assert hub.stop() == 0
    vkey = shell(hub)("audit", "key").stdout.strip()
    shutil.rmtree(tmp_path / ".hub" / "secret")
    hub.start().settled("good")
    assert await status(hub, stored) == 401
    anew = hub.admin("POST", "/admin/v1/keys", {"name": "anew", "grants": ALL})["key"]  # by a declared key, which is accepted
    assert await status(hub, anew) == 200
    assert hub.stop() == 0
    other = shell(hub)("audit", "key").stdout.strip()
    assert other.partition("+")[0] == vkey.partition("+")[0], "the same log"
    assert other != vkey
    out = tmp_path / "all.jsonl"
    assert shell(hub)("audit", "export", "--out", str(out)).returncode == 0
    assert [shell(hub)("audit", "verify", str(out), "--key", key).returncode for key in (vkey, other)] == [1, 1]


async def test_a_running_hub_goes_on_beside_a_later_version_and_does_not_start_again(
    tmp_path: Path, downstream: HttpServer, postgres: PostgresServer, database_url: str, database_name: str
) -> None:
    hub = hub_in(tmp_path, downstream, database_url, {}).start().settled("good")
    key = hub.admin("POST", "/admin/v1/keys", {"name": "ann", "grants": ALL})["key"]
    postgres.sql("INSERT INTO hub_migration (number, name) VALUES (9999, 'of a later version')", database_name)
    assert await status(hub, key) == 200
    assert hub.admin("POST", "/admin/v1/keys", {"name": "ben", "grants": ALL})["key"]
    assert hub.stop() == 0
    assert "later version" in hub.refused()
