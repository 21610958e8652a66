"""What changes between two price tables, as an operator reads it before confirming, and what of it is too much to be believed. Pure."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from msgspec import Struct, to_builtins

from hub.budget.price_table import Model, Phase, Table, phase_at
from hub.budget.prices import Price, Rates

TOO_MUCH = 10
"""A rate that grows or shrinks by more than this factor is not believed."""

_DAY = 86_400
_PARTS = {
    "input": ("cache_read", "cache_write", "cache_write_1h", "audio_in", "image_in"),
    "output": ("reasoning", "audio_out"),
}


class Change(Struct, frozen=True):
    """One figure of a model, in nano-dollars per million; None where it has none. `figure` is such as `batch input, over 200000`."""

    provider: str
    model: str
    figure: str
    old: int | None
    new: int | None

    @property
    def absurd(self) -> bool:
        """Nothing where it was priced, or more than ten times, or less than a tenth, of what it was."""
        if not self.old or self.new is None:
            return False
        return not self.new or self.new > self.old * TOO_MUCH or self.new * TOO_MUCH < self.old

    @property
    def percent(self) -> str:
        """By how much it changes, such as `+12.5 %`; empty where that has no meaning."""
        if not self.old or self.new is None:
            return ""
        thousandths = abs(self.new - self.old) * 1000 // self.old
        return f"{'-' if self.new < self.old else '+'}{thousandths // 10}.{thousandths % 10} %"


class Diff(Struct, frozen=True):
    """From the table `old` to the table `new`, by their hashes. Models are written `provider/model`."""

    old: str
    new: str
    date: str
    changes: tuple[Change, ...]
    added: tuple[str, ...]
    vanished: tuple[str, ...]

    @property
    def absurd(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.absurd)


def written(found: Diff) -> dict[str, Any]:
    """A diff as JSON, with what follows of its figures."""
    return {**to_builtins(found), "changes": [{**to_builtins(one), "percent": one.percent, "absurd": one.absurd} for one in found.changes]}


def diff(old: Table, new: Table, at: int) -> Diff:
    """What changes, for calls at `at` (Unix seconds) and from every later day on which a price is to change. Raises `BadTable`."""
    changes, added, vanished = list[Change](), list[str](), list[str]()
    for provider in sorted({*old.providers, *new.providers}):
        before, after = (_priced(table, provider, at) for table in (old, new))
        added += (f"{provider}/{model}" for model in after if model not in before)
        vanished += (f"{provider}/{model}" for model in before if model not in after)
        for model in (model for model in before if model in after):
            changes += _changes(provider, model, before[model], after[model])
    return Diff(old.hash, new.hash, new.date, tuple(changes), tuple(added), tuple(vanished))


def _changes(provider: str, model: str, was: dict[str, int], will: dict[str, int]) -> Iterator[Change]:
    for name in (*was, *(name for name in will if name not in was)):
        old, new = was.get(name), will.get(name)
        if new is None:
            new = _instead(name, will)
        if old != new:
            yield Change(provider, model, name, old, new)


def _instead(name: str, will: dict[str, int]) -> int | None:
    """What a part costs that has no figure of its own any more: what its side costs."""
    for side, parts in _PARTS.items():
        for part in parts:
            head, found, tail = name.partition(part)
            if found and not tail.startswith("_"):
                return will.get(head + side + tail)
    return None


def _priced(table: Table, provider: str, at: int) -> dict[str, dict[str, int]]:
    """The figures of every model that has a price."""
    if provider not in table.providers:
        return {}
    found = {model.id: dict(_figures(model, at)) for model in table.provider(provider).models}
    return {model: figures for model, figures in found.items() if figures}


def _figures(model: Model, at: int) -> Iterator[tuple[str, int]]:
    for service, phases in (("", model.phases), *model.services.items()):
        before = f"{service} " if service else ""
        now = phase_at(tuple(phase for phase in phases if phase.hours is None), at) or phase_at(phases, at)
        for phase, when in ((now, ""), *((phase, _when(phase)) for phase in phases if phase.start > at or phase.hours)):
            if phase is not None and phase.price is not None:
                yield from ((f"{before}{name}{when}", rate) for name, rate in figures(phase.price))


def figures(price: Price) -> Iterator[tuple[str, int]]:
    """Every figure of a price under a name of its own."""
    yield from _rates(price.rates, "")
    for long in price.long:
        yield from _rates(long.rates, f", over {long.over}")
    if price.call:
        yield "call", price.call
    if price.search is not None:
        yield "search", price.search


def _rates(rates: Rates, after: str) -> Iterator[tuple[str, int]]:
    for name in Rates.__struct_fields__:
        rate: int | None = getattr(rates, name)
        if rate is not None:
            yield name + after, rate


def _when(phase: Phase) -> str:
    if phase.hours is not None:
        first, last = (f"{second // 3600:02d}:{second % 3600 // 60:02d}" for second in phase.hours)
        return f", {first} to {last} UTC"
    return f", from {day(phase.start)}"


def day(at: int) -> str:
    """The UTC date of an instant."""
    return (date(1970, 1, 1) + timedelta(days=at // _DAY)).isoformat()
