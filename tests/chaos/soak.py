"""The long run: `python -m tests.chaos.soak [--several 30] [--rounds 20] [--calls 200000] [--models 200000]`. Prints a table; exit code 1 where anything failed.

Several: as in `test_several.py`, two replicas of two workers on PostgreSQL and Redis; what strikes them is drawn by `--seed`, some at once.
Kills: as in `test_kill.py`, on one state that grows, with the servers of both kinds. Calls: 64 clients at one hub over its HTTP and stdio
servers, with keys, a policy, limits and the journal on. Models: as many calls of models through another (`modelled.py`). Memory and
descriptors after a tenth of the calls are held against those at the end.
"""

import argparse
import asyncio
import functools
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

from tests.chaos import modelled
from tests.chaos.during import Watch
from tests.chaos.evidence import complete, gapless, journal, signed
from tests.chaos.load import Answer, Load, Step
from tests.chaos.roamers import Roaming
from tests.chaos.several import stopped, world
from tests.chaos.strikes import Strike, strikes
from tests.chaos.test_kill import round_of_kill
from tests.chaos.test_several import round_of_strikes
from tests.chaos.world import Victim, settings, victim, web
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer
from tests.support.hub import eventually

GROWTH = 4 * 1024 * 1024
"""Bytes by which resident memory may grow between the first tenth and the end: allocator noise and SQLite's page cache. Over 180,000 calls
it is 23 bytes for each, less than any object kept for a call would take. Garbage that waits for the collector would be more too."""

LINES = 64
DESCRIPTORS = LINES
"""By which open descriptors may grow with nobody connected: the pool keeps as many connections to the HTTP server as were once in use at
the same time. One lost in every thousand calls would be 180."""

CALLS: list[Step] = [
    lambda line: line.call("web_echo"),
    lambda line: line.call("pipe_echo"),
    lambda line: line.call("web_echo", old=True),
    lambda line: line.modern("tools/list", {}),
    lambda line: line.call("web_forbidden"),
]


class Row(NamedTuple):
    what: str
    figures: dict[str, Any]
    ok: bool


class Sample(NamedTuple):
    calls: int
    memory: int
    descriptors: int


async def kills(folder: Path, rounds: int) -> list[Row]:
    notes, rows = folder / "notes", list[Row]()
    answers: list[Answer] = []
    with web(notes) as (url, _), victim(folder, settings(url, notes)) as hub:
        hub.start()
        for number in range(rounds):
            rows.append(Row(f"kill {number + 1}", await round_of_kill(hub, notes, answers, 100 + number), True))
            show(rows[-1])
        code = hub.stop()
    rows.append(Row("kills, then stopped in order", {"exit": code}, code == 0 and "Traceback" not in hub.log.read_text()))
    show(rows[-1])
    return rows


async def strikes_on_several(folder: Path, rounds: int, seed: int) -> list[Row]:
    """Rounds of one to three strikes; every other time two at once, of which one at most ends processes of the hub."""
    rows, draw = [Row("several", {"seed": seed}, True)], random.Random(seed)
    show(rows[0])
    postgres, redis = PostgresServer(), RedisServer()
    try:
        postgres.start()
        redis.start()
        with world(folder, postgres, redis, postgres.create_database()) as made:
            watch = Watch(made, Roaming(made, seed))
            made.remember()
            for number in range(rounds):
                some = [drawn(draw) for _ in range(draw.randint(1, 3))]
                found = await round_of_strikes(watch, some, draw)
                looks = found.pop("looks")
                found["initialized again"] = [look["reopened"] for look in looks]
                found["looked for"] = f"{sum(look['seconds'] for look in looks):.1f} s"
                rows.append(Row(f"several {number + 1}", found, True))
                show(rows[-1])
            stopped(made)
        rows.append(Row("several, then stopped in order", {}, True))
        show(rows[-1])
    finally:
        redis.stop()
        postgres.stop()
    return rows


def drawn(draw: random.Random) -> list[Strike]:
    """One strike, or two that may meet."""
    first = draw.choice(strikes())
    if draw.random() < 0.5:
        return [first]
    return [
        first,
        draw.choice([other for other in strikes() if other is not first and (other.ends != first.ends or other.ends == "nobody")]),
    ]


async def sample(hub: Victim, calls: int) -> Sample:
    """What the hub holds when nobody is connected and everything is signed."""
    await signed(hub.database)
    await eventually(lambda: hub.status()["streams"] == 0)
    await asyncio.sleep(1)
    return Sample(calls, hub.memory(), hub.descriptors())


async def calls(folder: Path, total: int) -> list[Row]:
    with web(Path("/dev/null")) as (url, _), victim(folder, settings(url, Path("/dev/null"))) as hub:
        hub.start().settled("web", "pipe", "wrapped")
        done, samples, began, number = 0, list[Sample](), time.monotonic(), 0
        for goal in (total // 10, total):
            while done < goal:
                number += 1
                load = Load(hub, LINES, 1000 + number, mix=CALLS).start()
                await load.busy(min(goal - done, 10_000), 600)
                await load.ended(stop=True)
                odd = [answer for answer in load.answers if answer.status != 200]
                assert not odd, odd[:3]
                done += len(load.answers)
            samples.append(await sample(hub, done))
            show(Row(f"after {done} calls", {"MB": round(samples[-1].memory / 1e6, 1), "descriptors": samples[-1].descriptors}, True))
        seconds = time.monotonic() - began
        found = await asyncio.to_thread(journal, hub.database)
        gapless(found)
        code = hub.stop()
    rows = [
        *flat(*samples, DESCRIPTORS),
        Row(
            "the whole log verifies",
            {"records": len(found.records), "calls/s, client included": round(done / seconds)},
            len(found.records) >= done,
        ),
        Row("stopped in order", {"exit": code}, code == 0 and "Traceback" not in hub.log.read_text()),
    ]
    for row in rows:
        show(row)
    return rows


async def models(folder: Path, total: int) -> list[Row]:
    """Calls of models instead, and the money of them: rows of the ledger, counters and records must be those of the calls."""
    with modelled.scripted() as url, victim(folder, modelled.settings(url)) as hub:
        hub.start()
        done, samples, began = 0, list[Sample](), time.monotonic()
        for goal in (total // 10, total - 1):
            while done < goal:
                done += await modelled.ask(hub, min(goal - done, 10_000), LINES, 600)
            samples.append(await sample(hub, done))
            show(Row(f"after {done} calls", {"MB": round(samples[-1].memory / 1e6, 1), "descriptors": samples[-1].descriptors}, True))
        seconds = time.monotonic() - began
        done += await modelled.ask(hub, 1, 1, 60)  # alone, so that its record says what is left with nothing set aside for another
        await signed(hub.database)
        found = await asyncio.to_thread(journal, hub.database)
        gapless(found)
        complete(found, [])
        spent, counted = modelled.ledger(hub.database), modelled.counted(found)
        code = hub.stop()
    rows = [
        *flat(*samples, DESCRIPTORS),  # connections to providers are kept, as many as were ever needed at once: one for each line at most
        Row("the ledger has every call", spent._asdict(), spent.rows == done and not spent.failed and spent.cost == done * modelled.COST),
        Row("counters and records say the same", counted._asdict(), counted == spent),
        Row("the whole log verifies", {"records": len(found.records), "calls/s, client included": round(done / seconds)}, True),
        Row("stopped in order", {"exit": code}, code == 0 and "Traceback" not in hub.log.read_text()),
    ]
    for row in rows:
        show(row)
    return rows


def flat(first: Sample, last: Sample, descriptors: int) -> list[Row]:
    """Memory and descriptors grew by no more than is allowed."""
    memory = last.memory - first.memory
    return [
        Row("memory is flat", {"grew by KB": memory // 1024, "allowed": GROWTH // 1024}, memory <= GROWTH),
        Row(
            "descriptors are flat",
            {"first": first.descriptors, "last": last.descriptors},
            last.descriptors - first.descriptors <= descriptors,
        ),
    ]


def show(row: Row) -> None:
    figures = "  ".join(f"{name}: {value}" for name, value in row.figures.items())
    print(f"{'ok  ' if row.ok else 'FAIL'}  {row.what:<30}  {figures}", flush=True)


async def run(what: str, part: Callable[[Path, int], Coroutine[Any, Any, list[Row]]], many: int) -> bool:
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        try:
            return all(row.ok for row in await part(Path(folder), many))
        except Exception:
            traceback.print_exc()
            show(Row(what, {"see": "above"}, False))
            for log in sorted(Path(folder).rglob("hub.log")):
                print(f"{log}:\n{log.read_text()[-4000:]}")
            return False


def told_to_end(*_: object) -> None:
    """Unwinds whatever is under way, so that hubs, servers and stores are ended. (Where nobody asks first they end by `die_with_us`.)"""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + signal.SIGTERM)


def main() -> int:
    parser = argparse.ArgumentParser(description="Strikes on several replicas, kills of one hub, then many calls. Takes 20 to 40 minutes.")
    parser.add_argument("--several", type=int, default=30)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--models", type=int, default=200_000)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, told_to_end)
    several = functools.partial(strikes_on_several, seed=options.seed)
    parts: list[tuple[str, Any, int]] = [
        ("several", several, options.several),
        ("kills", kills, options.rounds),
        ("calls", calls, options.calls),
        ("models", models, options.models),
    ]
    results = [asyncio.run(run(what, part, many)) for what, part, many in parts if many]
    print("all held" if all(results) else "FAILED")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
