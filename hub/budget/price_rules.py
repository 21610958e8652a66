"""Which model a name means: rules over names, as a price table writes them. Pure."""

import re
from datetime import date

from msgspec import Struct

LONGEST = 256
"""Characters of a name that is looked at; a longer one means nothing."""

_COMPACT_DATE = re.compile(r"-(20\d{2})(\d{2})(\d{2})(?=-|:|$)")


class Rule(Struct, frozen=True, omit_defaults=True):
    """One test of a name; exactly one field is set. Names are compared in lower case; `regex` may match anywhere."""

    equals: str = ""
    starts: str = ""
    ends: str = ""
    contains: str = ""
    regex: str = ""
    any: tuple["Rule", ...] = ()
    all: tuple["Rule", ...] = ()


def matches(rule: Rule, name: str) -> bool:
    """Whether the rule holds for a name in lower case."""
    if rule.equals:
        return name == rule.equals
    if rule.starts:
        return name.startswith(rule.starts)
    if rule.any:
        return any(matches(one, name) for one in rule.any)
    if rule.contains:
        return rule.contains in name
    if rule.regex:
        return re.search(rule.regex, name) is not None
    if rule.ends:
        return name.endswith(rule.ends)
    return bool(rule.all) and all(matches(one, name) for one in rule.all)


def check(rule: Rule) -> None:
    """Raises `re.error` where a regular expression in it is none."""
    re.compile(rule.regex)
    for one in (*rule.any, *rule.all):
        check(one)


def spellings(name: str) -> tuple[str, ...]:
    """The name in the spellings to try in turn: as it stands, and with a date such as `-20251211` written `-2025-12-11`."""
    plain = name.lower()
    if len(plain) > LONGEST:
        return ()
    dashed = _COMPACT_DATE.sub(_dashed, plain)
    return (plain,) if dashed == plain else (plain, dashed)


def _dashed(found: re.Match[str]) -> str:
    year, month, day = (int(text) for text in found.groups())
    try:
        date(year, month, day)
    except ValueError:
        return found.group(0)
    return f"-{year:04d}-{month:02d}-{day:02d}"
