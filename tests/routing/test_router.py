"""Routes as configured, with the health of deployments: what stays across edits, and what other rooms say."""

from typing import Any

from msgspec import convert

from hub.budget.price_book import PriceBook
from hub.call import Caller, Target
from hub.config.models import ModelSpec, ProviderSpec
from hub.llm.figures import Figures
from hub.routing.plan import Question, Stop
from hub.routing.route import Deployed, Route
from hub.routing.router import MOST_DIRECT, Router

CALLER = Caller("default", "key:1", "1")


def providers(**more: Any) -> dict[str, ProviderSpec]:
    given = {"openai": {"base_url": "https://api.openai.com/v1"}, "own": {"base_url": "http://127.0.0.1:1/v1"}} | more
    return {name: convert({"wire": "openai", **spec}, ProviderSpec) for name, spec in given.items()}


def model(*route: str, **more: Any) -> ModelSpec:
    return convert({"route": [dict(zip(("provider", "model"), one.split("/"), strict=True)) for one in route], **more}, ModelSpec)


def first(router: Router, spec: ModelSpec, question: Question | None = None) -> list[Stop]:
    route = router.route(spec)
    asked = None if route.plain else question or Question()
    return list(router.plan(route, router.stops(router.way(route, asked, CALLER), lambda _: True), asked).stops)


def test_health_is_kept_where_the_provider_stays_and_begins_anew_where_it_changed() -> None:
    router, specs = Router(), {"a": model("openai/x", "own/y")}
    router.configure(providers(), specs)
    before = first(router, specs["a"])
    for stop in before:
        stop.health.breaker.trip(0.0)
    router.configure(providers(own={"base_url": "http://127.0.0.1:2/v1"}), {"a": model("own/y", "openai/x", title="edited")})
    after = first(router, model("own/y", "openai/x"))
    assert after[1].health is before[0].health
    assert after[0].health is not before[1].health
    assert set(router.status()) == {"openai/x", "own/y"}
    router.configure(providers(), {"a": model("own/y")})
    router.configure(providers(), specs)
    assert first(router, specs["a"])[0].health is before[0].health, "also one that was out of every route for a while"


def test_one_deployment_behind_two_aliases_is_one() -> None:
    router, specs = Router(), {"a": model("openai/x"), "b": model("own/y", "openai/x")}
    router.configure(providers(), specs)
    assert first(router, specs["a"])[0].health is first(router, specs["b"])[1].health


def test_names_that_clients_make_up_do_not_grow_the_hub() -> None:
    router = Router()
    router.configure(providers(), {})
    for number in range(2 * MOST_DIRECT):
        deployed = Deployed(Target("openai", "model", f"m{number}"))
        assert router.plan(Route((deployed,)), router.stops((deployed,), lambda _: True), None).stops
    assert router.status() == {}
    assert len(router._direct) <= MOST_DIRECT  # pyright: ignore[reportPrivateUsage]


def test_what_is_left_of_a_budget_is_asked_only_where_a_rule_wants_it() -> None:
    left, asked = [5], list[Caller]()

    def budget(caller: Caller) -> int:
        asked.append(caller)
        return left[0]

    router = Router(budget_left=budget)
    thrifty = model("openai/dear", rules=[{"budget_under": 10, "route": [{"provider": "own", "model": "cheap"}]}])
    router.configure(providers(), {"t": thrifty, "p": model("openai/dear")})
    assert first(router, thrifty)[0].deployed.target.name == "cheap"
    left[0] = 10
    assert first(router, thrifty)[0].deployed.target.name == "dear"
    assert asked == [CALLER, CALLER]
    first(router, model("openai/dear"))
    assert len(asked) == 2


def test_the_price_table_gives_costs_and_windows() -> None:
    specs = providers()
    figures = Figures(PriceBook(), lambda: specs)
    mini, large, unknown = (Target("openai", "model", "gpt-5-mini"), Target("openai", "model", "gpt-5"), Target("own", "model", "x"))
    cheap, dear = figures.price_of(mini), figures.price_of(large)
    assert cheap is not None
    assert dear is not None
    assert 0 < cheap < dear
    assert figures.price_of(unknown) is None
    assert figures.window_of(unknown) is None
    window = figures.window_of(mini)
    assert window is not None
    assert window > 100_000
    router = Router(figures.price_of, figures.window_of)
    spec = model("own/x", "openai/gpt-5", "openai/gpt-5-mini", strategy="cost")
    router.configure(specs, {"c": spec})
    assert [stop.deployed.target for stop in first(router, spec)] == [mini, large, unknown]
    assert [stop.deployed.target for stop in first(router, spec, Question(prompt=10**8))] == [unknown], "who says nothing is not too small"
