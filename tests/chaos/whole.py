"""What must hold of several replicas after whatever was done to them: records, executions, limits, connections, descriptors, processes."""

import asyncio
import collections
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.chaos.evidence import Journal, Record, answered, gapless, intended, journal
from tests.chaos.load import Answer
from tests.chaos.roamers import Roaming
from tests.chaos.several import (
    BURST,
    CROWD,
    DAILY,
    LOCKS,
    PACE,
    POOL,
    REDIS,
    REPLICAS,
    WORKERS,
    Descriptors,
    World,
    midnight,
)
from tests.support.hub import eventually

UNCOUNTED = ("limited", "store_unavailable")
"""Outcomes of calls that the limits of their key did not let in, or that nobody could count."""

SHARE = 10
"""What part of a rate each process lets through by itself while Redis is away (`hub/budget/allowance.py`)."""


def paired(found: Journal, answers: Iterable[Answer]) -> dict[str, int]:
    """Of each call one record, or an intent and its one outcome, which is the one that was answered. Outcomes by status."""
    calls = found.by_call()
    outcomes: collections.Counter[str] = collections.Counter()
    for records in calls.values():
        phases = [record.phase for record in records]
        if phases == ["intent", "outcome"]:
            intent, outcome = records
            status: str = outcome.says["outcome"]["status"]
            outcomes[status] += 1
            assert outcome.says.get("intent", intent.index) == intent.index, outcome  # none: it was cut off before that was known
            assert status == "unknown" or outcome.says["boot"] == intent.says["boot"], records
        else:
            assert phases == [""], records
    for answer in answers:
        if answer.what.startswith("call ") and answer.status == 200 and not answer.code:
            status = calls[answer.call][-1].says["outcome"]["status"]
            broken_off = answer.what.endswith("_slow") and len(answer.receipts) == 1  # a stream that has its intent's receipt only
            assert status in ("ok", "error") or broken_off, (answer, calls[answer.call])
    return dict(outcomes)


def executed(notes: Path, answers: Iterable[Answer]) -> int:
    """No call reached a server twice, and each that was answered reached one. How many did."""
    seen = collections.Counter(line.split(" ", 2)[1] for line in notes.read_text().splitlines())
    twice = [text for text, times in seen.items() if times > 1]
    assert not twice, twice[:5]
    traces = {line.split(" ", 1)[0] for line in notes.read_text().splitlines()}
    for answer in answers:
        if answer.what.startswith("call ") and answer.status == 200 and not answer.code and len(answer.receipts) == 1:
            assert answer.trace in traces, answer
    return len(seen)


def paced(answers: Sequence[Answer], outages: Sequence[tuple[float, float]]) -> int:
    """In no stretch of time were more calls let in than the rate allows. How many in all.

    A call was let in between its beginning and its end as its client saw them: counted are those that lie in the stretch as a whole.
    While Redis was away every process had its share of the rate by itself.
    """
    let_in = sorted((one.began, one.began + one.took) for one in answers if one.status == 200 and one.code not in UNCOUNTED)
    interval = 60.0 / PACE
    for first, (begin, _) in enumerate(let_in):
        for inside, end in enumerate(sorted(end for _, end in let_in[first:]), 1):
            if inside > BURST + 1 + (end - begin) / interval:
                away = [min(end, back) - max(begin, gone) for gone, back in outages if gone < end and back > begin]
                alone = REPLICAS * WORKERS * sum(1 + seconds / (SHARE * interval) for seconds in away)
                assert inside <= BURST + 1 + (end - begin) / interval + alone, (inside, end - begin, away)
    return len(let_in)


def counted(world: World, roaming: Roaming, found: dict[str, Journal]) -> dict[str, tuple[int, ...]]:
    """What Redis has counted today lies between what was let in and what was asked, and within the limit.

    (By the journal, by Redis, asked), of each rule. One that refuses leaves no count; a call whose answer was lost may be counted.
    """
    few = _counted_today(world, "default", "few-a-day", f"key:{world.key_id('few')}")
    assert few <= DAILY, few
    refused = sum(answer.code == "limited" for answer in roaming.answers["few"])
    let_in = _let_in(record for record in found["default"].records if record.says.get("actor", {}).get("id") == world.key_id("few"))
    shown = {
        "few-a-day": (let_in, few, roaming.asked("few") - refused),
        "all-day": (_let_in(found["acme"].records), _counted_today(world, "acme", "all-day", "org:acme"), roaming.asked("bob")),
    }
    for key, (journalled, used, asked) in zip(("few", "bob"), shown.values(), strict=True):
        answers = [answer for answer in roaming.answers[key] if answer.what != "stranger"]
        assert sum(one.began >= midnight() and one.status in (200, 202) for one in answers) <= used <= asked, (key, used, asked)
        assert journalled <= used or answers[0].began < midnight(), (key, journalled, used)
    return shown


def _counted_today(world: World, org: str, rule: str, who: str) -> int:
    """What stands in Redis, the day left out (`hub/budget/scripts.py`)."""
    return int(world.redis.ask("GET", f"hub:{{{org}}}:day:{rule}:{who}") or 0) & 0xFFFFFFFF


def _let_in(records: Iterable[Record]) -> int:
    """Calls among these that limits have let in."""
    return len({one.says["id"] for one in records if one.says.get("outcome", {}).get("code") not in UNCOUNTED})


def crowded(notes: Path) -> int:
    """The most calls under way at once that the server saw of the key that may have only so many."""
    seen = [int(parts[2]) for line in notes.read_text().splitlines() if len(parts := line.split(" ")) == 3]
    most = max(seen, default=0)
    assert most <= CROWD, most
    return most


async def quiet(world: World, rest: dict[int, int]) -> dict[str, Any]:
    """With nobody connected: connections within their pools, no client left, no descriptor more than at first. `rest` remembers these."""
    most = REPLICAS * WORKERS * (POOL + LOCKS), REPLICAS * WORKERS * REDIS

    def problem() -> str:
        postgres, redis = world.connections()
        if postgres > most[0] or redis > most[1]:
            return f"{postgres} connections to PostgreSQL, {redis} to Redis"
        for pid, held in world.descriptors().items():
            if wrong := _too_many(held, rest.get(pid)):
                return f"{pid}: {wrong}: {held}"
        return ""

    said = ""

    def well() -> bool:
        nonlocal said
        said = problem()
        return not said

    try:
        await eventually(lambda: asyncio.to_thread(well), 20.0, 0.3)
    except AssertionError:
        raise AssertionError(f"{said}; at first {rest}") from None
    for pid, held in world.descriptors().items():
        rest.setdefault(pid, held.rest)
    return dict(zip(("postgres", "redis"), world.connections(), strict=True))


def _too_many(held: Descriptors, rest: int | None) -> str:
    if held.postgres > POOL + LOCKS or held.redis > REDIS:
        return "more connections than its pools have"
    if held.clients:
        return "connections of clients that have left"
    if rest is not None and held.rest > rest:
        return f"descriptors besides connections, {rest} before"
    return ""


async def examine(world: World, roaming: Roaming, rest: dict[int, int]) -> dict[str, Any]:
    """All of it; figures for those who want them. Nobody may be calling."""
    await world.settled()
    await world.no_orphans()
    found: dict[str, Journal] = {}
    statuses: collections.Counter[str] = collections.Counter()
    for org in ("default", "acme", "-"):
        answers = [answer for answer in roaming.all(org) if answer.status != 202]
        held = next((answer.receipts[-1] for answer in reversed(answers) if answer.receipts), "")
        found[org] = log = await asyncio.to_thread(journal, world.database, org, held)
        gapless(log)
        answered(log, answers)
        statuses.update(paired(log, answers) if org != "-" else {})
    everybody = [answer for org in ("default", "acme") for answer in roaming.all(org)]
    both = Journal("", [record for org in ("default", "acme") for record in found[org].records])
    return {
        "answers": len(everybody),
        "codes": dict(collections.Counter(answer.code for answer in everybody if answer.code)),
        "records": sum(len(log.records) for log in found.values()),
        "outcomes": dict(statuses),
        "sent": intended(both, world.notes),
        "executed": executed(world.notes, everybody),
        "paced": paced(roaming.answers["paced"], world.outages),
        "days": counted(world, roaming, found),
        "crowd": crowded(world.notes),
        **await quiet(world, rest),
    }
