"""Budgets that many processes share, counted in Redis: one script over every tier decides, on the clock of Redis.

    reserve   one script: all tiers, or none, under a lease that is renewed while the call runs
    settle    one script: spent, given back, and the row of the ledger kept in Redis until the database has it
    a dead process' calls are ended by any other (`hub.budget.spend_keeper`)

The ledger in the database is the truth: what Redis has lost is loaded from it. While Redis is away a call that a hard budget applies to is
refused; one that only soft ones apply to is let through, and its row goes to the ledger alone. Imported only where Redis is configured.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine
from functools import partial
from typing import Any

import msgspec

from hub.budget.budgets import NO_TOKENS, Alert, Left, Outliving, Refusals, Reservation, Reserved, Room, exceeded, resets_at, unpriced
from hub.budget.known import Known, Matches
from hub.budget.overrides import NONE, Overrides
from hub.budget.spend_keeper import AGAIN, Keeper
from hub.budget.spend_redis import SpendRedis, Tally, record_of, tallies_of
from hub.budget.spend_scripts import CLOCK
from hub.budget.tiers import rules_of, taken
from hub.budget.usage import Facts, Ledger, Usage
from hub.budget.window import MICROS, span_of
from hub.call import Caller, Target, Tokens
from hub.config.callers import LimitSpec
from hub.config.money import BudgetSpec
from hub.refusal import StoreDown
from hub.store.redis import Redis

logger = logging.getLogger(__name__)

LEASE = 30.0
"""Seconds after which what a dead process had set aside is ended. Long: a process that merely stood still must not lose its calls."""

SETTLING = 2.0
"""Seconds of a new life of the counts in which hard budgets refuse: every process has set aside by then again what its calls have."""

OUTLIVES = 25 * 3600 * MICROS
"""Microseconds for which what outlives its process stays set aside though no process says that it looks after it."""

MOST_WAITING = 100_000
_TRIES = 20
_TOGETHER = 100
_SEEN = 4096
"""Counts whose rest is remembered for the metrics; beyond it all are forgotten."""


class RedisBudgets:
    """The `Budgets` of one of several processes. `lease` and `settling` in seconds; `clock` is how scripts read it."""

    def __init__(
        self,
        redis: Redis,
        store: Ledger,
        budgets: tuple[BudgetSpec, ...] = (),
        limits: tuple[LimitSpec, ...] = (),
        *,
        alert: Alert | None = None,
        lease: float = LEASE,
        settling: float = SETTLING,
        clock: str = CLOCK,
    ) -> None:
        self._store = store
        self._alert = alert
        self._spend = SpendRedis(redis, lease=lease, settling=settling, clock=clock)
        self._live: dict[str, Shared] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._keeper = Keeper(self._spend, store, self._records)
        self._closing = False
        redis.on_return(self._keeper.returned)
        self.refusals = Refusals()
        self._seen: dict[str, tuple[str, int, int]] = {}
        self._overrides = NONE
        self.configure(budgets, limits)

    async def open(self, but: Collection[str] = ()) -> None:
        await self._store.recover(but)  # what is under way is noted in Redis: here is what was kept aside, or left before Redis was there
        await self._keeper.open()

    async def resume(self) -> None:
        """The counts are in Redis whoever counts."""

    async def close(self) -> None:
        for held in tuple(self._live.values()):
            if not held.outlives:
                held.__exit__()
        self._closing = True
        if self._ending:
            await asyncio.wait(tuple(self._ending), timeout=5.0)
        await self._keeper.close()
        await self._store.settled()

    def configure(self, budgets: tuple[BudgetSpec, ...], limits: tuple[LimitSpec, ...]) -> None:
        self._rules = rules_of(budgets, limits)
        self._matches = Matches(self._rules, self._overrides)
        self._told: dict[str, tuple[int, int, int]] = {}
        for held in self._live.values():  # what is under way is set aside in the new counts too
            tallies = tallies_of(self._matches.of(held.caller, held.target))
            held.record = record_of(tallies, held.most, held.tokens)
            if held.mark:
                held.mark = self._spend.sent(self._least(held), tallies, held.until)
        records = self._records()
        for at in range(0, len(records), _TOGETHER):
            self._spend.rebind(records[at : at + _TOGETHER])

    def override(self, overrides: Overrides) -> None:
        self._overrides = overrides
        self._matches = Matches(self._rules, overrides)

    def now(self) -> int:
        return self._spend.now()

    def reserve(self, call_id: str, caller: Caller, target: Target, bound: int | None, tokens: Tokens) -> Reserved:
        known = self._matches.of(caller, target)
        held = Shared(self, call_id, known, target, bound, tokens)
        if not known.tiers:
            return held
        if bound is None and known.priced is not None:
            self.refusals.count(known.priced)
            raise unpriced(target, known.priced)
        if known.hard and self._store.waiting > MOST_WAITING:
            raise StoreDown("what calls cost cannot be written at the moment", retry_after=1.0)
        return self._reserve(held, known)

    async def adopt(self, told: Outliving) -> Reservation | None:
        """What Redis says comes first: a row that is not there any more by then is in the ledger."""
        known = self._matches.of(told.caller, told.target)
        held = told.onto(Shared(self, told.call, known, told.target, told.most, told.tokens))
        if known.tiers:
            tallies = tallies_of(known)
            held.record = record_of(tallies, told.most, told.tokens)
            held.until = self._spend.now() + OUTLIVES
            held.mark = self._spend.sent(self._least(held), tallies, held.until)
            found = await self._tried(partial(self._spend.adopt, told.call, held.record, held.mark), tallies)
            if found[0] == 0:
                return None
        if await self._store.find(None, limit=1, id=told.call):
            self.refund(held)  # set aside just now, or before by who could not read the ledger then
            return None
        if held.record:
            self._live[told.call] = held
        return held

    async def standing(self, caller: Caller, target: Target) -> tuple[Left, ...]:
        tallies = tallies_of(self._matches.of(caller, target))
        if not tallies:
            return ()
        reply = await self._tried(partial(self._spend.look, tallies), tallies)
        found = zip(tallies, reply[2::3], reply[3::3], reply[4::3], strict=True)
        return tuple(self._left(one, spent + aside, start, reply[1]) for one, spent, aside, start in found)

    def rooms(self) -> list[Room]:
        """As this process last heard of them: the counts are in Redis, and nobody asks it for the metrics' sake."""
        found = {rule.basis: Room(rule.name, rule.scope, rule.unit, rule.cap) for rule in self._rules if not rule.limit}
        now = self._spend.now()
        for basis, left, end in self._seen.values():
            room = found.get(basis)
            if room is not None and now < end:
                room.left = min(room.left, left)
        for held in self._live.values():
            for rule, _ in self._matches.of(held.caller, held.target).tiers:
                room = found.get(rule.basis)
                if room is not None:
                    room.reserved += taken(rule.unit, held.most, held.tokens)
        return list(found.values())

    async def _reserve(self, held: "Shared", known: Known) -> Reservation:
        twin = self._live.get(held.id)
        if twin is not None:
            return twin
        tallies = tallies_of(known)
        held.record = record_of(tallies, held.most, held.tokens)
        try:
            reserve = partial(self._spend.reserve, held.id, held.record, tallies, held.most, held.tokens)
            reply = await self._tried(reserve, tallies)
        except StoreDown:
            self._ended(held)  # Redis may have taken it all the same
            if known.hard:
                raise
            held.record = b""
            return held
        except asyncio.CancelledError:
            self._ended(held)
            raise
        if reply[0] == 0:
            which, spent, aside, start, wait = reply[2:]
            one = tallies[which - 1]
            left = self._left(one, spent + aside, start, reply[1])
            need = taken(one.rule.unit, held.most, held.tokens)
            held.record = b""
            self.refusals.count(one.rule)
            raise exceeded(one.rule, one.who, need, left.left, left.resets, None if wait < 0 else wait)
        held.over = tuple(tallies[which - 1].rule.name for which in reply[2:])
        self._live[held.id] = held
        return held

    def note(self, held: "Shared") -> None:
        """Keep what it costs at least, should this process die."""
        held.mark = self._spend.sent(self._least(held), tallies_of(self._matches.of(held.caller, held.target)), held.until)
        if not self._spend.mark(held.id, held.mark):
            raise StoreDown("budgets cannot be counted at the moment", retry_after=1.0)

    def _least(self, held: "Shared") -> Usage:
        return _row(held, None if held.most is None else held.least, held.least_tokens, held.facts, "unknown", self._spend.now())

    def settle(self, held: "Shared", cost: int | None, tokens: Tokens | None, facts: Facts) -> Awaitable[None] | None:
        cost, tokens = held.most if cost is None else cost, held.tokens if tokens is None else tokens
        row = _row(held, cost, tokens, facts, facts.status, time.time_ns() // 1000)
        if not held.record:
            self._store.put(row, holds=False)
            if held.outlives:
                self._ended(held)  # budgets may apply to it by now, and another process have set it aside
            return None
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        held.settling = self._after(self._settle(held, row, first))
        return first

    def outlive(self, held: "Shared") -> None:
        held.until = self._spend.now() + OUTLIVES
        self.note(held)

    def hand_over(self, held: "Shared") -> None:
        self._live.pop(held.id, None)

    def refund(self, held: "Shared") -> None:
        if held.record:
            self._ended(held)

    def _ended(self, held: "Shared") -> None:
        """Where Redis never hears of it, the lease runs out."""
        self._live.pop(held.id, None)
        if not self._spend.refund(held.id):
            self._after(self._refund(held))

    async def lasting(self, held: "Shared") -> bool:
        """Wait until Redis has what a call cost, and the ledger too. Raises `StoreDown`."""
        if held.settling is not None:
            await asyncio.wait((held.settling,))
            if not held.counted:
                return False
        await self._store.settled()
        return True

    def _after(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task

    async def _refund(self, held: "Shared") -> None:
        """Redis was away."""
        await asyncio.sleep(AGAIN)
        if not self._closing and not self._spend.refund(held.id):
            self._after(self._refund(held))

    async def _settle(self, held: "Shared", row: Usage, first: "asyncio.Future[None]") -> None:
        """Until Redis has it. Where that cannot be, the ledger has it all the same; of what outlives this process another counts it."""
        tallies: tuple[Tally, ...] = ()
        reply, tried = [-9], False
        try:
            while reply[0] < 0:
                tallies = tallies_of(self._matches.of(held.caller, held.target))
                try:
                    reply = await self._tried(partial(self._spend.settle, held.id, row, tallies), tallies)
                except StoreDown:
                    tried = True
                    _tell(first)
                    if self._closing:
                        break
                    await asyncio.sleep(AGAIN)
        except Exception:
            logger.exception("what a call cost could not be counted")
        finally:
            self._live.pop(held.id, None)
            held.counted = reply[0] >= 0
            if reply[0] == 1:
                self._settled(held, row, reply, tallies)
            elif held.outlives:  # if it is counted, another process was first
                pass
            elif reply[0] < 0:
                self._store.put(row, holds=False)
            elif not tried:  # where it was tried before, that was it
                logger.error("call %s was out of reach for longer than its lease: it is spent at what it cost at least", held.id)
            _tell(first)

    def _settled(self, held: "Shared", row: Usage, reply: list[int], tallies: tuple[Tally, ...]) -> None:
        _, at, seq, *found = reply
        run = self._spend.run
        self._keeper.put(msgspec.structs.replace(row, at=at, run=run, seq=seq))
        left: list[Left] = []
        for one, spent, start in zip(tallies, found[::2], found[1::2], strict=True):
            if spent < 0:
                continue  # nobody counts it at present
            left.append(self._left(one, spent, start, at))
            self._thresholds(one, spent, start, at)
        held.left = tuple(left)

    def _thresholds(self, one: Tally, spent: int, start: int, now: int) -> None:
        rule = one.rule
        if not rule.percents or self._alert is None:
            return
        cap = rule.cap_at(now)
        told = self._told.get(one.key, (0, 0, 0))
        if told[:2] != (start, cap):
            told = (start, cap, 0)
        for percent in rule.percents:
            if percent > told[2] and spent * 100 >= percent * cap:
                told = (start, cap, percent)
                self._alert(rule, one.org, one.who, start, percent, spent, cap)
        self._told[one.key] = told

    def _left(self, one: Tally, gone: int, start: int, now: int) -> Left:
        rule = one.rule
        cap = rule.cap_at(now)
        end = start + 61 * rule.window.slot if rule.window.kind == "rolling" else span_of(rule.window, start).end
        if len(self._seen) >= _SEEN:
            self._seen.clear()
        self._seen[one.key] = (rule.basis, cap - gone, end)
        until = rule.overridden(now) if rule.steps else None
        return Left(rule.name, rule.scope, one.who, rule.unit, cap - gone, cap, resets_at(end), rule.hard, rule.limit, until)

    async def _tried(self, ask: Callable[[], Awaitable[list[Any]]], tallies: tuple[Tally, ...]) -> list[int]:
        """Ask until the answer is one: windows are of this moment, counts are loaded, the life is the present one. Raises `StoreDown`."""
        for _ in range(_TRIES):
            reply = await ask()
            what = reply[0]
            if what in (0, 1):
                return reply
            if what == -2:
                await self._keeper.load(_wanted(tallies, reply[2:]))
            elif what == -3:
                await self._keeper.adopt(reply[2].decode())
            elif what == -4:
                raise StoreDown("budgets are being counted again", retry_after=max(0.1, reply[2] / 1_000_000))
        raise StoreDown("budgets cannot be counted at the moment", retry_after=1.0)

    def _records(self) -> list[tuple[str, bytes, bytes]]:
        """What is under way."""
        return [(held.id, held.record, held.mark) for held in self._live.values() if held.record]


class Shared(Reservation):
    """A reservation in Redis; `record` is what it set aside there, empty where that is nothing."""

    __slots__ = ("_budgets", "counted", "mark", "record", "settling", "until")

    def __init__(self, budgets: RedisBudgets, call_id: str, known: Known, target: Target, most: int | None, tokens: Tokens) -> None:
        super().__init__(call_id, known.caller, known.spender, target, most, tokens)
        self._budgets = budgets
        self.record = b""
        self.mark = b""
        self.settling: asyncio.Task[None] | None = None
        self.counted = False
        """Whether Redis has what it cost, of this process or another, by the end of `settling`."""
        self.until = 0
        """When it is ended though nobody looks after it (microseconds since 1970), where that is not with its lease."""

    def dispatching(self, least: int = 0, tokens: Tokens = NO_TOKENS, facts: Facts | None = None) -> Awaitable[None] | None:
        super().dispatching(least, tokens, facts)
        if self.record and not self._ended:
            self._budgets.note(self)
        return None

    def settle(self, cost: int | None, tokens: Tokens | None, facts: Facts | None = None) -> Awaitable[None] | None:
        if self._ended:
            return None
        self._ended = True
        waiting = self._budgets.settle(self, cost, tokens, self.facts if facts is None else facts)
        if self.then is not None:
            self.then()
        return waiting

    def refund(self) -> None:
        if not self._ended:
            self._ended = True
            self._budgets.refund(self)
            if self.then is not None:
                self.then()

    async def lasting(self) -> bool:
        return await self._budgets.lasting(self)

    def outlive(self) -> None:
        if self.record and not self._ended:
            self._budgets.outlive(self)
        super().outlive()

    def hand_over(self) -> None:
        if not self._ended:
            self._ended = True
            self._budgets.hand_over(self)


def _row(held: Shared, cost: int | None, tokens: Tokens, facts: Facts, status: str, at: int) -> Usage:
    who, target = held.spender, held.target
    if status != facts.status:
        facts = Facts(facts.kind, facts.door, status, facts.latency, facts.attempts, facts.tags)
    names = (who.org, who.key, who.subject, who.user, who.app, who.team, who.project)
    return Usage(held.id, at, *names, target.upstream, target.name, cost, tokens, facts)


def _tell(first: "asyncio.Future[None]") -> None:
    if not first.done():
        first.set_result(None)


def _wanted(tallies: tuple[Tally, ...], parts: list[int]) -> list[tuple[Tally, int, int]]:
    """What is to be loaded: (count, the first row it counts itself, its window)."""
    return [(tallies[parts[at] - 1], parts[at + 1], parts[at + 2]) for at in range(0, len(parts), 3)]
