"""What a call of a model costs: whole, and as a stream of 64 chunks, through the hub and other gateways, beside asking the provider directly.

`make bench ARGS=--models`, `make bench-peers ARGS=--models`. A target, its threads and its children stay on one core; the load generator and
the provider share another. All are started first and then measured in turn, round by round, so that a slower minute of the machine slows
all. What does not start or answers wrongly has a line that says so, and the run ends with code 1.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from tests.bench import measure
from tests.bench.model_peers import versions
from tests.bench.model_table import report
from tests.bench.model_targets import DIRECT, Ask, ModelTarget, model_targets
from tests.bench.run import OTHER_CORE, TARGET_CORE, Broken, until
from tests.bench.targets import ROOT, Missing, free_port, on_core, running

HOWS = ("whole", "stream")
CONNECTIONS = (1, 64)
START = 300.0
"""Seconds a target may take until it answers: LiteLLM is loading for half a minute on a machine with nothing else to do."""
WARM_UP = 1.0
"""Seconds of each load in the round that does not count."""


def load(url: str, connections: int, seconds: float, how: str, ask: Ask, headers: dict[str, str]) -> dict[str, Any]:
    """What the client saw. Raises `Broken`."""
    argv = [sys.executable, "-m", "tests.bench.load_chat", url + ask.path, str(connections), str(seconds), how, ask.model]
    with on_core(OTHER_CORE):
        done = subprocess.run([*argv, *(f"{k}={v}" for k, v in headers.items())], check=False, cwd=ROOT, capture_output=True)
    if done.returncode:
        raise Broken(f"{ask.what}, {how}, {connections} at once: {done.stderr.decode()[-600:].strip()}")
    found: dict[str, Any] = orjson.loads(done.stdout)
    return found


class Provider:
    """The one scripted provider behind all targets."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        argv = [sys.executable, "-m", "tests.bench.provider", str(port)]
        self.process = stack.enter_context(running(argv, folder, OTHER_CORE))
        until("provider", lambda: answers(self.url, DIRECT[0], {}), self.process, folder / "log")


def answers(url: str, ask: Ask, headers: dict[str, str]) -> bool:
    """Whether one call is answered as it must be."""
    try:
        return bool(load(url, 1, 0.0, "whole", ask, headers)["calls"])
    except Broken:
        return False


class Started:
    """A running target and where it answers; all that was measured of it."""

    def __init__(self, target: ModelTarget, folder: Path, provider: Provider, stack: ExitStack) -> None:
        """Raises `Missing`, and `Broken` where it does not answer a call."""
        folder.mkdir(parents=True)
        port = free_port()
        self.target, self.provider = target, provider
        self.url = f"http://127.0.0.1:{port}"
        argv = target.prepare(folder, port, provider.url)
        self.process = stack.enter_context(running(argv, folder, TARGET_CORE, target.env))
        until(target.name, lambda: answers(self.url, target.asks[0], target.headers), self.process, folder / "log", START)
        self.idle_mb = measure.resident_tree(self.process.pid)

    def load(self, ask: Ask, how: str, connections: int, seconds: float) -> dict[str, Any]:
        """One round: what the client saw, what it cost the target and its children, and the provider's share of its core."""
        before, provider = measure.cost(self.process.pid), measure.seconds(self.provider.process.pid)
        seen = load(self.url, connections, seconds, how, ask, self.target.headers)
        spent = measure.cost(self.process.pid).since(before)
        shared = (measure.seconds(self.provider.process.pid) - provider) / seen["seconds"]
        return {**seen, "cpu_us": (spent.own + spent.children) / seen["calls"] * 1e6, "provider_share": shared}


class Row:
    """One line of the table: a target, what it is asked for, and how that is answered. `started` is none for the provider itself."""

    def __init__(self, name: str, ask: Ask, how: str, started: Started | None) -> None:
        self.name, self.ask, self.how, self.started = name, ask, how, started
        self.rounds: dict[str, list[dict[str, Any]]] = {str(count): [] for count in CONNECTIONS}
        self.broken = ""

    def measure(self, provider: Provider, connections: int, seconds: float, *, counts: bool) -> None:
        """One load; a wrong answer ends this row and no other."""
        if self.broken:
            return
        try:
            if self.started is None:
                seen = load(provider.url, connections, seconds, self.how, self.ask, {})
            else:
                seen = self.started.load(self.ask, self.how, connections, seconds)
        except Broken as error:
            if provider.process.poll() is not None:
                raise
            self.broken = str(error)
            return
        if counts:
            self.rounds[str(connections)].append(seen)

    def found(self) -> dict[str, Any]:
        """As the table and the file have it."""
        found: dict[str, Any] = {"target": self.name, "what": self.ask.what, "how": self.how, "rounds": self.rounds}
        if self.started is not None:
            found |= {"idle_mb": self.started.idle_mb, "after_mb": measure.resident_tree(self.started.process.pid)}
        return found | ({"broken": self.broken} if self.broken else {})


def measured(targets: Sequence[ModelTarget], folder: Path, rounds: int, seconds: float) -> tuple[list[dict[str, Any]], list[float]]:
    """Every row's figures, those that did not start among them, and the yardstick of each round in milliseconds."""
    shutil.rmtree(folder, ignore_errors=True)
    yardsticks: list[float] = []
    absent: list[dict[str, Any]] = []
    with ExitStack() as stack:
        provider = Provider(folder / "provider", stack)
        rows = [Row("direct", ask, how, None) for ask in DIRECT for how in HOWS]
        for target in targets:
            print(f"starting {target.name}", file=sys.stderr)
            try:
                started = Started(target, folder / target.name.replace(" ", "-").replace(",", ""), provider, stack)
            except (Missing, Broken) as error:
                absent += [
                    {"target": target.name, "what": ask.what, "how": how, "broken": str(error)} for ask in target.asks for how in HOWS
                ]
                continue
            rows += [Row(target.name, ask, how, started) for ask in target.asks for how in HOWS]
        rows.sort(key=lambda row: [row.how == "stream", row.ask.path.endswith("messages")])  # stable: what is compared stands side by side
        for number in range(rounds + 1):  # the first warms up and does not count
            print(f"round {number} of {rounds}", file=sys.stderr)
            with on_core(TARGET_CORE):
                yardsticks.append(measure.yardstick())
            for connections in CONNECTIONS:
                for row in rows:
                    row.measure(provider, connections, seconds if number else WARM_UP, counts=bool(number))
        return [*(row.found() for row in rows), *absent], yardsticks


def main(scratch: Path, folder: Path, rounds: int, seconds: float, *, peers: bool, only: Sequence[str] = ()) -> int:
    """Measures, prints the tables, writes the file; the code to end with."""
    targets = [target for target in model_targets(peers=peers) if not only or target.name.lower().startswith(tuple(only))]
    results, yardsticks = measured(targets, scratch, rounds, seconds)
    machine = {**measure.machine(), "yardstick_ms": yardsticks} | ({"peers": versions()} if peers else {})
    print(report(results, machine, rounds))
    folder.mkdir(exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-models.json"
    options = {"rounds": rounds, "seconds": seconds, "peers": peers, "only": list(only)}
    path.write_bytes(orjson.dumps({"machine": machine, "options": options, "results": results}, option=orjson.OPT_INDENT_2))
    print(f"Every round: {path.parent.name}/{path.name}")
    broken = [result for result in results if "broken" in result]
    for why in dict.fromkeys(f"\n{result['target']}: {result['broken']}" for result in broken):
        print(why, file=sys.stderr)
    return 1 if broken else 0
