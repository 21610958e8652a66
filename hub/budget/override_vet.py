"""What an operator asks for as an override of a budget: whether it can be, and what it is then. Pure."""

import re
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from hub.budget.budgets import instant, shown
from hub.budget.overrides import ALL, MOST, Override, Overrides
from hub.budget.tiers import Rule
from hub.budget.window import MICROS, span_of
from hub.call import new_id
from hub.grants import glob
from hub.refusal import Denied, InvalidParams, NotFound

THIS_WINDOW = "window"
"""As `until`: when the window of now is over."""

LONGEST = 366 * 86_400 * MICROS
"""Microseconds for which one can hold. What is to hold for longer is for the configuration to say."""

_DOLLARS = re.compile(r"([0-9]{1,7})(?:\.([0-9]{1,9}))?")
_NUMBER = re.compile(r"[0-9]{1,16}")
_MOST_REASON = 500
_MOST_WHO = 256


class Wish(Struct, frozen=True, forbid_unknown_fields=True):
    """An override that is asked for. `who` of a budget for keys is the id of one."""

    amount: Annotated[str | int, Meta(description="US dollars, to the nano-dollar as a text; of other budgets tokens or calls.")]
    until: Annotated[str, Meta(description="RFC 3339 time with an offset, or `window`: the end of the calendar window of now.")]
    reason: Annotated[str, Meta(description="Why. It stays on record.")]
    mode: Annotated[Literal["raise", "set"], Meta(description="`raise`: added to what is configured; `set`: in its place.")] = "raise"
    who: Annotated[str, Meta(description="For whom of those the budget counts separately; `*` is each of them.")] = ALL
    org: Annotated[str, Meta(description="Organisation of the spender; unset: the caller's. `*` is all: for operators of the hub.")] = ""


class Giver(Struct, frozen=True):
    """Who gives it, and within which organisation he may (None: any, and what counts all together)."""

    org: str | None
    by: str
    subject: str


def visible(rules: Iterable[Rule], org: str | None) -> list[Rule]:
    """The budgets an administrator of `org` (None: an operator of the hub) may know of."""
    return [rule for rule in rules if not rule.limit and (org is None or _concerns(rule, org))]


def vetted(rules: Iterable[Rule], budget: str, wish: Wish, giver: Giver, now: int, orgs: Collection[str]) -> Override:
    """The override that is asked for. Raises `NotFound` of a budget its giver may not know of, `Denied` of one he may not change,
    `InvalidParams`."""
    rule = next((rule for rule in visible(rules, giver.org) if rule.name == budget), None)
    if rule is None:
        raise NotFound("no budget has this name")
    if rule.scope == "org" and giver.org is not None:
        raise Denied("what an organisation may spend in all is for operators of the hub to change")
    org, who = _whose(rule, wish, giver, orgs)
    amount, until, reason = _amount(rule, wish), _until(rule, wish.until, now), wish.reason.strip()
    if not reason or len(reason) > _MOST_REASON or not reason.isprintable():
        raise InvalidParams(f"a reason has 1 to {_MOST_REASON} characters on one line")
    names = (new_id(), org, rule.name, rule.basis, rule.scope, who)
    return Override(*names, rule.unit, wish.mode, amount, now, until, reason, giver.by, giver.subject, giver=giver.org or "")


def within(one: Override, rules: Iterable[Rule], standing: Iterable[Override]) -> None:
    """Whether an administrator of an organisation may give this beside those that stand. Raises `Denied` where it would take the place of
    one that an operator of the hub gave, or give more than that does to one of those it is for."""
    by_operators = {(each.org, each.who): each for each in standing if each.basis == one.basis and not each.giver}
    if (one.org, one.who) in by_operators:
        raise not_yours()
    places = ((one.org, ALL), (ALL, ALL))
    held = next((by_operators[at] for at in places if at in by_operators), None)
    rule = next((rule for rule in rules if rule.basis == one.basis and not rule.limit), None)
    if held is not None and rule is not None and one.cap(rule.cap) > held.cap(rule.cap):
        raise Denied("an operator of the hub has overridden this budget: within that, less can be given, and not more")


def not_yours() -> Denied:
    """Of an override that an operator of the hub gave, to who is none."""
    return Denied("an operator of the hub gave the override that holds: it is for operators to replace or end")


def none_stands() -> NotFound:
    return NotFound("no override that stands, and that this key may take back, has this id")


def endable(one: Override | None, giver: Giver, now: int) -> Override:
    """An override that stands and that `giver` may end. Raises `NotFound` of one he may not know of, `Denied`."""
    known = one is not None and (giver.org is None or (one.org == giver.org and one.scope != "org"))
    if one is None or not known or one.ended or one.until <= now:
        raise none_stands()
    if giver.org is not None and not one.giver:
        raise not_yours()
    return one


def lowers(one: Override, rules: Iterable[Rule], standing: Iterable[Override]) -> bool:
    """Whether less may be spent once it has ended."""
    rule = next((rule for rule in rules if rule.basis == one.basis and not rule.limit), None)
    return rule is not None and one.cap(rule.cap) > Overrides(standing).beneath(one, rule.cap)


def told(one: Override) -> dict[str, object]:
    """An override for people and programs: dollars as a text, times as RFC 3339."""
    return {
        "id": one.id,
        "budget": one.budget,
        "scope": one.scope,
        "org": one.org,
        "who": one.who,
        "mode": one.mode,
        "unit": one.unit,
        "amount": shown(one.unit, one.amount),
        "given": instant(one.given),
        "until": instant(one.until),
        "reason": one.reason,
        "by": one.by,
        "subject": one.subject,
        "ended": instant(one.ended) if one.ended else "",
        "ended_by": one.ended_by,
        "giver": one.giver,
    }


def _concerns(rule: Rule, org: str) -> bool:
    return rule.scope != "global" and rule.org in (ALL, org) and (rule.scope != "org" or glob(rule.match)(org))


def _may_be(org: str, giver: Giver, declared: Collection[str]) -> bool:
    """Whether there can be such an organisation: where none is declared keys may be of any, and whoever asks is of one that there is."""
    if org in ("default", giver.org) or org in declared:
        return True
    return not declared and len(org) <= _MOST_WHO and org.isprintable()


def _whose(rule: Rule, wish: Wish, giver: Giver, orgs: Collection[str]) -> tuple[str, str]:
    if rule.scope == "global":
        if wish.org not in ("", ALL) or wish.who != ALL:
            raise InvalidParams("this budget counts everybody together: leave `org` and `who` out")
        return ALL, ALL
    org = wish.org or giver.org or "default"
    if org != ALL and not (_may_be(org, giver, orgs) and _concerns(rule, org)):
        raise InvalidParams(f"this budget counts nobody of the organisation {org}")
    if rule.scope == "org":
        if wish.who not in (ALL, org):
            raise InvalidParams("this budget counts organisations: name one by `org`, and leave `who` out")
        return org, ALL
    if wish.who == ALL:
        return org, ALL
    if org == ALL:
        raise InvalidParams("for one spender name the organisation it belongs to")
    if not wish.who or len(wish.who) > _MOST_WHO or not wish.who.isprintable():
        raise InvalidParams(f"`who` has 1 to {_MOST_WHO} characters on one line")
    if rule.scope != "key" and not glob(rule.match)(wish.who):
        raise InvalidParams(f"this budget does not count this {rule.scope}: it is for {rule.match!r}")
    return org, wish.who


def _amount(rule: Rule, wish: Wish) -> int:
    text = str(wish.amount)
    found = _DOLLARS.fullmatch(text) if rule.unit == "usd" else None
    if rule.unit == "usd" and found is None:
        raise InvalidParams("`amount` is US dollars with at most nine decimals")
    if rule.unit != "usd" and not _NUMBER.fullmatch(text):
        raise InvalidParams("`amount` is a whole number")
    amount = int(text) if found is None else int(found[1]) * 10**9 + int((found[2] or "").ljust(9, "0"))
    if amount == 0 and (wish.mode == "raise" or rule.unit != "usd" or not rule.hard):
        raise InvalidParams("an amount of nothing has no effect here")
    if amount + (rule.cap if wish.mode == "raise" else 0) > MOST:
        raise InvalidParams(f"at most {shown(rule.unit, MOST)} can be counted in one window")
    return amount


def _until(rule: Rule, text: str, now: int) -> int:
    if text == THIS_WINDOW:
        if rule.window.kind != "calendar":
            raise InvalidParams("this budget has no window that ends: say until when")
        return span_of(rule.window, now).end
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise InvalidParams("`until` is an RFC 3339 time with an offset, or `window`")
    until = int(at.timestamp()) * MICROS + at.microsecond
    if not now < until <= now + LONGEST:
        raise InvalidParams(f"`until` lies in the future, at most {LONGEST // (86_400 * MICROS)} days from now")
    return until
