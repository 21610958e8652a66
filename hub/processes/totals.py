"""The counts of several workers as those of one hub. Pure.

What is counted (counters, histograms) is added up; what is measured (gauges) stands for each worker apart, under its number.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from hub.processes.messages import Family, Sample

Families = tuple[Family, ...]
Key = tuple[str, tuple[tuple[str, str], ...]]

_ADDED = ("counter", "histogram")
_SINCE = "_created"
"""Ends the name of the sample that says since when a counter counts."""


def total(present: Mapping[int, Families], past: Sequence[Families] = (), shared: Families = ()) -> Families:
    """`present` by the numbers of workers; of `past` ones, and of those that do not answer, only what they had counted goes in.

    `shared` are gauges of what all have in common, which bear no number.
    """
    added = [*present.values(), *past]
    found = add(added)
    gauges = [_numbered(family, number) for number, families in present.items() for family in families if family.kind not in _ADDED]
    return (*found, *_gathered([*gauges, *shared], min))


def add(several: Iterable[Families]) -> Families:
    """The counters and histograms of several, added up."""
    return _gathered([family for families in several for family in families if family.kind in _ADDED], float.__add__)


def _gathered(families: Iterable[Family], join: Callable[[float, float], float]) -> Families:
    """One family of each name, in order of appearance, with equal samples joined."""
    heads: dict[str, Family] = {}
    samples: dict[str, dict[Key, Sample]] = {}
    for family in families:
        heads.setdefault(family.name, family)
        known = samples.setdefault(family.name, {})
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels)))
            before = known.get(key)
            known[key] = sample if before is None else _joined(before, sample, join)
    return tuple(Family(name, head.kind, head.about, tuple(samples[name].values())) for name, head in heads.items())


def _joined(one: Sample, other: Sample, join: Callable[[float, float], float]) -> Sample:
    value = min(one.value, other.value) if one.name.endswith(_SINCE) else join(one.value, other.value)
    return Sample(one.name, one.labels, value)


def _numbered(family: Family, worker: int) -> Family:
    label = ("worker", str(worker))
    return Family(family.name, family.kind, family.about, tuple(Sample(s.name, (*s.labels, label), s.value) for s in family.samples))
