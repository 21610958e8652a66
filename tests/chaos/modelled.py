"""Many calls of models through one hub on SQLite, for the long run: whole and streamed, passed through and translated, with keys, a policy,
limits, budgets in money, tokens and requests, prices and the journal on. What was spent must be what was called, whoever counts it."""

import asyncio
import contextlib
import math
import sqlite3
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench import load_chat, provider
from tests.bench.model_targets import CHAT, MESSAGES, TRANSLATED, Ask
from tests.chaos.evidence import Journal
from tests.chaos.world import Victim
from tests.services.machine import die_with_us

AMOUNTS = {"money": ("usd", 9_000_000), "asked": ("requests", 100_000_000), "written": ("tokens_out", 100_000_000_000)}
INPUT, OUTPUT = 250, 2_000
"""Nano-dollars a token, as the prices below say it in dollars a million."""
FORBID = 'forbid(principal, action in Hub::Action::"call_model", resource) when { resource.name == "other" };'
COST = provider.USAGE["prompt_tokens"] * INPUT + provider.USAGE["completion_tokens"] * OUTPUT

MIX: list[tuple[Ask, bool]] = [(CHAT, False), (CHAT, True), (MESSAGES, False), (MESSAGES, True), (TRANSLATED, False), (TRANSLATED, True)]
"""What is asked, and whether it is streamed: each as often as any other."""


def settings(url: str) -> dict[str, Any]:
    price = {"model": "*", "input": "0.25", "output": "2"}
    return {
        "keys": [{"name": "root", "roles": ["admin"]}, {"name": "user", "grants": [{"model": "*"}]}],
        "limits": [{"name": "day", "scope": "key", "match": "user", "per_day": 100_000_000}],
        "policies": {"sets": {"house": {"cedar": FORBID}}},
        "providers": {"bench": {"wire": "openai", "base_url": f"{url}/v1"}, "other": {"wire": "anthropic", "base_url": url}},
        "models": {
            "bench": {"route": [{"provider": "bench", "model": "bench-1"}]},
            "anthropic": {"route": [{"provider": "other", "model": "bench-1"}]},
        },
        "prices": [{"provider": name, **price} for name in ("bench", "other")],
        "budgets": [{"name": name, "scope": "key", "window": "lifetime", unit: amount} for name, (unit, amount) in AMOUNTS.items()],
    }


@contextlib.contextmanager
def scripted() -> Generator[str]:
    """The benchmark's provider; its base URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.provider", "0"],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_us,  # noqa: PLW1509 (one call into libc, which takes no lock)
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Some(load_chat.Run):
    """So many calls and no more, whatever they take. Every answer is checked (`load_chat.check`)."""

    def __init__(self, shape: load_chat.Shape, connections: int, calls: int) -> None:
        super().__init__(shape, min(connections, calls), math.inf)
        self.lines, self._left = self.open, calls

    def next(self) -> int:
        self._left -= 1
        if self._left <= 0:
            self.deadline = 0.0  # whoever has an answer leaves
        return super().next()


async def ask(hub: Victim, calls: int, lines: int, timeout: float) -> int:
    """Call models over so many connections, all that the mix has at once; the number of answers. Raises `load.Wrong` at the first odd one."""
    loop, runs = asyncio.get_running_loop(), list[Some]()
    shares = [calls // len(MIX) + (number < calls % len(MIX)) for number in range(len(MIX))]
    for (what, stream), share in zip(MIX, shares, strict=True):
        if not share:
            continue
        headers = {"authorization": f"Bearer {hub.keys['user']}"}
        run = Some(load_chat.Shape(hub.url + what.path, stream, what.model, headers), max(1, lines // len(MIX)), share)
        runs.append(run)
        for _ in range(run.lines):
            await loop.create_connection(lambda run=run: load_chat.Client(run), run.shape.host, run.shape.port)
    async with asyncio.timeout(timeout):
        await asyncio.gather(*(run.done for run in runs))
    return sum(len(run.latencies) for run in runs)


class Spent(NamedTuple):
    """What the usage ledger says, and `open` of calls that nobody has settled."""

    rows: int
    failed: int
    cost: int
    input: int
    output: int
    open: int


def ledger(database: Path) -> Spent:
    """Of a hub that runs or has stopped."""
    sums = "count(*), sum(status <> 'ok'), sum(cost), sum(input), sum(output)"
    with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        found = connection.execute(f"SELECT {sums}, (SELECT count(*) FROM usage_open) FROM usage").fetchone()
    return Spent(*found)


def counted(found: Journal) -> Spent:
    """The same as the counters had it after the last call, which was alone, from its record; and as the records of all calls have it."""
    outcomes = [record.says for record in found.records if record.phase == "outcome" and not record.says["kind"].startswith("admin.")]
    left = {one["budget"]: one["left"] for one in outcomes[-1]["budgets"]}
    money = AMOUNTS["money"][1] * 10**9 - _nano(left["money"])
    asked, written = (AMOUNTS[name][1] - int(left[name]) for name in ("asked", "written"))
    failed = sum(says["outcome"]["status"] != "ok" for says in outcomes)
    read = sum(says["usage"]["input"] for says in outcomes)
    assert money == sum(says["cost"] for says in outcomes), (money, len(outcomes))
    assert asked == len(outcomes), (asked, len(outcomes))
    return Spent(len(outcomes), failed, money, read, written, 0)


def _nano(dollars: str) -> int:
    whole, _, part = dollars.partition(".")
    return int(whole) * 10**9 + int(part.ljust(9, "0"))
