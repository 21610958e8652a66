"""How soon a revoked key is refused at each process of several replicas: with the signals between them, and by polls alone with Redis away.

Each process is asked every few milliseconds with the key, on a connection of its own, from before it is revoked until it is refused. What
is told is the time from the answer of the revoking call to the first refusal, 0 where that came first. `python -m tests.bench.revocation`
prints it alone; `figures` is for who measures more on the same replicas.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.load import percentile
from tests.processes.several import Line, Several, together
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer
from tests.support.mcp import Client, dumps, message, modern_headers, modern_params

REVOCATIONS = 120
PAUSE = 0.005
"""Seconds between two questions to one process: the resolution of the figures."""

HEAD = (
    "a revoked key is refused",
    "n",
    "p50 / p99 / most, ms",
    "by the last process: p50 / p99, ms",
    "since the call was sent: p50 / p99, ms",
)


async def figures(
    hubs: Sequence[Several], how: str, revocations: int = REVOCATIONS, before: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Revoke so many keys at one of `hubs`, each replica in turn; `before()` is called once all processes know all the keys."""
    async with AsyncExitStack() as stack:
        lines = [line for hub in hubs for line in await _one_of_each(stack, hub)]
        names = [f"{how}-{number}".lower().replace(" ", "-") for number in range(revocations)]
        body = {"grants": [{"virtual_server": "main"}]}
        keys = [(await asyncio.to_thread(hubs[0].admin, "POST", "/admin/v1/keys", {"name": name, **body}))["key"] for name in names]
        for line in lines:
            while await _status(line, keys[-1]) != 200:
                await asyncio.sleep(PAUSE)
        before()
        rounds = [await _revoked(hubs[n % len(hubs)], name, key, lines) for n, (name, key) in enumerate(zip(names, keys, strict=True))]
    return {"how": how, "replicas": len(hubs), "processes": len(lines), "rounds": rounds}


async def _one_of_each(stack: AsyncExitStack, hub: Several) -> list[Line]:
    """One kept connection to each worker."""
    found = {line.worker: line for line in await stack.enter_async_context(hub.lines(2 * hub.workers))}
    return list(found.values())


async def _revoked(hub: Several, name: str, key: str, lines: list[Line]) -> dict[str, Any]:
    """One revocation: milliseconds from its answer, and from its sending, to the first refusal at each process."""
    watched = [asyncio.Event() for _ in lines]
    refusals = [asyncio.create_task(_first_refusal(line, key, seen)) for line, seen in zip(lines, watched, strict=True)]
    for seen in watched:
        await seen.wait()
    sent = time.perf_counter()
    await asyncio.to_thread(hub.admin, "DELETE", f"/admin/v1/keys/{name}")
    answered = time.perf_counter()
    refused = await asyncio.gather(*refusals)
    return {
        "answer_ms": (answered - sent) * 1e3,
        "after_answer_ms": [max(0.0, at - answered) * 1e3 for at in refused],
        "after_sent_ms": [(at - sent) * 1e3 for at in refused],
    }


async def _first_refusal(line: Line, key: str, seen: asyncio.Event) -> float:
    """When the first answer that refuses the key has come; `seen` is set once one did not."""
    while True:
        status = await _status(line, key)
        if status == 401:
            return time.perf_counter()
        if status != 200:
            raise RuntimeError(f"a process answered {status}")
        seen.set()
        await asyncio.sleep(PAUSE)


async def _status(line: Line, key: str) -> int:
    params = modern_params()
    await line.connection.send(Client(line.hub, key).wire(dumps(message("tools/list", params)), *modern_headers("tools/list", params)))
    return (await line.connection.response()).status


def row(result: dict[str, Any]) -> list[str]:
    """Its line in the table."""
    rounds = result["rounds"]
    each = sorted(value for one in rounds for value in one["after_answer_ms"])
    last = sorted(max(one["after_answer_ms"]) for one in rounds)
    sent = sorted(value for one in rounds for value in one["after_sent_ms"])
    return [
        f"{result['how']}, {result['replicas']} replicas, {result['processes']} processes",
        f"{len(rounds)} × {result['processes']}",
        f"{median(each):.0f} / {percentile(each, 0.99):.0f} / {each[-1]:.0f}",
        f"{median(last):.0f} / {percentile(last, 0.99):.0f}",
        f"{median(sent):.0f} / {percentile(sent, 0.99):.0f}",
    ]


def measured(folder: Path, revocations: int = REVOCATIONS) -> list[dict[str, Any]]:
    """Two replicas of two workers each on a PostgreSQL and a Redis of their own, with signals and without."""
    with ExitStack() as stack:
        postgres, redis = PostgresServer(), RedisServer()
        for server in (postgres, redis):
            stack.callback(server.stop)
            server.start()
        places = [folder / str(number) for number in range(2)]
        for place in places:
            place.mkdir(parents=True)
        stores = {"postgres": postgres.url(postgres.create_database()), "redis": redis.url}
        hubs = stack.enter_context(together(places, {}, **stores))
        try:
            heard = asyncio.run(figures(hubs, "with signals", revocations))
            polled = asyncio.run(figures(hubs, "with Redis away", revocations, redis.stop_answering))
        finally:
            redis.heal()
        return [heard, polled]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        for result in measured(Path(made), int(sys.argv[1]) if len(sys.argv) > 1 else REVOCATIONS):
            print("; ".join(f"{name}: {value}" for name, value in zip(HEAD, row(result), strict=True)))
