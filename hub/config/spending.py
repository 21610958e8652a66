"""What budgets and limits on tokens must mean: one amount each, windows and zones that exist, nothing that can never have an effect."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from hub.config.callers import LimitSpec
from hub.config.model import Config
from hub.config.money import AlertSpec, BudgetSpec
from hub.config.problem import Keys

Fault = tuple[Keys, str]

UNITS = ("usd", "tokens", "tokens_in", "tokens_out", "requests")
TOKEN_LIMITS = ("tokens_per_minute", "tokens_in_per_minute", "tokens_out_per_minute")

MOST_DOLLARS = 9_000_000
"""In nano-dollars it is the most that Redis's scripts, whose numbers are doubles, count exactly."""

_LONGEST_DAYS = 400
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_ROLLING = re.compile(r"([0-9]+)([smhd])")


def faults(config: Config) -> Iterator[Fault]:
    """Every rule that the budgets, and the limits on tokens, break."""
    seen: dict[Any, str] = {}
    for index, spec in enumerate(config.budgets):
        path: Keys = ("budgets", index)
        yield from _amount(spec, path)
        yield from _window(spec, path)
        yield from _whom(spec, path)
        yield from _alerts(spec.alerts, (*path, "alerts"))
        alike = _meaning(spec)
        if alike in seen:
            yield path, f"it counts the same as `{seen[alike]}`: only the smaller of the two would ever be reached"
        seen.setdefault(alike, spec.name)
    for index, limit in enumerate(config.limits):
        yield from _limit(limit, ("limits", index))


def amount(spec: BudgetSpec) -> tuple[str, int]:
    """The unit of a budget and how much of it: nano-dollars, tokens or calls. Of a budget without faults."""
    if spec.usd is not None:
        return "usd", spec.usd.nano
    return next((unit, value) for unit in UNITS[1:] if (value := getattr(spec, unit)) is not None)


def rolling(window: str) -> int:
    """Seconds of a rolling window; 0 for a calendar window and a lifetime."""
    found = _ROLLING.fullmatch(window)
    return int(found[1]) * _SECONDS[found[2]] if found else 0


@lru_cache(64)
def zone_exists(name: str) -> bool:
    """Whether the system has a time zone of this name."""
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # not found, a folder, or no name at all
        return False
    return True


def _amount(spec: BudgetSpec, path: Keys) -> Iterator[Fault]:
    given = [unit for unit in UNITS if getattr(spec, unit) is not None]
    if len(given) != 1:
        yield path, f"give exactly one of {', '.join(f'`{unit}`' for unit in UNITS)}"
    if spec.usd is not None and spec.usd.nano > MOST_DOLLARS * 10**9:
        yield (*path, "usd"), f"at most {MOST_DOLLARS:,} dollars can be counted in one window"
    if spec.usd is not None and spec.usd.nano == 0 and spec.enforce == "soft":
        yield (*path, "usd"), "a soft budget of nothing has no effect"


def _window(spec: BudgetSpec, path: Keys) -> Iterator[Fault]:
    if not zone_exists(spec.zone):
        yield (*path, "zone"), "this system knows no time zone of this name (it has those of the package tzdata)"
    if spec.zone != "UTC" and (rolling(spec.window) or spec.window == "lifetime"):
        yield (*path, "zone"), f"it has a meaning only for calendar windows: `{spec.window}` is none"
    if rolling(spec.window) > _LONGEST_DAYS * 86_400:
        yield (*path, "window"), f"a rolling window has {_LONGEST_DAYS} days at most"


def _whom(spec: BudgetSpec, path: Keys) -> Iterator[Fault]:
    if spec.scope == "global":
        if spec.match != "*":
            yield (*path, "match"), "a global budget counts everybody together: it matches nobody by name"
        if spec.org != "*":
            yield (*path, "org"), "a global budget counts all organisations together; for one of them use the scope `org`"
    if spec.scope == "org" and spec.org != "*" and spec.match not in ("*", spec.org):
        yield (*path, "match"), f"it names another organisation than `org: {spec.org}`: it would never apply"
    for name, globs in (("providers", spec.providers), ("models", spec.models)):
        if not globs:
            yield (*path, name), "with none it would never apply; leave it out for all"


def _alerts(spec: AlertSpec, path: Keys) -> Iterator[Fault]:
    if len(set(spec.percents)) != len(spec.percents):
        yield (*path, "percents"), "a threshold stands there twice"
    if spec.url and not spec.percents:
        yield (*path, "percents"), "with no threshold nobody is ever told"
    if spec.headers and not spec.url:
        yield (*path, "headers"), "they have a meaning only beside `url`"
    if spec.url:
        try:
            parts = urlsplit(spec.url)
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
        except ValueError:
            usable = False
        if not usable or any(character.isspace() for character in spec.url):
            yield (*path, "url"), "not an http or https URL"


def _limit(limit: LimitSpec, path: Keys) -> Iterator[Fault]:
    given = [name for name in TOKEN_LIMITS if getattr(limit, name) is not None]
    if given and limit.scope == "tool":
        yield (*path, given[0]), "tools use no tokens: limit a key, a subject or an organisation"


def _meaning(spec: BudgetSpec) -> Any:
    """What a budget counts, whom, and when: all but its name, how much, and what follows."""
    unit = next((unit for unit in UNITS if getattr(spec, unit) is not None), "")
    return (spec.scope, spec.match, spec.org, unit, spec.window, spec.zone, spec.providers, spec.models, spec.enforce)
