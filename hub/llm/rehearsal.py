"""A dry run: what would become of a model call, said by the hub itself. Nothing is set aside, and nothing is sent.

It is authenticated, limited, resolved, decided, routed and priced as the call itself would be, and on record under the flag `dry_run`.
It tells nobody more than a call would: nothing of deployments that policy denies, nor what all organisations together have spent.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from hub.budget.budgets import Budgets, instant, shown
from hub.budget.budgets import Left as Room
from hub.budget.limiter import Hold, Limiter
from hub.budget.tiers import taken
from hub.call import Call, Caller, Reply, Target
from hub.config.values import Dollars
from hub.identity.roles import OPERATORS
from hub.llm.charge import Figure
from hub.llm.delivery import Served
from hub.llm.dispatch import Errand, Way
from hub.plan import Plan
from hub.refusal import Denied, InvalidRequest, Limited
from hub.routing.plan import Left

HEADER = b"hub-dry-run"

_JSON = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))
_FLAG = "dry_run"


def dry(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request asks for a dry run. Raises `InvalidRequest` for what says neither: nobody is to be charged for a misspelling."""
    said = headers.get(HEADER)
    if said is None or said == b"0":
        return False
    if said != b"1":
        raise InvalidRequest("hub-dry-run is 1, or is left out")
    return True


class Rehearsal:
    """Resolves a call as its errand does, and answers it with what would happen (`hub.plan.View`)."""

    def __init__(self, errand: Errand, limits: Limiter, budgets: Budgets) -> None:
        self._errand = errand
        self._limits = limits
        self._budgets = budgets

    def resolve(self, call: Call, caller: Caller) -> Plan:
        """Raises as `Errand.way` does: what is not there is answered as ever."""
        way = self._errand.way(call, caller)
        shaped = msgspec.structs.replace(way.call, flags=(*way.call.flags, _FLAG))

        async def answer(caller: Caller) -> Reply:
            return Served(result=orjson.dumps(await self._told(way, caller)), headers=_JSON)

        return Plan(shaped, answer=answer)

    async def _told(self, way: Way, caller: Caller) -> dict[str, Any]:
        """Raises `StoreDown` where budgets cannot be counted at the moment."""
        call, charge = way.call, way.charge
        assert call.target is not None
        if denied := self._decided(call, caller):
            return _answer(call, denied)
        figures = {stop.deployed.target: charge.figure(stop.deployed.target, caller) for stop in way.stops}
        first = figures[call.target]
        rooms = () if charge.free else await self._budgets.standing(caller, call.target)
        refusal = await self._limited(caller, call.target) or _unfit(call.target, first, rooms)
        return {
            **_answer(call, refusal, first.estimate),
            "deployments": [_deployment(stop.deployed.target, stop.why, figures[stop.deployed.target]) for stop in way.stops],
            "left_out": [_left_out(one) for one in way.left if one.why != "policy"],
            "budgets": [_budget(one, first) for one in rooms if one.scope != "global" or caller.org == OPERATORS],
        }

    def _decided(self, call: Call, caller: Caller) -> dict[str, Any] | None:
        decision = self._errand.policy.decide(call, caller)
        if decision.allow:
            return None
        return {"code": Denied.code, "message": "policy does not allow this call", "reasons": list(decision.reasons)}

    async def _limited(self, caller: Caller, target: Target) -> dict[str, Any] | None:
        """The limits of the target, which count a dry run as they count a call."""
        try:
            entry = self._limits.enter_target(caller, target)
            (entry if isinstance(entry, Hold) else await entry).release()
        except Limited as limited:
            return {"code": limited.code, "message": limited.message, "retry_after": limited.retry_after, **limited.data}
        return None


def _answer(call: Call, refusal: dict[str, Any] | None, estimate: int | None = None) -> dict[str, Any]:
    return {
        "object": "dry_run",
        "kind": call.kind,
        "model": call.door,
        "would_be_refused": refusal is not None,
        "refusal": refusal,
        "estimate_nano_usd": estimate,
        "estimate_usd": _dollars(estimate),
        "deployments": [],
        "left_out": [],
        "budgets": [],
    }


def _left_out(one: Left) -> dict[str, Any]:
    return {"provider": one.target.upstream, "model": one.target.name, "why": one.why}


def _unfit(target: Target, figure: Figure, rooms: tuple[Room, ...]) -> dict[str, Any] | None:
    """The first budget, or limit on tokens, that has no room."""
    for room in rooms:
        if room.unit == "usd" and figure.estimate is None:
            return {"code": "model_not_priced", "message": f"the model {target} has no price", "budget": room.budget, "scope": room.scope}
    for room in rooms:
        if room.hard and _need(room, figure) > room.left:
            code, kind = ("limited", "limit") if room.limit else ("budget_exceeded", "budget")
            return {
                "code": code,
                "message": f"the {kind} {room.budget!r} has no room for this call",
                kind: room.budget,
                "scope": room.scope,
            }
    return None


def _need(room: Room, figure: Figure) -> int:
    return taken(room.unit, figure.estimate, figure.most)


def _budget(room: Room, figure: Figure) -> dict[str, Any]:
    need = _need(room, figure)
    return {
        "budget": room.budget,
        "kind": "limit" if room.limit else "budget",
        "scope": room.scope,
        "who": room.who,
        "unit": room.unit,
        "amount": shown(room.unit, room.cap),
        "left": shown(room.unit, max(0, room.left)),
        "needed": shown(room.unit, need),
        "fits": need <= room.left,
        "enforced": room.hard,
        "resets": None if room.resets is None else instant(room.resets),
        "override_until": None if room.override is None else instant(room.override),
    }


def _deployment(target: Target, why: str, figure: Figure) -> dict[str, Any]:
    return {
        "provider": target.upstream,
        "model": target.name,
        "why": why,
        "estimate_nano_usd": figure.estimate,
        "estimate_usd": _dollars(figure.estimate),
        "unpriced": figure.estimate is None,
        "price": None if figure.quote is None else figure.quote.told(),
        "tokens_at_most": {"input": figure.most.input, "output": figure.most.output},
    }


def _dollars(nano: int | None) -> str | None:
    return None if nano is None else str(Dollars(nano))
