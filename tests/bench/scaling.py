"""What several processes cost and bring: two workers beside one, PostgreSQL and Redis beside SQLite, older sessions in Redis.

Parts of `make bench ARGS=--several` (`tests.bench.several`); `python -m tests.bench.scaling` measures them alone, with fewer and shorter
rounds where that is asked for. docs/benchmarks.md says how the figures come about and what they can claim.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from hub.identity.keys import mint
from tests.bench import measure
from tests.bench.run import CORES, OTHER_CORE, TARGET_CORE, called, get_ok, until
from tests.bench.table import markdown, spread
from tests.bench.targets import READS_NOTHING, ROOT, Target, free_port, python, running
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer

CONNECTIONS = 128
"""For each worker: so many that there is always a call to work on while others wait for a commit."""

SESSIONS = 10_000
KEYS = 4
"""A key may have 5,000 sessions."""


class Stores(NamedTuple):
    """The services of one part. `folder` is for what is started beside them."""

    folder: Path
    postgres: PostgresServer
    redis: RedisServer
    echo: str
    pids: tuple[int, ...]
    """The processes beside the hub, those they start left out."""


@contextmanager
def stores(folder: Path) -> Iterator[Stores]:
    """PostgreSQL (with fsync on), Redis (with an append-only file) and the echo server behind every hub."""
    with ExitStack() as stack:
        postgres, redis = PostgresServer(), RedisServer()
        stack.callback(postgres.stop)
        postgres.start()
        stack.callback(redis.stop)
        redis.start()
        port = free_port()
        echo = stack.enter_context(running([sys.executable, "-m", "tests.bench.echo_http", str(port)], folder / "echo", OTHER_CORE))
        yield Stores(folder, postgres, redis, f"http://127.0.0.1:{port}/mcp", (postgres.pids[0], redis.pid, echo.pid))


class Hub:
    """A hub as it is in `make bench`, with everything on. `workers` 0: on SQLite."""

    def __init__(self, stores: Stores, workers: int, stack: ExitStack) -> None:
        self.keys = [mint().text for _ in range(KEYS)]
        self.name = f"workers-{workers}"
        self.folder = stores.folder / self.name
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


def of_one(one: Loaded) -> float:
    """Calls a second of one worker that has a core to itself: by its CPU time alone, which is the most it could do."""
    return one.calls / one.hub


def of_two(two: Loaded) -> float:
    """Calls a second of two workers that have two cores to themselves. All time in which a core had nothing to do is charged to them."""
    return 2 * two.calls / (two.hub + two.idle)


def two_workers(folder: Path, rounds: int = 5, seconds: float = 5.0) -> list[dict[str, Any]]:
    """One worker and two, one after the other in each round. A round before the first warms up and does not count."""
    if len(CORES) < 2:
        sys.exit("bench: two workers are measured on two cores, and there is one")
    pairs: list[tuple[Loaded, Loaded]] = []
    with stores(folder) as used, ExitStack() as stack:
        one, two = Hub(used, 1, stack), Hub(used, 2, stack)
        for number in range(rounds + 1):
            length = seconds if number else 1.0
            pairs.append((round_of(one, used, length, apart=True), round_of(two, used, length, apart=False)))
    ones, twos = [pair[0] for pair in pairs[1:]], [pair[1] for pair in pairs[1:]]
    ratios = [of_two(pair[1]) / of_one(pair[0]) for pair in pairs[1:]]
    return [
        {"workers": 1, "rounds": [one._asdict() | {"alone_rate": of_one(one)} for one in ones]},
        {"workers": 2, "rounds": [two._asdict() | {"alone_rate": of_two(two), "times": x} for two, x in zip(twos, ratios, strict=True)]},
    ]


WORKERS_HEAD = (
    "workers",
    "calls/s where the hub has its cores to itself",
    "times one",
    "CPU/call of the hub, µs",
    "… of all beside it, µs",
    "… of the load generator, µs",
    "load generator busy, %",
    "cores with nothing to do, %",
    "busier worker's share, %",
    "calls/s seen, all on two cores",
)


def workers_row(result: dict[str, Any]) -> list[str]:
    rounds, workers = result["rounds"], result["workers"]

    def each(figure: str, scale: float = 1e6) -> list[float]:
        return [scale * one[figure] / one["calls"] for one in rounds]

    return [
        str(workers),
        spread([one["alone_rate"] for one in rounds]),
        spread([one["times"] for one in rounds], ".2f") if workers > 1 else "1",
        spread(each("hub")),
        spread(each("beside")),
        spread(each("generator")),
        spread([100 * one["generator"] / one["wall"] for one in rounds]),
        spread([100 * one["idle"] / one["wall"] / workers for one in rounds], ".1f"),
        spread([100 * max(one["workers"]) / sum(one["workers"]) for one in rounds]),
        spread([one["calls"] / one["wall"] for one in rounds]),
    ]


def added(folder: Path, rounds: int = 5, seconds: float = 5.0) -> list[dict[str, Any]]:
    """p50 of one call at a time, in each round straight to the echo server, through a hub on SQLite, and on PostgreSQL and Redis."""
    direct = Target("direct", python("echo_http"))
    found: dict[str, list[float]] = {"direct": [], "SQLite": [], "PostgreSQL and Redis": []}
    with stores(folder) as used, ExitStack() as stack:
        hubs = {"SQLite": Hub(used, 0, stack), "PostgreSQL and Redis": Hub(used, 1, stack)}
        place(used.pids, [OTHER_CORE])
        for hub in hubs.values():
            place([hub.pid], [TARGET_CORE])
        for number in range(rounds + 1):
            length = seconds if number else 1.0
            seen = {"direct": load(used.echo.removesuffix("/mcp"), direct, 1, length, [OTHER_CORE])[0]}
            for name, hub in hubs.items():
                seen[name] = load(hub.base, hub.target, 1, length, [OTHER_CORE])[0]
            for name, each in seen.items():
                if number:
                    found[name].append(each["p50_us"])
    return [
        {"stores": name, "p50_us": found[name], "direct_us": found["direct"], "sqlite_us": found["SQLite"]}
        for name in ("direct", "SQLite", "PostgreSQL and Redis")
    ]


ADDED_HEAD = ("one call at a time", "p50, µs", "added p50, µs", "beyond SQLite, µs")


def added_row(result: dict[str, Any]) -> list[str]:
    def more(than: str) -> str:
        return spread([value - other for value, other in zip(result["p50_us"], result[than], strict=True)], "+.0f")

    hub = result["stores"] != "direct"
    return [result["stores"], spread(result["p50_us"]), more("direct_us") if hub else "-", more("sqlite_us") if hub else "-"]


def sessions(folder: Path) -> list[dict[str, Any]]:
    """`used_memory` of Redis in bytes, before and after so many older sessions were opened."""
    with stores(folder) as used, ExitStack() as stack:
        hub = Hub(used, 1, stack)
        before = _used(used.redis)
        asyncio.run(_open_sessions(hub))
        kept = sum(int(used.redis.ask("ZCARD", name)) for name in used.redis.ask("KEYS", "hub:sessions:*"))
        if kept != SESSIONS:
            sys.exit(f"bench: Redis has {kept} sessions of {SESSIONS}")
        return [{"sessions": kept, "before": before, "after": _used(used.redis)}]


SESSIONS_HEAD = ("older sessions", "MB of Redis", "bytes each")


def sessions_row(result: dict[str, Any]) -> list[str]:
    more = result["after"] - result["before"]
    return [f"{result['sessions']:,}", f"{more / 1e6:.1f}", f"{more / result['sessions']:.0f}"]


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


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scaling", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of one round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        parts = [
            (WORKERS_HEAD, workers_row, two_workers(folder / "workers", options.rounds, options.seconds)),
            (ADDED_HEAD, added_row, added(folder / "added", options.rounds, options.seconds)),
            (SESSIONS_HEAD, sessions_row, sessions(folder / "sessions")),
        ]
    for head, row, results in parts:
        print(markdown([list(head), *(row(result) for result in results)]) + "\n")


if __name__ == "__main__":
    main()
