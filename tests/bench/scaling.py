"""What several processes cost and bring: two workers beside one, PostgreSQL and Redis beside SQLite, older sessions in Redis.

`python -m tests.bench.scaling` measures on a PostgreSQL and a Redis of its own, prints tables and writes bench-results/several-*.json.
docs/benchmarks.md says how the figures come about and what they can claim.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from hub.identity.keys import mint
from tests.bench import measure
from tests.bench.run import CORES, OTHER_CORE, RESULTS, SCRATCH, TARGET_CORE, called, get_ok, until
from tests.bench.table import spread
from tests.bench.targets import READS_NOTHING, ROOT, Target, free_port, python, running
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer

CONNECTIONS = 64
"""For each worker: so many that there is always a call to work on while others wait for a commit."""

SESSIONS = 10_000
KEYS = 4
"""A key may have 5,000 sessions."""


class Stores(NamedTuple):
    """The services of one run."""

    postgres: PostgresServer
    redis: RedisServer
    echo: str
    pids: tuple[int, ...]
    """The processes beside the hub, those they start left out."""


@contextmanager
def stores() -> Iterator[Stores]:
    """PostgreSQL (with fsync on), Redis (with an append-only file) and the echo server behind every hub."""
    with ExitStack() as stack:
        postgres, redis = PostgresServer(), RedisServer()
        stack.callback(postgres.stop)
        postgres.start()
        stack.callback(redis.stop)
        redis.start()
        port = free_port()
        echo = stack.enter_context(
            running([sys.executable, "-m", "tests.bench.echo_http", str(port)], SCRATCH / "several-echo", OTHER_CORE)
        )
        yield Stores(postgres, redis, f"http://127.0.0.1:{port}/mcp", (postgres.pids[0], redis.pid, echo.pid))


class Hub:
    """A hub as it is in `make bench`, with everything on. `workers` 0: on SQLite."""

    def __init__(self, stores: Stores, workers: int, stack: ExitStack) -> None:
        self.keys = [mint().text for _ in range(KEYS)]
        self.name = f"several-{workers}"
        self.folder = SCRATCH / self.name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.target = Target(
            self.name, lambda *_: (), path="/mcp/bench", headers={"authorization": f"Bearer {self.keys[0]}"}, ready="/health/ready"
        )
        (self.folder / "hub.yaml").write_text(json.dumps(self._config(stores, workers)))
        port = free_port()
        self.base = f"http://127.0.0.1:{port}"
        environment = {f"BENCH_KEY_{number}": key for number, key in enumerate(self.keys)}
        environment |= {name: b64encode(os.urandom(32)).decode() for name in ("BENCH_MASTER", "BENCH_LOG")}
        if workers:
            database = stores.postgres.create_database()
            environment |= {"BENCH_DATABASE": stores.postgres.url(database), "BENCH_REDIS": stores.redis.url}
        argv = [str(Path(sys.executable).parent / "hub"), "serve", "--config", "hub.yaml", "--port", str(port)]
        process = stack.enter_context(running(argv, self.folder, TARGET_CORE, environment))
        until(self.name, lambda: get_ok(self.base, "/health/ready"), process, self.folder / "log")
        until(self.name, lambda: called(self.base, self.target), process, self.folder / "log")
        self.pid = process.pid

    def _config(self, stores: Stores, workers: int) -> dict[str, Any]:
        each = {"scope": "key", "per_minute": 100_000_000, "burst": 1_000_000, "concurrency": 10_000}
        kept = {"database": "${BENCH_DATABASE}", "redis": "${BENCH_REDIS}"} if workers else {"database": f"sqlite:///{self.folder}/hub.db"}
        grants = [{"virtual_server": "bench"}]
        return {
            "server": {"workers": workers or 1},
            "stores": kept,
            "secrets": {"master": "${BENCH_MASTER}", "log": "${BENCH_LOG}"},
            "keys": [{"name": f"bench-{n}", "secret": f"${{BENCH_KEY_{n}}}", "grants": grants} for n in range(KEYS)],
            "limits": [{"name": "rate", **each}, {"name": "tool", **each, "scope": "tool"}],
            "policies": {"sets": {"bench": {"cedar": READS_NOTHING}}},
            "upstreams": {"echo": {"url": stores.echo}},
            "virtual_servers": {"bench": {"include": [{"from": "echo"}]}},
        }

    @property
    def workers(self) -> list[int]:
        """The processes that serve; one that serves alone is its own."""
        found = [pid for pid in measure.descendants(self.pid) if b"hub.processes.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return found or [self.pid]

    def cpu(self) -> float:
        """CPU seconds of all its processes."""
        return sum(measure.cost(self.pid))


def place(pids: Sequence[int], cores: Sequence[int]) -> None:
    """Have these processes, and those they have started, run on these cores only."""
    for pid in (one for parent in pids for one in (parent, *measure.descendants(parent))):
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), cores)


def idle(cores: Sequence[int]) -> float:
    """Seconds that these cores have had nothing to do since the machine started, waiting for a disk included (proc(5), stat)."""
    lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
    wanted = {f"cpu{core}" for core in cores}
    return sum(int(line[4]) + int(line[5]) for line in lines if line[0] in wanted) / measure.TICKS


class Loaded(NamedTuple):
    """One round. Times in seconds, of the whole round."""

    calls: int
    wall: float
    p50_us: float
    hub: float
    workers: tuple[float, ...]
    beside: float
    generator: float
    idle: float


def load(base: str, target: Target, connections: int, seconds: float, cores: Sequence[int]) -> tuple[dict[str, Any], float]:
    """What the generator saw, and the CPU seconds it took."""
    argv = [sys.executable, "-m", "tests.bench.load", base + target.path, str(connections), str(seconds), target.era, target.tool]
    argv += [f"{name}={value}" for name, value in target.headers.items()]
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    finally:
        os.sched_setaffinity(0, before)
    assert process.stdout is not None
    assert process.stderr is not None
    seen, complaint = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"bench: {target.name}: {complaint.decode()[-600:]}")
    return orjson.loads(seen), usage.ru_utime + usage.ru_stime


def round_of(hub: Hub, stores: Stores, seconds: float, *, apart: bool) -> Loaded:
    """Load one hub. `apart`: its one worker has a core, all others have the other; else each worker has one, and all others both."""
    workers = hub.workers
    if apart:
        place([hub.pid], [TARGET_CORE])
        place(stores.pids, [OTHER_CORE])
    else:
        place([hub.pid, *stores.pids], CORES)
        for worker, core in zip(workers, (TARGET_CORE, OTHER_CORE), strict=True):
            place([worker], [core])
    cores = [TARGET_CORE] if apart else [TARGET_CORE, OTHER_CORE]
    beside = sum(sum(measure.cost(pid)) for pid in stores.pids)
    each, whole, rested = [measure.seconds(pid) for pid in workers], hub.cpu(), idle(cores)
    began = time.monotonic()
    seen, generator = load(hub.base, hub.target, CONNECTIONS * len(workers), seconds, [OTHER_CORE] if apart else CORES)
    return Loaded(
        seen["calls"],
        time.monotonic() - began,
        seen["p50_us"],
        hub.cpu() - whole,
        tuple(measure.seconds(pid) - before for pid, before in zip(workers, each, strict=True)),
        sum(sum(measure.cost(pid)) for pid in stores.pids) - beside,
        generator,
        idle(cores) - rested,
    )


class Pair(NamedTuple):
    """One worker and two, measured one after the other."""

    one: Loaded
    two: Loaded

    @property
    def of_one(self) -> float:
        """Calls a second of one worker that has a core to itself: by its CPU time alone, which is the most it could do."""
        return self.one.calls / self.one.hub

    @property
    def of_two(self) -> float:
        """Calls a second of two workers that have two cores to themselves. All time in which a core had nothing to do is charged to them."""
        return 2 * self.two.calls / (self.two.hub + self.two.idle)

    @property
    def ratio(self) -> float:
        return self.of_two / self.of_one


def two_workers(stores: Stores, rounds: int, seconds: float) -> list[Pair]:
    """The first round warms up and does not count."""
    if len(CORES) < 2:
        sys.exit("bench: two workers are measured on two cores, and there is one")
    pairs: list[Pair] = []
    with ExitStack() as stack:
        one, two = Hub(stores, 1, stack), Hub(stores, 2, stack)
        for number in range(rounds + 1):
            length = seconds if number else 1.0
            pairs.append(Pair(round_of(one, stores, length, apart=True), round_of(two, stores, length, apart=False)))
    return pairs[1:]


def added(stores: Stores, rounds: int, seconds: float) -> dict[str, list[float]]:
    """p50 in microseconds at one call at a time, of each round: straight to the echo server, through a hub on SQLite, on PostgreSQL and Redis."""
    direct = Target("direct", python("echo_http"))
    found: dict[str, list[float]] = {"direct": [], "SQLite": [], "PostgreSQL and Redis": []}
    with ExitStack() as stack:
        hubs = {"SQLite": Hub(stores, 0, stack), "PostgreSQL and Redis": Hub(stores, 1, stack)}
        place(stores.pids, [OTHER_CORE])
        for hub in hubs.values():
            place([hub.pid], [TARGET_CORE])
        for number in range(rounds + 1):
            length = seconds if number else 1.0
            seen = {"direct": load(stores.echo.removesuffix("/mcp"), direct, 1, length, [OTHER_CORE])[0]}
            for name, hub in hubs.items():
                seen[name] = load(hub.base, hub.target, 1, length, [OTHER_CORE])[0]
            for name, each in seen.items():
                if number:
                    found[name].append(each["p50_us"])
    return found


def sessions(stores: Stores) -> tuple[int, int]:
    """`used_memory` of Redis in bytes, before and after so many older sessions were opened."""
    with ExitStack() as stack:
        hub = Hub(stores, 1, stack)
        before = _used(stores.redis)
        asyncio.run(_open_sessions(hub))
        kept = sum(int(stores.redis.ask("ZCARD", name)) for name in stores.redis.ask("KEYS", "hub:sessions:*"))
        assert kept == SESSIONS, kept
        return before, _used(stores.redis)


def _used(redis: RedisServer) -> int:
    return int(redis.ask("INFO", "memory")["used_memory"])


async def _open_sessions(hub: Hub) -> None:
    capabilities = {"roots": {"listChanged": True}, "sampling": {}, "elicitation": {}}
    greeting = {"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": {"name": "bench", "version": "1"}}
    body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": greeting})
    host, port = hub.base.removeprefix("http://").split(":")

    async def some(key: str, count: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /mcp/bench HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
        head += f"accept: application/json, text/event-stream\r\ncontent-length: {len(body)}\r\n\r\n"
        for _ in range(count):
            writer.write(head.encode() + body)
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert b" 200 " in answer.splitlines()[0], answer
            assert b"mcp-session-id" in answer
            await reader.readexactly(int(answer.split(b"content-length: ")[1].split(b"\r\n")[0]))
        writer.close()

    lines = 4
    await asyncio.gather(*(some(key, SESSIONS // KEYS // lines) for key in hub.keys for _ in range(lines)))


def table_of_workers(pairs: list[Pair]) -> str:
    rows = ["| | one worker | two workers |", "|---|---|---|"]

    def add(what: str, form: str, one: list[float], two: list[float]) -> None:
        rows.append(f"| {what} | {spread(one, form)} | {spread(two, form)} |")

    one, two = [pair.one for pair in pairs], [pair.two for pair in pairs]
    add("calls/s where the hub has its cores to itself", ".0f", [pair.of_one for pair in pairs], [pair.of_two for pair in pairs])
    add("CPU of the hub per call, µs", ".0f", *([1e6 * each.hub / each.calls for each in some] for some in (one, two)))
    add(
        "CPU of PostgreSQL, Redis and echo per call, µs", ".0f", *([1e6 * each.beside / each.calls for each in some] for some in (one, two))
    )
    add("CPU of the load generator per call, µs", ".0f", *([1e6 * each.generator / each.calls for each in some] for some in (one, two)))
    add("the load generator is busy, %", ".0f", *([100 * each.generator / each.wall for each in some] for some in (one, two)))
    add(
        "the hub's cores had nothing to do, %",
        ".1f",
        *([100 * each.idle / each.wall / n for each in some] for some, n in ((one, 1), (two, 2))),
    )
    add(
        "the busier worker's share of the CPU, %",
        ".0f",
        *([100 * max(each.workers) / sum(each.workers) for each in some] for some in (one, two)),
    )
    add("calls/s seen here, all on the same two cores", ".0f", *([each.calls / each.wall for each in some] for some in (one, two)))
    rows.append(f"\nTwo workers are **{spread([pair.ratio for pair in pairs], '.2f')}** times one.")
    return "\n".join(rows)


def table_of_stores(found: dict[str, list[float]]) -> str:
    rows = ["| one call at a time | p50, µs | added, µs | beyond SQLite, µs |", "|---|---|---|---|"]
    for name, values in found.items():
        rows.append(f"| {name} | {spread(values)} | {_more(values, found['direct'])} | {_more(values, found['SQLite'])} |")
    return "\n".join(rows)


def _more(values: list[float], than: list[float]) -> str:
    """The difference round by round."""
    return spread([value - other for value, other in zip(values, than, strict=True)], "+.0f")


def table_of_sessions(before: int, after: int) -> str:
    return f"{SESSIONS:,} older sessions: {(after - before) / 1e6:.1f} MB of Redis ({(after - before) / SESSIONS:.0f} bytes each)."


def figures(rounds: int, seconds: float) -> str:
    """Measure everything; the tables, which are written to bench-results/ round by round as well."""
    with stores() as used:
        pairs = two_workers(used, rounds, seconds)
        found = added(used, rounds, seconds)
        memory = sessions(used)
    kept = {
        "machine": measure.machine(),
        "workers": [{"one": pair.one._asdict(), "two": pair.two._asdict(), "ratio": pair.ratio} for pair in pairs],
        "p50_us": found,
        "redis_used_memory": memory,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"several-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_bytes(orjson.dumps(kept, option=orjson.OPT_INDENT_2))

    parts = [table_of_workers(pairs), table_of_stores(found), table_of_sessions(*memory)]
    return "\n\n".join([*parts, f"Median of {rounds} rounds (least to most). Every round: {path.relative_to(ROOT)}"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scaling", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of one round")
    options = parser.parse_args()
    print(figures(options.rounds, options.seconds))


if __name__ == "__main__":
    main()
