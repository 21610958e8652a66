"""When the amount of a budget is there anew: days of 23 and 25 hours, midnights that do not exist, months and quarters, slots of rolling windows."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.budget.window import FOREVER, SLOTS, Span, since, span_of, window_of

HOUR = 3_600_000_000


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).astimezone(UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Madrid", "2026-03-29T12:00:00+02:00", 23),
        ("Europe/Madrid", "2026-10-25T12:00:00+01:00", 25),
        ("America/New_York", "2026-03-08T23:59:59-04:00", 23),
        ("America/New_York", "2026-11-01T01:30:00-05:00", 25),
        ("Australia/Lord_Howe", "2026-04-05T12:00:00+10:30", 24.5),
        ("Africa/Cairo", "2026-04-24T12:00:00+03:00", 23),  # midnight itself is skipped
        ("Africa/Cairo", "2026-10-29T23:30:00+02:00", 25),  # the last hour comes twice
        ("Asia/Kathmandu", "2026-06-01T00:00:00+05:45", 24),
        ("UTC", "2026-06-30T23:59:59+00:00", 24),
    ],
)
def test_a_day_is_as_long_as_it_is_there(zone: str, day: str, hours: float):
    span = span_of(window_of("day", zone), at(day))
    assert span.end - span.start == hours * HOUR
    assert span.start <= at(day) < span.end


@pytest.mark.parametrize(
    ("window", "start", "end"),
    [
        ("day", "2026-11-20T23:00:00+00:00", "2026-11-21T23:00:00+00:00"),
        ("week", "2026-11-15T23:00:00+00:00", "2026-11-22T23:00:00+00:00"),
        ("month", "2026-10-31T23:00:00+00:00", "2026-11-30T23:00:00+00:00"),
        ("quarter", "2026-09-30T22:00:00+00:00", "2026-12-31T23:00:00+00:00"),
        ("year", "2025-12-31T23:00:00+00:00", "2026-12-31T23:00:00+00:00"),
    ],
)
def test_a_calendar_window_begins_and_ends_in_its_zone(window: str, start: str, end: str):
    assert span_of(window_of(window, "Europe/Madrid"), at("2026-11-21T20:00:00+00:00")) == Span(at(start), at(end))


def test_a_rolling_window_reaches_back_one_slot_more_than_it_is_long_and_a_lifetime_never_ends():
    window = window_of("90s", "UTC")
    span = span_of(window, 1_000_000_000)
    assert window.slot * SLOTS == 90_000_000
    assert span.start - since(window, span) == 90_000_000
    assert span_of(window_of("lifetime", "UTC"), 5) == Span(0, FOREVER)


@given(
    st.integers(0, 4_000_000_000_000_000),
    st.sampled_from(["day", "week", "month", "quarter", "year", "1s", "7m", "30d", "lifetime"]),
    st.sampled_from(["UTC", "Europe/Madrid", "America/Havana", "Africa/Cairo", "Asia/Beirut", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_windows_follow_each_other_without_gap_or_overlap(moment: int, text: str, zone: str):
    window = window_of(text, zone)
    span = span_of(window, moment)
    assert span.start <= moment < span.end
    assert span_of(window, span.start) == span
    assert span_of(window, span.end - 1) == span
    if span.end < FOREVER:
        assert span_of(window, span.end).start == span.end
