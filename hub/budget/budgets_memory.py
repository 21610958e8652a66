"""Budgets counted by one process, in memory: what may be spent is decided without waiting, and what was spent is durable in the ledger.

A count begins with what the ledger says of its window, when a call first needs it; from then on it follows what is settled here. A count
that nothing is set aside in may be forgotten at any time, so that memory follows those who call. Nobody else spends beside this process:
see `hub.store.sqlite`, `hub.seat`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection

from hub.budget.budgets import NO_TOKENS, Alert, Left, Outliving, Refusals, Reservation, Reserved, Room, exceeded, unpriced
from hub.budget.counter import Counter
from hub.budget.known import Known, Matches, Place
from hub.budget.overrides import NONE, Overrides
from hub.budget.tiers import rules_of, taken
from hub.budget.usage import Facts, Ledger, Sum, Usage, ask_for, slots
from hub.budget.window import Span
from hub.call import Caller, Target, Tokens
from hub.config.callers import LimitSpec
from hub.config.money import BudgetSpec
from hub.refusal import StoreDown

KNOWN = 4096
"""Counts that are remembered; beyond it those that nothing is set aside in are forgotten."""

MOST_WAITING = 100_000
"""Rows that may wait to be written; beyond it calls that a hard budget applies to are refused."""


def _wall() -> int:
    return time.time_ns() // 1000


class MemoryBudgets:
    """The `Budgets` of one process. `wall` is microseconds since 1970."""

    def __init__(
        self,
        store: Ledger,
        budgets: tuple[BudgetSpec, ...] = (),
        limits: tuple[LimitSpec, ...] = (),
        *,
        alert: Alert | None = None,
        wall: Callable[[], int] = _wall,
    ) -> None:
        self._store = store
        self._alert = alert
        self._wall = wall
        self._latest = 0
        self._counters: dict[Place, Counter] = {}
        self._loading: dict[Counter, asyncio.Task[None]] = {}
        self._live: dict[str, Held] = {}
        self._room = KNOWN
        self.refusals = Refusals()
        self._overrides = NONE
        self.configure(budgets, limits)

    async def open(self, but: Collection[str] = ()) -> None:
        self._latest = await self._store.last()  # time goes on from there: a clock set back while nobody looked gives nothing twice
        await self._store.recover(but)

    async def resume(self) -> None:
        self._latest = max(self._latest, await self._store.last())
        self._counters = {at: one for at, one in self._counters.items() if one.reserved}
        for counter in self._counters.values():
            counter.loaded = False

    async def close(self) -> None:
        for held in tuple(self._live.values()):
            if not held.outlives:
                held.__exit__()
        await self._store.settled()

    def configure(self, budgets: tuple[BudgetSpec, ...], limits: tuple[LimitSpec, ...]) -> None:
        self._rules = rules_of(budgets, limits)
        self._follow()
        for held in self._live.values():  # what is under way is set aside in the new counts too
            self._let_go(held)
            self._set_aside(held, self._counters_of(self._matches.of(held.caller, held.target)))

    def override(self, overrides: Overrides) -> None:
        self._overrides = overrides
        self._follow()

    def _follow(self) -> None:
        """Have counts go by the rules of now; those of rules that are no more are forgotten."""
        self._matches = Matches(self._rules, self._overrides)
        kept, now = {rule.basis: rule for rule in self._rules}, self.now()
        for at, counter in tuple(self._counters.items()):
            if at[0] in kept:
                counter.follow(self._overrides.applied(kept[at[0]], at[1], at[2]), now)
            else:
                del self._counters[at]

    def reserve(self, call_id: str, caller: Caller, target: Target, bound: int | None, tokens: Tokens) -> Reserved:
        known = self._matches.of(caller, target)
        if not known.tiers:
            return Held(self, call_id, known, target, bound, tokens)
        if bound is None and known.priced is not None:
            self.refusals.count(known.priced)
            raise unpriced(target, known.priced)
        if known.hard and self._store.waiting > MOST_WAITING:
            raise StoreDown("what calls cost cannot be written at the moment", retry_after=1.0)
        counters = self._counters_of(known)
        held = Held(self, call_id, known, target, bound, tokens)
        for counter in counters:
            if not counter.loaded:
                return self._when_loaded(held)
        return self._take(held, counters)

    async def adopt(self, told: Outliving) -> Reservation | None:
        held = told.onto(Held(self, told.call, self._matches.of(told.caller, told.target), told.target, told.most, told.tokens))
        if await self._store.find(None, limit=1, id=told.call):
            return None
        held.noted = True  # it may have been: where it was not there is nothing to forget
        self._live[told.call] = held
        self._set_aside(held, self._counters_of(self._matches.of(told.caller, told.target)))
        return held

    async def standing(self, caller: Caller, target: Target) -> tuple[Left, ...]:
        known = self._matches.of(caller, target)
        counters = self._counters_of(known)
        for counter in counters:
            await self._load(counter)
        now = self.now()
        for counter in counters:
            counter.turn(now)
        return tuple(counter.left(free=True) for counter in counters)

    def now(self) -> int:
        """Microseconds since 1970; never less than before."""
        wall = self._wall()
        if wall > self._latest:
            self._latest = wall
        return self._latest

    def counters(self) -> tuple[Counter, ...]:
        """What is counted at present, turned to this moment."""
        now = self.now()
        for counter in self._counters.values():
            counter.turn(now)
        return tuple(self._counters.values())

    def rooms(self) -> list[Room]:
        found = {rule.basis: Room(rule.name, rule.scope, rule.unit, rule.cap) for rule in self._rules if not rule.limit}
        for counter in self.counters():
            room = found.get(counter.rule.basis)
            if room is not None:
                room.left = min(room.left, counter.cap - counter.spent - counter.reserved)
                room.reserved += counter.reserved
        return list(found.values())

    def note(self, held: "Held") -> Awaitable[None] | None:
        """Keep what it costs at least, should this process die."""
        if not held.counters:
            return None
        held.noted = True
        facts = held.facts
        if facts.status != "unknown":
            facts = Facts(facts.kind, facts.door, "unknown", facts.latency, facts.attempts, facts.tags)
        least = None if held.most is None else held.least
        return self._store.note(Usage(held.id, self._latest, *held.names, least, held.least_tokens, facts))

    def settle(self, held: "Held", cost: int | None, tokens: Tokens | None, facts: Facts) -> None:
        self._live.pop(held.id, None)
        cost, tokens = held.most if cost is None else cost, held.tokens if tokens is None else tokens
        self._let_go(held)
        now = self.now()
        left: list[Left] = []
        for place in self._matches.of(held.caller, held.target).places:
            counter = self._counters.get(place)
            if counter is None:
                continue  # forgotten: it begins with what the ledger says when it is needed again
            rule = counter.rule
            counter.turn(now)
            counter.spend(taken(rule.unit, cost, tokens))
            left.append(counter.left())
            if rule.percents and self._alert is not None:
                for percent in counter.crossed():
                    self._alert(rule, counter.org, counter.who, counter.span.start, percent, counter.spent, counter.cap)
        held.left = tuple(left)
        self._store.put(Usage(held.id, now, *held.names, cost, tokens, facts), holds=held.noted)

    async def written(self) -> None:
        """What was settled so far is durable. Raises `StoreDown`."""
        await self._store.settled()

    def refund(self, held: "Held") -> None:
        self._live.pop(held.id, None)
        self._let_go(held)
        if held.noted:
            self._store.forget(held.id)

    def hand_over(self, held: "Held") -> None:
        self._live.pop(held.id, None)
        self._let_go(held)

    def _counters_of(self, known: Known) -> list[Counter]:
        if len(self._counters) >= self._room:
            busy = {at: one for at, one in self._counters.items() if one.reserved or one in self._loading}
            self._counters = busy
            self._room = max(KNOWN, 2 * len(busy))
        made: list[Counter] = []
        for number, at in enumerate(known.places):
            counter = self._counters.get(at)
            if counter is None:
                counter = self._counters[at] = Counter(known.tiers[number][0], at[1], at[2], self.now())
                self._ask(counter)
            made.append(counter)
        return made

    async def _when_loaded(self, held: "Held") -> Reservation:
        while True:  # the rules may have changed meanwhile, and counts been forgotten
            known = self._matches.of(held.caller, held.target)
            counters = self._counters_of(known)
            if all(counter.loaded for counter in counters):
                return self._take(held, counters)
            for counter in counters:
                await self._load(counter)

    async def _load(self, counter: Counter) -> None:
        """Wait for what the ledger says. Raises `StoreDown`, and then the next who asks begins anew."""
        if not counter.loaded:
            await asyncio.shield(self._loading.get(counter) or self._ask(counter))

    def _ask(self, counter: Counter) -> "asyncio.Task[None]":
        """Begin to load a count: rows put before this are in what the ledger says, and calls settled after it are counted here."""
        span = counter.begin(self.now())
        sums = self._store.sums(ask_for(counter.rule, counter.org, counter.who, span))
        task = self._loading[counter] = asyncio.ensure_future(self._read(counter, span, sums))
        task.add_done_callback(_seen)
        return task

    async def _read(self, counter: Counter, span: Span, sums: Awaitable[list[Sum]]) -> None:
        try:
            found = await sums
        finally:
            self._loading.pop(counter, None)
        counter.turn(self.now())
        counter.load(span, slots(counter.rule, found))

    def _take(self, held: "Held", counters: list[Counter]) -> Reservation:
        """All tiers have room, or none is touched."""
        twin = self._live.get(held.id)
        if twin is not None:
            return twin
        now = self.now()
        worst: tuple[float, Counter, int] | None = None
        over: list[str] = []
        for counter in counters:
            counter.turn(now)
            need = taken(counter.rule.unit, held.most, held.tokens)
            if counter.fits(need):
                continue
            if not counter.rule.hard:
                over.append(counter.rule.name)
                continue
            wait = counter.wait(need, now)
            long = float("inf") if wait is None else wait
            if worst is None or long > worst[0]:
                worst = (long, counter, need)
        if worst is not None:
            _, counter, need = worst
            left = counter.left(free=True)
            self.refusals.count(counter.rule)
            raise exceeded(counter.rule, counter.who, need, left.left, left.resets, counter.wait(need, now))
        held.over = tuple(over)
        self._live[held.id] = held
        self._set_aside(held, counters)
        return held

    def _set_aside(self, held: "Held", counters: list[Counter]) -> None:
        made: list[tuple[Counter, int]] = []
        for counter in counters:
            amount = taken(counter.rule.unit, held.most, held.tokens)
            counter.reserved += amount
            made.append((counter, amount))
        held.counters = made

    def _let_go(self, held: "Held") -> None:
        for counter, amount in held.counters:
            counter.reserved -= amount
        held.counters = []


class Held(Reservation):
    """A reservation in the memory of this process."""

    __slots__ = ("_budgets", "counters", "names", "noted")

    def __init__(self, budgets: MemoryBudgets, call_id: str, known: Known, target: Target, most: int | None, tokens: Tokens) -> None:
        super().__init__(call_id, known.caller, known.spender, target, most, tokens)
        self._budgets = budgets
        self.names = known.names
        self.counters: list[tuple[Counter, int]] = []
        self.noted = False

    def dispatching(self, least: int = 0, tokens: Tokens = NO_TOKENS, facts: Facts | None = None) -> Awaitable[None] | None:
        super().dispatching(least, tokens, facts)
        return None if self._ended else self._budgets.note(self)

    def settle(self, cost: int | None, tokens: Tokens | None, facts: Facts | None = None) -> Awaitable[None] | None:
        if not self._ended:
            self._ended = True
            self._budgets.settle(self, cost, tokens, self.facts if facts is None else facts)
            if self.then is not None:
                self.then()
        return None

    def refund(self) -> None:
        if not self._ended:
            self._ended = True
            self._budgets.refund(self)
            if self.then is not None:
                self.then()

    async def lasting(self) -> bool:
        await self._budgets.written()
        return True

    def hand_over(self) -> None:
        if not self._ended:
            self._ended = True
            self._budgets.hand_over(self)


def _seen(done: "asyncio.Future[None]") -> None:
    """Whoever waits hears of it; where nobody does, the next who asks begins anew."""
    if not done.cancelled():
        done.exception()
