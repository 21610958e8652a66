"""A route as it is configured: where a model is to be had, and by what the order among these places is found. Immutable values."""

from typing import Literal

from msgspec import Struct

from hub.call import Target
from hub.config.models import Deployment, ModelSpec

Need = Literal["tools", "vision", "json_schema"]
Strategy = Literal["order", "weighted", "latency", "cost"]
Sticky = Literal["key", "user", "none"]


class Deployed(Struct, frozen=True):
    """One deployment. `window`: tokens of its context, None where nobody said; `lacks`: what it cannot do."""

    target: Target
    weight: int = 1
    window: int | None = None
    lacks: tuple[Need, ...] = ()


class Rule(Struct, frozen=True):
    """Other deployments for requests of more than so many (estimated) tokens, or for callers with less than so many percent left."""

    deployments: tuple[Deployed, ...]
    over: int | None = None
    under: int | None = None


class Terms(Struct, frozen=True):
    """How often one deployment is asked again for one call, and how many seconds the call may wait for that in all."""

    retries: int = 1
    within: float = 2.0


class Route(Struct, frozen=True):
    """`explore`: seconds after which a deployment is asked for its latency's sake. `needs`: it matters what a request needs.

    `plain`: nothing of a request changes the order.
    """

    deployments: tuple[Deployed, ...]
    strategy: Strategy = "order"
    sticky: Sticky = "key"
    explore: float = 30.0
    rules: tuple[Rule, ...] = ()
    terms: Terms = Terms()
    needs: bool = False
    plain: bool = True

    @property
    def targets(self) -> tuple[Target, ...]:
        """Every deployment there is, those of rules included, each once."""
        ways = (self.deployments, *(rule.deployments for rule in self.rules))
        return tuple(dict.fromkeys(one.target for way in ways for one in way))


def route_of(spec: ModelSpec, *, windows: bool = False) -> Route:
    """`windows`: somebody else may know windows that the file does not name."""
    deployments = _deployed(spec.route)
    rules = tuple(Rule(_deployed(rule.route), rule.prompt_over, rule.budget_under) for rule in spec.rules)
    choice = len(deployments) > 1
    needs = any(one.lacks for way in (deployments, *(rule.deployments for rule in rules)) for one in way)
    sized = choice and (windows or any(one.window for one in deployments))
    plain = not (needs or rules or sized or (choice and spec.strategy != "order"))
    terms = Terms(spec.retry.times, spec.retry.within)
    return Route(deployments, spec.strategy, spec.sticky, spec.explore, rules, terms, needs, plain)


def _deployed(entries: tuple[Deployment, ...]) -> tuple[Deployed, ...]:
    return tuple(Deployed(Target(one.provider, "model", one.model), one.weight, one.context_window, one.lacks) for one in entries)
