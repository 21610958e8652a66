"""Limits counted in Redis, exactly, however many processes ask: one script for each decision, on the clock of Redis.

While Redis is away a call that a daily count or a number of calls in flight applies to is refused, since nobody could say that it fits; one
that only rates apply to has a small allowance of this process. It knows the rules and where counts stand, not the call. Imported only where
a Redis is configured.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import cast

from msgspec import Struct

from hub.budget import match
from hub.budget.allowance import Allowance
from hub.budget.leases import LENGTH, Leases, Places, places
from hub.budget.limiter import NOTHING, Entry, Hold, reached
from hub.budget.scripts import CLOCK, RENEW, TAKE
from hub.call import Caller, Target
from hub.config.model import LimitSpec
from hub.refusal import Limited, StoreDown
from hub.store.redis import Redis, Script
from hub.store.resp import strings

KNOWN = 4096
"""Callers and tools whose rules are remembered; beyond it all are looked up anew."""

SETTLE = 2.0
"""Seconds after Redis was away for long, or began anew, in which no place among calls in flight is given: every process that holds some has
come back by then and said so (`redis_place.LONGEST_PAUSE`, and the time of one failed attempt)."""

MINUTE = 60_000_000
"""Microseconds."""

_LONGEST = 1 << 52
"""Microseconds a burst may stand for: beyond it Lua's numbers are no longer exact. 142 years."""

_MOST = (1 << 32) - 1
"""Calls a day that can be counted beside the day in one of Lua's numbers."""

_SHOWN = 160
"""Bytes of a count's name that stand in its key; a longer one is hashed."""


class _Group(Struct, frozen=True):
    """The counts one kind of call is held against, and the script's arguments as far as they do not change from call to call."""

    counts: tuple[match.Count, ...]
    rules: tuple[LimitSpec, ...]
    """The rule of each key."""
    tag: bytes
    """One of the keys; all share a hash tag."""
    flying: Places | None
    """Where calls in flight are counted, if they are."""
    hard: bool
    """Whether a call must be refused where it cannot be counted."""
    count: int
    rest: bytes


class RedisLimits:
    """A `Limiter` whose counts all processes share.

    `lease`: seconds after which the places of a process that died are free. `local` is called for each call let through without Redis.
    `clock` is how the scripts read the time.
    """

    def __init__(
        self,
        redis: Redis,
        specs: tuple[LimitSpec, ...],
        *,
        lease: float = LENGTH,
        local: Callable[[], None] = lambda: None,
        clock: str = CLOCK,
    ) -> None:
        self._redis = redis
        self._take = Script(TAKE.replace(CLOCK, clock))
        self._leases = Leases(redis, lease, RENEW.replace(CLOCK, clock))
        self._allowance = Allowance()
        self._local = local
        self._callers: dict[str, tuple[Caller, _Group | None]] = {}
        self._targets: dict[tuple[str, str, str], _Group | None] = {}
        self._settled = 0.0
        self.configure(specs)
        redis.on_return(self._returned)

    async def open(self) -> None:
        """Begin to renew what is held. The counts are in Redis already."""
        self._leases.open()

    async def resume(self) -> None:
        """The counts are in Redis whoever counts."""

    async def close(self) -> None:
        """Give back what is held. The counts stay in Redis."""
        await self._leases.close()

    def configure(self, specs: tuple[LimitSpec, ...]) -> None:
        """Replace the rules. Rules whose name stays keep what they have counted; other processes may have others for a while."""
        self._specs = specs
        self._callers.clear()
        self._targets.clear()

    def enter_caller(self, caller: Caller) -> Entry:
        """See `Limiter.enter_caller`. What must be asked of Redis must be waited for."""
        known = self._callers.get(caller.key_id)
        if known is None or known[0] is not caller:
            if len(self._callers) >= KNOWN:
                self._callers.clear()
            known = self._callers[caller.key_id] = (caller, self._group(caller.org, match.of_caller(self._specs, caller)))
        return NOTHING if known[1] is None else self._enter(known[1])

    def enter_target(self, caller: Caller, target: Target) -> Entry:
        """See `Limiter.enter_target`."""
        if target.kind != "tool":
            return NOTHING
        at = (caller.org, target.upstream, target.name)
        if at not in self._targets:
            if len(self._targets) >= KNOWN:
                self._targets.clear()
            self._targets[at] = self._group(caller.org, match.of_target(self._specs, caller.org, str(target)))
        group = self._targets[at]
        return NOTHING if group is None else self._enter(group)

    async def _enter(self, group: _Group) -> Hold:
        since = asyncio.get_running_loop().time()
        name, rest = b"", group.rest
        if group.flying is not None:
            if self._settled > since:
                raise StoreDown("calls in flight are being counted again", retry_after=self._settled - since)
            name = self._leases.name()
            rest = b"%b$%d\r\n%b\r\n" % (rest, len(name), name)
        try:
            reply = await self._redis.evaluate(self._take, group.tag, group.count, rest)
        except (StoreDown, asyncio.CancelledError) as error:
            if group.flying is not None:
                self._leases.give_back(name, group.flying)  # Redis may have taken it all the same
            if isinstance(error, asyncio.CancelledError):
                raise
            self._alone(group, error)
            return NOTHING
        if reply == 0:
            return NOTHING if group.flying is None else self._leases.begin(name, group.flying, since)
        which, wait = cast(list[int], reply)
        raise reached(group.rules[which - 1], -(-wait // 1000))

    def _alone(self, group: _Group, down: StoreDown) -> None:
        """Without Redis. Raises `Limited`, `StoreDown`."""
        if group.hard:
            raise down
        try:
            self._allowance.take(group.counts, time.monotonic_ns())
        except Limited as limited:
            raise limited from None
        self._local()

    def _returned(self, whole: bool) -> None:
        self._allowance.clear()
        self._leases.again()
        if not whole:
            self._settled = asyncio.get_running_loop().time() + SETTLE

    def _group(self, org: str, counts: Sequence[match.Count]) -> _Group | None:
        if not counts:
            return None
        parts = [(rule, _key(org, kind, rule, who), kind, first, second) for rule, who in counts for kind, first, second in _kinds(rule)]
        flying = tuple(key for _, key, kind, _, _ in parts if kind == "flying")
        arguments = [len(parts), *(key for _, key, *_ in parts), *_flat((kind, first, second) for _, _, kind, first, second in parts)]
        if flying:
            arguments.append(self._leases.length)
        return _Group(
            counts=tuple(counts),
            rules=tuple(rule for rule, *_ in parts),
            tag=parts[0][1],
            flying=places(flying) if flying else None,
            hard=any(kind != "rate" for _, _, kind, _, _ in parts),
            count=len(arguments) + bool(flying),
            rest=strings(*arguments),
        )


def _kinds(rule: LimitSpec) -> Iterable[tuple[str, int, int]]:
    """What the script must know of a rule, count by count: kind, limit, interval."""
    if rule.per_minute:
        interval = -(-MINUTE // rule.per_minute)
        yield "rate", min(rule.burst or rule.per_minute, _LONGEST // interval), interval
    if rule.concurrency:
        yield "flying", rule.concurrency, 0
    if rule.per_day:
        yield "day", min(rule.per_day, _MOST), 0


def _key(org: str, kind: str, rule: LimitSpec, who: str) -> bytes:
    name = who if len(who.encode()) <= _SHOWN else sha256(who.encode()).hexdigest()
    return f"hub:{{{org}}}:{kind}:{rule.name}:{name}".encode()


def _flat(rows: Iterable[tuple[str, int, int]]) -> list[str | int]:
    return [item for row in rows for item in row]
