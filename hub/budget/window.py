"""When the amount of a budget is there anew: calendar windows in a time zone, rolling ones, and a lifetime. Pure; it has no clock.

Instants are integer microseconds since 1970 (UTC). A calendar window begins where the day of its zone begins, so that it has 23 or 25 hours
where clocks are changed. A rolling window is counted in slots of a sixtieth of it; the slot that the window's beginning falls into counts
whole, so that in no span of that length more is spent than the amount.
"""

from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from hub.config.spending import rolling

SLOTS = 60
"""Parts of a rolling window. One more is counted: the one that is partly past."""

MICROS = 1_000_000

FOREVER = 1 << 62
"""The end of what has none."""


class Window(Struct, frozen=True):
    """`kind` of a window; `unit` and `zone` of a calendar one, `slot` (microseconds) of a rolling one."""

    kind: Literal["calendar", "rolling", "lifetime"]
    unit: str = ""
    zone: str = "UTC"
    slot: int = 0


class Span(Struct, frozen=True):
    """A window, or a slot of a rolling one: from `start` until before `end`."""

    start: int
    end: int


def window_of(text: str, zone: str) -> Window:
    """What `window` and `zone` of a budget mean."""
    if text == "lifetime":
        return Window("lifetime")
    if seconds := rolling(text):
        return Window("rolling", slot=-(-seconds * MICROS // SLOTS))
    return Window("calendar", unit=text, zone=zone)


def span_of(window: Window, at: int) -> Span:
    """The window `at` falls into; of a rolling one the slot."""
    if window.kind == "lifetime":
        return Span(0, FOREVER)
    if window.kind == "rolling":
        start = at - at % window.slot
        return Span(start, start + window.slot)
    return _calendar(window.unit, window.zone, at // (900 * MICROS))


def since(window: Window, span: Span) -> int:
    """From when on what was spent counts in `span`: its start, but for a rolling window."""
    return span.start - SLOTS * window.slot if window.kind == "rolling" else span.start


@lru_cache(512)
def _calendar(unit: str, zone: str, quarter: int) -> Span:
    """By quarters of an hour: no zone has changed its clocks at another moment since 1972, and what is asked again is remembered."""
    here = ZoneInfo(zone)
    today = datetime.fromtimestamp(quarter * 900, here).date()
    first = _first(unit, today)
    return Span(_midnight(first, here), _midnight(_next(unit, first), here))


def _first(unit: str, day: date) -> date:
    if unit == "week":
        return day - timedelta(days=day.weekday())
    if unit == "month":
        return day.replace(day=1)
    if unit == "quarter":
        return day.replace(month=day.month - (day.month - 1) % 3, day=1)
    return day.replace(month=1, day=1) if unit == "year" else day


def _next(unit: str, first: date) -> date:
    if unit in ("day", "week"):
        return first + timedelta(days=1 if unit == "day" else 7)
    months = first.year * 12 + first.month - 1 + {"month": 1, "quarter": 3, "year": 12}[unit]
    return date(months // 12, months % 12 + 1, 1)


def _midnight(day: date, zone: ZoneInfo) -> int:
    """The first moment of a day. Where midnight itself is skipped it is the moment of the change, which is what `fold=0` gives."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * MICROS
