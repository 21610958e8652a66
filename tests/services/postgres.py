"""A real PostgreSQL for the tests: system binaries, a free port, a temporary folder, fsync on, and the faults a machine can have.

One server for a whole run of pytest (`postgres_server`); each test gets a database of its own (`database_url`), owned by a role that is
no superuser. What a test did to the server (`postgres`) is undone after it. Tests that want the hub's tables and nothing in them have one
database one after the other (`emptied_url`): to make another and its tables takes ten times as long as to empty it.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from tests.services.machine import PATIENCE, STANDS, children, install, state, unpack, until

CACHE = Path(__file__).parents[2] / ".cache" / "tests" / "postgresql"
ROLE = "hub"
_SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "password_encryption": "scram-sha-256",
    "log_checkpoints": "off",
}


_EMPTY = """
SET session_replication_role = replica;
DO $$ DECLARE found record; BEGIN
  WHILE EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid())
  LOOP
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();
    PERFORM pg_sleep(0.002), pg_stat_clear_snapshot();
  END LOOP;
  FOR found IN SELECT oid::regclass AS name, relkind FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S') AND relname <> 'hub_migration'
  LOOP
    IF found.relkind = 'r' THEN
      EXECUTE 'DELETE FROM ' || found.name;
    ELSE
      EXECUTE 'ALTER SEQUENCE ' || found.name || ' RESTART';
    END IF;
  END LOOP;
END $$"""
"""Ends who is connected, deletes every row but what says which tables there are, and has every number counted from the start."""


class PostgresServer:
    """One PostgreSQL server. `start` it once; `stop` removes it with its folder."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hub-postgres-"))
        self.port = 0
        self.password = secrets.token_hex(16)
        self._bin = binaries()
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._dropping: subprocess.Popen[bytes] | None = None
        self._count = 0
        self._account = account()

    def url(self, database: str) -> str:
        """For the role that the hub would have: owner of its database, no superuser, bound by row-level security."""
        return f"postgresql://{ROLE}:{self.password}@127.0.0.1:{self.port}/{database}"

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pids(self) -> list[int]:
        """The server's process, then those it started."""
        assert self._process is not None
        return [self._process.pid, *children(self._process.pid)]

    def start(self) -> None:
        """Make the data folder and the role, and serve on a free port."""
        if self._account is not None:
            os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)
        secret = self.folder / "password"
        secret.write_text(self.password)
        secret.chmod(0o644)  # in a folder that only the server's account can enter
        how = ["-U", "postgres", "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--locale=C"]
        self._run(str(self._bin / "initdb"), "-D", str(self._data), *how)
        for _ in range(5):  # another program may take the port between the choice and the start
            self.port = free_port()
            with contextlib.suppress(ChildProcessError):
                self._serve()
                break
        self.sql(f"CREATE ROLE {ROLE} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD '{self.password}'")

    def kill(self) -> None:
        """End it and all its processes by SIGKILL, as a machine that loses power does. It starts again with `restart`."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()
        until(lambda: not _listening(self.port), "the port is still served")

    def stop_answering(self) -> None:
        """Stop every process of it (SIGSTOP): connections stay, and nothing answers."""
        self._signal(signal.SIGSTOP)
        until(lambda: all(state(pid) in STANDS for pid in self.pids), "it does not stop")

    def resume(self) -> None:
        """Let it answer again."""
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        """Start it again on the same port with the same data, having killed it if it still runs; wait until it answers."""
        if self.alive:
            self.kill()
        self._serve()

    def stand_by(self) -> None:
        """Start it, killed before, as a standby that follows nobody: it can be read, until `pg_promote()`."""
        mark = self._data / "standby.signal"
        mark.touch()
        if self._account is not None:
            os.chown(mark, self._account.pw_uid, self._account.pw_gid)
        self._serve()

    def heal(self) -> None:
        """Whatever was done to it: let it answer."""
        if self.alive:
            self.resume()
        else:
            self._serve()

    def stop(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._settle_drop()
        if self.alive:
            assert self._process is not None
            self.resume()
            self._process.send_signal(signal.SIGQUIT)  # at once, and its shared memory is given back
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        self._unwatch()
        shutil.rmtree(self.folder, ignore_errors=True)

    def create_database(self) -> str:
        """A fresh database that the role owns; its name."""
        self._count += 1
        name = f"test_{os.getpid()}_{self._count}"
        self.sql(f"CREATE DATABASE {name} OWNER {ROLE}")
        return name

    def drop_database(self, name: str) -> None:
        """Drop it, while the next test runs already. Where a fault of the server is in the way, it goes with the server's folder."""
        self._settle_drop()
        command = self._psql("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        quiet = subprocess.DEVNULL
        self._dropping = subprocess.Popen(command, stdout=quiet, stderr=quiet, cwd=self.folder, env=self._environment(), **self._as())

    def _settle_drop(self) -> None:
        if self._dropping is not None:
            self._dropping.wait(PATIENCE)
            self._dropping = None

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement as the superuser; what `psql` prints, without decoration."""
        return self._run(*self._psql(database, statement)).strip()

    def connections(self, database: str) -> int:
        """How many connections of clients are open to a database."""
        return int(self.sql(f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'"))

    def _psql(self, database: str, statement: str) -> list[str]:
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", database]
        return [str(self._bin / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", *address, "-c", statement]

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _serve(self) -> None:
        """Raises `ChildProcessError` where it ends instead of answering."""
        settings = [f"--{name}={value}" for name, value in {**_SETTINGS, "port": str(self.port)}.items()]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._bin / "postgres"), "-D", str(self._data), *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self._environment(),
                **self._as(),
            )
        self._watch(self._process.pid)
        until(self._answers, "PostgreSQL does not start")

    def _watch(self, pid: int) -> None:
        """Have the server end when this process does, whatever ends it: the guard's pipe closes then."""
        self._unwatch()
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", f"cat >/dev/null; kill -QUIT {pid}"], stdin=subprocess.PIPE, start_new_session=True
        )

    def _unwatch(self) -> None:
        if self._guard is not None:
            assert self._guard.stdin is not None
            os.killpg(self._guard.pid, signal.SIGKILL)
            self._guard.wait()
            self._guard.stdin.close()
            self._guard = None

    def _answers(self) -> bool:
        if not self.alive:
            raise ChildProcessError((self.folder / "log").read_text()[-2000:])
        asked = [str(self._bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-t", "5"]
        return subprocess.run(asked, env=self._environment(), check=False).returncode == 0

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self._environment(),
            timeout=PATIENCE,
            check=False,
            **self._as(),
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]}: {done.stderr or done.stdout}")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        # only a downloaded one needs the library path: the packages of the system find theirs
        own = {"LD_LIBRARY_PATH": ":".join(map(str, CACHE.glob("usr/lib/*-linux-gnu")))} if self._bin.is_relative_to(CACHE) else {}
        return {"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC", "PGPASSWORD": self.password, **own}

    def _as(self) -> dict[str, object]:
        """PostgreSQL refuses to run as root."""
        return {} if self._account is None else {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)  # it starts no more processes while we count them
        until(lambda: state(self._process.pid) in STANDS, "it does not stop")
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def account() -> pwd.struct_passwd | None:
    """Whom to run it as where we are root: the package's own account, else nobody. None where we are not root."""
    if os.getuid():
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


@lru_cache(maxsize=1)
def binaries() -> Path:
    """The folder with `postgres`, `initdb`, `psql`: the system's, else installed as root, else unpacked into .cache/."""
    if found := _found(Path("/")):
        return found
    if found := _found(CACHE):
        return found
    if os.getuid() == 0:
        install("postgresql")
        found = _found(Path("/"))
    else:
        _unpack()
        found = _found(CACHE)
    if found is None:
        raise FileNotFoundError("the tests need PostgreSQL: 'apt-get install postgresql'")
    return found


def _found(root: Path) -> Path | None:
    on_path = shutil.which("postgres") if root == Path("/") else None
    folders = [*sorted(root.glob("usr/lib/postgresql/*/bin"), reverse=True), *([Path(on_path).resolve().parent] if on_path else [])]
    return next((folder for folder in folders if all((folder / name).exists() for name in ("postgres", "initdb", "psql"))), None)


def _unpack() -> None:
    """Without root: the packages are fetched and taken apart. Their own dependencies are those that few machines have."""
    shown = subprocess.run(["apt-cache", "depends", "postgresql"], capture_output=True, text=True, check=True).stdout
    server = next(word for word in shown.split() if word.startswith("postgresql-") and word[len("postgresql-") :].isdigit())
    packages = (server, server.replace("postgresql-", "postgresql-client-"), "libpq5")
    unpack(CACHE, *packages)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgres_url(postgres_server: PostgresServer) -> str:
    """The server as the hub's role sees it; the database that the URL names is not the role's own."""
    return postgres_server.url("postgres")


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """The server, for a test to do harm to: it answers again afterwards."""
    yield postgres_server
    postgres_server.heal()


@pytest.fixture
def database_name(postgres: PostgresServer) -> Iterator[str]:
    """A fresh database of this test."""
    name = postgres.create_database()
    yield name
    postgres.heal()
    postgres.drop_database(name)


@pytest.fixture
def database_url(postgres: PostgresServer, database_name: str) -> str:
    """The address of a fresh database of this test, for a role that owns it and is no superuser."""
    return postgres.url(database_name)


@pytest.fixture(scope="session")
def _emptied(postgres_server: PostgresServer) -> str:
    return postgres_server.create_database()


@pytest.fixture
def emptied_name(postgres: PostgresServer, _emptied: str) -> str:
    """A database without a row, for a test that leaves the tables themselves as they are: it may have been another's before."""
    postgres.sql(_EMPTY, _emptied)
    return _emptied


@pytest.fixture
def emptied_url(postgres: PostgresServer, emptied_name: str) -> str:
    """Its address, for the role that owns it."""
    return postgres.url(emptied_name)
