"""Two replicas with two workers each on one PostgreSQL, reached through a wire cutter, and one Redis; before servers that note every call.

What a test wants to know from outside is asked here: who runs, who serves, what is open, what is left over.
"""

import asyncio
import base64
import contextlib
import os
import struct
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from hub.audit.export import NotFound, tail
from hub.identity.keys import parse
from tests.chaos.world import FORBID, SERVER, bearing, naming, pipe, web, wrapped
from tests.processes.several import BROKEN, READY
from tests.processes.several import Several as Workers
from tests.services.machine import die_with_us, families, state
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer
from tests.support.hub import ROOT, eventually, wait_for
from tests.support.wire import Connection
from tests.support.wire_cutter import RecordCutter, cutter

REPLICAS, WORKERS = 2, 2
CLOCK = Path(__file__).with_name("clock")
PATIENCE = 60.0
"""Seconds until the hub must be whole again after whatever was done to it, on a machine that is busy with other things."""

POOL, LOCKS = 8, 1
REDIS = 2
"""Connections of one worker at most: `Postgres`, its locks; Redis for commands and for what is announced."""

STDIO_SERVERS = 2
"""Of each replica: `pipe`, and `tube`, which is wrapped in a shell and has started a process of its own."""

CROWD, DAILY, PACE, BURST = 3, 80, 240, 8
ORGS = {"ann": "default", "paced": "default", "crowded": "default", "few": "default", "bob": "acme"}
"""The keys of clients, each with its organisation."""

DOORS = {"default": "main", "acme": "annex"}
STDIO_HOST = ("hub.processes.host", "hub.processes.stdio_host")
"""How the process that owns a replica's stdio servers is started: by one of these."""

SECRETS = ("TEST_MASTER", "TEST_LOG")

_SETTLED = (
    "SELECT count(*) FROM journal_boot WHERE settled IS NULL",
    """SELECT count(*) FROM journal_record AS r WHERE phase = 1
       AND NOT EXISTS (SELECT 1 FROM journal_record AS o WHERE o.id = r.id AND o.phase = 2)""",
    "SELECT count(*) FROM journal_org WHERE signed < size",
)
"""Lives of processes that may have open intents; open intents; logs with records that no checkpoint covers."""


def settings(url: str, notes: Path) -> dict[str, Any]:
    """hub.yaml: `main` for the organisation `default`, `annex` for `acme`; `web` is shared, `pipe` and `tube` belong to one each."""
    return {
        "server": {"drain": 10},
        "secrets": {"master": "${TEST_MASTER}", "log": "${TEST_LOG}"},
        "orgs": {"acme": {}},
        "keys": [
            {"name": "root", "roles": ["admin"]},
            *({"name": name, "org": org, "grants": [{"virtual_server": DOORS[org]}]} for name, org in ORGS.items()),
        ],
        "limits": [
            {"name": "all-day", "scope": "org", "match": "acme", "per_day": 100_000_000},
            {"name": "few-a-day", "scope": "key", "match": "few", "per_day": DAILY},
            {"name": "pace", "scope": "key", "match": "paced", "per_minute": PACE, "burst": BURST},
            {"name": "crowd", "scope": "key", "match": "crowded", "concurrency": CROWD},
            {"name": "scarce", "scope": "tool", "match": "web/scarce", "per_minute": 60, "burst": 5},
        ],
        "policies": {"sets": {"house": {"cedar": FORBID}}},
        "upstreams": {
            "web": {"url": url, "shared": True},
            "pipe": pipe(notes),
            "tube": {**wrapped(notes), "org": "acme"},
        },
        "virtual_servers": {
            "main": {"include": [{"from": "web"}, {"from": "pipe"}], "naming": {"prefix": "always"}},
            "annex": {"org": "acme", "include": [{"from": "web"}, {"from": "tube"}], "naming": {"prefix": "always"}},
        },
    }


class Replica(Workers):
    """One hub of two workers, on a machine of its own but for the clock, which can be set."""

    def __init__(self, folder: Path, config: dict[str, Any], notes: Path, *, postgres: str, redis: str, secrets: dict[str, str]) -> None:
        super().__init__(folder, config, postgres=postgres, redis=redis, workers=WORKERS)
        self.notes = notes
        self._clock = folder / "clock"
        self.set_clock(0.0)
        self.environment.update(secrets, PYTHONPATH=f"{CLOCK}:{ROOT}", CHAOS_CLOCK=str(self._clock))

    started = staticmethod(die_with_us)
    """Its other processes and its servers end when it does (`hub/processes`)."""

    def set_clock(self, ahead: float) -> None:
        """Have its wall clock run `ahead` seconds from ours, from now on."""
        descriptor = os.open(self._clock, os.O_RDWR | os.O_CREAT)
        os.pwrite(descriptor, struct.pack("d", ahead), 0)
        os.close(descriptor)

    def family(self) -> set[int]:
        """Its processes and all that they have started, while it is there."""
        return descendants({self.pid}) if self.alive else set()

    def kill(self) -> None:
        """End the parent and all the hub's own processes by SIGKILL, as a lost machine does; guards and servers see it happen."""
        doomed = [pid for pid in self.family() if _module(pid).startswith("hub.")] if self.alive else []
        for pid in (self.pid, *doomed):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        assert self.process is not None
        self.process.wait()

    async def serves(self) -> bool:
        """Whether every worker is there and lets callers in."""
        connections: list[Connection] = []
        found: dict[int, bool] = {}
        try:
            async with asyncio.timeout(5):
                for _ in range(4 * WORKERS):  # kept open, so that the next goes to another
                    connections.append(await Connection.open(self.address))
                    await connections[-1].send(READY)
                    answer = await connections[-1].response()
                    states = [one["state"] for one in answer.json["workers"]]
                    if states != ["serving"] * WORKERS:
                        return False
                    found[answer.json["worker"]] = answer.status == 200
                    if len(found) == WORKERS:
                        return all(found.values())
        except BROKEN:
            return False
        finally:
            for connection in connections:
                await connection.close()
        return False


class Brief(NamedTuple):
    """A key made over the admin API."""

    name: str
    secret: str


class Descriptors(NamedTuple):
    """What one process holds open, by where it leads."""

    postgres: int
    redis: int
    web: int
    clients: int
    rest: int


class World:
    """All of it. `outages`: from when to when Redis was away, in Unix seconds; the end is not known before all is well again.

    `losses`: the same for each time that it came back without its data, there from when it goes; the end is infinite until it is back.
    """

    def __init__(
        self, notes: Path, postgres: PostgresServer, redis: RedisServer, name: str, proxy: RecordCutter, ports: tuple[int, int]
    ) -> None:
        """`name` is the database's; `ports` are those of the wire cutter and of the HTTP server downstream."""
        self.postgres = postgres
        self.redis = redis
        self.proxy = proxy
        self.name = name
        self.notes = notes
        self.replicas: list[Replica] = []
        self.outages: list[tuple[float, float]] = []
        self.losses: list[tuple[float, float]] = []
        self.revoked: list[Brief] = []
        """Keys that were revoked: nobody is let in with one ever again."""
        self.boots: set[str] = set()
        """Of every worker that was ever seen."""
        self._proxy_port, self._web_port = ports

    @property
    def database(self) -> str:
        """As the journal's readers reach it, past the wire cutter."""
        return self.postgres.url(self.name)

    def key_id(self, key: str) -> str:
        found = parse(self.replicas[0].keys[key])
        assert found is not None
        return found.id

    async def recovered(self) -> None:
        """Wait until every worker of every replica lets callers in again, and what was started anew has its place."""
        await asyncio.gather(*(eventually(replica.serves, PATIENCE, 0.1) for replica in self.replicas))
        self.remember()

    def remember(self) -> None:
        """Note whose guards there are."""
        for replica in self.replicas:
            for pid in replica.family():
                arguments = _arguments(pid)
                if any(argument.endswith("virtual_servers/guard.py") for argument in arguments):
                    self.boots.add(arguments[-1])

    def orphans(self) -> set[int]:
        """Servers and guards of processes that are gone."""
        living = descendants({replica.pid for replica in self.replicas if replica.alive})
        marks = {f"CHAOS={self.notes}", *(f"HUB_BOOT={boot}" for boot in self.boots)}
        return {*bearing(marks), *naming(*self.boots)} - living

    async def no_orphans(self) -> None:
        await eventually(lambda: asyncio.to_thread(lambda: not self.orphans()), PATIENCE, 0.1)

    def shows_a_jump(self, seconds: float) -> bool:
        """Whether two neighbours among the newest records are so far apart in time: the order is the tree's, whatever a clock says."""
        with contextlib.suppress(NotFound):  # the database is away
            times = [datetime.fromisoformat(one["record"]["ts"]) for one in tail(self.database, "default", 300)]
            return any(abs((after - before).total_seconds()) > seconds for before, after in pairwise(times))
        return False

    async def settled(self) -> None:
        """Wait until no intent is open, the dead are settled, and every record is signed. Nobody may be calling."""
        wanted, said = (str(REPLICAS * WORKERS), "0", "0"), ("", "", "")

        def so() -> bool:
            nonlocal said
            said = tuple(self._ask(question) for question in _SETTLED)
            return said == wanted

        try:
            await eventually(lambda: asyncio.to_thread(so), PATIENCE, 0.2)
        except AssertionError:
            raise AssertionError(f"lives, open intents, unsigned logs: {said} in place of {wanted}") from None

    def connections(self) -> tuple[int, int]:
        """Of all workers: to PostgreSQL, to Redis."""
        ours = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{self.name}' AND application_name = 'hub'"
        return int(self.postgres.sql(ours)), self.redis.connections

    def descriptors(self) -> dict[int, Descriptors]:
        """Of each of the hub's own processes."""
        ports = {self._proxy_port: "postgres", self.redis.port: "redis", self._web_port: "web"}
        own = {replica.address[1] for replica in self.replicas}
        found: dict[int, Descriptors] = {}
        leads = {inode: (local, remote) for local, remote, inode in _sockets() if inode}
        for pid in {pid for replica in self.replicas for pid in replica.family() if _module(pid).startswith("hub.")}:
            kinds: Counter[str] = Counter()
            for inode in _open(pid):
                local, remote = leads.get(inode, (0, 0))
                kinds["clients" if local in own and remote else ports.get(remote, "rest")] += 1
            found[pid] = Descriptors(**{name: kinds[name] for name in Descriptors._fields})
        return found

    def _ask(self, statement: str) -> str:
        return self.postgres.sql(statement, self.name)


@contextlib.contextmanager
def world(folder: Path, postgres: PostgresServer, redis: RedisServer, database: str) -> Generator[World]:
    """Nothing of it is left behind, however the test ends."""
    notes = folder / "notes"
    notes.touch()
    secrets = {name: base64.b64encode(os.urandom(32)).decode() for name in SECRETS}
    with web(notes) as (url, _), _proxy(postgres.url(database)) as (proxy, address):
        made = World(notes, postgres, redis, database, proxy, (urlsplit(address).port or 0, urlsplit(url).port or 0))
        try:
            for number in range(REPLICAS):
                place = folder / str(number)
                place.mkdir()
                replica = Replica(place, settings(url, notes), notes, postgres=address, redis=redis.url, secrets=secrets)
                if made.replicas:
                    replica.file.write_text(made.replicas[0].file.read_text())  # with the keys of the first
                    replica.keys.update(made.replicas[0].keys)
                made.replicas.append(replica)
            begun = [replica.launch() for replica in made.replicas]
            for replica, at in zip(made.replicas, begun, strict=True):
                replica.await_ready(at).settled("web", "pipe", "tube")
            yield made
        finally:
            for replica in made.replicas:
                if replica.process is not None and replica.alive:
                    replica.kill()
            wait_for(lambda: not made.orphans(), PATIENCE)


def stopped(made: World) -> None:
    """Have all replicas stop as an operator does; they must, in order, and leave nothing behind."""
    pids = {pid for replica in made.replicas for pid in replica.family()}
    made.remember()
    for replica in made.replicas:
        assert replica.process is not None
        replica.process.terminate()
    for replica in made.replicas:
        assert replica.process is not None
        assert replica.process.wait(PATIENCE) == 0, replica.log.read_text()[-4000:]
    wait_for(lambda: all(state(pid) in "XZ" for pid in pids) and not made.orphans(), PATIENCE)
    wait_for(lambda: made.connections() == (0, 0), PATIENCE)
    for replica in made.replicas:
        log = replica.log.read_text()
        assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:6000]


def descendants(roots: set[int]) -> set[int]:
    """These and all they have started that still hang together."""
    found, edge, started = set(roots), set(roots), families()
    while edge:
        edge = {child for pid in edge for child in started.get(pid, ())} - found
        found |= edge
    return found


def stdio_hosts(replica: Replica) -> list[int]:
    """The processes of a replica that own the pipes of its stdio servers for all its workers, by their command lines."""
    return [pid for pid in replica.family() if _module(pid) in STDIO_HOST]


def modules(replica: Replica) -> dict[str, int]:
    """How many of the hub's own processes of a replica run what."""
    return dict(Counter(name for pid in replica.family() if (name := _module(pid)).startswith("hub.")))


def servers(replica: Replica) -> int:
    """How many stdio servers of a replica run."""
    return sum(SERVER in _arguments(pid)[:2] for pid in replica.family())


@contextlib.contextmanager
def _proxy(url: str) -> Iterator[tuple[RecordCutter, str]]:
    """A wire cutter in a thread of its own: what the test does meanwhile does not hold the database up."""
    ready, over = threading.Event(), asyncio.Event()
    made: list[tuple[RecordCutter, str]] = []
    loop = asyncio.new_event_loop()

    async def run() -> None:
        async with cutter(url, RecordCutter) as (proxy, address):
            assert isinstance(proxy, RecordCutter)
            made.append((proxy, address))
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), name="wire-cutter", daemon=True)
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        yield made[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()


def _arguments(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode("utf-8", "replace").split("\0")
    return [""]


def _module(pid: int) -> str:
    """What a Python process was started as, by `-m`; empty for others."""
    arguments = _arguments(pid)
    return arguments[arguments.index("-m") + 1] if "-m" in arguments[:-1] else ""


def _open(pid: int) -> Iterator[int]:
    """The inodes of its sockets, 0 for what is none."""
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            target = os.readlink(f"{folder}/{name}")
            yield int(target[8:-1]) if target.startswith("socket:[") else 0


def _sockets() -> Iterator[tuple[int, int, int]]:
    """(local port, remote port, inode) of every TCP connection of the machine; the remote port of one that listens is 0."""
    for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        yield int(fields[1].rpartition(":")[2], 16), int(fields[2].rpartition(":")[2], 16), int(fields[9])


def midnight() -> float:
    """When this day began, in Unix seconds."""
    return time.time() // 86_400 * 86_400
