"""The services of docker-compose.yml as processes of this machine: the same commands, environment, secrets and healthchecks.

What a container would be is a folder: each mount stands in it under its own path, volumes as folders that services share, files of the
repository as a copy. Container paths, the names of other services and their ports are translated, in commands and in the files alike;
nothing else is.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.deploy import compose, dockerfile
from tests.deploy.compose import ROOT, mounts, seconds
from tests.services import machine, postgres, redis

_PATH = re.compile(r"(?<![\w.}/-])(?:/[\w.-]+)+")


class Native:
    """`up` starts everything in order; `down` stops one service."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.services: dict[str, Any] = compose.resolved()["services"]
        self.ports = {name: redis.free_port() for name in ("hub", "postgres", "redis")}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._account = postgres.account()
        self._programs = folder / "bin"
        self._find_programs()
        for name, service in self.services.items():
            self._furnish(name, service)

    # What a container would be

    def root(self, name: str) -> Path:
        return self.folder / name

    def inside(self, name: str, path: str) -> Path:
        """Where a container's path is here."""
        return self.root(name) / path.lstrip("/")

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def translated(self, name: str, text: str) -> str:
        """A text of a service with its paths, hosts and ports as they are here."""
        for other, inner in (("postgres", "5432"), ("redis", "6379")):
            text = text.replace(f"{other}:{inner}", f"127.0.0.1:{self.ports[other]}")
        inner = {"hub": "8080", "postgres": "5432", "redis": "6379"}.get(name, "")
        if inner:
            text = re.sub(rf"(?<![\w.]){inner}(?![\w.])", str(self.ports[name]), text)
        return _PATH.sub(lambda match: str(self.inside(name, match[0])) if self._mounted(name, match[0]) else match[0], text)

    def environment(self, name: str) -> dict[str, str]:
        """What the process sees: what the file says, and where programs are. Temporary files go where the container has room for them."""
        own = {key: self.translated(name, value) for key, value in self.services[name].get("environment", {}).items()}
        base = {"PATH": f"{self._programs}:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC", "PYTHONDONTWRITEBYTECODE": "1"}
        library = os.environ.get("LD_LIBRARY_PATH")
        return {**base, **own, "TMPDIR": str(self.inside(name, "/tmp")), **({"LD_LIBRARY_PATH": library} if library else {})}

    def command(self, name: str, words: list[str]) -> list[str]:
        """A command line of a service, with the image's entrypoint where that is ours."""
        service = self.services[name]
        entry = service.get("entrypoint") or (dockerfile.stages()[-1].last("ENTRYPOINT").words if name == "hub" else [])
        return [self.translated(name, word) for word in (*entry, *words)]

    # Up and down

    def up(self) -> None:
        done = self.run("init", self.command("init", []))
        assert done.returncode == 0, done.stderr
        self._set_up_postgres()
        for name in ("postgres", "redis", "hub"):
            self.start(name)

    def start(self, name: str) -> None:
        """Start one service, once those it depends on are there; wait until it is healthy."""
        for other, wait in self.services[name]["depends_on"].items():
            assert wait["condition"] == "service_completed_successfully" or self.healthy(other), f"{name} before {other}"
        words = self.command(name, self.services[name]["command"])
        self._serve(name, [*self._postgres(words), *self._near()] if name == "postgres" else words)
        self.await_health(name)

    def down(self, name: str) -> int:
        """Stop a service as Docker does; its exit code. Fails where it would have been killed."""
        process, service = self.processes.pop(name), self.services[name]
        process.send_signal(getattr(signal, service["stop_signal"]))
        try:
            return process.wait(seconds(service["stop_grace_period"]))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{name} did not stop in time:\n{self.log(name)[-3000:]}") from None

    def kill(self) -> None:
        """Whatever still runs."""
        for process in self.processes.values():
            process.kill()
            process.wait()
        self.processes.clear()

    def healthy(self, name: str) -> bool:
        """What its healthcheck says."""
        test = self.services[name]["healthcheck"]["test"]
        assert test[0] == "CMD"
        return self.run(name, [self.translated(name, word) for word in test[1:]]).returncode == 0

    def await_health(self, name: str) -> None:
        check = self.services[name]["healthcheck"]
        end = time.monotonic() + seconds(check["start_period"])
        while not self.healthy(name):
            assert self.processes[name].poll() is None, f"{name} ended:\n{self.log(name)[-3000:]}"
            assert time.monotonic() < end, f"{name} does not become healthy:\n{self.log(name)[-3000:]}"
            time.sleep(0.05)

    def run(self, name: str, words: list[str]) -> subprocess.CompletedProcess[str]:
        """A program in a service's surroundings, as `docker compose exec` would run it."""
        surroundings = {"cwd": self._cwd(name), "env": self.environment(name), **self._as(name)}
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, **surroundings)

    def psql(self, *words: str, database: str = "postgres") -> subprocess.CompletedProcess[str]:
        """As the superuser, through the socket: from inside the container, without a password."""
        return self.run("postgres", ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", *self.socket(), "-U", "postgres", "-d", database, *words])

    # The parts

    def _furnish(self, name: str, service: dict[str, Any]) -> None:
        """Its folder, with everything it mounts and everything that is writable in it."""
        root = self.root(name)
        root.mkdir()
        for mount in mounts(service):
            there = self.inside(name, mount.target)
            there.parent.mkdir(parents=True, exist_ok=True)
            if mount.bound:
                self._copied(name, ROOT / mount.source, there)
                continue
            volume = self.folder / "volumes" / mount.source
            volume.mkdir(parents=True, exist_ok=True)
            there.symlink_to(volume)
        for line in service.get("tmpfs", []):
            self.inside(name, line.partition(":")[0]).mkdir(parents=True)
        if name == "postgres" and self._account is not None:
            for path in (*root.rglob("*"), self.inside(name, "/var/lib/postgresql/data")):
                os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def _copied(self, name: str, source: Path, there: Path) -> None:
        for file in (file for file in sorted(source.rglob("*")) if file.is_file() and "__pycache__" not in file.parts):
            copy = there / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(self.translated(name, file.read_text(encoding="utf-8")))

    def _mounted(self, name: str, path: str) -> bool:
        """Whether a path is in something that is mounted, or above it."""
        service = self.services[name]
        targets = [mount.target for mount in mounts(service)] + [line.partition(":")[0] for line in service.get("tmpfs", [])]
        return any(f"{path}/".startswith(f"{target}/") or target.startswith(f"{path}/") for target in targets)

    def _find_programs(self) -> None:
        """The programs that images would bring, by the names they have there."""
        self._programs.mkdir()
        bare = f'#!/bin/sh\nexport PYTHONPATH="{ROOT}"\nexec "{sys.executable}" -m hub.cli "$@"\n'
        scripts = {"hub": bare, "python": f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'}
        scripts |= {name: f'#!/bin/sh\nexec "{postgres.binaries() / name}" "$@"\n' for name in ("postgres", "pg_isready", "psql", "initdb")}
        scripts |= {name: f'#!/bin/sh\nexec "{postgres.binaries() / name}" "$@"\n' for name in ("pg_dump", "pg_restore")}
        for name, text in scripts.items():
            (self._programs / name).write_text(text)
            (self._programs / name).chmod(0o755)
        (self._programs / "redis-server").symlink_to(redis.program())
        (self._programs / "redis-cli").symlink_to(shutil.which("redis-cli") or Path(redis.program()).with_name("redis-cli"))

    def _serve(self, name: str, words: list[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                words,
                cwd=self._cwd(name),
                env=self.environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=machine.die_with_us,  # noqa: PLW1509 (one call into libc, which takes no lock)
                **self._as(name),
            )

    def _cwd(self, name: str) -> Path:
        return self.inside("hub", dockerfile.stages()[-1].last("WORKDIR").text) if name == "hub" else self.root(name)

    def _as(self, name: str) -> dict[str, Any]:
        """PostgreSQL refuses to run as root, and takes who asks by the socket for who they are."""
        if name != "postgres" or self._account is None:
            return {}
        return {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}

    # What the entrypoint of PostgreSQL's image does with an empty data folder

    def _set_up_postgres(self) -> None:
        environment = self.environment("postgres")
        data, password = self.inside("postgres", "/var/lib/postgresql/data"), environment["POSTGRES_PASSWORD_FILE"]
        data.resolve().chmod(0o700)
        how = environment["POSTGRES_INITDB_ARGS"].split()
        self._checked(["initdb", "--no-sync", "-D", str(data), "--username=postgres", f"--pwfile={password}", *how])
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all scram-sha-256\n")
        if self._account is None or self._account.pw_name != "postgres":
            self._known_as_postgres(data)
        words = self._postgres(self.command("postgres", self.services["postgres"]["command"]))
        self._serve("postgres", [*words, *self._near(), "--listen_addresses="])
        asked = ["pg_isready", "-q", *self.socket()]
        while self.run("postgres", asked).returncode:
            assert self.processes["postgres"].poll() is None, self.log("postgres")
            time.sleep(0.02)
        assert not self.healthy("postgres"), "it is not well before it is set up"
        for script in sorted(self.inside("postgres", "/docker-entrypoint-initdb.d").glob("*.sql")):
            self._checked(["psql", "-v", "ON_ERROR_STOP=1", "-Xw", *self.socket(), "-U", "postgres", "-d", "postgres", "-f", str(script)])
        assert self.down("postgres") == 0

    def _known_as_postgres(self, data: Path) -> None:
        """In the image, who runs PostgreSQL is called `postgres`; here another name stands for that one."""
        rules = (data / "pg_hba.conf").read_text()
        (data / "pg_hba.conf").write_text(re.sub(r"\bpeer\b", "peer map=here", rules))
        name = subprocess.run(["/usr/bin/id", "-un"], capture_output=True, text=True, check=True, **self._as("postgres")).stdout.strip()
        (data / "pg_ident.conf").write_text(f"here {name} postgres\n")

    def _checked(self, words: list[str]) -> None:
        done = self.run("postgres", words)
        assert done.returncode == 0, done.stderr

    def _postgres(self, words: list[str]) -> list[str]:
        """The image names the data folder by PGDATA."""
        return [words[0], "-D", str(self.inside("postgres", "/var/lib/postgresql/data")), *words[1:]]

    def _near(self) -> list[str]:
        """In the container it listens everywhere; the socket is in the image's usual folder."""
        return ["--listen_addresses=127.0.0.1", f"--unix_socket_directories={self.inside('postgres', '/var/run/postgresql')}"]

    def socket(self) -> list[str]:
        """Where PostgreSQL is reached from inside its container, as options of its programs."""
        return ["-h", str(self.inside("postgres", "/var/run/postgresql")), "-p", str(self.ports["postgres"])]


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Native]:
    """Everything up; whatever still runs at the end is killed."""
    native = Native(folder)
    try:
        native.up()
        yield native
    finally:
        native.kill()
