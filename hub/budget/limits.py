"""Limits counted by one process: whether a call fits all the rules it matches. In memory; only daily counts are stored.

It knows the rules and the counts, not the call: nothing here reads a payload. Nothing waits, except for a daily count where the store that
keeps it may make later records durable before it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

from hub.budget import daily, match
from hub.budget.limiter import NOTHING, Entry, Hold, reached
from hub.budget.meter import Meter
from hub.call import Caller, Target
from hub.config.callers import LimitSpec
from hub.refusal import Limited

logger = logging.getLogger(__name__)

SWEEP_AT = 4096
"""Meters (and callers remembered) above which idle ones are looked for."""

_Meters = tuple[Meter, ...]


class _Group(Struct, frozen=True):
    """The meters one kind of call is held against; `flying` are those that count calls in flight, `daily` whether any counts by day."""

    meters: _Meters
    flying: _Meters
    daily: bool


class _Places(Hold):
    """Places among the calls in flight."""

    __slots__ = ("_meters",)

    def __init__(self, meters: _Meters) -> None:
        self._meters = meters

    def release(self) -> None:
        meters, self._meters = self._meters, ()
        for meter in meters:
            meter.flying -= 1


class Limits:
    """A `Limiter` of counts in memory. `clock` is monotonic nanoseconds, `wall` Unix seconds."""

    def __init__(
        self,
        days: daily.Days,
        specs: tuple[LimitSpec, ...],
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._days = days
        self._clock = clock
        self._wall = wall
        self._day = daily.day_of(wall())
        self._meters: dict[tuple[str, str], Meter] = {}
        self._callers: dict[str, tuple[Caller, _Group]] = {}
        self._targets: dict[tuple[str, str, str], _Group] = {}
        self._sweep_at = SWEEP_AT
        self._pending: dict[Meter, asyncio.Future[Any]] = {}
        """Counts on their way to the store."""
        self.configure(specs)

    async def open(self) -> None:
        """Take up today's counts where the last run left them. Raises `StoreDown`."""
        await self.resume()
        await self._days.forget(self._day)

    async def resume(self) -> None:
        """Take up today's counts where they are higher than any this process has stored. Raises `StoreDown`."""
        self._left_today()
        rules = {spec.name: spec for spec in self._specs}
        for rule, who, used in await self._days.load(self._day):
            meter = self._meters.get((rule, who))
            if meter is None:
                # A rule the file no longer has may come back within the day: its counts wait for it under its name.
                self._meters[rule, who] = Meter(rules.get(rule) or LimitSpec(name=rule, scope="key"), who, used=used)
            elif used > meter.mark:
                meter.used = meter.mark = used

    async def close(self) -> None:
        """Store the counts exactly as they stand. Comes before the database is closed; raises `StoreDown`."""
        await asyncio.gather(*self._pending.values(), return_exceptions=True)
        meters = [meter for meter in self._meters.values() if meter.mark != meter.used]
        await asyncio.gather(*(self._days.save(self._day, meter.rule.name, meter.who, meter.used, final=True) for meter in meters))

    def configure(self, specs: tuple[LimitSpec, ...]) -> None:
        """Replace the rules. Rules whose name stays keep what they have counted."""
        self._specs = specs
        self._callers.clear()
        self._targets.clear()

    def enter_caller(self, caller: Caller) -> Entry:
        """Count a call against the limits of its key, subject and organisation. Raises `Limited`, having counted nothing."""
        known = self._callers.get(caller.key_id)
        if known is None or known[0] is not caller:
            self._make_room()
            known = self._callers[caller.key_id] = (caller, self._group(match.of_caller(self._specs, caller)))
        return self._enter(known[1]) if known[1].meters else NOTHING

    def enter_target(self, caller: Caller, target: Target) -> Entry:
        """Count a call against the limits of its tool, which count by organisation. Raises `Limited`, having counted nothing."""
        if target.kind != "tool":
            return NOTHING
        at = (caller.org, target.upstream, target.name)
        group = self._targets.get(at)
        if group is None:
            self._make_room()
            group = self._targets[at] = self._group(match.of_target(self._specs, caller.org, str(target)))
        return self._enter(group) if group.meters else NOTHING

    def _enter(self, group: _Group) -> Entry:
        now = self._clock()
        left_today = self._left_today() if group.daily else 0
        for meter in group.meters:
            if meter.check(now, left_today):
                raise _refusal(group.meters, now, left_today)
        for meter in group.meters:
            if meter.take():
                self._save(meter, meter.mark)
        hold = _Places(group.flying) if group.flying else NOTHING
        if not group.daily or self._days.ordered:
            return hold
        waits = [self._pending[meter] for meter in group.meters if meter in self._pending]
        return self._stored(hold, waits) if waits else hold

    async def _stored(self, hold: Hold, waits: list["asyncio.Future[Any]"]) -> Hold:
        """The hold, once the counts are durable. Raises `StoreDown`; whoever leaves meanwhile has been counted."""
        try:
            for future in waits:
                await asyncio.shield(future)
        except BaseException:
            hold.release()
            raise
        return hold

    def _left_today(self) -> int:
        """Nanoseconds until the day ends, of which the first to ask after midnight turns the page."""
        seconds = self._wall()
        today = int(seconds // daily.DAY)
        if today > self._day:  # never back: a clock set back over midnight must not give the day a second time
            self._turn(today)
        return int(((self._day + 1) * daily.DAY - seconds) * 1e9)

    def _group(self, counts: Iterable[match.Count]) -> _Group:
        meters = tuple(self._meter(spec, who) for spec, who in counts)
        return _Group(meters, tuple(meter for meter in meters if meter.concurrency), any(meter.rule.per_day for meter in meters))

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
        asyncio.ensure_future(self._days.forget(today)).add_done_callback(_note)

    def _save(self, meter: Meter, used: int) -> None:
        """Have the count stored."""

        def done(future: "asyncio.Future[Any]") -> None:
            if self._pending.get(meter) is future:
                del self._pending[meter]
            if _note(future):
                meter.mark = 0  # the next call stores the count anew

        future = self._pending[meter] = self._days.save(self._day, meter.rule.name, meter.who, used)
        future.add_done_callback(done)


def _note(future: "asyncio.Future[Any]") -> bool:
    failed = not future.cancelled() and future.exception() is not None
    if failed:
        logger.warning("a daily count could not be stored; it stands in memory and is stored with the next call")
    return failed


def _refusal(meters: _Meters, now: int, left_today: int) -> Limited:
    """Names the limit that takes longest to clear, with a wait after which the call fits, rounded up to milliseconds."""
    wait, meter = max(((meter.check(now, left_today), meter) for meter in meters), key=lambda pair: pair[0])
    return reached(meter.rule, -(-wait // 1_000_000))
