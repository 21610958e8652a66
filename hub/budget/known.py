"""What the calls of one caller to one deployment are held against, found out once for both."""

from msgspec import Struct

from hub.budget.overrides import NONE, Overrides
from hub.budget.tiers import Rule, Spender, Tier, spender, tiers
from hub.call import Caller, Target

MOST = 4096
"""Pairs of caller and deployment that are remembered; beyond it all are found out anew."""


Place = tuple[str, str, str]
Names = tuple[str, str, str, str, str, str, str, str, str]


class Known(Struct, frozen=True):
    """`priced`: a rule that counts money, if there is one; `hard`: whether any must be kept. `places`: of each tier, what is counted, in
    which organisation (empty: in all) and for whom. `names`: the columns of a row that say whose call it was and where it went.
    """

    caller: Caller
    spender: Spender
    tiers: tuple[Tier, ...]
    priced: Rule | None
    hard: bool
    places: tuple[Place, ...] = ()
    names: Names = ("", "", "", "", "", "", "", "", "")


class Matches:
    """One look-up where the pair is known. Made anew when the rules or their overrides change."""

    def __init__(self, rules: tuple[Rule, ...], overrides: Overrides = NONE) -> None:
        self._rules = rules
        self._overrides = overrides
        self._known: dict[tuple[str, str, str], Known] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, caller: Caller, target: Target) -> Known:
        at = (caller.key_id, target.upstream, target.name)
        known = self._known.get(at)
        if known is None or known.caller is not caller:
            if len(self._known) >= MOST:
                self._known.clear()
            who = spender(caller)
            found = tiers(self._rules, who, target)
            priced = next((rule for rule, _ in found if rule.unit == "usd"), None)
            places = tuple((rule.basis, "" if rule.scope == "global" else who.org, name) for rule, name in found)
            if self._overrides:
                held = zip(found, places, strict=True)
                found = tuple((self._overrides.applied(rule, org, name), name) for (rule, name), (_, org, _) in held)
            names = (who.org, who.key, who.subject, who.user, who.app, who.team, who.project, target.upstream, target.name)
            known = self._known[at] = Known(caller, who, found, priced, any(rule.hard for rule, _ in found), places, names)
        return known
