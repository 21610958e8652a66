"""An operator's own prices, as `hub.yaml` declares them. Pure: which one holds for a call, at an instant."""

from collections.abc import Iterable
from datetime import datetime
from fnmatch import fnmatchcase
from hashlib import sha256

from msgspec import Struct, json

from hub.budget.price_table import Phase
from hub.budget.prices import FREE, PER, Long, Price, Rates
from hub.config.money import PriceSpec, RatesSpec
from hub.config.values import Dollars


class Own(Struct, frozen=True):
    """What one pattern of calls costs, over time. `phases` ascend by when they begin; `hashes` has a name for each of them."""

    org: str
    provider: str
    model: str
    service: str
    phases: tuple[Phase, ...]
    hashes: tuple[str, ...]


def owned(specs: Iterable[PriceSpec]) -> tuple[Own, ...]:
    """Declared prices in the order in which they are asked: those of one organisation first, then as in the file."""
    found: dict[tuple[str, str, str, str], list[Phase]] = {}
    for spec in specs:
        phases = found.setdefault((spec.org, spec.provider, spec.model, spec.service), [])
        phases.append(Phase(price_of(spec), _start(spec.effective_from)))
    return tuple(sorted((_own(pattern, phases) for pattern, phases in found.items()), key=lambda one: one.org == "*"))


def fitting(own: Iterable[Own], org: str, provider: str, model: str, service: str) -> tuple[Own, ...]:
    """Those that may hold for such calls; the first of them that has begun does."""
    wanted = service or "standard"
    return tuple(
        one
        for one in own
        if one.org in ("*", org) and one.service in ("", wanted) and fnmatchcase(provider, one.provider) and fnmatchcase(model, one.model)
    )


def phase_at(fitting: Iterable[Own], at: int) -> tuple[Phase, str] | None:
    """The price that holds, and its hash; None where none has begun."""
    for one in fitting:
        for phase, name in zip(reversed(one.phases), reversed(one.hashes), strict=True):
            if phase.start <= at:
                return phase, name
    return None


def price_of(spec: PriceSpec) -> Price:
    """A declared price. Of `prices` without faults."""
    if spec.free:
        return FREE
    long = tuple(Long(one.over, _rates(one)) for one in spec.long)
    return Price(_rates(spec), long, _nano(spec.call, 0) * PER, None if spec.search is None else spec.search.nano * PER)


def _own(pattern: tuple[str, str, str, str], phases: list[Phase]) -> Own:
    ordered = tuple(sorted(phases, key=lambda phase: phase.start))
    hashes = (sha256(json.encode((pattern, phase))).hexdigest() for phase in ordered)
    return Own(*pattern, ordered, tuple(f"sha256:{digest}" for digest in hashes))


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
