"""What a record may look like as bytes: a profile of RFC 8785 in which every implementation agrees. Knows no store and no call.

The profile: keys of `[a-z0-9_.-]`; strings of valid Unicode; integers within ±(2^53 - 1); true, false, null; lists; objects. No floats:
money is integer nano-dollars, durations are integer microseconds, times are RFC 3339 strings. A leaf has at most 65,535 bytes, which
is what an entry bundle can hold (C2SP tlog-tiles). Within the profile, RFC 8785 is: sorted keys, no spaces, no needless escapes.
"""

import json
import re
from functools import lru_cache
from typing import Any, cast

MAX_LEAF = 65_535
MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 32

INTENT, OUTCOME = ".intent", ".outcome"
"""Ends of `kind`: a call that sent bytes out of the hub has one record of each; any other kind is a record that stands alone."""

RECOVERED = "log.recover"
REFUSALS = "edge.refused"

STATUSES = ("ok", "error", "refused", "aborted", "unknown")
"""What `outcome.status` may say. `unknown`: the hub ended between intent and outcome; the call may have taken effect."""

_KEY = re.compile(r"[a-z0-9_.-]+")
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, check_circular=False, allow_nan=False).encode


class ProfileError(ValueError):
    """A value lies outside the profile. The message names the place, never the value."""


@lru_cache(maxsize=1024)
def phase(kind: str) -> int:
    """0 for a record that stands alone, 1 for an intent, 2 for an outcome."""
    return 1 if kind.endswith(INTENT) else 2 if kind.endswith(OUTCOME) else 0


def base(kind: str) -> str:
    """The kind of call an intent or outcome belongs to."""
    return kind.removesuffix(INTENT).removesuffix(OUTCOME)


def check(value: object, place: str = "record", depth: int = 0) -> None:
    """Raise `ProfileError` where `value` or something in it lies outside the profile."""
    if isinstance(value, str):
        if not value.isascii():
            _check_unicode(value, place)
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int):
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise ProfileError(f"{place}: an integer beyond 2^53 - 1")
    elif depth >= MAX_DEPTH:
        raise ProfileError(f"{place}: nested deeper than {MAX_DEPTH}")
    elif isinstance(value, dict):
        _check_object(cast("dict[object, object]", value), place, depth)
    elif isinstance(value, list | tuple):
        for item in cast("list[object]", value):
            check(item, place, depth + 1)
    else:
        raise ProfileError(f"{place}: a {type(value).__name__} has no place in a record")


def canonical(record: dict[str, Any]) -> bytes:
    """The one spelling of a record. Raises `ProfileError` outside the profile; length is the caller's concern (`MAX_LEAF`)."""
    check(record)
    return _encode(record).encode()


def text(value: str, limit: int = 256) -> str:
    """A string made fit for a record: valid Unicode, at most `limit` characters, a cut marked by an ellipsis."""
    if len(value) > limit:
        value = value[: limit - 1] + "…"
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def mend(value: Any, limit: int, depth: int = 0) -> Any:
    """A copy whose strings are `text`s of `limit` characters and whose lists have at most `limit` items. What has no place stays."""
    if isinstance(value, str):
        return text(value, limit)
    if isinstance(value, dict) and depth < MAX_DEPTH:
        return {key: mend(item, limit, depth + 1) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list | tuple) and depth < MAX_DEPTH:
        return [mend(item, limit, depth + 1) for item in cast("list[Any]", value)[:limit]]
    return value  # pyright: ignore[reportUnknownVariableType] - narrowed by isinstance to partly unknown types; it is Any


def _check_object(value: dict[object, object], place: str, depth: int) -> None:
    for key, item in value.items():
        if not _is_key(key):
            raise ProfileError(f"{place}: a key outside [a-z0-9_.-]")
        kind = type(item)
        if (kind is str and cast("str", item).isascii()) or (kind is int and -MAX_INTEGER <= cast("int", item) <= MAX_INTEGER):
            continue  # most fields are such: a verifier is here for every field of every record
        check(item, f"{place}.{key}", depth + 1)


@lru_cache(maxsize=1024)
def _is_key(key: object) -> bool:
    return isinstance(key, str) and _KEY.fullmatch(key) is not None


def _check_unicode(value: str, place: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ProfileError(f"{place}: a surrogate without its other half") from None
