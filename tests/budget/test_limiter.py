"""What limits promise, wherever they count: the same tests for the memory of one process and for Redis."""

import pytest

from tests.budget.conftest import TOOL, World, admitted, caller, enter, held, refusal, rule


async def test_without_rules_everything_fits(world: World):
    limits = await world.make()
    assert await admitted(limits, caller(), 1000) == 1000
    (await held(limits.enter_target(caller(), TOOL))).release()


async def test_a_rate_admits_its_burst_and_names_the_exact_wait(world: World):
    limits, who = await world.make(rule(per_minute=60, burst=3)), caller()
    assert await admitted(limits, who, 5) == 3
    refused = await refusal(enter(limits, who))
    assert refused.retry_after == 1.0
    assert refused.data == {"limit": "r", "scope": "key"}
    assert refused.message == "the limit 'r' is reached"
    world.pass_(0.999)
    await refusal(enter(limits, who))
    world.pass_(0.001)
    await enter(limits, who)


async def test_the_burst_is_a_minute_of_requests_unless_said(world: World):
    assert await admitted(await world.make(rule(per_minute=7)), caller(), 50) == 7


async def test_concurrency_is_freed_by_release_once_and_by_the_end_of_the_block(world: World):
    limits, who = await world.make(rule(concurrency=2)), caller()
    first, second = await enter(limits, who), await enter(limits, who)
    assert (await refusal(enter(limits, who))).retry_after == 1.0
    first.release()
    first.release()
    with await enter(limits, who):
        await refusal(enter(limits, who))
    with pytest.raises(KeyError), await enter(limits, who):
        raise KeyError
    await enter(limits, who)
    second.release()
    await enter(limits, who)
    await refusal(enter(limits, who))


async def test_a_day_admits_its_count_and_says_how_long_it_lasts(world: World):
    limits, who = await world.make(rule(per_day=5)), caller()
    assert await admitted(limits, who, 9) == 5
    assert (await refusal(enter(limits, who))).retry_after == 43_200
    world.pass_(43_199.9995)
    wait = (await refusal(enter(limits, who))).retry_after
    assert wait is not None
    assert 0.0004 < wait <= 0.001
    world.pass_(wait)
    assert await admitted(limits, who, 9) == 5


async def test_a_clock_set_back_over_midnight_gives_no_second_day(world: World):
    world.pass_(43_200 + 1)
    limits, who = await world.make(rule(per_day=5)), caller()
    assert await admitted(limits, who, 9) == 5
    world.set_back(2)
    assert await admitted(limits, who, 9) == 0


async def test_each_key_subject_and_organisation_is_counted_by_itself(world: World):
    for scope, same, other in (
        ("key", caller("k1", subject="user:b"), caller("k2")),
        ("subject", caller("k2"), caller("k1", subject="user:b")),
        ("subject", caller("k2"), caller("k1", org="acme")),
        ("org", caller("k2", subject="user:b"), caller("k1", org="acme")),
    ):
        limits = await world.make(rule(f"{scope}-{other.org}", scope, concurrency=1))
        await enter(limits, caller("k1"))
        assert (await refusal(enter(limits, same))).data["scope"] == scope
        await enter(limits, other)


async def test_tools_are_counted_by_organisation_and_only_tools(world: World):
    limits = await world.make(rule(scope="tool", match="time/*", per_day=1))
    await held(limits.enter_target(caller("k1"), TOOL))
    entering = limits.enter_target
    with pytest.raises(Exception, match="the limit 'r' is reached"):
        await held(entering(caller("k2"), TOOL))
    await held(entering(caller(org="acme"), TOOL))
    others = ("time", "tool", "other"), ("git", "tool", "get_time"), ("time", "prompt", "get_time")
    for target in (type(TOOL)(*parts) for parts in others):
        await held(entering(caller(), target))
        if target.kind == "prompt" or target.upstream == "git":
            await held(entering(caller(), target))


@pytest.mark.parametrize(
    ("spec", "matches"),
    [
        (rule(match="ci", concurrency=1), True),
        (rule(match="c*", concurrency=1), True),
        (rule(match="k1", concurrency=1), True),
        (rule(match="CI", concurrency=1), False),
        (rule(match="other", concurrency=1), False),
        (rule(match="*", org="default", concurrency=1), True),
        (rule(match="*", org="acme", concurrency=1), False),
        (rule(scope="subject", match="user:*", concurrency=1), True),
        (rule(scope="subject", match="app:*", concurrency=1), False),
        (rule(scope="org", match="default", concurrency=1), True),
        (rule(scope="org", match="acme", concurrency=1), False),
        (rule(scope="tool", match="*", concurrency=1), False),
    ],
)
async def test_which_rules_a_caller_matches(world: World, spec, matches):
    limits = await world.make(spec)
    await enter(limits, caller())
    if matches:
        await refusal(enter(limits, caller()))
    else:
        await enter(limits, caller())


async def test_a_refused_call_uses_up_nothing_of_any_limit(world: World):
    limits = await world.make(rule("rate", per_minute=60, burst=5), rule("day", "subject", per_day=5), rule("busy", "org", concurrency=1))
    who = caller()
    hold = await enter(limits, who)
    for _ in range(50):
        assert (await refusal(enter(limits, who))).data["limit"] == "busy"
    hold.release()
    for _ in range(4):
        (await enter(limits, who)).release()
    assert (await refusal(enter(limits, who))).data["limit"] == "day"


async def test_of_several_limits_reached_the_one_that_lasts_longest_is_named(world: World):
    limits = await world.make(rule("busy", concurrency=1), rule("day", per_day=1), rule("rate", per_minute=1))
    await enter(limits, caller())
    refused = await refusal(enter(limits, caller()))
    assert (refused.data["limit"], refused.retry_after) == ("day", 43_200)
    limits = await world.make(rule("quick", per_minute=60, burst=1), rule("slow", per_minute=1))
    await enter(limits, caller())
    refused = await refusal(enter(limits, caller()))
    assert (refused.data["limit"], refused.retry_after) == ("slow", 60)


async def test_a_rule_may_bound_rate_day_and_calls_in_flight_at_once(world: World):
    limits, who = await world.make(rule(per_minute=60, burst=4, concurrency=2, per_day=6)), caller()
    first = await enter(limits, who)
    await enter(limits, who)
    assert (await refusal(enter(limits, who))).retry_after == 1
    first.release()
    (await enter(limits, who)).release()
    (await enter(limits, who)).release()
    world.pass_(0.5)
    assert (await refusal(enter(limits, who))).retry_after == 0.5
    world.pass_(4)
    for _ in range(2):
        (await enter(limits, who)).release()
    assert (await refusal(enter(limits, who))).retry_after == 43_200 - 4.5


async def test_a_reload_keeps_what_rules_of_the_same_name_have_counted(world: World):
    limits, who = await world.make(rule("day", per_day=5), rule("busy", concurrency=2)), caller()
    hold = await enter(limits, who)
    limits.configure((rule("day", per_day=3), rule("busy", concurrency=1)))
    assert (await refusal(enter(limits, who))).data["limit"] == "busy"
    hold.release()
    for _ in range(2):
        (await enter(limits, who)).release()
    assert (await refusal(enter(limits, who))).data["limit"] == "day"
    limits.configure((rule("day", per_day=10),))
    assert await admitted(limits, who, 20) == 7
    limits.configure(())
    assert await admitted(limits, who, 20) == 20
    limits.configure((rule("day", per_day=10),))
    assert await admitted(limits, who, 20) == 0


async def test_a_lower_rate_after_a_reload_makes_nobody_wait_for_the_old_one(world: World):
    limits, who = await world.make(rule(per_minute=60, burst=60)), caller()
    assert await admitted(limits, who, 100) == 60
    limits.configure((rule(per_minute=60, burst=2),))
    assert (await refusal(enter(limits, who))).retry_after == 1
    world.pass_(1)
    await enter(limits, who)
    assert (await refusal(enter(limits, who))).retry_after == 1
    limits.configure((rule(per_minute=600, burst=10),))
    assert await admitted(limits, who, 20) == 0
    world.pass_(60)
    assert await admitted(limits, who, 20) == 10


async def test_a_key_that_moves_is_matched_anew(world: World):
    limits = await world.make(rule("a", "org", match="acme", concurrency=1))
    await enter(limits, caller())
    await enter(limits, caller(org="acme"))
    await refusal(enter(limits, caller(org="acme")))


async def test_daily_counts_are_exact_after_a_restart(world: World):
    specs = (rule("key", per_day=100), rule("tool", "tool", per_day=90))
    first, who = await world.make(*specs), caller()
    for _ in range(23):
        await enter(first, who)
        await held(first.enter_target(who, TOOL))
    await first.close()
    second = await world.make(*specs)
    assert await admitted(second, who, 200) == 100 - 23
    await second.close()
    third = await world.make(*specs)
    assert await admitted(third, who, 10) == 0
    world.pass_(86_400)
    fourth = await world.make(*specs)
    assert await admitted(fourth, who, 200) == 100


@pytest.mark.parametrize("text", ["a b", "user:" + "ä" * 500, "{x}", "a\r\nb", "*"])
async def test_names_may_be_anything(world: World, text: str):
    limits = await world.make(rule(scope="subject", concurrency=1), rule("day", "subject", per_day=3))
    first = await enter(limits, caller(subject=text))
    await refusal(enter(limits, caller("k2", subject=text)))
    await enter(limits, caller("k3", subject=text + "x"))
    first.release()
    await enter(limits, caller("k2", subject=text))
