"""A registry of metrics as values, and values as the text of a scrape."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest

from hub.processes.messages import Family, Sample


def read(registry: CollectorRegistry) -> tuple[Family, ...]:
    """Everything in it, now."""
    return tuple(Family(metric.name, metric.type, metric.documentation, _samples(metric)) for metric in registry.collect())


def _samples(metric: Metric) -> tuple[Sample, ...]:
    return tuple(Sample(found.name, tuple(found.labels.items()), float(found.value)) for found in metric.samples)


def text(families: Iterable[Family]) -> bytes:
    """In the text format of Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given([_metric(family) for family in families]))
    return generate_latest(registry)


class _Given:
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


def _metric(family: Family) -> Metric:
    metric = Metric(family.name, family.about, family.kind)
    for sample in family.samples:
        metric.add_sample(sample.name, dict(sample.labels), sample.value)
    return metric
