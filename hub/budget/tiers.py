"""Which budgets a call is held against, and for whom each counts it. Pure; the answer is kept by whoever asks.

A limit on tokens a minute is a rule of the same kind: a rolling window of sixty seconds, in tokens.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Literal

from msgspec import Struct

from hub.budget.window import Window, window_of
from hub.call import Caller, Target, Tokens
from hub.config.callers import LimitSpec
from hub.config.money import BudgetSpec
from hub.config.spending import TOKEN_LIMITS, amount
from hub.grants import glob

Unit = Literal["usd", "tokens", "tokens_in", "tokens_out", "requests"]

Steps = tuple[tuple[int, int], ...]
"""Amounts that hold in place of the configured one: (amount, until before when, in microseconds). The first whose end is not past holds."""


class Rule(Struct, frozen=True):
    """A budget, or a limit on tokens (`limit`), as it is counted. `cap` in nano-dollars, tokens or calls; `steps` are its overrides where
    it is the rule of one count (`hub.budget.overrides`)."""

    name: str
    scope: str
    match: str
    org: str
    unit: str
    cap: int
    window: Window
    providers: tuple[str, ...] = ("*",)
    models: tuple[str, ...] = ("*",)
    hard: bool = True
    limit: bool = False
    status: int = 429
    waits: bool = True
    percents: tuple[int, ...] = ()
    steps: Steps = ()

    def cap_at(self, now: int) -> int:
        """What may be spent at a moment."""
        for cap, until in self.steps:
            if now < until:
                return cap
        return self.cap

    def overridden(self, now: int) -> int | None:
        """Until when what holds at a moment is not what is configured; None where it is."""
        for _, until in self.steps:
            if now < until:
                return until
        return None

    @property
    def basis(self) -> str:
        """A name for what is counted: the same name with another meaning is another count, and a changed amount is not."""
        window = self.window
        meaning = (self.scope, self.unit, window.kind, window.unit, window.zone, window.slot, self.providers, self.models)
        return f"{'limit' if self.limit else 'budget'}.{self.name}.{sha256(repr(meaning).encode()).hexdigest()[:10]}"


class Spender(Struct, frozen=True):
    """Whose money it is: what budgets look at of a caller."""

    org: str
    key: str
    key_name: str
    subject: str
    user: str = ""
    app: str = ""
    team: str = ""
    project: str = ""


Tier = tuple[Rule, str]
"""A rule, and for whom it counts: the name within the organisation, empty where the organisation or everybody is counted together."""


def rules_of(budgets: Iterable[BudgetSpec], limits: Iterable[LimitSpec] = ()) -> tuple[Rule, ...]:
    """The rules of a configuration without faults."""
    found = [_of_budget(spec) for spec in budgets]
    for limit in limits:
        found += [_of_limit(limit, name, getattr(limit, name)) for name in TOKEN_LIMITS if getattr(limit, name) is not None]
    return tuple(found)


def spender(caller: Caller) -> Spender:
    """A user or application that nobody named is the subject, where that is one."""
    kind, _, name = caller.subject.partition(":")
    user, app = caller.user or (name if kind == "user" else ""), caller.app or (name if kind == "app" else "")
    return Spender(caller.org, caller.key_id, caller.key_name, caller.subject, user, app, caller.team, caller.project)


def tiers(rules: Iterable[Rule], who: Spender, target: Target) -> tuple[Tier, ...]:
    """What a call of this spender to this deployment is held against."""
    found: list[Tier] = []
    for rule in rules:
        if rule.org in ("*", who.org) and covers(rule, target.upstream, target.name):
            name = _matched(rule, who)
            if name is not None:
                found.append((rule, name))
    return tuple(found)


def covers(rule: Rule, provider: str, model: str) -> bool:
    """Whether a rule is about this deployment."""
    return any(glob(one)(provider) for one in rule.providers) and any(glob(one)(model) for one in rule.models)


def taken(unit: str, cost: int | None, tokens: Tokens) -> int:
    """How much of a unit a call takes. A cost that nobody knows takes nothing: where money is counted such a call is refused before."""
    if unit == "usd":
        return cost or 0
    if unit == "requests":
        return 1
    return (tokens.input if unit != "tokens_out" else 0) + (tokens.output if unit != "tokens_in" else 0)


def _matched(rule: Rule, who: Spender) -> str | None:
    match = glob(rule.match)
    if rule.scope == "global":
        return ""
    if rule.scope == "org":
        return "" if match(who.org) else None
    name: str = getattr(who, rule.scope)
    if not name or not (match(name) or (rule.scope == "key" and who.key_name != "" and match(who.key_name))):
        return None
    return name


def _of_budget(spec: BudgetSpec) -> Rule:
    unit, cap = amount(spec)
    return Rule(
        name=spec.name,
        scope=spec.scope,
        match=spec.match,
        org=spec.org,
        unit=unit,
        cap=cap,
        window=window_of(spec.window, spec.zone),
        providers=spec.providers,
        models=spec.models,
        hard=spec.enforce == "hard",
        status=spec.status,
        waits=spec.retry_after == "reset",
        percents=tuple(sorted(spec.alerts.percents)) if spec.alerts.url else (),
    )


def _of_limit(limit: LimitSpec, name: str, cap: int) -> Rule:
    unit = name.removesuffix("_per_minute")
    return Rule(limit.name, limit.scope, limit.match, limit.org, unit, cap, window_of("1m", "UTC"), limit=True)
