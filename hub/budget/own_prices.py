"""An operator's own prices, as `hub.yaml` declares them. Pure: which one holds for a call, at an instant."""

from collections.abc import Iterable
from datetime import datetime
from fnmatch import fnmatchcase

from msgspec import Struct

from hub.budget.price_table import Phase
from hub.budget.prices import FREE, PER, Long, Price, Rates
from hub.config.money import PriceSpec, RatesSpec
from hub.config.values import Dollars


class Own(Struct, frozen=True):
    """What one pattern of calls costs, over time. `phases` ascend by when they begin."""

    org: str
    provider: str
    model: str
    service: str
    phases: tuple[Phase, ...]


def owned(specs: Iterable[PriceSpec]) -> tuple[Own, ...]:
    """Declared prices in the order in which they are asked: those of one organisation first, then as in the file."""
    found: dict[tuple[str, str, str, str], list[Phase]] = {}
    for spec in specs:
        phases = found.setdefault((spec.org, spec.provider, spec.model, spec.service), [])
        phases.append(Phase(price_of(spec), _start(spec.effective_from)))
    made = (Own(*pattern, tuple(sorted(phases, key=lambda phase: phase.start))) for pattern, phases in found.items())
    return tuple(sorted(made, key=lambda one: one.org == "*"))


def fitting(own: Iterable[Own], org: str, provider: str, model: str, service: str) -> tuple[Own, ...]:
    """Those that may hold for such calls; the first of them that has begun does."""
    wanted = service or "standard"
    return tuple(
        one
        for one in own
        if one.org in ("*", org) and one.service in ("", wanted) and fnmatchcase(provider, one.provider) and fnmatchcase(model, one.model)
    )


def price_at(fitting: Iterable[Own], at: int) -> Price | None:
    """The price that holds, None where none has begun."""
    for one in fitting:
        for phase in reversed(one.phases):
            if phase.start <= at:
                return phase.price
    return None


def price_of(spec: PriceSpec) -> Price:
    """A declared price. Of `prices` without faults."""
    if spec.free:
        return FREE
    long = tuple(Long(one.over, _rates(one)) for one in spec.long)
    return Price(_rates(spec), long, _nano(spec.call, 0) * PER, None if spec.search is None else spec.search.nano * PER)


def _rates(spec: RatesSpec) -> Rates:
    given: dict[str, Dollars | None] = {name: getattr(spec, name) for name in Rates.__struct_fields__}
    rates: dict[str, int | None] = {name: None if amount is None else amount.nano for name, amount in given.items()}
    if rates["cache_write_1h"] is None:
        rates["cache_write_1h"] = rates["cache_write"]
    return Rates(_nano(spec.input, 0), **{name: rate for name, rate in rates.items() if name != "input"})


def _nano(amount: Dollars | None, otherwise: int) -> int:
    return otherwise if amount is None else amount.nano


def _start(text: str) -> int:
    """The first whole second at which it holds."""
    if not text:
        return 0
    instant = datetime.fromisoformat(text)
    whole = instant.replace(microsecond=0)
    return int(whole.timestamp()) + (instant != whole)
