"""Budgets of one process: what a kill leaves behind, what is written when, and laws that hold whatever is done in whatever order."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.budget.budgets_memory import KNOWN, MemoryBudgets
from hub.call import Caller, Tokens
from hub.refusal import BudgetExceeded
from tests.budget.purse import ANN, BOB, CLAUDE, EVE, GPT, InSqlite, end, reserve, spend, usd


@pytest.fixture
async def purse(tmp_path: Path) -> AsyncIterator[InSqlite]:
    purse = InSqlite(tmp_path / "hub.db")
    yield purse
    await purse.close()


async def test_a_process_killed_while_it_settles_leaves_a_ledger_that_says_what_the_counts_do(tmp_path: Path):
    arguments = ("-m", "tests.budget.spender_sqlite", str(tmp_path / "hub.db"), "1000000", "3000", "1000")
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(60):
        assert await process.stdout.readline() == b"admitted 1000\n"
        assert await process.stdout.readline() == b"settled 500\n"
        await asyncio.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    purse = InSqlite(tmp_path / "hub.db")
    purse.wall = 0  # the clock was set back as well: what was spent stays spent
    budgets = await purse.make(usd(1_000_000), usd(1_000_000, "all", "global", "1h"))
    await budgets.standing(ANN, GPT)
    rows = await purse.rows()
    assert len(rows) == 990  # ten were never sent
    assert {(row.cost, row.facts.status) for row in rows} == {(999, "ok"), (7, "unknown")}
    assert sum(row.cost == 999 for row in rows) >= 500
    spent = sum(row.cost for row in rows)
    assert await purse.counts(budgets) == {("b", ""): (spent, 0), ("all", ""): (spent, 0)}
    left = 1_000_000 - spent
    await reserve(budgets, "fits", left)
    with pytest.raises(BudgetExceeded):
        await reserve(budgets, "fits not", 1)
    await purse.close()


async def test_a_row_is_durable_no_later_than_what_is_handed_to_the_store_after_it_and_shares_its_commit(purse: InSqlite):
    budgets = await purse.make(usd(10_000))
    await spend(budgets, "warm", 1)
    await purse.store.settled()
    commits: list[int] = []
    purse.database.on_commit(lambda operations, seconds: commits.append(operations))
    one = await reserve(budgets, "a", 10)
    assert one.dispatching(3) is None
    await purse.database.write(lambda connection: None)  # as the intent
    one.settle(5, Tokens())
    outcome = purse.database.write(lambda connection: connection.execute("SELECT count(*) FROM usage").fetchone()[0])
    assert await outcome == 2
    assert len(commits) <= 4  # alone each would have a commit for the call, its row, and each record


async def test_what_another_process_spent_in_its_place_is_counted_when_it_has_its_place_again(purse: InSqlite):
    budgets, other = await purse.make(usd(1000)), await purse.make(usd(1000))
    await spend(budgets, "a", 100)
    flying = await reserve(budgets, "b", 200)
    await spend(other, "c", 300)
    await purse.store.settled()
    await budgets.resume()
    assert [one.left for one in await budgets.standing(ANN, GPT)] == [400]
    flying.settle(200, Tokens())
    assert await purse.counts(budgets) == {("b", ""): (600, 0)}


async def test_memory_follows_who_calls(purse: InSqlite):
    budgets = await purse.make(usd(10_000, "key", "key"))
    assert isinstance(budgets, MemoryBudgets)
    for n in range(KNOWN + 500):
        caller = Caller(org="acme", subject=f"key:k{n}", key_id=f"k{n}")
        (await reserve(budgets, f"{n:05}", 10, caller=caller)).refund()
    assert len(budgets._counters) <= KNOWN
    assert len(budgets._matches) <= KNOWN


async def test_without_a_budget_a_call_waits_for_nothing_and_has_its_row(purse: InSqlite):
    budgets = await purse.make(usd(1, org="other"))
    one = budgets.reserve("a", ANN, GPT, None, Tokens())
    assert not asyncio.iscoroutine(one)
    with one:
        assert one.dispatching() is None
        one.settle(77, Tokens(input=3))
    assert [row.cost for row in await purse.rows()] == [77]


CALLERS, TARGETS = (ANN, BOB, EVE), (GPT, CLAUDE)
step = st.one_of(
    st.tuples(st.just("reserve"), st.integers(0, 2), st.integers(0, 1), st.integers(0, 60)),
    st.tuples(st.sampled_from(["send", "refund", "leave"]), st.integers(0, 9)),
    st.tuples(st.just("settle"), st.integers(0, 9), st.integers(0, 100)),
    st.tuples(st.just("pass"), st.integers(0, 40_000)),
    st.tuples(st.just("restart")),
)
tier = st.tuples(
    st.sampled_from(["key", "user", "team", "project", "org", "global"]),
    st.integers(1, 150),
    st.sampled_from(["day", "1h", "lifetime", "week"]),
    st.sampled_from(["*", "openai"]),
    st.booleans(),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(tier, min_size=1, max_size=4), st.lists(step, max_size=40))
def test_whatever_is_done_no_hard_budget_is_passed_and_the_ledger_says_what_the_counts_do(tiers, steps):
    with TemporaryDirectory() as folder:
        asyncio.run(law(Path(folder), tiers, steps))


async def law(folder: Path, tiers, steps) -> None:
    purse = InSqlite(folder / "hub.db")
    specs = tuple(
        usd(cap, f"b{n}", scope, window, providers=(provider,), enforce="hard" if hard else "soft")
        for n, (scope, cap, window, provider, hard) in enumerate(tiers)
    )
    budgets = await purse.make(*specs)
    live: list = []
    for number, (what, *rest) in enumerate(steps):
        if what == "reserve":
            who, where, bound = rest
            with contextlib.suppress(BudgetExceeded):
                live.append(await reserve(budgets, f"{number:04}", bound, caller=CALLERS[who], target=TARGETS[where]))
        elif what == "pass":
            await purse.pass_(rest[0])
        elif what == "restart":
            for one in live:
                one.__exit__()
            live.clear()
            await budgets.close()
            budgets = await purse.make(*specs)
        elif live:
            one = live[rest[0] % len(live)]
            if what == "send":
                await end(one.dispatching(min(1, one.most)))
            elif what == "refund":
                one.refund()
            elif what == "leave":
                one.__exit__()
            else:
                one.settle(one.most * rest[1] // 100, Tokens())
        for counter in budgets.counters():
            assert counter.reserved >= 0
            assert counter.spent >= 0
            assert not counter.rule.hard or counter.spent + counter.reserved <= counter.rule.cap
    for one in live:
        one.__exit__()
    assert all(counter.reserved == 0 for counter in budgets.counters())
    rows = await purse.rows()
    assert len({row.id for row in rows}) == len(rows)
    seen = counted(budgets)
    again = await purse.make(*specs)
    for caller in CALLERS:
        for target in TARGETS:
            await again.standing(caller, target)
    told = counted(again)
    assert {at: told[at] for at in seen} == seen
    await purse.close()


def counted(budgets) -> dict[tuple[str, str, str], tuple[int, int]]:
    return {(one.rule.name, one.org, one.who): (one.spent, one.reserved) for one in budgets.counters()}
