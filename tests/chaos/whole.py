"""What must hold of several replicas after whatever was done to them: records, executions, limits, connections, descriptors, processes."""

import asyncio
import collections
from collections.abc import Callable, Iterable, Mapping, Sequence
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


LATE = 10.0
"""Seconds for which a request that was begun before Redis lost its data may wait to be counted, with processes and stores that stand still."""


def paired(found: Journal, answers: Iterable[Answer], *, may_be_open: bool = False) -> dict[str, int]:
    """Of each call one record, or an intent and its one outcome, which is the one that was answered. Outcomes by status.

    `may_be_open`: calls are under way, or have not been settled yet, so that one which was not answered may have its intent only.
    """
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
            assert phases == [""] or (may_be_open and phases == ["intent"]), records
    for answer in answers:
        if answer.what.startswith("call ") and answer.status == 200 and not answer.code:
            status = calls[answer.call][-1].says.get("outcome", {}).get("status", "open")
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


def paced(answers: Sequence[Answer], outages: Sequence[tuple[float, float]], losses: Sequence[tuple[float, float]]) -> int:
    """In no stretch of time were more calls let in than the rate allows. How many in all.

    A call was let in between its beginning and its end as its client saw them: counted are those that lie in the stretch as a whole.
    While Redis was away every process had its share of the rate by itself, and where it lost its data the burst is there once more.
    """
    let_in = sorted((one.began, one.began + one.took) for one in answers if one.status == 200 and one.code not in UNCOUNTED)
    interval = 60.0 / PACE
    for first, (begin, _) in enumerate(let_in):
        for inside, end in enumerate(sorted(end for _, end in let_in[first:]), 1):
            if inside > BURST + 1 + (end - begin) / interval:
                away = [min(end, back) - max(begin, gone) for gone, back in outages if gone < end and back > begin]
                alone = REPLICAS * WORKERS * sum(1 + seconds / (SHARE * interval) for seconds in away)
                again = (BURST + 1) * sum(gone < end and back > begin for gone, back in losses)
                assert inside <= BURST + 1 + (end - begin) / interval + alone + again, (inside, end - begin, away, again)
    return len(let_in)


def counted(world: World, roaming: Roaming) -> dict[str, tuple[int, int, int]]:
    """What Redis has counted today lies between what was let in and what was asked, and within the limit. Clients may be calling.

    (Let in by the answers, by Redis, asked), of each rule, since Redis last lost its data. One that refuses leaves no count; a call whose
    answer was lost may be counted.
    """
    gone, back = world.losses[-1] if world.losses else (0.0, 0.0)
    return {
        rule: _between(
            roaming, key, max(midnight(), back), gone - LATE, lambda org=org, rule=rule, who=who: _counted_today(world, org, rule, who)
        )
        for key, org, rule, who in (
            ("few", "default", "few-a-day", f"key:{world.key_id('few')}"),
            ("bob", "acme", "all-day", "org:acme"),
        )
    }


def _between(roaming: Roaming, key: str, since: float, asked_since: float, count: Callable[[], int]) -> tuple[int, int, int]:
    """Of calls begun since these times. In this order: calls go on while it is asked."""
    let_in = sum(one.began >= since and one.status in (200, 202) for one in roaming.answers[key] if one.what != "stranger")
    refused = sum(one.began >= asked_since and one.code == "limited" for one in roaming.answers[key]) if key == "few" else 0
    used = count()
    asked = roaming.asked(key, asked_since) - refused
    assert let_in <= used <= asked, (key, let_in, used, asked)
    assert key != "few" or used <= DAILY, used
    return let_in, used, asked


def recorded(world: World, roaming: Roaming, found: dict[str, Journal], days: dict[str, tuple[int, int, int]]) -> dict[str, int]:
    """What the journal says was let in today is counted, while nobody is calling. Calls, by rule.

    Since Redis lost its data, of calls that were answered: only of these is known when they began.
    """
    shown: dict[str, int] = {}
    since = max(midnight(), world.losses[-1][1] if world.losses else 0.0)
    for key, org, rule in (("few", "default", "few-a-day"), ("bob", "acme", "all-day")):
        records = [one for one in found[org].records if org == "acme" or one.says.get("actor", {}).get("id") == world.key_id(key)]
        if roaming.answers[key][0].began < since:
            calls = {answer.call for answer in roaming.answers[key] if answer.began >= since}
            records = [one for one in records if one.says["id"] in calls]
        shown[rule] = _let_in(records)
        assert shown[rule] <= days[rule][1], (key, shown[rule], days[rule])
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

    def problem() -> str:
        found = world.descriptors()
        strays = (f"{pid}: {wrong}: {held}" for pid, held in found.items() if (wrong := _stray(held, rest.get(pid))))
        return too_many_connections(world, found) or next(strays, "")

    try:
        await none(problem)
    except AssertionError as error:
        raise AssertionError(f"{error}; at first {rest}") from None
    for pid, held in world.descriptors().items():
        rest.setdefault(pid, held.rest)
    return dict(zip(("postgres", "redis"), world.connections(), strict=True))


def too_many_connections(world: World, found: dict[int, Descriptors]) -> str:
    """Which process, or all together, has more connections to the stores than configured; empty for none."""
    postgres, redis = world.connections()
    if postgres > REPLICAS * WORKERS * (POOL + LOCKS) or redis > REPLICAS * WORKERS * REDIS:
        return f"{postgres} connections to PostgreSQL, {redis} to Redis"
    most = (pid for pid, held in found.items() if held.postgres > POOL + LOCKS or held.redis > REDIS)
    return "".join(f"{pid}: more connections than its pools have: {found[pid]}" for pid in most)


async def none(problem: Callable[[], str], seconds: float = 60.0) -> None:
    """Wait until there is no `problem`; fail with what it is."""
    said = ""

    def well() -> bool:
        nonlocal said
        said = problem()
        return not said

    try:
        await eventually(lambda: asyncio.to_thread(well), seconds, 0.3)
    except AssertionError:
        raise AssertionError(said) from None


def _stray(held: Descriptors, rest: int | None) -> str:
    if held.clients:
        return "connections of clients that have left"
    if rest is not None and held.rest > rest:
        return f"descriptors besides connections, {rest} before"
    return ""


async def examine(world: World, roaming: Roaming, rest: dict[int, int], seen: Mapping[str, Journal]) -> dict[str, Any]:
    """All of it; figures for those who want them. Nobody may be calling. `seen`: what was read of each journal before, which must stand."""
    await world.settled()
    await world.no_orphans()
    found: dict[str, Journal] = {}
    statuses: collections.Counter[str] = collections.Counter()
    for org in ("default", "acme", "-"):
        answers = [answer for answer in roaming.all(org) if answer.status != 202]
        held = next((answer.receipts[-1] for answer in reversed(answers) if answer.receipts), "")
        found[org] = log = await asyncio.to_thread(journal, world.database, org, held)
        gapless(log)
        before = [record.hash for record in seen[org].records]
        assert before == [record.hash for record in log.records[: len(before)]], f"records of {org} have changed"
        answered(log, answers)
        statuses.update(paired(log, answers) if org != "-" else {})
    everybody = [answer for org in ("default", "acme") for answer in roaming.all(org)]
    both = Journal("", [record for org in ("default", "acme") for record in found[org].records])
    days = await asyncio.to_thread(counted, world, roaming)
    return {
        "answers": len(everybody),
        "codes": dict(collections.Counter(answer.code for answer in everybody if answer.code)),
        "records": sum(len(log.records) for log in found.values()),
        "outcomes": dict(statuses),
        "sent": intended(both, world.notes),
        "executed": executed(world.notes, everybody),
        "paced": paced(roaming.answers["paced"], world.outages, world.losses),
        "days": days,
        "recorded": recorded(world, roaming, found, days),
        "crowd": crowded(world.notes),
        **await quiet(world, rest),
    }
