"""What a chat completion costs through the hub: whole, and as a stream of 64 chunks, beside asking the provider directly.

A part of `make bench ARGS=--models`. The hub and its threads stay on one core; the load generator and the provider share another. A key,
a policy, limits, a budget, prices, metrics and the journal are on.
"""

import json
import shutil
import subprocess
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from hub.identity.keys import mint
from tests.bench import measure
from tests.bench.run import OTHER_CORE, TARGET_CORE, get_ok, until
from tests.bench.table import caption, markdown, spread
from tests.bench.targets import ROOT, free_port, on_core, running

HOWS = ("whole", "stream")
CONNECTIONS = (1, 64)
HEAD = (
    "target",
    "answer",
    "CPU/call at 64, µs",
    "calls/s at 64",
    "p50 / p99 at 64, ms",
    "CPU/call at 1, µs",
    "p50 at 1, µs",
    "added p50 / p99 at 1, µs",
    "first byte later at 1, µs",
)


def config(folder: Path, provider: str) -> dict[str, Any]:
    each = {"scope": "key", "per_minute": 100_000_000, "burst": 1_000_000, "concurrency": 10_000}
    return {
        "stores": {"database": f"sqlite:///{folder}/hub.db"},
        "keys": [{"name": "bench", "secret": "${HUB_BENCH_KEY}", "grants": [{"model": "bench"}]}],
        "limits": [{"name": "rate", **each}],
        "policies": {
            "sets": {
                "bench": {"cedar": 'forbid(principal, action in Hub::Action::"call_model", resource) when { resource.name == "other" };'}
            }
        },
        "providers": {"bench": {"wire": "openai", "base_url": f"{provider}/v1", "api_key": "${HUB_BENCH_KEY}"}},
        "models": {"bench": {"route": [{"provider": "bench", "model": "bench-1"}]}},
        "prices": [{"provider": "bench", "model": "*", "input": "0.25", "output": "2"}],
        "budgets": [{"name": "month", "scope": "key", "window": "month", "usd": "9000000"}],
    }


def load(url: str, connections: int, seconds: float, how: str, headers: dict[str, str]) -> dict[str, Any]:
    argv = [sys.executable, "-m", "tests.bench.load_chat", url, str(connections), str(seconds), how]
    with on_core(OTHER_CORE):
        done = subprocess.run([*argv, *(f"{k}={v}" for k, v in headers.items())], check=False, cwd=ROOT, capture_output=True)
    if done.returncode:
        sys.exit(f"bench: {url}: {done.stderr.decode()[-600:]}")
    found: dict[str, Any] = orjson.loads(done.stdout)
    return found


def measured(folder: Path, rounds: int, seconds: float) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    results: dict[str, dict[str, dict[str, list[Any]]]] = {
        name: {how: {str(count): [] for count in CONNECTIONS} for how in HOWS} for name in ("direct", "hub")
    }
    yardsticks: list[float] = []
    shutil.rmtree(folder, ignore_errors=True)
    with ExitStack() as stack:
        provider = f"http://127.0.0.1:{free_port()}"
        stack.enter_context(running([sys.executable, "-m", "tests.bench.provider", provider.rpartition(":")[2]], folder / "p", OTHER_CORE))
        key, base, home = mint().text, f"http://127.0.0.1:{free_port()}", folder / "hub"
        home.mkdir(parents=True)
        (home / "hub.yaml").write_text(json.dumps(config(home, provider)))
        argv = [str(Path(sys.executable).parent / "hub"), "serve", "--config", "hub.yaml", "--port", base.rpartition(":")[2]]
        process = stack.enter_context(running(argv, home, TARGET_CORE, {"HUB_BENCH_KEY": key}))
        until("hub", lambda: get_ok(base, "/health/ready"), process, home / "log")
        for child in measure.descendants(process.pid):
            measure.pin(child, OTHER_CORE)
        before = measure.resident(process.pid)
        for number in range(rounds + 1):
            with on_core(TARGET_CORE):
                yardsticks.append(measure.yardstick())
            for how in HOWS:
                for count in CONNECTIONS:
                    length = seconds if number else 1.0
                    direct = load(f"{provider}/v1/chat/completions", count, length, how, {})
                    spent = measure.seconds(process.pid)
                    seen = load(f"{base}/v1/chat/completions", count, length, how, {"authorization": f"Bearer {key}"})
                    seen["cpu_us"] = (measure.seconds(process.pid) - spent) / seen["calls"] * 1e6
                    if number:
                        results["direct"][how][str(count)].append(direct)
                        results["hub"][how][str(count)].append(seen)
        memory = {"resident_mb": before, "resident_after_mb": measure.resident(process.pid)}
    found = [{"target": name, "how": how, "rounds": results[name][how]} for how in HOWS for name in results]
    return found, {**measure.machine(), "yardstick_ms": yardsticks, **memory}


def row(result: dict[str, Any], direct: dict[str, Any]) -> list[str]:
    def of(connections: int, figure: str, scale: float = 1.0, *, at: dict[str, Any] = result) -> list[float]:
        return [one[figure] * scale for one in at["rounds"][str(connections)]]

    def more(figure: str) -> str:
        return f"{median(of(1, figure)) - median(of(1, figure, at=direct)):+.0f}"

    through = result is not direct
    return [
        result["target"],
        result["how"],
        spread(of(64, "cpu_us")) if through else "-",
        spread(of(64, "rate")),
        " / ".join(f"{median(of(64, name, 1e-3)):.1f}" for name in ("p50_us", "p99_us")),
        spread(of(1, "cpu_us")) if through else "-",
        f"{median(of(1, 'p50_us')):.0f}",
        f"{more('p50_us')} / {more('p99_us')}" if through else "-",
        more("first_p50_us") if through else "-",
    ]


def main(scratch: Path, folder: Path, rounds: int, seconds: float) -> None:
    results, machine = measured(scratch, rounds, seconds)
    directs = {result["how"]: result for result in results if result["target"] == "direct"}
    print(markdown([list(HEAD), *(row(result, directs[result["how"]]) for result in results)]))
    folder.mkdir(exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-models.json"
    path.write_bytes(orjson.dumps({"machine": machine, "results": results}, option=orjson.OPT_INDENT_2))
    print(
        f"\n{caption(machine, rounds)}\nRSS idle / after: {machine['resident_mb']:.0f} / {machine['resident_after_mb']:.0f} MB. {path.name}"
    )
