"""Which deployments a call may go to, in which order, and why. Pure: it changes nothing, and is given the time and what is left to chance.

First a rule may choose another set of deployments (`way`). Then those are left out that cannot take the request (`fitting`), the rest is
put in the order of the strategy (`ordered`), and health has the last word (`healthy`): who is failing is left out, who rests comes last.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from math import log

from msgspec import Struct

from hub.call import Target
from hub.routing.health import Health
from hub.routing.route import Deployed, Need, Route

EXPLORED = 0.1
"""The share of calls that may go to a deployment to see how quick it is now."""


class Stop(Struct, frozen=True):
    """A deployment's place in a plan. `why` it stands there, empty where it is the order of the route."""

    deployed: Deployed
    health: Health
    why: str = ""


class Left(Struct, frozen=True):
    """A deployment that is not asked."""

    target: Target
    why: str


class Plan(Struct, frozen=True):
    stops: tuple[Stop, ...]
    left: tuple[Left, ...] = ()


class Question(Struct, frozen=True):
    """What of a request matters for where it goes. `prompt` and `output` are tokens, estimated and asked for; `sticky` empty: by chance."""

    prompt: int = 0
    output: int = 0
    needs: frozenset[Need] = frozenset()
    streams: bool = False
    sticky: str = ""


Seen = Callable[[Target], int | None]
"""What somebody else knows of a deployment: its price, its context window."""


def way(route: Route, question: Question, budget: Callable[[], int | None]) -> tuple[Deployed, ...]:
    """The deployments of the first rule that fits, else the route's own. `budget`: percent left, None: without bounds; asked if needed."""
    for rule in route.rules:
        big = rule.over is None or question.prompt > rule.over
        if big and rule.under is not None:
            left = budget()
            big = left is not None and left < rule.under
        if big:
            return rule.deployments
    return route.deployments


def fitting(stops: Sequence[Stop], question: Question, window_of: Seen) -> Plan:
    """Without those that lack what is needed, or are too small. As sizes are estimates, the largest are asked where all are too small."""
    able: list[Stop] = []
    left: list[Left] = []
    for stop in stops:
        missing = question.needs.intersection(stop.deployed.lacks) if stop.deployed.lacks else ()
        if missing:
            left.append(Left(stop.deployed.target, "lacks:" + ",".join(sorted(missing))))
        else:
            able.append(stop)
    windows = [stop.deployed.window or window_of(stop.deployed.target) for stop in able]
    wanted = question.prompt + question.output
    large = [stop for stop, window in zip(able, windows, strict=True) if window is None or window >= wanted]
    if not large:
        most = max((window for window in windows if window is not None), default=0)
        large = [Stop(stop.deployed, stop.health, "largest") for stop, window in zip(able, windows, strict=True) if window == most]
    kept = {stop.deployed.target for stop in large}
    left += [Left(stop.deployed.target, "too_small") for stop in able if stop.deployed.target not in kept]
    return Plan(tuple(large), tuple(left))


def ordered(route: Route, stops: Sequence[Stop], question: Question, now: float, price_of: Seen, chance: Callable[[], float]) -> list[Stop]:
    """In the order of the route's strategy."""
    match route.strategy:
        case "order":
            return list(stops)
        case "weighted":
            return _weighted(stops, question.sticky, chance)
        case "latency":
            return _by_latency(stops, route.explore, now, chance, streams=question.streams)
        case "cost":
            return _by_cost(stops, price_of)


def healthy(stops: Sequence[Stop], now: float) -> Plan:
    """Those that are failing left out, unless all are; those that rest behind the others, the first to be ready first."""
    up = [stop for stop in stops if stop.health.breaker.state(now) != "open"]
    if not up:
        return Plan(tuple(stops))
    left = tuple(Left(stop.deployed.target, "breaker_open") for stop in stops if stop not in up)
    awake = [stop for stop in up if stop.health.rests <= now]
    resting = sorted((stop for stop in up if stop.health.rests > now), key=lambda stop: stop.health.rests)
    return Plan((*awake, *(Stop(stop.deployed, stop.health, "resting") for stop in resting)), left)


def _weighted(stops: Sequence[Stop], sticky: str, chance: Callable[[], float]) -> list[Stop]:
    """Drawn by weight without putting back (rendezvous hashing): each caller has an order of his own, which others' coming and going
    does not change. Weight 0 is only asked where the others fail.
    """

    def drawn(stop: Stop) -> float:
        weight = stop.deployed.weight
        if not weight:
            return float("inf")
        return -log(_point(sticky, stop.deployed.target) if sticky else max(chance(), 2**-53)) / weight

    return [Stop(stop.deployed, stop.health, f"weight:{stop.deployed.weight}") for stop in sorted(stops, key=drawn)]


def _point(sticky: str, target: Target) -> float:
    """A fixed number above 0, at most 1, for this caller and this deployment."""
    digest = sha256(f"{sticky}\0{target.upstream}\0{target.name}".encode("utf-8", "surrogatepass")).digest()
    return ((int.from_bytes(digest[:8]) >> 11) + 1) / 2**53


def _by_latency(stops: Sequence[Stop], explore: float, now: float, chance: Callable[[], float], *, streams: bool) -> list[Stop]:
    """The quickest first. Before it one that was never asked, and for some calls one that nobody asked for `explore` seconds: that is how
    a recovered one is found again. One that was asked and has not answered yet comes last, so that a slow one costs a single call.
    """
    longest = min(stops, key=lambda stop: stop.health.asked, default=None)
    idle = 0.0 if longest is None else now - longest.health.asked
    first = longest if idle == float("inf") or (idle >= explore and chance() < EXPLORED) else None

    def place(stop: Stop) -> tuple[bool, float]:
        known = stop.health.latency(streams=streams)
        return stop is not first, float("inf") if known is None else known

    return [Stop(stop.deployed, stop.health, _speed(stop, first, streams=streams)) for stop in sorted(stops, key=place)]


def _speed(stop: Stop, first: Stop | None, *, streams: bool) -> str:
    known = stop.health.latency(streams=streams)
    return "explore" if stop is first else "latency:unknown" if known is None else f"latency:{known}"


def _by_cost(stops: Sequence[Stop], price_of: Seen) -> list[Stop]:
    """The cheapest first; those whose price nobody knows last, since they may cost anything."""
    prices = {stop.deployed.target: price_of(stop.deployed.target) for stop in stops}

    def place(stop: Stop) -> tuple[bool, int]:
        price = prices[stop.deployed.target]
        return price is None, price or 0

    def why(stop: Stop) -> str:
        price = prices[stop.deployed.target]
        return "cost:unknown" if price is None else f"cost:{price}"

    return [Stop(stop.deployed, stop.health, why(stop)) for stop in sorted(stops, key=place)]
