"""Makes a skipped test, an expected failure and a skipped module fail the run, and offers the services tests need; knows no part of the hub."""

from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from tests.services.postgres import (
    _emptied,
    database_name,
    database_url,
    emptied_name,
    emptied_url,
    postgres,
    postgres_server,
    postgres_url,
)
from tests.services.redis import redis, redis_cluster, redis_server, redis_url

__all__ = [
    "_emptied",
    "database_name",
    "database_url",
    "emptied_name",
    "emptied_url",
    "postgres",
    "postgres_server",
    "postgres_url",
    "redis",
    "redis_cluster",
    "redis_server",
    "redis_url",
]

# How fast examples are made and run says how busy the machine is, and nothing else.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

REASON = "skipped or expected to fail: every test must run and pass here"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped or hasattr(report, "wasxfail"):
        report.__dict__.pop("wasxfail", None)
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: {REASON}"
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid}: {REASON}"
    return report
