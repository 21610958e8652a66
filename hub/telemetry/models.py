"""Metrics of calls of models: how long, how soon, how many tokens, by alias and provider as configured. Plain numbers until a scrape.

No name a client made up becomes a label: what is asked for as `provider:model` counts under the provider and an empty alias.
"""

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

from hub.call import Usage

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300, 600)
_NANOSECONDS = tuple(int(seconds * 1e9) for seconds in _SECONDS)

_Label = tuple[str, str]
"""(alias, provider)"""


class Models:
    """`hub.telemetry.metrics.Metrics` has one. On the loop's thread only."""

    def __init__(self) -> None:
        self._seconds: dict[_Label, list[int]] = {}
        self._first: dict[_Label, list[int]] = {}
        self._tokens: dict[_Label, list[int]] = {}
        self._cost: dict[_Label, int] = {}
        self._attempts: dict[tuple[str, str], int] = {}
        self._unpriced: dict[_Label, int] = {}

    def done(self, alias: str, provider: str, nanoseconds: int, first: int, usage: Usage | None) -> None:
        """Count a call that a provider answered. `first`: nanoseconds until a stream's first bytes went out; 0 where it was no stream."""
        label = (alias, provider)
        _observe(self._seconds, label, nanoseconds)
        if first:
            _observe(self._first, label, first)
        if usage is None:
            return
        if usage.cost is not None:
            self._cost[label] = self._cost.get(label, 0) + usage.cost
        tokens = usage.tokens
        if tokens is not None:
            counts = self._tokens.get(label)
            if counts is None:
                counts = self._tokens[label] = [0, 0, 0]
            counts[0] += tokens.input
            counts[1] += tokens.output
            counts[2] += tokens.cache_read

    def unpriced(self, alias: str, provider: str) -> None:
        """Count a call of a model without a price."""
        self._unpriced[alias, provider] = self._unpriced.get((alias, provider), 0) + 1

    def attempt(self, provider: str, result: str) -> None:
        """Count an attempt. `result`: `ok`, `status:429` or the code of a refusal."""
        key = (provider, result if result == "ok" else result.replace("status:", ""))
        self._attempts[key] = self._attempts.get(key, 0) + 1

    def collect(self) -> Iterable[CounterMetricFamily | HistogramMetricFamily]:
        yield _histogram(
            "hub_model_seconds", "Time from a model call's arrival to its durable end, where a provider answered", self._seconds
        )
        yield _histogram("hub_model_first_byte_seconds", "Time from its arrival to the first bytes of a stream", self._first)
        tokens = CounterMetricFamily("hub_model_tokens", "Tokens as providers report them", labels=["model", "provider", "kind"])
        for label, counts in self._tokens.items():
            for direction, count in zip(("input", "output", "cache_read"), counts, strict=True):
                if count:
                    tokens.add_metric((*label, direction), count)
        cost = CounterMetricFamily("hub_model_cost_usd", "What calls of models cost, in US dollars", labels=["model", "provider"])
        for label, nanodollars in self._cost.items():
            cost.add_metric(label, nanodollars / 1e9)
        attempts = CounterMetricFamily("hub_model_attempts", "Attempts at an answer of a provider", labels=["provider", "result"])
        for key, count in self._attempts.items():
            attempts.add_metric(key, count)
        unpriced = CounterMetricFamily("hub_model_unpriced", "Calls of models without a price", labels=["model", "provider"])
        for label, count in self._unpriced.items():
            unpriced.add_metric(label, count)
        yield from (tokens, cost, attempts, unpriced)


def _observe(histograms: dict[_Label, list[int]], label: _Label, nanoseconds: int) -> None:
    times = histograms.get(label)
    if times is None:
        times = histograms[label] = [0] * (len(_SECONDS) + 2)
    times[bisect_left(_NANOSECONDS, nanoseconds)] += 1
    times[-1] += nanoseconds


def _histogram(name: str, about: str, histograms: dict[_Label, list[int]]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, about, labels=["model", "provider"])
    for label, times in histograms.items():
        buckets = list(zip((*map(str, _SECONDS), "+Inf"), accumulate(times[:-1]), strict=True))
        family.add_metric(label, buckets, sum_value=times[-1] / 1e9)
    return family
