"""Giving, listing and taking back overrides of budgets, and having those that stand hold in this process.

What changes in the store is taken over when the epochs of its keys are looked at (`hub.identity.authenticate`), so within a second in every
process, and at once where the change was made here: a process that cannot look lets nobody in. Nothing here appends to the journal: each
change says beforehand what it will be (`hub.change`), and returns what is then.
"""

import logging
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from msgspec import Struct

from hub.budget.budgets import Budgets, instant, shown
from hub.budget.override_rows import Fits, Rows
from hub.budget.override_vet import Giver, Wish, endable, lowers, none_stands, told, vetted, visible, within
from hub.budget.overrides import Override, Overrides
from hub.budget.tiers import Rule, rules_of
from hub.budget.window import MICROS
from hub.change import Before, Planned, unannounced
from hub.config.money import BudgetSpec
from hub.store.epochs import BUDGETS
from hub.store.follower import Follower

logger = logging.getLogger("hub.budget")

SLACK = 3600 * MICROS
"""Microseconds by which the clock that budgets are counted by may be behind the one here: what ended before is not asked for."""

MOST_LISTED = 1000


class Change(Struct, frozen=True):
    """What was changed. `record` is for the journal."""

    shown: dict[str, Any]
    record: dict[str, Any]


class OverrideDesk:
    """Of one process. `open` it, then have `following.look` called with the epochs of the store whenever they were looked at."""

    def __init__(self, rows: Rows, budgets: Budgets) -> None:
        self._rows = rows
        self._budgets = budgets
        self._rules: tuple[Rule, ...] = ()
        self._specs: dict[str, BudgetSpec] = {}
        self._orgs: frozenset[str] = frozenset()
        self._standing: list[Override] = []
        self.following = Follower(BUDGETS, self._read, "overrides of budgets cannot be read; they stay as last known", logger)

    def configure(self, budgets: tuple[BudgetSpec, ...], orgs: Collection[str]) -> None:
        """The budgets, and the organisations that are declared, if any are."""
        self._rules = rules_of(budgets)
        self._specs = {spec.name: spec for spec in budgets}
        self._orgs = frozenset(orgs)

    async def open(self) -> None:
        """Have what stands hold, before anybody calls. Raises `StoreDown`."""
        await self.following.refresh()

    async def give(self, budget: str, wish: Wish, giver: Giver, before: Before = unannounced) -> Change:
        """Raises `NotFound`, `Denied`, `InvalidParams`, `StoreDown`; when it returns it holds in this process. So it is with `end`.

        Where the store goes away the moment after, it holds from the next look on: a change that stands is not answered as one that failed,
        which nobody would put on record.
        """
        one = vetted(self._rules, budget, wish, giver, self._budgets.now(), self._orgs)
        fits = None if giver.org is None else partial(within, one, self._rules)
        if fits is not None:
            fits(self._known(one.given))
        change = await give(self._rows, one, before, fits)
        await self.following.announce()
        return change

    async def end(self, name: str, giver: Giver, before: Before = unannounced) -> Change:
        """Take one back. Raises `NotFound` where none of this id stands that the giver may know of, `Denied` where he may not end it."""
        now = self._budgets.now()
        one = await named(self._rows, name, giver, now)
        change = await end(self._rows, one, giver, now, before, closes=lowers(one, self._rules, self._known(now)))
        await self.following.announce()
        return change

    async def listed(self, org: str | None, *, ended: bool) -> list[dict[str, Any]]:
        """The newest first, `ended` ones and those whose time is over too, or not."""
        since = None if ended else self._budgets.now()
        return [told(one) for one in await self._rows.listed(org, since=since, limit=MOST_LISTED)]

    async def budgets(self, org: str | None) -> list[dict[str, Any]]:
        """Each budget an administrator of `org` (None: an operator of the hub) may know of, with the overrides that stand."""
        given = await self._rows.listed(org, since=self._budgets.now(), limit=MOST_LISTED)
        return shown_budgets(self._rules, self._specs, org, given)

    def _known(self, now: int) -> list[Override]:
        """Those that stand, as last taken over."""
        return [one for one in self._standing if one.until > now]

    async def _read(self) -> int:
        epoch, standing = await self._rows.standing(self._budgets.now() - SLACK)
        self._standing = standing
        self._budgets.override(Overrides(sorted(standing, key=lambda one: one.given)))
        return epoch


async def give(rows: Rows, one: Override, before: Before = unannounced, fits: Fits | None = None) -> Change:
    """Keep an override that was vetted, if it still `fits` then."""
    record = _record(one) | {"reason": one.reason}
    await before(Planned(one.org, "admin.budget.override", record))
    replaced = await rows.give(one, fits)
    return Change({**told(one), "replaced": replaced}, record | ({"replaced": replaced} if replaced else {}))


async def named(rows: Rows, name: str, giver: Giver, now: int) -> Override:
    """The override of this id, which `giver` may end. Raises `NotFound`, `Denied`."""
    return endable(await rows.find(name) if name.isprintable() else None, giver, now)  # of others, stores cannot even be asked


async def end(rows: Rows, one: Override, giver: Giver, now: int, before: Before = unannounced, *, closes: bool = False) -> Change:
    """Take an override back that is `named`; it `closes` something where less may be spent then. Raises `NotFound`."""
    await before(Planned(one.org, "admin.budget.restore", _record(one), closes=closes))
    ended = await rows.end(giver.org, one.id, now, giver.by)
    if ended is None:
        raise none_stands()
    return Change(told(ended), _record(ended))


def shown_budgets(rules: Collection[Rule], specs: Mapping[str, BudgetSpec], org: str | None, given: list[Override]) -> list[dict[str, Any]]:
    """See `OverrideDesk.budgets`."""
    return [
        {
            "budget": rule.name,
            "scope": rule.scope,
            "match": rule.match,
            "org": rule.org,
            "window": specs[rule.name].window,
            "zone": specs[rule.name].zone,
            "unit": rule.unit,
            "amount": shown(rule.unit, rule.cap),
            "enforced": rule.hard,
            "overrides": [told(one) for one in given if one.basis == rule.basis],
        }
        for rule in visible(rules, org)
    ]


def _record(one: Override) -> dict[str, Any]:
    """What the journal keeps of it: `amount` in nano-dollars, tokens or calls."""
    return {
        "override": one.id,
        "budget": one.budget,
        "scope": one.scope,
        "spender_org": one.org,
        "who": one.who,
        "mode": one.mode,
        "unit": one.unit,
        "amount": one.amount,
        "until": instant(one.until),
    }
