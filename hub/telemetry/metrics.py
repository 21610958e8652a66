"""Prometheus metrics with closed label sets: no key, user, session or address ever becomes a label."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest

from hub.telemetry.exporter import Tally
from hub.telemetry.models import Models

_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LATENCY_NS = tuple(int(seconds * 1e9) for seconds in _LATENCY)
_COMMIT = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

UpstreamState = tuple[str, str, bool]
"""(name, state, breaker open)"""


BudgetState = tuple[str, str, str, int, int]
"""(name, scope, unit, least left of any it counts, set aside); of the unit `usd` in nano-dollars."""


class Metrics:
    """The hub's own registry. Children of labelled metrics are kept, since looking one up costs more than counting."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._refusals = Counter("hub_refusals", "Calls refused, by stable code", ["code"], registry=self.registry)
        self._commits = Histogram("hub_store_commit_seconds", "Durable commits of the store", buckets=_COMMIT, registry=self.registry)
        self._commit_size = Counter("hub_store_operations", "Operations made durable", registry=self.registry)
        self._uncounted = Counter("hub_mcp_messages", "MCP messages that are not governed calls", ["kind"], registry=self.registry)
        self._alone = Counter(
            "hub_limits_local", "Calls let through by a process's own allowance while Redis was away", registry=self.registry
        )
        self._inflight = Gauge("hub_inflight_requests", "Requests being handled", registry=self.registry)
        self._calls: dict[tuple[str, str], int] = {}
        self._times: dict[str, list[int]] = {}
        self.upstreams: Callable[[], Iterable[UpstreamState]] = lambda: ()
        self.attempts: Callable[[], Mapping[tuple[str, str], int]] = dict[tuple[str, str], int]
        """Attempts at providers, by provider and what came of them."""
        self.deployments: Callable[[], Iterable[UpstreamState]] = lambda: ()
        """(provider, model, breaker open) of each deployment that is configured."""
        self.contents_lost: Callable[[], int] = lambda: 0
        self.usage_aside: Callable[[], int] = lambda: 0
        self.rooms: Callable[[], Iterable[BudgetState]] = lambda: ()
        self.budget_refusals: Callable[[], Mapping[tuple[str, str], int]] = dict[tuple[str, str], int]
        """Refusals by name and scope of the budget."""
        self.config: Callable[[], str] = lambda: ""
        self.configs: Callable[[], Mapping[str, int]] = dict[str, int]
        self.registry.register(_State(self))
        self.registry.register(_Calls(self))
        self.models = Models()
        self.registry.register(self.models)
        self.spans: Callable[[], Mapping[str, Tally]] = dict[str, Tally]
        self.registry.register(_Spans(self))
        self.registry.register(_Budgets(self))

    def called(self, kind: str, status: str, nanoseconds: int) -> None:
        """Count one call of `kind` (closed set: the edges' operations) that ended as `status`. On the loop's thread only."""
        key = (kind, status)
        self._calls[key] = self._calls.get(key, 0) + 1
        times = self._times.get(kind)
        if times is None:
            times = self._times[kind] = [0] * (len(_LATENCY) + 2)
        times[bisect_left(_LATENCY_NS, nanoseconds)] += 1
        times[-1] += nanoseconds

    def calls(self) -> Iterable[CounterMetricFamily | HistogramMetricFamily]:
        """What `called` counted, in the form of a scrape: plain numbers while counting, since the library's cost several times as much."""
        counts = CounterMetricFamily("hub_calls", "Calls that took the governed path", labels=["kind", "status"])
        for (kind, status), count in self._calls.items():
            counts.add_metric([kind, status], count)
        seconds = HistogramMetricFamily("hub_call_seconds", "Time from a call's arrival to its durable end", labels=["kind"])
        for kind, times in self._times.items():
            totals = accumulate(times[:-1])
            buckets = list(zip((*map(str, _LATENCY), "+Inf"), totals, strict=True))
            seconds.add_metric([kind], buckets, sum_value=times[-1] / 1e9)
        attempts = CounterMetricFamily(
            "hub_provider_attempts", "Requests made to providers, by what came of them", labels=["provider", "result"]
        )
        for (provider, result), count in self.attempts().items():
            attempts.add_metric([provider, result], count)
        lost = CounterMetricFamily("hub_content_lost", "Answers that could not be kept for an organisation that keeps them")
        lost.add_metric([], self.contents_lost())
        aside = CounterMetricFamily("hub_usage_aside", "Rows of the usage ledger that the database could not hold, and keeps aside")
        aside.add_metric([], self.usage_aside())
        return (counts, attempts, seconds, lost, aside)

    def refused(self, code: str) -> None:
        self._refusals.labels(code).inc()

    def message(self, kind: str) -> None:
        """Count a ping or a notification, which have no record."""
        self._uncounted.labels(kind).inc()

    def alone(self) -> None:
        """Count a call that was let through by this process's own allowance, because the counts of all could not be reached."""
        self._alone.inc()

    def committed(self, operations: int, seconds: float) -> None:
        self._commits.observe(seconds)
        self._commit_size.inc(operations)

    def inflight(self, count: Callable[[], float]) -> None:
        self._inflight.set_function(count)

    def render(self) -> bytes:
        return generate_latest(self.registry)


class _Calls:
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[CounterMetricFamily | HistogramMetricFamily]:
        return self._metrics.calls()


class _Budgets:
    """How budgets stand, when scraped: one sample for each that is configured, whoever it counts."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        names = ["budget", "scope", "unit"]
        left = GaugeMetricFamily("hub_budget_left", "What is left of a budget, the least of all it counts separately", labels=names)
        reserved = GaugeMetricFamily("hub_budget_reserved", "What calls under way have set aside of a budget", labels=names)
        for name, scope, unit, rest, aside in self._metrics.rooms():
            scale = 1e9 if unit == "usd" else 1
            left.add_metric([name, scope, unit], rest / scale)
            reserved.add_metric([name, scope, unit], aside / scale)
        refused = CounterMetricFamily("hub_budget_refusals", "Calls a budget had no room for, or no price", labels=["budget", "scope"])
        for (name, scope), count in self._metrics.budget_refusals().items():
            refused.add_metric([name, scope], count)
        return (left, reserved, refused)


class _Spans:
    """What became of the spans, when scraped."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[CounterMetricFamily]:
        sent = CounterMetricFamily("hub_spans_sent", "Spans a target has taken", labels=["target"])
        dropped = CounterMetricFamily("hub_spans_dropped", "Spans a target never got", labels=["target", "reason"])
        for target, tally in self._metrics.spans().items():
            sent.add_metric([target], tally.sent)
            for reason, count in tally.dropped.items():
                dropped.add_metric([target, reason], count)
        return (sent, dropped)


class _State:
    """Reads the upstreams' state, and which configuration is in force, when scraped, so that nothing has to be kept up to date."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[GaugeMetricFamily]:
        up = GaugeMetricFamily(
            "hub_upstream_up", "1 when the upstream answered its handshake and has not failed since", labels=["upstream"]
        )
        breaker = GaugeMetricFamily("hub_upstream_breaker_open", "1 while calls are refused without trying", labels=["upstream"])
        for name, state, is_open in self._metrics.upstreams():
            up.add_metric([name], 1.0 if state == "ready" else 0.0)
            breaker.add_metric([name], 1.0 if is_open else 0.0)
        left = GaugeMetricFamily(
            "hub_deployment_breaker_open", "1 while calls go elsewhere, or are let through one at a time", labels=["provider", "model"]
        )
        for provider, model, is_open in self._metrics.deployments():
            left.add_metric([provider, model], 1.0 if is_open else 0.0)
        config = GaugeMetricFamily("hub_config", "1, under the hash of the configuration in force", labels=["hash"])
        config.add_metric([self._metrics.config()], 1.0)
        processes = GaugeMetricFamily(
            "hub_config_processes", "Processes of all replicas that are known to have this configuration in force", labels=["hash"]
        )
        for found, count in self._metrics.configs().items():
            processes.add_metric([found], count)
        return (up, breaker, left, config, processes)
