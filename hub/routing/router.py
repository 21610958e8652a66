"""Plans for calls, from routes as configured and the health of deployments, which it keeps. One for each process.

Prices, context windows and what is left of a budget are other rooms' to know: they come as callables, and a hub without them goes without.
"""

import random
import time
from collections.abc import Callable, Iterable, Mapping

from hub.call import Caller, Target
from hub.config.mcp import Breaker
from hub.config.models import ModelSpec, ProviderSpec
from hub.routing.health import Health
from hub.routing.plan import Left, Plan, Question, Seen, Stop, fitting, healthy, ordered, way
from hub.routing.route import Deployed, Route, route_of

MOST_DIRECT = 1024
"""Deployments remembered that no route names: those that clients asked for as `provider:model`."""


def _unknown(_: object) -> None:
    return None


class Router:
    """`configure` it, then `stops` and `plan` for each call. Looking at health changes none of it: attempts do."""

    def __init__(
        self, price_of: Seen = _unknown, window_of: Seen | None = None, budget_left: Callable[[Caller], int | None] = _unknown
    ) -> None:
        """`price_of`: to compare with others' alone. `window_of`: tokens. `budget_left`: percent of the caller's tightest budget."""
        self.counts: dict[tuple[str, str], int] = {}
        """Attempts by provider and verdict (`hub.routing.verdict`, and `broken_off`, `breaker_open`)."""
        self._price_of = price_of
        self._window_of: Seen = window_of or _unknown
        self._windows = window_of is not None
        self._budget_left = budget_left
        self._specs: Mapping[str, ProviderSpec] = {}
        self._named: dict[Target, Health] = {}
        self._direct: dict[Target, Health] = {}
        self._stops: dict[Target, Stop] = {}

    def configure(self, providers: Mapping[str, ProviderSpec], models: Mapping[str, ModelSpec]) -> None:
        """Deployments of a provider that stays as it was keep their health; calls under way go on with what they began with."""
        same = {name for name, spec in providers.items() if self._specs.get(name) == spec}
        before = {target: health for target, health in (self._direct | self._named).items() if target.upstream in same}
        self._specs = providers
        routes = [self.route(spec) for spec in models.values()]
        named = {target for route in routes for target in route.targets if target.upstream in providers}
        for target in {target for route in routes if not route.plain for target in route.targets}:
            self._window_of(target)  # so that no call is the first to wait for it
        self._named = {target: before.pop(target, None) or self._made(target) for target in named}
        self._direct = before
        self._stops = {}

    def route(self, spec: ModelSpec) -> Route:
        return route_of(spec, windows=self._windows)

    def stops(self, deployments: Iterable[Deployed], keep: Callable[[Target], bool]) -> list[Stop]:
        """The deployments that `keep` keeps, with their health."""
        return [self._stop(one) for one in deployments if keep(one.target)]

    def way(self, route: Route, question: Question | None, caller: Caller) -> tuple[Deployed, ...]:
        """The deployments for this request: of the rule that fits, or all. A plain route has no question (None)."""
        return route.deployments if question is None else way(route, question, lambda: self._budget_left(caller))

    def plan(self, route: Route, stops: list[Stop], question: Question | None) -> Plan:
        """Who of `stops` is asked, in which order, and why; empty where none can do what is asked."""
        now = time.monotonic()
        left: tuple[Left, ...] = ()
        if question is not None:
            fit = fitting(stops, question, self._window_of)
            stops, left = ordered(route, fit.stops, question, now, self._price_of, random.random), fit.left
        for stop in stops:
            if not stop.health.well(now):
                found = healthy(stops, now)
                return Plan(found.stops, (*left, *found.left))
        return Plan(tuple(stops), left)

    def counted(self, provider: str, verdict: str) -> None:
        key = (provider, verdict)
        self.counts[key] = self.counts.get(key, 0) + 1

    def status(self) -> dict[str, dict[str, object]]:
        """The deployments of routes, by `provider/model`."""
        now = time.monotonic()
        return {str(target): health.status(now) for target, health in sorted(self._named.items(), key=lambda item: str(item[0]))}

    def breakers(self) -> list[tuple[str, str, bool]]:
        """Of the same: provider, model, and whether calls are not let through as usual."""
        now = time.monotonic()
        return [(target.upstream, target.name, health.breaker.state(now) != "closed") for target, health in self._named.items()]

    def _stop(self, one: Deployed) -> Stop:
        target = one.target
        stop = self._stops.get(target)
        if stop is None or stop.deployed is not one:
            stop = Stop(one, self._health(target))
            if target in self._named:
                self._stops[target] = stop
        return stop

    def _health(self, target: Target) -> Health:
        found = self._named.get(target) or self._direct.get(target)
        if found is None:
            if len(self._direct) >= MOST_DIRECT:
                del self._direct[next(iter(self._direct))]
            found = self._direct[target] = self._made(target)
        return found

    def _made(self, target: Target) -> Health:
        spec = self._specs.get(target.upstream)
        return Health(target, spec.breaker if spec is not None else Breaker())
