"""What the path asks of budgets, wherever they are counted, and what both ways of counting them say alike.

    reserve ─► dispatching ─► settle            what the call may cost at most is set aside, then what it did cost is spent
           └─► refund                           nothing was sent

A reservation ends exactly once, whatever is called, and how often: `settle` and `refund` after the first change nothing.
"""

from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from hub.budget.overrides import Overrides
from hub.budget.tiers import Rule, Spender
from hub.budget.usage import Facts
from hub.budget.window import FOREVER, MICROS
from hub.call import Caller, Target, Tokens
from hub.config.callers import LimitSpec
from hub.config.money import BudgetSpec
from hub.config.values import Dollars
from hub.refusal import BudgetExceeded, Limited, Unpriced

NO_TOKENS = Tokens()

BUSY = MICROS
"""Microseconds a caller is told to wait where calls under way are in the way: nobody knows when one of them ends, and for how much."""


class Left(Struct, frozen=True):
    """What is left of a budget for one `who`: nano-dollars, tokens or calls, below zero where more was spent than there was.

    `resets` in microseconds since 1970, None where nothing resets; of a rolling window when the oldest of it is past. `override`: until
    when `cap` is another than is configured; None where it is that.
    """

    budget: str
    scope: str
    who: str
    unit: str
    left: int
    cap: int
    resets: int | None
    hard: bool = True
    limit: bool = False
    override: int | None = None


class Room(Struct):
    """What is known here of one budget, over all it counts separately: the least `left` of any, and what is set aside in all."""

    budget: str
    scope: str
    unit: str
    left: int
    reserved: int = 0


class Refusals:
    """How often each budget has refused, by name and scope. Of one process."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], int] = {}

    def count(self, rule: Rule) -> None:
        if not rule.limit:
            at = (rule.name, rule.scope)
            self.counts[at] = self.counts.get(at, 0) + 1


class Reservation:
    """What a call has set aside. `over`: soft budgets it may not fit; `left`: each tier after the call, once it is settled.

    `async with` or `with` nothing: call `settle` or `refund` in every case, or use it as a context manager, which at its end settles what
    was sent and not settled at what it cost at least, and refunds what was not sent.
    """

    __slots__ = (
        *("_ended", "caller", "facts", "id", "least", "least_tokens", "left", "most", "outlives", "over", "sent", "spender", "target"),
        *("then", "tokens"),
    )

    def __init__(self, call_id: str, caller: Caller, spender: Spender, target: Target, most: int | None, tokens: Tokens) -> None:
        self.id = call_id
        self.caller = caller
        self.spender = spender
        self.target = target
        self.most = most
        self.tokens = tokens
        self.least = 0
        self.least_tokens = NO_TOKENS
        self.facts = Facts()
        self.over: tuple[str, ...] = ()
        self.left: tuple[Left, ...] = ()
        self.sent = False
        self.outlives = False
        self.then: Callable[[], None] | None = None
        """Called when it was settled or refunded here: of one that outlives its process, which others are to be told of."""
        self._ended = False

    @property
    def ended(self) -> bool:
        return self._ended

    def dispatching(self, least: int = 0, tokens: Tokens = NO_TOKENS, facts: Facts | None = None) -> Awaitable[None] | None:
        """Say, before the intent is appended, that the call is about to be sent. What is returned, if anything, is awaited before it is.

        `least` and `tokens`: what it costs at least once it is sent (its input): what is spent where this process dies before it settles.
        Raises `StoreDown` where that could not be kept, and then nothing may be sent.
        """
        self.sent = True
        self.least, self.least_tokens = least, tokens
        if facts is not None:
            self.facts = facts
        return None

    def settle(self, cost: int | None, tokens: Tokens | None, facts: Facts | None = None) -> Awaitable[None] | None:
        """Spend what the call cost, and write its row of the usage ledger. It takes effect without being awaited, which may be needed only
        to read `left`. None for what nobody knows: then what was set aside for it is spent. Never raises."""
        raise NotImplementedError

    def refund(self) -> None:
        """Nothing was sent, or what was sent cost nothing: give back what was set aside. No row is written."""
        raise NotImplementedError

    def outlive(self) -> None:
        """From now on it does not end with its process: another takes it over (`Budgets.adopt`). Raises `StoreDown`."""
        self.outlives = True

    def hand_over(self) -> None:
        """Another process settles it, or has: nothing is spent or given back by this one."""
        raise NotImplementedError

    async def lasting(self) -> bool:
        """Wait until what was settled is in the ledger to stay, whatever becomes of this process.

        False where it did not get so far, as of a process that is about to stop. Raises `StoreDown` where nobody can know at the moment.
        """
        raise NotImplementedError

    def __enter__(self) -> "Reservation":
        return self

    def __exit__(self, *_: object) -> None:
        if self._ended:
            return
        if self.sent:
            self.settle(
                self.least if self.most is not None else None,
                self.least_tokens,
                Facts(self.facts.kind, self.facts.door, "unknown", 0, 1, self.facts.tags),
            )
        else:
            self.refund()


_Kind = TypeVar("_Kind", bound=Reservation)


class Outliving(Struct, frozen=True, omit_defaults=True):
    """A reservation that outlives its process, as another is told of it. `caller` without what it may do."""

    call: str
    caller: Caller
    target: Target
    most: int | None
    tokens: Tokens
    least: int = 0
    least_tokens: Tokens = NO_TOKENS
    facts: Facts = Facts()

    def onto(self, held: _Kind) -> _Kind:
        """Such a one, sent."""
        held.sent = held.outlives = True
        held.least, held.least_tokens, held.facts = self.least, self.least_tokens, self.facts
        return held


def outliving(held: Reservation) -> Outliving:
    who = replace(held.caller, grants=(), roles=(), scopes=(), ceilings=())
    return Outliving(held.id, who, held.target, held.most, held.tokens, held.least, held.least_tokens, held.facts)


Alert = Callable[[Rule, str, str, int, int, int, int], None]
"""Told that a threshold is passed: rule, organisation (empty: all), who, start of the window, percent, spent, and of how much. Not on
anybody's path."""

Reserved = Reservation | Awaitable[Reservation]
"""A reservation at once, or one that must be waited for."""


class Budgets(Protocol):
    """All budgets of one hub, and its meter: every billable call has a reservation, also one that no budget applies to."""

    refusals: Refusals

    def rooms(self) -> list[Room]:
        """Each budget that is configured, for the metrics. Limits on tokens are none."""
        ...

    async def open(self, but: Collection[str] = ()) -> None:
        """Settle what a process that died left under way, `but` for these calls, which will be adopted. Raises `StoreDown`."""
        ...

    async def adopt(self, told: Outliving) -> Reservation | None:
        """A reservation that was to outlive its process, and does this one; None where it is settled. Raises `StoreDown`."""
        ...

    async def resume(self) -> None:
        """Another process may have spent meanwhile in the place of this one: count anew from the ledger. Raises `StoreDown`."""
        ...

    async def close(self) -> None:
        """Write what is not written yet. Raises `StoreDown` where it cannot be."""
        ...

    def configure(self, budgets: tuple[BudgetSpec, ...], limits: tuple[LimitSpec, ...]) -> None:
        """Replace the rules. What was spent is counted by the new ones too, from the ledger."""
        ...

    def override(self, overrides: Overrides) -> None:
        """Replace what holds for a while in place of configured amounts. What is set aside and spent stays as it is."""
        ...

    def now(self) -> int:
        """The time by which windows and overrides end: microseconds since 1970."""
        ...

    def reserve(self, call_id: str, caller: Caller, target: Target, bound: int | None, tokens: Tokens) -> Reserved:
        """Set aside what the call may cost at most, in every tier or in none.

        `bound` in nano-dollars, None where the model has no price; `tokens`: at most so many `input` and `output`. `call_id` names the
        reservation: a second attempt of one call, at another deployment or after `StoreDown`, has one of its own. Raises
        `BudgetExceeded`, `Limited` (a limit on tokens a minute), `Unpriced`, and `StoreDown` where a hard budget applies and cannot be
        counted.
        """
        ...

    async def standing(self, caller: Caller, target: Target) -> tuple[Left, ...]:
        """What is left now in each tier of such a call, what is set aside taken off. Raises `StoreDown`."""
        ...


def unpriced(target: Target, rule: Rule) -> Unpriced:
    """The refusal of a model without a price where money is counted."""
    said = (
        f"the model {target} has no price, and the budget {rule.name!r} counts money: give it one, or leave it to callers without a budget"
    )
    return Unpriced(said, data={"budget": rule.name, "scope": rule.scope, "model": str(target)})


def exceeded(rule: Rule, who: str, need: int, left: int, resets: int | None, wait: int | None) -> BudgetExceeded | Limited:
    """The refusal of a call that does not fit. `wait`: microseconds after which it would, None where it never will."""
    seconds = None if wait is None else -(-wait // 1000) / 1000
    if rule.limit:
        return Limited(f"the limit {rule.name!r} is reached", retry_after=seconds, data={"limit": rule.name, "scope": rule.scope})
    data: dict[str, Any] = {"budget": rule.name, "scope": rule.scope, "unit": rule.unit}
    data |= {"left": shown(rule.unit, max(0, left)), "needed": shown(rule.unit, need)}
    if who:
        data[rule.scope] = who
    if resets is not None:
        data["resets"] = instant(resets)
    whose = f"{rule.scope} {who}" if who else "everybody" if rule.scope == "global" else "the organisation"
    message = f"the budget {rule.name!r} of {whose} has no room for this call"
    return BudgetExceeded(message, status=rule.status, retry_after=seconds if rule.waits else None, data=data)


def shown(unit: str, amount: int) -> str | int:
    """An amount for people and programs: dollars as a text, which is exact; tokens and calls as they are."""
    return str(Dollars(amount)) if unit == "usd" else amount


def instant(micros: int) -> str:
    """RFC 3339, to the second, never too early."""
    return datetime.fromtimestamp(-(-micros // MICROS), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def resets_at(end: int) -> int | None:
    """When a window is over, None for one that never is."""
    return None if end >= FOREVER else end
