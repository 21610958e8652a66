"""Making families of metrics that no registry has: of other processes, by what was heard of them."""

from collections.abc import Iterable, Mapping

from hub.processes.messages import Family, Sample


def gauge(name: str, about: str, values: Iterable[tuple[Mapping[str, object], float]]) -> Family:
    """`values` by their labels."""
    samples = (Sample(name, tuple((label, str(of)) for label, of in labels.items()), float(value)) for labels, value in values)
    return Family(name, "gauge", about, tuple(samples))


def counter(name: str, about: str, value: int) -> Family:
    """`name` as a registry has it, without `_total`."""
    return Family(name, "counter", about, (Sample(f"{name}_total", (), float(value)),))
