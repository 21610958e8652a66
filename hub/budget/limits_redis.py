"""Limits counted in Redis, exactly, however many processes ask: one script for each call, on the clock of Redis.

While Redis is away a call that a daily count or a number of calls in flight applies to is refused, since nobody could say that it fits; one
that only rates apply to has a small allowance of this process. It knows the rules and where counts stand, not the call. Imported only where
a Redis is configured.
"""

import asyncio
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from hashlib import sha256
from typing import Any, cast

from msgspec import Struct

from hub.budget import match
from hub.budget.allowance import Allowance
from hub.budget.leases import LENGTH, Leases, Places, places, together
from hub.budget.limiter import NOTHING, Entry, Hold, Question, reached
from hub.budget.scripts import CLOCK, RENEW, TAKE
from hub.call import Caller, Target
from hub.config.callers import LimitSpec
from hub.refusal import Limited, Refusal, StoreDown
from hub.store.redis import Redis, Script
from hub.store.resp import strings

KNOWN = 4096
"""Callers and tools whose rules are remembered; beyond it all are looked up anew."""

SETTLE = 2.0
"""Seconds after Redis was away for long, or began anew, in which no place among calls in flight is given: every process that holds some has
come back by then and said so (`redis_place.LONGEST_PAUSE`, and the time of one failed attempt)."""

REMEMBERED = 1_000_000
"""Microseconds for which a refusal is given again without asking, at most: so soon a process hears of what has Redis think otherwise before
the time it said, such as a clock that was set."""

MINUTE = 60_000_000
"""Microseconds."""

_LONGEST = 1 << 52
"""Microseconds a burst may stand for: beyond it Lua's numbers are no longer exact. 142 years."""

_MOST = (1 << 32) - 1
"""Calls a day that can be counted beside the day in one of Lua's numbers."""

_SHOWN = 160
"""Bytes of a count's name that stand in its key; a longer one is hashed."""


class _Refused(Struct, frozen=True):
    """A refusal that Redis has given. Times are monotonic nanoseconds."""

    rule: LimitSpec
    until: int
    """Before this Redis would refuse again."""
    free: int
    """When who asked may come again, at the latest."""


class _Group(Struct):
    """The counts one kind of call is held against, and the script's arguments as far as they do not change from call to call."""

    counts: tuple[match.Count, ...]
    rules: tuple[LimitSpec, ...]
    """The rule of each key."""
    kinds: tuple[str, ...]
    """And its kind."""
    tag: bytes
    """One of the keys; all share a hash tag, the organisation."""
    flying: Places | None
    """Where calls in flight are counted, if they are."""
    hard: bool
    """Whether a call must be refused where it cannot be counted."""
    keys: bytes
    numbers: bytes
    """Of each key, what the script must know of its rule."""
    refused: _Refused | None = None
    """What Redis said last, where that was no."""


class _Ask(Question):
    """What one call asks of Redis: its caller's counts, its target's, or both where the latter joined the former."""

    __slots__ = ("_asked", "_group", "_limits", "_refusal", "_second")

    def __init__(self, limits: "RedisLimits", group: _Group) -> None:
        self._limits = limits
        self._group = group
        self._second: _Ask | None = None
        self._asked = False
        self._refusal: Refusal | None = None

    def join(self, second: Entry) -> None:
        if isinstance(second, _Ask):
            self._second = second

    def __await__(self) -> Generator[Any, Any, Hold]:
        return self._answer().__await__()

    async def _answer(self) -> Hold:
        if self._refusal is not None:
            raise self._answered()
        if self._asked:
            return NOTHING  # it was asked with another, whose hold is of both
        second = self._second
        if second is None:
            return (await self._limits.ask(self._group, None))[0]
        hold, second._refusal = await self._limits.ask(self._group, second._group)
        second._asked = True
        return hold

    def _answered(self) -> Refusal:
        """The refusal, kept no longer: it will hold the frames it passes, and so this."""
        refusal, self._refusal = self._refusal, None
        assert refusal is not None
        return refusal


class RedisLimits:
    """A `Limiter` whose counts all processes share.

    `lease`: seconds after which the places of a process that died are free. `local` is called for each call let through without Redis.
    `clock` is how the scripts read the time, `elapsed` how this process does, in monotonic nanoseconds.
    """

    def __init__(
        self,
        redis: Redis,
        specs: tuple[LimitSpec, ...],
        *,
        lease: float = LENGTH,
        local: Callable[[], None] = lambda: None,
        clock: str = CLOCK,
        elapsed: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._redis = redis
        self._elapsed = elapsed
        self._take = Script(TAKE.replace(CLOCK, clock))
        self._leases = Leases(redis, lease, RENEW.replace(CLOCK, clock))
        self._length = strings(self._leases.length)
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
        self._forget()

    def enter_caller(self, caller: Caller) -> Entry:
        """See `Limiter.enter_caller`. What must be asked of Redis must be waited for."""
        known = self._callers.get(caller.key_id)
        if known is None or known[0] is not caller:
            if len(self._callers) >= KNOWN:
                self._callers.clear()
            known = self._callers[caller.key_id] = (caller, self._group(caller.org, match.of_caller(self._specs, caller)))
        return NOTHING if known[1] is None else self._question(known[1])

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
        return NOTHING if group is None else self._question(group)

    def _question(self, group: _Group) -> Question:
        """Raises `Limited` where Redis has just said so, and for longer than until now."""
        if group.refused is not None:
            now = self._elapsed()
            if now < group.refused.until and self._redis.up:
                raise reached(group.refused.rule, -(-(group.refused.free - now) // 1_000_000))
            group.refused = None
        return _Ask(self, group)

    async def ask(self, first: _Group, second: _Group | None) -> tuple[Hold, Refusal | None]:
        """Count a call against `first`, and where that lets it through against `second`, in one script.

        What it occupies in both, and the refusal of `second`, for which the call was counted against `first` but occupies nothing. Raises
        the refusal of `first`: then nothing was counted, unless Redis was lost before it answered.
        """
        since = asyncio.get_running_loop().time()
        if self._settled > since:
            if first.flying is not None:
                raise self._settling(since)
            if second is not None and second.flying is not None:
                return (await self.ask(first, None))[0], self._settling(since)
        name, where = b"", first.flying if second is None else together(first.flying, second.flying)
        if where is not None:
            name = self._leases.name()
        asked = self._elapsed()
        try:
            reply = await self._redis.evaluate(self._take, first.tag, *self._packed(first, second, name))
        except (StoreDown, asyncio.CancelledError) as error:
            if where is not None:
                self._leases.give_back(name, where)  # Redis may have taken it all the same
            if isinstance(error, asyncio.CancelledError):
                raise
            return self._alone(first, second, error)
        if reply == 0:
            return (NOTHING if where is None else self._leases.begin(name, where, since)), None
        which, wait = cast(list[int], reply)
        if second is None or which <= len(first.rules):
            raise self._reached(first, which - 1, wait, asked)
        return NOTHING, self._reached(second, which - len(first.rules) - 1, wait, asked)

    def _settling(self, now: float) -> StoreDown:
        return StoreDown("calls in flight are being counted again", retry_after=self._settled - now)

    def _packed(self, first: _Group, second: _Group | None, name: bytes) -> tuple[int, bytes]:
        """The arguments of the script, and how many they are."""
        split = size = len(first.rules)
        keys, numbers = first.keys, first.numbers
        if second is not None:
            size, keys, numbers = split + len(second.rules), keys + second.keys, numbers + second.numbers
        rest = b"%b%b%b%b" % (strings(size), keys, strings(split), numbers)
        return (4 * size + 4, b"%b%b$%d\r\n%b\r\n" % (rest, self._length, len(name), name)) if name else (4 * size + 2, rest)

    def _reached(self, group: _Group, at: int, wait: int, asked: int) -> Limited:
        """The refusal of one count, after `wait` microseconds of which it has room again where nobody else comes.

        A rate has none earlier and a day neither, so that nobody needs to be asked meanwhile; of calls in flight one may end at any time.
        """
        rule = group.rules[at]
        if group.kinds[at] != "flying":
            group.refused = _Refused(rule, asked + 1000 * min(wait, REMEMBERED), self._elapsed() + 1000 * wait)
        return reached(rule, -(-wait // 1000))

    def _alone(self, first: _Group, second: _Group | None, down: StoreDown) -> tuple[Hold, Refusal | None]:
        """Without Redis: the same as `ask`."""
        refusal = self._allowed(first, down)
        if refusal is not None:
            raise refusal from None
        return NOTHING, None if second is None else self._allowed(second, down)

    def _allowed(self, group: _Group, down: StoreDown) -> Refusal | None:
        """None where the call has a share of what this process may let through by itself, else why not."""
        if group.hard:
            return down
        try:
            self._allowance.take(group.counts, time.monotonic_ns())
        except Limited as limited:
            return limited
        self._local()
        return None

    def _returned(self, whole: bool) -> None:
        self._allowance.clear()
        self._leases.again()
        if not whole:
            self._settled = asyncio.get_running_loop().time() + SETTLE
            self._forget()

    def _forget(self) -> None:
        """What callers and tools are held against is looked up anew, and what Redis has said of them forgotten."""
        self._callers.clear()
        self._targets.clear()

    def _group(self, org: str, counts: Sequence[match.Count]) -> _Group | None:
        if not counts:
            return None
        parts = [(rule, _key(org, kind, rule, who), kind, first, second) for rule, who in counts for kind, first, second in _kinds(rule)]
        flying = tuple(key for _, key, kind, _, _ in parts if kind == "flying")
        return _Group(
            counts=tuple(counts),
            rules=tuple(rule for rule, *_ in parts),
            kinds=tuple(kind for _, _, kind, _, _ in parts),
            tag=parts[0][1],
            flying=places(flying) if flying else None,
            hard=any(kind != "rate" for _, _, kind, _, _ in parts),
            keys=strings(*(key for _, key, *_ in parts)),
            numbers=strings(*_flat((kind, first, second) for _, _, kind, first, second in parts)),
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
