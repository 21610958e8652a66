"""Another amount for a while: exact wherever it is counted, ended by the clock that counts, taken back at once, told of apart; and for whom."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hub.budget import override_rows
from hub.budget.budgets import Budgets
from hub.budget.budgets_memory import MemoryBudgets
from hub.budget.counter import Counter
from hub.budget.override_desk import OverrideDesk
from hub.budget.override_postgres import PostgresOverrides
from hub.budget.override_rows import Rows
from hub.budget.override_sqlite import SqliteOverrides
from hub.budget.override_vet import Giver, Wish, vetted
from hub.budget.overrides import ALL, Override, Overrides
from hub.budget.tiers import rules_of
from hub.call import Tokens
from hub.config.money import AlertSpec, BudgetSpec
from hub.refusal import BudgetExceeded, Denied, NotFound, Refusal, StoreDown
from hub.store.epochs import BUDGETS
from hub.store.postgres_migrations import migrations as postgres_migrations
from hub.store.sqlite import migrations as sqlite_migrations
from tests.budget.purse import ANN, BOB, EVE, GPT, InPostgres, InRedis, InSqlite, Purse, end, reserve, spend, usd

ACME = Giver("acme", "k9", "user:boss")
HUB = Giver(None, "k0", "user:root")
ORGS = ("default", "acme", "evil")


def rows_of(purse: Purse) -> Rows:
    return SqliteOverrides(purse.database) if isinstance(purse, InSqlite) else PostgresOverrides(purse.postgres)  # type: ignore[attr-defined]


async def desk_of(purse: Purse, budgets: Budgets, *specs: BudgetSpec) -> OverrideDesk:
    desk = OverrideDesk(rows_of(purse), budgets)
    desk.configure(specs, ORGS)
    await budgets.standing(ANN, GPT)  # what time it is there
    await desk.open()
    return desk


def wish(nano: int, until: str = "window", **more: Any) -> Wish:
    return Wish(f"0.{nano:09}", until, "release week", **more)


async def count(budgets: Budgets, tries: int, name: str, amount: int, **more: Any) -> int:
    found = await asyncio.gather(*(reserve(budgets, f"{name}{n:04}", amount, **more) for n in range(tries)), return_exceptions=True)
    assert {type(one) for one in found if isinstance(one, BaseException)} <= {BudgetExceeded}
    return sum(not isinstance(one, BaseException) for one in found)


async def test_of_three_thousand_against_a_raised_room_exactly_what_fits_is_admitted_and_its_end_is_kept(purse: Purse):
    specs = (usd(1_000_000, window="day"), usd(9_000_000, "all", "global"))
    budgets, other = await purse.make(*specs), await purse.make(*specs)
    shared = isinstance(purse, InRedis)
    desk, second = await desk_of(purse, budgets, *specs), await desk_of(purse, other, *specs)
    assert await count(budgets, 1, "first", 999_500) == 1
    assert await count(budgets, 1, "none", 1000) == 0
    given = await desk.give("b", wish(500_000, "2030-03-17T13:00:00Z", org="acme"), HUB)
    assert given.shown["until"] == "2030-03-17T13:00:00Z"
    epoch, _ = await rows_of(purse).standing(0)
    await second.following.look({BUDGETS: epoch})  # as every process does when it looks
    halves = [count(one, 1500, f"r{n}", 1000) for n, one in enumerate((budgets, other if shared else budgets))]
    assert sum(await asyncio.gather(*halves)) == 500
    assert await count(budgets, 1, "evil", 999_500, caller=EVE) == 1  # another organisation's is as configured
    assert await count(budgets, 1, "evil2", 1000, caller=EVE) == 0
    left = (await budgets.standing(ANN, GPT))[0]
    assert (left.cap, left.left, left.override) == (1_500_000, 500, 1_900_022_400_000_000 - 11 * 3_600_000_000)
    await purse.pass_(3599.999)
    assert await count(budgets, 1, "last", 500) == 1
    await purse.pass_(0.002)
    assert await count(budgets, 1, "over", 1) == 0
    left = (await budgets.standing(ANN, GPT))[0]
    assert (left.cap, left.left, left.override) == (1_000_000, -500_000, None)


async def test_what_was_given_holds_after_a_restart_and_is_taken_back_at_once(purse: Purse):
    specs = (usd(1000, "team", "team"), usd(1000, "user", "user", "1h"))
    budgets = await purse.make(*specs)
    desk = await desk_of(purse, budgets, *specs)
    one = (await desk.give("team", wish(5000, who="core"), ACME)).shown["id"]
    await desk.give("user", wish(9000, "2030-03-18T00:00:00Z", mode="set"), HUB)  # of default, which is not acme
    wide = (await desk.give("user", wish(8000, "2030-03-18T00:00:00Z", mode="set", org=ALL), HUB)).shown["id"]
    await spend(budgets, "a", 4000)
    again = await purse.make(*specs)
    fresh = await desk_of(purse, again, *specs)
    assert [(one.budget, one.cap, one.left) for one in await again.standing(ANN, GPT)] == [("team", 6000, 2000), ("user", 8000, 4000)]
    refusal = await refused(again, "b", 2001)
    assert refusal.data["budget"] == "team"
    assert [listed["id"] for listed in await fresh.listed("acme", ended=False)] == [one]
    assert len(await fresh.listed(None, ended=False)) == 3
    with pytest.raises(NotFound):
        await fresh.end(wide, ACME)
    flying = await reserve(again, "c", 1000)
    done = await fresh.end(one, ACME)
    assert (done.shown["org"], done.record["who"]) == ("acme", "core")
    assert [(one.cap, one.left) for one in await again.standing(ANN, GPT)] == [(1000, -4000), (8000, 3000)]
    await end(flying.settle(1000, Tokens()))  # what was set aside is settled all the same
    assert (await refused(again, "d", 1)).data["budget"] == "team"
    with pytest.raises(NotFound):
        await fresh.end(one, ACME)
    ended = await fresh.listed("acme", ended=True)
    assert [(one["id"], bool(one["ended"]), one["ended_by"]) for one in ended] == [(one, True, "k9")]


async def test_what_an_organisation_may_spend_in_all_is_changed_by_operators_of_the_hub_alone(purse: Purse):
    specs = (usd(1000, "acme", "org"),)
    budgets = await purse.make(*specs)
    desk = await desk_of(purse, budgets, *specs)
    less = (await desk.give("acme", wish(100, mode="set", org="acme"), HUB)).shown["id"]
    assert [one["id"] for one in await desk.listed("acme", ended=False)] == [less]
    for change in (desk.give("acme", wish(5000), ACME), desk.end(less, ACME)):
        with pytest.raises((Denied, NotFound)):
            await change
    assert [one.cap for one in await budgets.standing(ANN, GPT)] == [100]
    await desk.end(less, HUB)
    assert [one.cap for one in await budgets.standing(ANN, GPT)] == [1000]


async def test_what_an_operator_of_the_hub_gave_is_ended_and_replaced_by_operators_alone(purse: Purse):
    specs = (usd(1000, "user", "user"),)
    budgets = await purse.make(*specs)
    desk, other = await desk_of(purse, budgets, *specs), await desk_of(purse, await purse.make(*specs), *specs)
    await desk.give("user", wish(9000, who="ann"), ACME)
    less = (await desk.give("user", wish(100, mode="set", who="ann", org="acme"), HUB)).shown
    assert (less["giver"], (await budgets.standing(ANN, GPT))[0].cap) == ("", 100)
    for one in (desk, other):  # whether or not the process has heard of it
        for change in (one.give("user", wish(5000, who="ann"), ACME), one.end(less["id"], ACME)):
            with pytest.raises(Denied, match="operator"):
                await change
    everybody = (await desk.give("user", wish(500, mode="set", org="acme"), HUB)).shown["id"]
    for one in (desk, other):
        with pytest.raises(Denied, match="less can be given"):
            await one.give("user", wish(501, mode="set", who="bob"), ACME)
    own = (await desk.give("user", wish(400, mode="set", who="bob"), ACME)).shown
    assert (own["giver"], (await budgets.standing(BOB, GPT))[0].cap) == ("acme", 400)
    assert (await desk.give("user", wish(450, mode="set", who="bob", org="acme"), HUB)).shown["replaced"] == own["id"]
    assert (await budgets.standing(ANN, GPT))[0].cap == 100
    for name in (less["id"], everybody):
        await desk.end(name, HUB)
    await desk.end((await desk.give("user", wish(9000, who="ann"), ACME)).shown["id"], ACME)
    assert (await budgets.standing(ANN, GPT))[0].cap == 1000


async def test_overrides_of_before_are_their_givers_where_the_key_tells_it(in_sqlite: InSqlite, in_postgres: InPostgres):
    """The migration, run again on rows as they were: a key of an organisation, one of the hub's own, and one that is not in the table."""
    keys = {"k-acme": "acme", "k-root": "default"}
    insert = "INSERT INTO api_key (id, name, org, subject, roles, grants, mac, pepper, created, epoch) VALUES ('{0}', '{0}', '{1}', '', '[]', '[]', {2}, '', '', 1)"
    for purse in (in_sqlite, in_postgres):
        desk = await desk_of(purse, await purse.make(usd(1000, "user", "user")), usd(1000, "user", "user"))
        for name in ("k-acme", "k-root", "k-file"):
            await desk.give("user", wish(1, who=name), Giver("acme", name, "user:x"))
        await migrate_again(purse, [insert.format(key, org, "x''" if purse is in_sqlite else "''") for key, org in keys.items()])
        found = {one["by"]: one["giver"] for one in await desk.listed(None, ended=False)}
        assert found == {"k-acme": "acme", "k-root": "", "k-file": ""}


async def migrate_again(purse: InSqlite | InPostgres, before: list[str]) -> None:
    if isinstance(purse, InSqlite):
        (sql,) = [sql for _, name, sql in sqlite_migrations() if "override_givers" in name]
        statements = [*before, "ALTER TABLE budget_override DROP COLUMN giver", *sql.split(";\n")]

        def run(connection: sqlite3.Connection) -> None:
            for statement in statements:
                connection.execute(statement)

        await purse.database.write(run)
        return
    (sql,) = [sql for _, name, sql in postgres_migrations() if "override_givers" in name]

    async def go(connection: Any) -> None:
        for statement in (*before, "ALTER TABLE budget_override DROP COLUMN giver", sql):
            await connection.execute(statement)

    await purse.postgres.write(go)


async def test_one_for_the_same_is_replaced_and_the_narrowest_holds(purse: Purse):
    specs = (usd(1000, "user", "user"),)
    budgets = await purse.make(*specs)
    desk = await desk_of(purse, budgets, *specs)
    first = (await desk.give("user", wish(1000, who="ann"), ACME)).shown["id"]
    second = await desk.give("user", wish(2000, "2030-03-17T12:30:00Z", who="ann"), ACME)
    assert second.shown["replaced"] == first == second.record["replaced"]
    await desk.give("user", wish(500), ACME)

    async def caps() -> list[int]:
        return [(await budgets.standing(who, GPT))[0].cap for who in (ANN, BOB)]

    assert await caps() == [3000, 1500]
    await purse.pass_(1800)
    assert await caps() == [1500, 1500]


async def test_what_an_organisation_gave_before_an_operator_said_less_holds_within_that_and_anew_when_it_is_over(purse: Purse):
    specs = (usd(1000, "user", "user"),)
    budgets = await purse.make(*specs)
    desk = await desk_of(purse, budgets, *specs)
    await desk.give("user", wish(8000, who="ann"), ACME)
    await desk.give("user", wish(100, mode="set", who="bob"), ACME)

    async def caps() -> list[int]:
        return [(await budgets.standing(who, GPT))[0].cap for who in (ANN, BOB)]

    assert await caps() == [9000, 100]
    await desk.give("user", wish(500, "2030-03-17T12:30:00Z", mode="set", org="acme"), HUB)
    assert await caps() == [500, 100]
    assert await count(budgets, 20, "wild", 100) == 5
    await purse.pass_(1800)
    assert await caps() == [9000, 100]


@given(st.data())
def test_of_overrides_that_hold_by_turns_each_moment_has_the_narrowest_within_what_operators_gave(data: st.DataObject):
    """Against the rule said plainly, moment by moment."""
    rule = next(iter(rules_of((usd(1000, "user", "user"),))))
    gave = st.tuples(st.integers(1, 20), st.integers(1, 9), st.sampled_from(["", "acme"]))
    drawn = [data.draw(st.none() | gave) for _ in range(3)]
    places = [("acme", "ann"), ("acme", ALL), (ALL, ALL)]
    given_: list[Override] = []
    for (org, who), one in zip(places, drawn, strict=True):
        if one is not None:
            amount, until, giver = one
            names = (f"{org}{who}", org, rule.name, rule.basis, rule.scope, who, rule.unit)
            given_.append(Override(*names, "set", amount, 0, until, "why", "k", "s", giver=giver if org != ALL else ""))
    applied = Overrides(given_).applied(rule, "acme", "ann")
    for now in range(10):
        standing = [one for one in given_ if one.until > now]
        wanted = rule.cap
        if standing:
            narrowest, *wider = standing
            by_operators = [one.amount for one in wider if not one.giver]
            wanted = min([narrowest.amount, *(by_operators[:1] if narrowest.giver else [])])
        assert next((cap for cap, until in applied.steps if until > now), rule.cap) == wanted


async def test_thresholds_are_told_again_of_the_raised_amount(tmp_path: Path):
    purse = InSqlite(tmp_path / "hub.db")
    told: list[tuple[int, int]] = []
    spec = usd(1000, "user", "user", alerts=AlertSpec(url="http://127.0.0.1:9/"))
    budgets = MemoryBudgets(purse.store, (spec,), alert=lambda *args: told.append((args[4], args[6])), wall=lambda: purse.wall)
    desk = await desk_of(purse, budgets, spec)
    await spend(budgets, "a", 800)
    given = await desk.give("user", wish(1000, who="ann"), ACME)
    await spend(budgets, "b", 300)
    await desk.end(given.shown["id"], ACME)
    budgets_now = await reserve(budgets, "c", 1, caller=BOB)
    budgets_now.refund()
    assert told == [(50, 1000), (80, 1000), (50, 2000)]
    await purse.close()


@settings(deadline=None, max_examples=60)
@given(
    steps=st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 100)), max_size=3),
    spent=st.integers(0, 3000),
    need=st.integers(1, 3000),
)
def test_what_a_refused_call_is_told_to_wait_is_when_it_fits(steps: list[tuple[int, int]], spent: int, need: int):
    """By trying every minute: in memory. What Redis says is held against memory in tests/budget/test_scripts.py."""
    now, minute = 1_900_022_400_000_000 - 50 * 60_000_000, 60_000_000
    rule = replace(rules_of((usd(1000, window="day"),))[0], steps=tuple((cap, now + at * minute) for cap, at in steps))

    def counter() -> Counter:
        made = Counter(rule, "acme", "", now)
        made.loaded, made.spent = True, spent
        return made

    if counter().fits(need):
        return
    wait = counter().wait(need, now)
    for minutes in range(1, 101):
        one = counter()
        one.turn(now + minutes * minute)
        if one.fits(need):
            assert wait == minutes * minute
            return
    assert wait is None


@pytest.mark.parametrize(
    ("budget", "asked", "giver", "code"),
    [
        ("none", wish(1), ACME, "not_found"),
        ("all", wish(1), ACME, "not_found"),  # what counts all organisations is for the hub's operators
        ("of-evil", wish(1), ACME, "not_found"),
        ("in-all", wish(1), ACME, "denied"),
        ("all", wish(1, org="acme"), HUB, "invalid_params"),
        ("user", wish(1, who="ann", org=ALL), HUB, "invalid_params"),
        ("user", wish(1, org="nobody"), HUB, "invalid_params"),
        ("crawlers", wish(1, who="ann"), ACME, "invalid_params"),
        ("hour", wish(1), ACME, "invalid_params"),  # a rolling window has no end
        ("user", wish(0), ACME, "invalid_params"),
        ("user", Wish("0.0000000001", "window", "x"), ACME, "invalid_params"),
        ("user", Wish("9000000", "window", "x"), ACME, "invalid_params"),
        ("user", Wish("1", "2030-03-17T11:59:59Z", "x"), ACME, "invalid_params"),
        ("user", Wish("1", "2030-03-17T13:00:00", "x"), ACME, "invalid_params"),
        ("user", Wish("1", "2032-03-17T13:00:00Z", "x"), ACME, "invalid_params"),
        ("user", Wish("1", "window", " "), ACME, "invalid_params"),
        ("calls", Wish("1.5", "window", "x"), ACME, "invalid_params"),
    ],
)
def test_what_cannot_be_is_refused(budget: str, asked: Wish, giver: Giver, code: str):
    specs = (
        usd(1000, "user", "user"),
        usd(1000, "all", "global"),
        usd(1000, "hour", "user", "1h"),
        usd(1000, "of-evil", "user", org="evil"),
        usd(1000, "in-all", "org"),
        usd(1000, "crawlers", "app", match="crawler-*"),
        BudgetSpec(name="calls", scope="user", window="day", requests=5),
    )
    with pytest.raises(Refusal) as raised:
        vetted(rules_of(specs), budget, asked, giver, 1_899_979_200_000_000, ORGS)
    assert raised.value.code == code


def test_a_budget_that_counts_another_thing_since_is_another():
    before, after = (rules_of((usd(1000, "user", "user", window),))[0] for window in ("day", "week"))
    one = vetted((before,), "user", wish(1000), ACME, 1_899_979_200_000_000, ORGS)
    assert isinstance(one, Override)
    assert Overrides((one,)).applied(before, "acme", "ann").cap_at(0) == 2000
    assert Overrides((one,)).applied(after, "acme", "ann").cap_at(0) == 1000
    raised = replace(before, cap=5000)
    assert Overrides((one,)).applied(raised, "acme", "ann").cap_at(0) == 6000


async def refused(budgets: Budgets, call: str, bound: int) -> Refusal:
    with pytest.raises(Refusal) as raised:
        await reserve(budgets, call, bound)
    return raised.value


async def test_what_was_changed_is_said_to_be_though_the_store_is_away_the_next_moment(in_sqlite: InSqlite):
    """A change that stands must come on record: who changes it hears of that, and it is taken over at the next look."""
    budgets = await in_sqlite.make(usd(1000, "user", "user"))
    desk = await desk_of(in_sqlite, budgets, usd(1000, "user", "user"))
    rows, away = desk._rows, AwayForReading(desk._rows)
    desk._rows = away
    given = await desk.give("user", wish(500), ACME)
    ended = await desk.end(given.shown["id"], ACME)
    assert ended.shown["id"] == given.shown["id"]
    again = await desk.give("user", wish(700), ACME)
    assert (await budgets.standing(ANN, GPT))[0].cap == 1000
    desk._rows = rows
    epoch, standing = await rows.standing(0)
    await desk.following.look({BUDGETS: epoch})
    assert [one.id for one in standing] == [again.shown["id"]]
    assert (await budgets.standing(ANN, GPT))[0].cap == 1700


class AwayForReading:
    """Rows whose changes take hold, and that cannot be read afterwards."""

    def __init__(self, rows: Rows) -> None:
        self.give, self.end, self.find, self.listed = rows.give, rows.end, rows.find, rows.listed

    async def standing(self, since: int) -> tuple[int, list[Override]]:
        raise StoreDown("the database cannot be used at the moment")


async def test_a_fault_that_nobody_thought_of_is_said_once_and_followed_by_the_next_look(
    in_sqlite: InSqlite, caplog: pytest.LogCaptureFixture
):
    budgets = await in_sqlite.make(usd(1000, "user", "user"))
    desk, other = [await desk_of(in_sqlite, budgets, usd(1000, "user", "user")) for _ in range(2)]
    given = (await other.give("user", wish(500), ACME)).shown["id"]
    rows, desk._rows = desk._rows, Faulty(desk._rows)
    epoch, _ = await rows.standing(0)
    for _ in range(3):
        await desk.following.look({BUDGETS: epoch})
    assert [one.exc_info is not None for one in caplog.records if one.name == "hub.budget"] == [True]
    desk._rows = rows
    await desk.following.look({BUDGETS: epoch})
    assert [one.id for one in desk._known(0)] == [given]


class Faulty:
    """Rows whose reading fails as nobody expects."""

    def __init__(self, rows: Rows) -> None:
        self.give, self.end, self.find, self.listed = rows.give, rows.end, rows.find, rows.listed

    async def standing(self, since: int) -> tuple[int, list[Override]]:
        raise ValueError("a row that nobody thought of")


async def test_organisations_need_not_be_declared(in_sqlite: InSqlite):
    """Where none is, keys may be of any; where some are, keys may have been made for others before."""
    spec = usd(1000, "user", "user")
    budgets = await in_sqlite.make(spec)
    desk = OverrideDesk(rows_of(in_sqlite), budgets)
    desk.configure((spec,), ())
    for asked, giver in ((wish(1), ACME), (wish(2, org="acme"), HUB)):
        given = await desk.give("user", asked, giver)
        assert given.shown["org"] == "acme"
    await desk.end(given.shown["id"], HUB)
    for org in ("a\0b", "x" * 257):
        with pytest.raises(Refusal, match="nobody"):
            await desk.give("user", wish(1, org=org), HUB)
    desk.configure((spec,), ("evil",))
    assert (await desk.give("user", wish(3), ACME)).shown["org"] == "acme"
    with pytest.raises(Refusal, match="nobody"):
        await desk.give("user", wish(1, org="acme"), HUB)
    assert (await budgets.standing(ANN, GPT))[0].cap == 1003


async def test_only_so_many_of_an_organisation_stand_at_a_time(purse: Purse, monkeypatch: pytest.MonkeyPatch):
    """Every process has them in memory, and one organisation's are everybody's to carry."""
    monkeypatch.setattr(override_rows, "MOST_STANDING", 2)
    spec = usd(1000, "user", "user")
    budgets = await purse.make(spec)
    desk = await desk_of(purse, budgets, spec)
    first = (await desk.give("user", wish(1, who="ann"), ACME)).shown["id"]
    await desk.give("user", wish(1, who="bob"), ACME)
    with pytest.raises(Refusal, match="2 overrides"):
        await desk.give("user", wish(1, who="eve"), ACME)
    again = (await desk.give("user", wish(2, who="ann"), ACME)).shown
    assert again["replaced"] == first
    await desk.give("user", wish(1), HUB)
    await desk.end(again["id"], ACME)
    await desk.give("user", wish(1, "2030-03-17T13:00:00Z", who="eve"), ACME)
    assert sorted(one["who"] for one in await desk.listed("acme", ended=False)) == ["bob", "eve"]
    await purse.pass_(3601)
    await budgets.standing(ANN, GPT)
    await desk.give("user", wish(1, who="zoe"), ACME)  # the other's time is over


async def test_an_id_that_no_store_can_be_asked_for_is_not_found(purse: Purse):
    desk = await desk_of(purse, await purse.make(usd(1000)), usd(1000))
    with pytest.raises(NotFound):
        await desk.end("a\0b", HUB)
