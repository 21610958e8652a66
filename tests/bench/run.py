"""Measures every target in turn, several rounds, and prints one table; the figures of each round go to bench-results/ as JSON.

The target and its threads stay on one core; the load generator and the echo server behind the target share another. CPU per call
is the target's own, from /proc; its children (a stdio server) are counted apart. Latencies are the client's.
"""

import argparse
import http.client
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from tests.bench import measure
from tests.bench.table import caption, table
from tests.bench.targets import ROOT, Target, free_port, on_core, running, targets

CORES = sorted(os.sched_getaffinity(0))
TARGET_CORE, OTHER_CORE = CORES[0], CORES[-1]
SCRATCH = ROOT / ".cache" / "bench"
RESULTS = ROOT / "bench-results"
CONNECTIONS = (1, 64)


def post(base: str, target: Target, method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    """One request of the target's era; None where nothing listens yet or the answer is not a result."""
    parts = urlsplit(base)
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": target.era,
        **target.headers,
    }
    if target.era >= "2026":
        headers |= {"mcp-method": method} | ({"mcp-name": params["name"]} if "name" in params else {})
        meta = {"io.modelcontextprotocol/protocolVersion": target.era, "io.modelcontextprotocol/clientCapabilities": {}}
        params = params | {"_meta": meta}
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        connection.request("POST", target.path, body, headers)
        text = connection.getresponse().read()
        if not text.startswith(b"{"):
            text = next((line[5:] for line in text.splitlines() if line.startswith(b"data:") and b'"jsonrpc"' in line), b"{}")
        return orjson.loads(text).get("result")
    except (OSError, http.client.HTTPException, orjson.JSONDecodeError):
        return None
    finally:
        connection.close()


class Broken(SystemExit):
    """A target did not start, or gave a wrong answer or none under load. Where nobody catches it the run ends with what it says."""


def until(what: str, attempt: Any, process: subprocess.Popen[bytes], log: Path, seconds: float = 90) -> float:
    """Try every 5 ms until it holds; returns the monotonic time at which it did. Raises `Broken`, by which a run ends that does not catch it."""
    deadline = time.monotonic() + seconds
    while not attempt():
        if process.poll() is not None or time.monotonic() > deadline:
            how = "ended" if process.poll() is not None else "did not answer"
            raise Broken(f"bench: {what}: the target {how}\n{log.read_text()[-3000:]}")
        time.sleep(0.005)
    return time.monotonic()


def get_ok(base: str, path: str) -> bool:
    parts = urlsplit(base)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def listed(base: str, target: Target) -> bool:
    return bool((post(base, target, "tools/list", {}) or {}).get("tools"))


def called(base: str, target: Target) -> bool:
    answer = post(base, target, "tools/call", {"name": target.tool, "arguments": {"text": "hello"}}) or {}
    return bool(answer.get("content")) and answer["content"][0]["text"] == "hello"


class Started:
    """A running target and where it answers."""

    def __init__(self, target: Target, echo: str, stack: ExitStack) -> None:
        self.target = target
        folder = SCRATCH / "".join(letter if letter.isalnum() else "-" for letter in target.name)
        port = free_port()
        self.base = f"http://127.0.0.1:{port}"
        argv = target.prepare(folder, port, echo)
        began = time.monotonic()
        self.process = stack.enter_context(running(argv, folder, TARGET_CORE, target.env))
        log = folder / "log"
        if target.after_start:
            until(target.name, lambda: get_ok(self.base, target.ready), self.process, log)
            target.after_start(target, self.base)
        self.first_list = until(f"{target.name}: tools/list", lambda: listed(self.base, target), self.process, log) - began
        self.first_call = until(f"{target.name}: tools/call", lambda: called(self.base, target), self.process, log) - began
        if target.ready:
            until(f"{target.name}: {target.ready}", lambda: get_ok(self.base, target.ready), self.process, log)
        for child in measure.descendants(self.process.pid):
            measure.pin(child, OTHER_CORE)
        self.resident = measure.resident(self.process.pid)

    def load(self, connections: int, seconds: float) -> dict[str, Any]:
        """One round: what the client saw, and what it cost the target and its children."""
        before = measure.cost(self.process.pid)
        argv = [sys.executable, "-m", "tests.bench.load", self.base + self.target.path, str(connections), str(seconds)]
        argv += [self.target.era, self.target.tool, *(f"{name}={value}" for name, value in self.target.headers.items())]
        with on_core(OTHER_CORE):
            done = subprocess.run(argv, check=False, cwd=ROOT, capture_output=True)
        if done.returncode:
            raise Broken(f"{self.target.name}, {connections} at once: {done.stderr.decode()[-600:].strip()}")
        spent = measure.cost(self.process.pid).since(before)
        seen = orjson.loads(done.stdout)
        return {**seen, "cpu_us": spent.own / seen["calls"] * 1e6, "children_cpu_us": spent.children / seen["calls"] * 1e6}


def time_starts(target: Target, echo: str) -> dict[str, list[float]]:
    """Start and stop the target as often as it wants; its state, and so a cached catalogue, stays from start to start."""
    times: dict[str, list[float]] = {"first_list_s": [], "first_call_s": [], "resident_mb": []}
    for _ in range(target.starts):
        with ExitStack() as stack:
            started = Started(target, echo, stack)
            times["first_list_s"].append(started.first_list)
            times["first_call_s"].append(started.first_call)
            times["resident_mb"].append(started.resident)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one round at one concurrency")
    parser.add_argument("--peers", action="store_true", help="measure other gateways too")
    parser.add_argument("--several", action="store_true", help="instead, what only several processes show: PostgreSQL, Redis, replicas")
    parser.add_argument("--models", action="store_true", help="instead, calls of models, whole and streamed")
    parser.add_argument("--only", default="", help="comma-separated beginnings of target names")
    options = parser.parse_args()
    wanted = [name.strip().lower() for name in options.only.split(",") if name.strip()]
    if options.several:
        from tests.bench import several

        several.main(SCRATCH / "several", RESULTS)
        return
    if options.models:
        from tests.bench import models

        sys.exit(models.main(SCRATCH / "models", RESULTS, options.rounds, options.seconds, peers=options.peers, only=wanted))
    rows = [row for row in targets(options.peers) if not wanted or row.name.lower().startswith(tuple(wanted))]

    shutil.rmtree(SCRATCH, ignore_errors=True)
    results: list[dict[str, Any]] = [{"target": row.name, "rounds": {str(count): [] for count in CONNECTIONS}} for row in rows]
    yardsticks: list[float] = []
    with ExitStack() as stack:
        port = free_port()
        server = stack.enter_context(running([sys.executable, "-m", "tests.bench.echo_http", str(port)], SCRATCH / "echo", OTHER_CORE))
        echo = f"http://127.0.0.1:{port}/mcp"
        for row, result in zip(rows, results, strict=True):
            print(f"starting {row.name} ({row.starts} times)", file=sys.stderr)
            result["start"] = time_starts(row, echo)
            if server.poll() is not None:
                sys.exit(f"bench: the echo server behind the targets ended with code {server.returncode}")
        started = [Started(row, echo, stack) for row in rows]
        for number in range(options.rounds + 1):  # the first warms up and does not count
            print(f"round {number} of {options.rounds}", file=sys.stderr)
            with on_core(TARGET_CORE):
                yardsticks.append(measure.yardstick())
            for target, result in zip(started, results, strict=True):
                if "broken" in result:
                    continue
                try:
                    figures = [target.load(count, options.seconds if number else 1.0) for count in CONNECTIONS]
                except Broken as error:
                    if server.poll() is not None:
                        sys.exit(f"bench: the echo server behind the targets ended with code {server.returncode}")
                    result["broken"] = str(error)
                    continue
                for count, each in zip(CONNECTIONS, figures, strict=True):
                    if number:
                        result["rounds"][str(count)].append(each)
        for target, result in zip(started, results, strict=True):
            result["resident_after_mb"] = measure.resident(target.process.pid)

    machine = {**measure.machine(), "yardstick_ms": yardsticks}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_bytes(orjson.dumps({"machine": machine, "options": vars(options), "results": results}, option=orjson.OPT_INDENT_2))
    print(table([result for result in results if result["rounds"]["1"]]))
    print(f"\n{caption(machine, options.rounds)}\nEvery round: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
