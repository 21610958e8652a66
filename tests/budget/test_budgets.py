"""Budgets, wherever they are counted: what fits is admitted and nothing else, every reservation ends once, windows turn, the ledger is the truth."""

import asyncio
import contextlib

import pytest

from hub.budget.budgets import Budgets, outliving
from hub.call import Tokens
from hub.config.callers import LimitSpec
from hub.config.money import BudgetSpec
from hub.refusal import BudgetExceeded, Limited, Refusal, Unpriced
from tests.budget.purse import ANN, BOB, CLAUDE, EVE, GPT, Purse, end, reserve, spend, usd


async def refused(budgets: Budgets, call: str, bound: int | None, **more) -> Refusal:
    with pytest.raises(Refusal) as raised:
        await reserve(budgets, call, bound, **more)
    return raised.value


async def test_what_outlives_its_process_is_settled_once_by_who_adopts_it(purse: Purse):
    first = await purse.make(usd(1000))
    kept, other = await reserve(first, "kept", 300), await reserve(first, "other", 300)
    for one in (kept, other):
        await end(one.dispatching(40, Tokens(input=4)))
    kept.outlive()
    await first.close()
    await purse.pass_(60)
    second = await purse.make(usd(1000), but=("kept",))
    again = await second.adopt(outliving(kept))
    assert again is not None
    assert [one.left for one in await second.standing(ANN, GPT)] == [660]
    await end(again.settle(250, Tokens(input=1, output=1)))
    assert [one.left for one in await second.standing(ANN, GPT)] == [710]
    rows = {row.id: (row.cost, row.facts.status) for row in await purse.rows()}
    assert rows == {"kept": (250, "ok"), "other": (40, "unknown")}
    assert await second.adopt(outliving(kept)) is None, "it is settled"
    assert await second.adopt(outliving(other)) is None
    assert [one.left for one in await second.standing(ANN, GPT)] == [710]
    assert (await purse.counts(second))["b", ""] == (290, 0)


async def test_of_three_thousand_at_once_exactly_the_thousand_that_fit_are_admitted(purse: Purse):
    budgets = await purse.make(usd(1_000_000), usd(5_000_000, "key", "key"), usd(2_000_000, "all", "global"))
    tries = await asyncio.gather(*(reserve(budgets, f"c{n:04}", 1000) for n in range(3000)), return_exceptions=True)
    admitted = [one for one in tries if not isinstance(one, BaseException)]
    assert len(admitted) == 1000
    assert {type(one) for one in tries if isinstance(one, BaseException)} == {BudgetExceeded}
    assert (await purse.counts(budgets))["b", ""] == (0, 1_000_000)
    await asyncio.gather(*(end(one.dispatching()) for one in admitted))
    await asyncio.gather(*(end(one.settle(n % 1000, Tokens(input=5, output=2))) for n, one in enumerate(admitted)))
    rows = await purse.rows()
    spent = sum(range(1000))
    assert (len(rows), sum(row.cost for row in rows)) == (1000, spent)
    assert await purse.counts(budgets) == {("b", ""): (spent, 0), ("key", "k1"): (spent, 0), ("all", ""): (spent, 0)}


async def test_a_refusal_names_the_tier_and_when_it_resets_and_holds_nothing(purse: Purse):
    team = usd(1000, "core-day", "team", "day", match="core", status=402)
    budgets = await purse.make(usd(9000), team, usd(5000, "ever", "user", "lifetime"))
    await spend(budgets, "a", 900)
    refusal = await refused(budgets, "b", 200)
    assert isinstance(refusal, BudgetExceeded)
    assert (refusal.status, refusal.code, refusal.retry_after) == (402, "budget_exceeded", 43_200)
    assert refusal.data == {
        "budget": "core-day",
        "scope": "team",
        "unit": "usd",
        "left": "0.0000001",
        "needed": "0.0000002",
        "team": "core",
        "resets": "2030-03-18T00:00:00Z",
    }
    assert (await purse.counts(budgets))["b", ""] == (900, 0)
    never = await refused(budgets, "c", 6000)
    assert (never.data["budget"], never.retry_after) == ("ever", None) or (never.data["budget"], never.retry_after) == ("core-day", None)
    flying = await reserve(budgets, "d", 100)
    assert (await refused(budgets, "e", 100)).retry_after == 1  # a call under way is in the way
    flying.refund()
    await reserve(budgets, "e", 100)


async def test_a_model_without_a_price_is_refused_where_money_is_counted_and_only_there(purse: Purse):
    budgets = await purse.make(usd(1000, models=("gpt-*",)), BudgetSpec(name="calls", scope="key", window="day", requests=2))
    refusal = await refused(budgets, "a", None)
    assert isinstance(refusal, Unpriced)
    assert refusal.data["model"] == "openai/gpt-5-mini"
    one = await reserve(budgets, "b", None, target=CLAUDE)
    await end(one.settle(None, Tokens(input=3)))
    assert [row.cost for row in await purse.rows()] == [None]
    assert (await purse.counts(budgets))["calls", "k1"] == (1, 0)


async def test_settled_twice_is_settled_once_and_never_settled_and_refunded(purse: Purse):
    budgets = await purse.make(usd(1000))
    one = await reserve(budgets, "a", 600)
    assert await reserve(budgets, "a", 600) is not None  # the same call again is the same reservation
    await end(one.dispatching(50))
    await asyncio.gather(end(one.settle(500, Tokens())), end(one.settle(600, Tokens())))
    one.refund()
    with one:
        pass
    assert await purse.counts(budgets) == {("b", ""): (500, 0)}
    assert [row.cost for row in await purse.rows()] == [500]
    assert [(left.budget, left.left) for left in one.left] == [("b", 500)]


async def test_a_call_that_ends_without_a_word_is_settled_at_what_it_cost_at_least_if_it_was_sent_and_refunded_if_not(purse: Purse):
    budgets = await purse.make(usd(1000))
    with await reserve(budgets, "a", 600):
        pass
    one = await reserve(budgets, "b", 600)
    await end(one.dispatching(70, Tokens(input=7)))
    with contextlib.suppress(asyncio.CancelledError), one:
        raise asyncio.CancelledError
    rows = await purse.rows()
    assert [(row.id, row.cost, row.tokens.input, row.facts.status) for row in rows] == [("b", 70, 7, "unknown")]
    assert await purse.counts(budgets) == {("b", ""): (70, 0)}


async def test_what_nobody_can_say_costs_what_was_set_aside(purse: Purse):
    budgets = await purse.make(usd(1000))
    one = await reserve(budgets, "a", 600, tokens=Tokens(input=10, output=20))
    await end(one.settle(None, None))
    (row,) = await purse.rows()
    assert (row.cost, row.tokens) == (600, Tokens(input=10, output=20))


async def test_each_tier_counts_whom_it_is_for_and_what_it_is_about(purse: Purse):
    budgets = await purse.make(
        *(usd(10_000, scope, scope) for scope in ("key", "user", "team", "project", "org", "global")),
        usd(10_000, "app", "app", org="evil"),
        usd(10_000, "claude", "org", providers=("anth*",)),
        usd(10_000, "acme-only", "org", match="acme"),
    )
    await spend(budgets, "1", 1)
    await spend(budgets, "2", 10, caller=BOB, target=CLAUDE)
    await spend(budgets, "3", 100, caller=EVE)
    found = {at: spent for at, (spent, _) in (await purse.counts(budgets)).items()}
    assert found == {
        ("key", "k1"): 1,
        ("key", "k2"): 10,
        ("key", "k3"): 100,
        ("user", "ann"): 1,
        ("user", "bob"): 10,
        ("team", "core"): 11,
        ("project", "web"): 1,
        ("project", "api"): 10,
        ("org", ""): found["org", ""],
        ("global", ""): 111,
        ("app", "crawler"): 100,
        ("claude", ""): 10,
        ("acme-only", ""): 11,
    }
    left = {one.budget: one.left for one in await budgets.standing(ANN, CLAUDE)}
    assert left["org"] == 10_000 - 11
    assert left["claude"] == 10_000 - 10
    assert {one.budget: one.left for one in await budgets.standing(EVE, GPT)}["org"] == 10_000 - 100


async def test_tokens_calls_and_tokens_a_minute_are_counted_as_money_is(purse: Purse):
    budgets = await purse.make(
        BudgetSpec(name="out", scope="key", window="lifetime", tokens_out=100),
        BudgetSpec(name="calls", scope="user", window="month", requests=3),
        limits=(LimitSpec(name="tpm", scope="key", tokens_per_minute=1000),),
    )
    one = await reserve(budgets, "a", None, tokens=Tokens(input=500, output=90))
    refusal = await refused(budgets, "b", None, tokens=Tokens(input=1, output=20))
    assert (refusal.data["budget"], refusal.data["left"], refusal.data["needed"]) == ("out", 10, 20)
    await end(one.settle(1, Tokens(input=600, output=40, cache_read=500, reasoning=30)))  # more was read than was thought
    assert (await purse.counts(budgets)) == {("out", "k1"): (40, 0), ("calls", "ann"): (1, 0), ("tpm", "k1"): (640, 0)}
    limited = await refused(budgets, "c", None, tokens=Tokens(input=361))
    assert isinstance(limited, Limited)
    assert limited.data == {"limit": "tpm", "scope": "key"}
    assert limited.retry_after is not None
    assert 60 <= limited.retry_after <= 61
    await reserve(budgets, "d", None, tokens=Tokens(input=360))
    await purse.pass_(limited.retry_after)
    await reserve(budgets, "e", None, tokens=Tokens(input=640))
    assert (await refused(budgets, "f", None)).data["budget"] == "calls"


async def test_a_soft_budget_refuses_nobody_and_is_told(purse: Purse):
    budgets = await purse.make(usd(1000, enforce="soft"))
    assert (await spend(budgets, "a", 900)).over == ()
    one = await spend(budgets, "b", 900)
    assert one.over == ("b",)
    assert [left.left for left in one.left] == [-800]


async def test_a_window_that_ends_keeps_what_is_under_way(purse: Purse):
    budgets = await purse.make(usd(1000, window="day"))
    flying = await reserve(budgets, "a", 700)
    await spend(budgets, "b", 300)
    await purse.pass_(43_200)
    assert (await refused(budgets, "c", 301)).retry_after == 1
    await spend(budgets, "c", 300)
    await end(flying.settle(650, Tokens()))
    assert await purse.counts(budgets) == {("b", ""): (950, 0)}


async def test_a_clock_that_is_set_back_gives_nothing_twice(purse: Purse):
    budgets = await purse.make(usd(1000, window="day"), usd(1000, "rolling", window="1h"))
    await spend(budgets, "a", 1000)
    await purse.pass_(-86_400)
    await refused(budgets, "b", 1)
    again = await purse.make(usd(1000, window="day"), usd(1000, "rolling", window="1h"))
    await refused(again, "c", 1)


async def test_a_rolling_window_never_lets_more_through_than_its_amount_in_any_span(purse: Purse):
    budgets = await purse.make(usd(100, window="1h"))
    admitted: list[int] = []
    for step in range(240):
        for n in range(3):
            try:
                await spend(budgets, f"{step:03}-{n}", 10)
            except BudgetExceeded:
                break
            admitted.append(step)
        await purse.pass_(60)
    for begin in range(240):
        assert sum(10 for step in admitted if begin <= step < begin + 60) <= 100
    assert len(admitted) >= 38  # and hardly less


async def test_a_hub_that_begins_anew_counts_what_the_ledger_says(purse: Purse):
    specs = (usd(1000, window="day"), usd(1000, "rolling", "key", "1h"), usd(1000, "claude", "org", models=("claude*",)))
    budgets = await purse.make(*specs)
    await spend(budgets, "a", 100)
    await spend(budgets, "b", 10, target=CLAUDE)
    before = await purse.counts(budgets)
    await budgets.close()
    again = await purse.make(*specs, usd(1000, "new", "team"))
    await spend(again, "c", 0, target=CLAUDE)
    assert await purse.counts(again) == {**before, ("new", "core"): (110, 0)}


async def test_rules_that_change_count_what_was_spent_and_what_is_under_way(purse: Purse):
    budgets = await purse.make(usd(1000))
    await spend(budgets, "a", 100)
    flying = await reserve(budgets, "b", 300)
    budgets.configure((usd(500), usd(600, "new", "key")), ())
    left = {one.budget: one.left for one in await budgets.standing(ANN, GPT)}
    assert left == {"b": 100, "new": 200}
    assert (await refused(budgets, "c", 150)).data["budget"] == "b"
    await end(flying.settle(200, Tokens()))
    assert await purse.counts(budgets) == {("b", ""): (300, 0), ("new", "k1"): (300, 0)}


async def test_the_metrics_hear_what_is_left_what_is_set_aside_and_who_refuses(purse: Purse):
    budgets = await purse.make(usd(1000), usd(5000, "key", "key"), BudgetSpec(name="n", scope="team", window="day", requests=3))

    def rooms() -> dict[str, tuple[int, int]]:
        return {one.budget: (one.left, one.reserved) for one in budgets.rooms()}

    assert rooms() == {"b": (1000, 0), "key": (5000, 0), "n": (3, 0)}
    one = await reserve(budgets, "c1", 600)
    assert {name: aside for name, (_, aside) in rooms().items()} == {"b": 600, "key": 600, "n": 1}
    await refused(budgets, "c2", 600)
    await refused(budgets, "c3", None)
    assert budgets.refusals.counts == {("b", "org"): 2}
    await end(one.dispatching())
    await end(one.settle(100, Tokens()))
    await spend(budgets, "c4", 50, caller=BOB)
    assert {name: rest for name, rest in rooms().items() if name != "key"} == {"b": (850, 0), "n": (1, 0)}
    assert rooms()["key"] == (4900, 0), "the tightest of ann's and bob's"


async def test_a_call_without_a_price_that_broke_off_is_not_said_to_have_cost_nothing(purse: Purse):
    budgets = await purse.make(BudgetSpec(name="n", scope="key", window="day", requests=3))
    for name, caller in (("counted", ANN), ("also", BOB)):
        with await reserve(budgets, name, None, caller=caller) as one:
            await end(one.dispatching(0, Tokens(input=2)))
    with contextlib.suppress(Refusal):
        await end((await reserve(budgets, "settled", None)).settle(None, None))
    assert {row.id: row.cost for row in await purse.rows()} == {"counted": None, "also": None, "settled": None}
