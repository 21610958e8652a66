"""Limits on callers and tools: which rules a call matches, and whether it fits them all. In memory; only daily counts are stored.

It knows the rules and the counts, not the call: nothing here reads a payload, and nothing waits.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

from hub.budget import daily
from hub.budget.meter import Meter
from hub.call import Caller, Target
from hub.config.model import LimitSpec
from hub.grants import glob
from hub.refusal import Limited
from hub.store.sqlite import Database

logger = logging.getLogger(__name__)

SWEEP_AT = 4096
"""Meters (and callers remembered) above which idle ones are looked for."""

_Meters = tuple[Meter, ...]


class _Group(Struct, frozen=True):
    """The meters one kind of call is held against; `flying` are those that count calls in flight, `daily` whether any counts by day."""

    meters: _Meters
    flying: _Meters
    daily: bool


def _group(meters: Iterable[Meter]) -> _Group:
    found = tuple(meters)
    return _Group(found, tuple(meter for meter in found if meter.concurrency), any(meter.rule.per_day for meter in found))


class Hold:
    """What a call occupies while it runs. Rates and daily counts are not given back."""

    __slots__ = ("_meters",)

    def __init__(self, meters: Iterable[Meter]) -> None:
        self._meters = meters

    def release(self) -> None:
        """Free the place among the calls in flight. Doing it again changes nothing."""
        meters, self._meters = self._meters, ()
        for meter in meters:
            meter.flying -= 1

    def __enter__(self) -> "Hold":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


_NOTHING = Hold(())


class Limits:
    """All limits of one hub. `clock` is monotonic nanoseconds, `wall` Unix seconds."""

    def __init__(
        self,
        database: Database,
        specs: tuple[LimitSpec, ...],
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._clock = clock
        self._wall = wall
        self._day = daily.day_of(wall())
        self._meters: dict[tuple[str, str], Meter] = {}
        self._callers: dict[str, tuple[Caller, _Group]] = {}
        self._targets: dict[tuple[str, str, str], _Group] = {}
        self._sweep_at = SWEEP_AT
        self.configure(specs)

    async def open(self) -> None:
        """Take up today's counts where the last run left them. Raises `StoreDown`."""
        today, rules = self._day, {spec.name: spec for spec in self._specs}
        for rule, who, used in await self._database.read(lambda connection: daily.load(connection, today)):
            # A rule the file no longer has may come back within the day: its counts wait for it under its name.
            self._meters[rule, who] = Meter(rules.get(rule) or LimitSpec(name=rule, scope="key"), who, used=used)
        await self._database.write(lambda connection: daily.forget(connection, today))

    async def close(self) -> None:
        """Store the counts exactly as they stand. Comes before the database is closed; raises `StoreDown`."""
        writes = [self._save(meter, meter.used) for meter in self._meters.values() if meter.mark != meter.used]
        await asyncio.gather(*writes, self._database.write(_nothing))  # the last one waits for what was queued before

    def configure(self, specs: tuple[LimitSpec, ...]) -> None:
        """Replace the rules. Rules whose name stays keep what they have counted."""
        self._specs = specs
        self._callers.clear()
        self._targets.clear()

    def enter_caller(self, caller: Caller) -> Hold:
        """Count a call against the limits of its key, subject and organisation. Raises `Limited`, having counted nothing."""
        known = self._callers.get(caller.key_id)
        if known is None or known[0] is not caller:
            self._make_room()
            known = self._callers[caller.key_id] = (caller, self._match_caller(caller))
        return self._enter(known[1]) if known[1].meters else _NOTHING

    def enter_target(self, caller: Caller, target: Target) -> Hold:
        """Count a call against the limits of its tool, which count by organisation. Raises `Limited`, having counted nothing."""
        if target.kind != "tool":
            return _NOTHING
        at = (caller.org, target.upstream, target.name)
        group = self._targets.get(at)
        if group is None:
            self._make_room()
            group = self._targets[at] = self._match_target(caller.org, str(target))
        return self._enter(group) if group.meters else _NOTHING

    def _enter(self, group: _Group) -> Hold:
        now = self._clock()
        left_today = self._left_today() if group.daily else 0
        for meter in group.meters:
            if meter.check(now, left_today):
                raise _refusal(group.meters, now, left_today)
        for meter in group.meters:
            if meter.take():
                self._save(meter, meter.mark)
        return Hold(group.flying) if group.flying else _NOTHING

    def _left_today(self) -> int:
        """Nanoseconds until the day ends, of which the first to ask after midnight turns the page."""
        seconds = self._wall()
        today = int(seconds // daily.DAY)
        if today > self._day:  # never back: a clock set back over midnight must not give the day a second time
            self._turn(today)
        return int(((self._day + 1) * daily.DAY - seconds) * 1e9)

    def _match_caller(self, caller: Caller) -> _Group:
        found: list[Meter] = []
        for spec in self._specs:
            if spec.scope == "tool" or spec.org not in ("*", caller.org):
                continue
            match = glob(spec.match)
            if spec.scope == "key" and (match(caller.key_id) or (caller.key_name != "" and match(caller.key_name))):
                found.append(self._meter(spec, f"key:{caller.key_id}"))
            elif spec.scope == "subject" and match(caller.subject):
                found.append(self._meter(spec, f"subject:{caller.org} {caller.subject}"))
            elif spec.scope == "org" and match(caller.org):
                found.append(self._meter(spec, f"org:{caller.org}"))
        return _group(found)

    def _match_target(self, org: str, target: str) -> _Group:
        specs = [spec for spec in self._specs if spec.scope == "tool" and spec.org in ("*", org) and glob(spec.match)(target)]
        return _group(self._meter(spec, f"tool:{org} {target}") for spec in specs)

    def _meter(self, spec: LimitSpec, who: str) -> Meter:
        meter = self._meters.get((spec.name, who))
        if meter is None:
            meter = self._meters[spec.name, who] = Meter(spec, who)
        meter.bind(spec)
        return meter

    def _make_room(self) -> None:
        """Forget idle meters, so that memory follows the callers of the day and not all there ever were."""
        if len(self._meters) + len(self._callers) + len(self._targets) < self._sweep_at:
            return
        now = self._clock()
        self._callers.clear()
        self._targets.clear()
        self._meters = {at: meter for at, meter in self._meters.items() if not meter.idle(now)}
        self._sweep_at = max(SWEEP_AT, 2 * len(self._meters))

    def _turn(self, today: int) -> None:
        self._day = today
        for meter in self._meters.values():
            meter.new_day()
        self._database.write(lambda connection: daily.forget(connection, today)).add_done_callback(_note)

    def _save(self, meter: Meter, used: int) -> "asyncio.Future[Any]":
        """Queue the count. The writer keeps the order, so it is durable no later than any record queued after it."""
        day, rule, who = self._day, meter.rule.name, meter.who

        def save(connection: sqlite3.Connection) -> None:
            daily.save(connection, day, rule, who, used)

        def done(future: "asyncio.Future[Any]") -> None:
            if _note(future):
                meter.mark = 0  # the next call stores the count anew

        future = self._database.write(save)
        future.add_done_callback(done)
        return future


def _nothing(_: sqlite3.Connection) -> None:
    return


def _note(future: "asyncio.Future[Any]") -> bool:
    failed = not future.cancelled() and future.exception() is not None
    if failed:
        logger.warning("a daily count could not be stored; it stands in memory and is stored with the next call")
    return failed


def _refusal(meters: _Meters, now: int, left_today: int) -> Limited:
    """Names the limit that takes longest to clear, with a wait after which the call fits, rounded up to milliseconds."""
    wait, meter = max(((meter.check(now, left_today), meter) for meter in meters), key=lambda pair: pair[0])
    rule = meter.rule
    return Limited(
        f"the limit {rule.name!r} is reached", retry_after=-(-wait // 1_000_000) / 1000, data={"limit": rule.name, "scope": rule.scope}
    )
