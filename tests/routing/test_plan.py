"""Which deployments are asked, in which order: pure functions, and the laws they keep."""

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from hub.call import Target
from hub.config.mcp import Breaker
from hub.routing.health import Health
from hub.routing.plan import Question, Seen, Stop, fitting, healthy, ordered, way
from hub.routing.route import Deployed, Route, Rule, Strategy
from hub.routing.verdict import of_status, retry_after


def never(_: object = None) -> None:
    return None


def stops(*deployed: Deployed) -> list[Stop]:
    return [Stop(one, Health(one.target, Breaker(failures=2, open_for=10.0))) for one in deployed]


def named(name: str, **more: object) -> Deployed:
    return Deployed(Target(name, "model", "m"), **more)  # type: ignore[arg-type]


def names(found: "list[Stop] | tuple[Stop, ...]") -> list[str]:
    return [stop.deployed.target.upstream for stop in found]


def order(
    strategy: Strategy, given: list[Stop], now: float = 0.0, sticky: str = "", chance: float = 0.5, price_of: Seen = never
) -> list[Stop]:
    route = Route(tuple(stop.deployed for stop in given), strategy)
    return ordered(route, given, Question(sticky=sticky), now, price_of, lambda: chance)


def test_the_same_caller_keeps_his_variant_and_shares_follow_the_weights() -> None:
    three = stops(named("a", weight=6), named("b", weight=3), named("c", weight=1), named("spare", weight=0))
    first = {f"key{n}": names(order("weighted", three, sticky=f"key{n}")) for n in range(3000)}
    shares = Counter(found[0] for found in first.values())
    assert 1650 < shares["a"] < 1950
    assert 780 < shares["b"] < 1020
    assert 220 < shares["c"] < 380
    assert {found[-1] for found in first.values()} == {"spare"}
    without = [stop for stop in three if stop.deployed.target.upstream != "c"]
    for key, found in first.items():
        assert names(order("weighted", without, sticky=key)) == [name for name in found if name != "c"], "others stay where they were"
        assert names(order("weighted", three, sticky=key)) == found


def test_a_slow_deployment_is_left_at_once_and_found_again_when_it_is_quick() -> None:
    slow, quick = both = stops(named("slow"), named("quick"))
    now, asked = 0.0, list[str]()
    for call in range(300):
        first = order("latency", both, now, chance=(call % 10) / 10)[0]
        took = 10.0 if first is not quick and first.deployed is slow.deployed and now < 200 else 0.1
        first.health.asked = now
        now += took
        first.health.measure(int(took * 1e6), now, streams=True, stale=30.0)
        asked.append(first.deployed.target.upstream)
        now += 1.0
    assert asked[0:3] == ["slow", "quick", "quick"], "each is tried once, then the quicker one"
    assert asked[:100].count("slow") <= 1 + 110 // 30 + 1
    assert "slow" in asked[150:], "it is looked at again"


def test_one_that_was_asked_and_does_not_answer_is_not_asked_by_everybody() -> None:
    hanging, known = both = stops(named("hanging"), named("known"))
    known.health.measure(1000, 1.0, streams=True, stale=30.0)
    known.health.asked = 1.0
    hanging.health.asked = 0.5
    assert [names(order("latency", both, now)) for now in (2.0, 5.0, 29.0)] == [["known", "hanging"]] * 3


def test_the_cheapest_first_and_the_unpriced_last() -> None:
    prices = {"a": 300, "b": None, "c": 20}
    found = order("cost", stops(named("a"), named("b"), named("c")), price_of=lambda target: prices[target.upstream])
    assert [(stop.deployed.target.upstream, stop.why) for stop in found] == [("c", "cost:20"), ("a", "cost:300"), ("b", "cost:unknown")]


def test_what_a_deployment_cannot_do_or_hold_is_asked_elsewhere() -> None:
    three = stops(named("blind", lacks=("vision", "tools")), named("small", window=1000), named("large"))
    known = {"large": 100_000}
    found = fitting(three, Question(prompt=900, output=200, needs=frozenset({"vision"})), lambda target: known.get(target.upstream))
    assert names(found.stops) == ["large"]
    assert [(left.target.upstream, left.why) for left in found.left] == [("blind", "lacks:vision"), ("small", "too_small")]
    huge = fitting(three, Question(prompt=10**9), lambda target: known.get(target.upstream, 500))
    assert [(stop.deployed.target.upstream, stop.why) for stop in huge.stops] == [("large", "largest")], "a guess never refuses"
    assert fitting(three[:1], Question(needs=frozenset({"tools"})), never).stops == ()


def test_rules_choose_by_size_and_by_what_is_left() -> None:
    own, long, cheap = (named("own"),), (named("long"),), (named("cheap"),)
    route = Route(own, rules=(Rule(long, over=1000), Rule(cheap, under=10)))
    assert way(route, Question(prompt=1001), never) == long
    assert way(route, Question(prompt=1000), lambda: 9) == cheap
    assert way(route, Question(prompt=1000), lambda: 10) == own
    assert way(route, Question(), never) == own
    both = Route(own, rules=(Rule(cheap, over=10, under=50),))
    assert way(both, Question(prompt=11), lambda: 60) == own


def test_who_fails_is_left_out_unless_all_do_and_who_rests_comes_last() -> None:
    failing, resting, well = three = stops(named("failing"), named("resting"), named("well"))
    for _ in range(2):
        failing.health.breaker.fail(0.0)
    resting.health.rest(5.0)
    found = healthy(three, 1.0)
    assert names(found.stops) == ["well", "resting"]
    assert [(left.target.upstream, left.why) for left in found.left] == [("failing", "breaker_open")]
    assert names(healthy(three, 10.0).stops) == ["failing", "resting", "well"], "half-open: one call may try"
    assert names(healthy([failing], 1.0).stops) == ["failing"]
    assert well.health.well(1.0)


_deployed = st.builds(named, st.sampled_from("abcdef"), weight=st.integers(0, 5), window=st.none() | st.integers(1, 2000))


_STRATEGIES: tuple[Strategy, ...] = ("order", "weighted", "latency", "cost")


@given(st.lists(_deployed, min_size=1, max_size=6, unique_by=lambda one: one.target), st.integers(0, 3000), st.data())
def test_no_deployment_is_lost_or_asked_twice(deployed: list[Deployed], prompt: int, data: st.DataObject) -> None:
    """Whoever is not among the stops has a reason, and there is always somebody to ask."""
    every = stops(*deployed)
    for stop in every:
        for _ in range(data.draw(st.integers(0, 3))):
            stop.health.breaker.fail(0.0)
        stop.health.rest(data.draw(st.sampled_from([0.0, 20.0])))
    strategy: Strategy = data.draw(st.sampled_from(_STRATEGIES))
    question = Question(prompt=prompt, sticky=data.draw(st.sampled_from(["", "key"])))
    fit = fitting(every, question, never)
    found = ordered(Route(tuple(deployed), strategy), fit.stops, question, 1.0, never, lambda: 0.3)
    last = healthy(found, 1.0)
    assert sorted(names(last.stops) + [left.target.upstream for left in (*fit.left, *last.left)]) == sorted(names(every))
    assert last.stops
    assert all(left.why for left in (*fit.left, *last.left))


def test_verdicts_and_the_forms_of_retry_after() -> None:
    found = {status: of_status(status) for status in (200, 400, 404, 422, 401, 403, 408, 409, 429, 500, 503, 529, 302)}
    assert Counter(found.values()) == Counter(
        {"ok": 1, "client_error": 3, "key_refused": 2, "overloaded": 4, "conflict": 1, "rate_limited": 1, "fault": 1}
    )
    assert retry_after({"retry-after": "2"}) == 2.0
    assert retry_after({"retry-after-ms": "150", "retry-after": "9"}) == 0.15
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    for odd in itertools.chain(("", "soon", "nan", "inf", "-inf"), ("\x00",)):
        assert retry_after({"retry-after": odd}) is None
    assert retry_after({"retry-after": "999999999"}) == 3600.0
    assert retry_after({"retry-after": "-5"}) == 0.0


def test_a_stream_that_begins_closes_a_half_open_breaker_and_one_that_breaks_off_counts() -> None:
    breaker = stops(named("a"))[0].health.breaker
    for now in (0.0, 1.0):
        assert not breaker.admit(now)
        breaker.begun()
        breaker.fail(now)
    assert breaker.state(1.0) == "open", "beginning is no success"
    assert breaker.wait(1.0) == 10.0
    assert breaker.admit(5.0) > 0
    assert not breaker.admit(11.0)
    assert breaker.admit(11.0) > 0, "one at a time"
    breaker.begun()
    assert breaker.closed
    breaker.trip(20.0)
    assert breaker.state(29.0) == "open"
    assert not breaker.admit(30.0)
    breaker.abandon()
    assert not breaker.admit(30.0), "who ended without saying anything lets the next one try"
