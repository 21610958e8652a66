"""A real Redis for the tests: the system's binary, a free port, a temporary folder, and the faults a machine can have.

One server for a whole run of pytest (`redis_server`), empty at the start of each test that asks for its address (`redis_url`). What a test did
to it (`redis`) is undone after it. `RedisSentinels` and `RedisCluster` are sets of servers, for the tests that need one.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import redis as client

from tests.services.machine import STANDS, die_with_us, install, state, unpack, until

CACHE = Path(__file__).parents[2] / ".cache" / "tests" / "redis"
_PACKAGES = ("redis-tools", "libjemalloc2", "liblzf1", "libatomic1")
"""The first holds the server's program, and unlike `redis-server` starts no service of the machine."""


class RedisServer:
    """One server on a free port. `start` it once; `stop` removes it with its folder."""

    def __init__(self, *settings: str, sentinel: str = "") -> None:
        """`settings` are arguments of the server, as `--maxmemory`, `1mb`; `sentinel` the text of a Sentinel's configuration."""
        self.folder = Path(tempfile.mkdtemp(prefix="hub-redis-"))
        self.port = 0
        self._settings = settings
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Serve on a free port; wait until it answers."""
        for _ in range(5):  # another program may take the port between the choice and the start
            self.port = free_port()
            with contextlib.suppress(ChildProcessError):
                self._serve()
                return
        raise ChildProcessError("no free port")

    def kill(self) -> None:
        """End it by SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop_answering(self) -> None:
        """Stop it (SIGSTOP): connections stay, and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        until(lambda: state(self.pid) in STANDS, "it does not stop")

    def resume(self) -> None:
        """Let it answer again."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self, *, forget: bool = False) -> None:
        """Start it again on the same port, having killed it if it still runs, with the data it had unless it is to `forget` them."""
        if self.alive:
            self.kill()
        if forget:
            shutil.rmtree(self.folder / "data", ignore_errors=True)
        self._serve()

    def heal(self) -> None:
        """Whatever was done to it: let it answer, as any client may ask."""
        if self.alive:
            self.resume()
        else:
            self._serve()

    def stop(self) -> None:
        if self.alive:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, *command: str | int | bytes) -> Any:
        """What it answers to one command, by way of another client than the hub's."""
        with client.Redis(port=self.port, decode_responses=True, socket_timeout=5, protocol=2) as one:
            return one.execute_command(*command)

    @property
    def connections(self) -> int:
        """How many clients are connected, the one who asks left out."""
        return sum(len(self.ask("CLIENT", "LIST", "TYPE", kind).splitlines()) for kind in ("normal", "pubsub")) - 1

    @property
    def age(self) -> int:
        """Whole seconds since it started."""
        return int(self.ask("INFO", "server")["uptime_in_seconds"])

    def _serve(self) -> None:
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        base = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(data), "--save", "", "--appendonly", "yes"]
        if self._sentinel:
            file = self.folder / "sentinel.conf"
            file.write_text(f"bind 127.0.0.1\nport {self.port}\ndir {data}\n{self._sentinel}")
            base = [str(file), "--sentinel"]
        log = (self.folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                ["redis-server", *base, *self._settings],
                executable=program(),
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_us,  # noqa: PLW1509 (one call into libc, which takes no lock)
            )
        until(self._answers, "it does not answer")

    def _answers(self) -> bool:
        if not self.alive:
            raise ChildProcessError((self.folder / "log").read_text()[-2000:])
        try:
            return bool(self.ask("PING"))
        except client.ResponseError:  # it wants a login
            return True
        except client.ConnectionError:
            return False


class RedisSentinels:
    """A master, its replica, and three Sentinels that agree on who is master within a second."""

    SERVICE = "hub"

    def __init__(self) -> None:
        self.servers: list[RedisServer] = []
        self.sentinels: list[RedisServer] = []

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'127.0.0.1:{one.port}' for one in self.sentinels)}/{self.SERVICE}/0"

    @property
    def master(self) -> RedisServer:
        """Whom the Sentinels that run call master."""
        alive = next(one for one in self.sentinels if one.alive)
        _, port = alive.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.SERVICE)
        return next(one for one in self.servers if one.port == int(port))

    def start(self) -> None:
        master = self._add(self.servers, RedisServer("--repl-diskless-sync-delay", "0"))
        replica = self._add(self.servers, RedisServer("--replicaof", "127.0.0.1", str(master.port), "--repl-diskless-sync-delay", "0"))
        until(lambda: "master_link_status:up" in _text(replica.ask("INFO", "replication")), "the replica does not follow")
        watch = f"sentinel monitor {self.SERVICE} 127.0.0.1 {master.port} 2\nsentinel down-after-milliseconds {self.SERVICE} 500\n"
        watch += f"sentinel failover-timeout {self.SERVICE} 3000\n"
        for _ in range(3):
            self._add(self.sentinels, RedisServer(sentinel=watch))
        until(self._agreed, "the Sentinels do not know each other")

    def stop(self) -> None:
        for one in (*self.sentinels, *self.servers):
            one.stop()

    def _agreed(self) -> bool:
        known = [_text(one.ask("INFO", "sentinel")) for one in self.sentinels]
        return all("slaves=1,sentinels=3" in text for text in known)

    def _add(self, to: list[RedisServer], server: RedisServer) -> RedisServer:
        to.append(server)
        server.start()
        return server


class RedisCluster:
    """Three masters that share the slots, without replicas."""

    def __init__(self) -> None:
        more = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no")
        self.servers = [RedisServer(*more) for _ in range(3)]

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'127.0.0.1:{one.port}' for one in self.servers)}"

    def start(self) -> None:
        for number, server in enumerate(self.servers):
            server.start()
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            server.ask("CLUSTER", "ADDSLOTSRANGE", number * 16384 // 3, (number + 1) * 16384 // 3 - 1)
        for server in self.servers[1:]:
            self.servers[0].ask("CLUSTER", "MEET", "127.0.0.1", server.port)
        until(lambda: all(self._whole(server) for server in self.servers), "the cluster does not form")

    def stop(self) -> None:
        for server in self.servers:
            server.stop()

    def at(self, slot: int) -> RedisServer:
        """Who serves a slot at the start."""
        return next(one for number, one in enumerate(self.servers) if slot < (number + 1) * 16384 // 3)

    def _whole(self, server: RedisServer) -> bool:
        info = _text(server.ask("CLUSTER", "INFO"))
        return "cluster_state:ok" in info and "cluster_slots_ok:16384" in info and "cluster_known_nodes:3" in info


@lru_cache(maxsize=1)
def program() -> str:
    """The server: the system's, else installed as root, else unpacked into .cache/."""
    found = _found()
    if found is None and os.getuid() == 0:
        install(_PACKAGES[0])
        found = _found()
    elif found is None:
        unpack(CACHE, *_PACKAGES)
        found = _found()
    if found is None:
        raise FileNotFoundError("the tests need Redis: 'apt-get install redis-tools'")
    return found


def _found() -> str | None:
    unpacked = CACHE / "usr/bin/redis-check-rdb"  # the server's program; what it does goes by the name it is called by
    return shutil.which("redis-server") or shutil.which("redis-check-rdb") or (str(unpacked) if unpacked.exists() else None)


def _environment() -> dict[str, str]:
    own = {"LD_LIBRARY_PATH": ":".join(map(str, CACHE.glob("usr/lib/*-linux-gnu")))} if program().startswith(str(CACHE)) else {}
    return {"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC", **own}


def _text(info: object) -> str:
    """INFO as lines again: the other client makes a mapping of it."""
    if not isinstance(info, dict):
        return str(info)
    return "\n".join(f"{name}:{_flat(value)}" for name, value in info.items())


def _flat(value: object) -> str:
    return ",".join(f"{name}={one}" for name, one in value.items()) if isinstance(value, dict) else str(value)


def free_port() -> int:
    """One that leaves room for a cluster's second port, which is 10,000 higher."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            if (port := probe.getsockname()[1]) < 55_000:
                return port


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer()
    try:
        server.start()
        until(lambda: server.age >= 2, "it does not grow old")  # hubs wait for others that such a server may have had before
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    """A cluster, for tests that leave it as they found it."""
    cluster = RedisCluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[RedisServer]:
    """The server, empty, for a test to do harm to: it answers again afterwards."""
    redis_server.ask("FLUSHALL")
    yield redis_server
    redis_server.heal()


@pytest.fixture
def redis_url(redis: RedisServer) -> str:
    """The address of the server, which is empty at the start of the test."""
    return redis.url
