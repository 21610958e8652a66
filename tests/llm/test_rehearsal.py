"""What a dry run tells, and to whom."""

from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from hub.budget.budgets import Left as Room
from hub.call import Call, Caller, Credential, Decision, Target, Tokens
from hub.llm.charge import Figure
from hub.llm.dispatch import Way
from hub.llm.rehearsal import Rehearsal
from hub.routing.plan import Left

TARGET, OTHER = Target("one", "model", "m"), Target("hidden", "model", "secret-model")
ROOMS = (
    Room("all", "global", "", "usd", 5_000_000_000, 9_000_000_000, None),
    Room("mine", "key", "k", "usd", 1_000_000_000, 2_000_000_000, None),
)


class Held:
    def release(self) -> None:
        return None


def rehearsal(*, allow: bool = True) -> tuple[Rehearsal, Call]:
    call = Call("id", "llm.chat", "/v1/chat/completions", "fast", b"{}", Credential(), 1e12, target=TARGET)
    figure = Figure(None, 1000, Tokens(input=1, output=1))

    async def held() -> Held:
        return Held()

    async def standing(caller: Caller, target: Target) -> tuple[Room, ...]:
        return ROOMS

    charge = SimpleNamespace(figure=lambda target, caller: figure, free=False)
    stop = SimpleNamespace(deployed=SimpleNamespace(target=TARGET), why="")
    left = (Left(OTHER, "policy"), Left(TARGET, "breaker_open"))
    way = cast("Way", SimpleNamespace(call=call, stops=(stop,), left=left, charge=charge))
    policy = SimpleNamespace(decide=lambda call, caller: Decision(allow, ("policy:x",)))
    errand = cast("Any", SimpleNamespace(way=lambda call, caller: way, policy=policy))
    limits = cast("Any", SimpleNamespace(enter_target=lambda caller, target: held()))
    return Rehearsal(errand, limits, cast("Any", SimpleNamespace(standing=standing))), call


async def told(made: tuple[Rehearsal, Call], caller: Caller) -> dict[str, Any]:
    plan = made[0].resolve(made[1], caller)
    assert plan.answer is not None
    return orjson.loads((await plan.answer(caller)).result)


@pytest.mark.parametrize(("org", "shown"), [("default", ["all", "mine"]), ("acme", ["mine"])])
async def test_what_all_have_spent_is_for_operators_and_what_policy_hides_for_nobody(org: str, shown: list[str]) -> None:
    found = await told(rehearsal(), Caller(org, "user:ann", "k"))
    assert [one["budget"] for one in found["budgets"]] == shown
    assert [one["why"] for one in found["left_out"]] == ["breaker_open"]
    assert (found["would_be_refused"], found["estimate_nano_usd"], len(found["deployments"])) == (False, 1000, 1)


async def test_of_a_call_that_is_denied_nothing_else_is_told() -> None:
    found = await told(rehearsal(allow=False), Caller("default", "user:ann", "k"))
    assert (found["would_be_refused"], found["refusal"]["code"]) == (True, "denied")
    assert (found["estimate_usd"], found["deployments"], found["left_out"], found["budgets"]) == (None, [], [], [])
