"""The query string of `/v1/usage` as a question to the ledger, confined to what its caller may see. Pure; refuses by name.

from, to          RFC 3339 times with an offset, or dates (UTC); `to` is not included
key user app team project subject provider model alias kind status org    each may come several times: any of them
tag.<name>        the value of a tag
unpriced          true or false: calls whose cost nobody knows
limit, after      of a list: 1 to 1000; the cursor a page gave as `next`
group_by          of a summary: those above, `day` or `hour` (UTC), `tag.<name>`; several by commas
format            json or csv
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from msgspec import Struct

from hub.budget.usage_ask import BUCKETS, FILTERS, LATEST, TAG, Place, Question
from hub.budget.usage_read import PAGE
from hub.llm.sight import Sight
from hub.refusal import InvalidRequest

USUAL = 100
"""Rows of a page where nobody says how many."""

_FIELDS = 64
_VALUES = 20
_GROUPS = 4
_LONGEST = 256


class Wanted(Struct, frozen=True):
    """What was asked for. `by` are groups by their names outside; `csv` None: the request's `Accept` decides."""

    question: Question
    by: tuple[str, ...] = ()
    after: Place | None = None
    limit: int = USUAL
    csv: bool | None = None


def read(query: bytes, seen: Sight, *, summary: bool) -> Wanted:
    """Raises `InvalidRequest`, which names what it cannot take."""
    given = _fields(query)
    equal: list[tuple[str, tuple[str, ...]]] = []
    tags: list[tuple[str, str]] = []
    org = seen.org
    for name in [name for name in given if name in FILTERS or name.startswith(TAG)]:
        values = tuple(dict.fromkeys(given.pop(name)))
        if name == "org":
            if seen.org is not None:
                raise _refused("org", "there is no filter `org` for this key")
            org, values = (values[0], ()) if len(values) == 1 else (None, values)
        if len(values) > _VALUES:
            raise _refused(name, f"`{name}` takes at most {_VALUES} values")
        if name.startswith(TAG):
            tags += [(name[len(TAG) :], _one(name, values))]
        elif values:
            equal.append((FILTERS[name], values))
    single = {name: _one(name, tuple(values)) for name, values in given.items()}
    question = Question(
        org=org,
        key=seen.key,
        since=_moment("from", single.pop("from", ""), 0),
        until=_moment("to", single.pop("to", ""), LATEST),
        equal=tuple(equal),
        tags=tuple(tags),
        unpriced=_choice("unpriced", single.pop("unpriced", ""), "true", "false"),
    )
    csv = _choice("format", single.pop("format", ""), "csv", "json")
    by = _groups(single.pop("group_by", "")) if summary else ()
    after = None if summary else _place(single.pop("after", ""))
    limit = USUAL if summary else _limit(single.pop("limit", str(USUAL)))
    for name in single:
        raise _refused(name, f"there is no filter `{name}` here")
    return Wanted(question, by, after, limit, csv)


def cursor(place: Place) -> str:
    """Where a page ended, as `after` takes it."""
    return urlsafe_b64encode(f"{place.at}.{place.id}".encode()).decode().rstrip("=")


def _fields(query: bytes) -> dict[str, list[str]]:
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, strict_parsing=bool(query), errors="strict", max_num_fields=_FIELDS
        )
    except ValueError:
        raise _refused("", "the query string cannot be read") from None
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        if len(name) > _LONGEST or len(value) > _LONGEST or not f"{name}{value}".isprintable():
            raise _refused(name[:_LONGEST] if name.isprintable() else "", "a filter is too long, or holds what cannot be printed")
        found.setdefault(name, []).append(value)
    return found


def _one(name: str, values: tuple[str, ...]) -> str:
    if len(values) != 1:
        raise _refused(name, f"`{name}` is to be given once")
    return values[0]


def _moment(name: str, text: str, otherwise: int) -> int:
    """Microseconds since 1970."""
    if not text:
        return otherwise
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)  # a `+` that was not escaped is a space
        if moment.tzinfo is None:
            if len(text) > len("2030-01-31"):
                raise ValueError("no offset")
            moment = moment.replace(tzinfo=UTC)
        whole = moment.replace(microsecond=0)
        return int(whole.timestamp()) * 1_000_000 + moment.microsecond
    except (ValueError, OverflowError):
        raise _refused(name, f"`{name}` is no RFC 3339 time with an offset, such as 2030-01-31T12:00:00Z, and no date") from None


def _choice(name: str, text: str, yes: str, no: str) -> bool | None:
    if text not in ("", yes, no):
        raise _refused(name, f"`{name}` is {yes} or {no}")
    return None if not text else text == yes


def _groups(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(","))) if text else ()
    for name in names:
        if name not in FILTERS and name not in BUCKETS and not (name.startswith(TAG) and name != TAG):
            raise _refused("group_by", f"there is nothing to group by under the name `{name}`")
    if len(names) > _GROUPS:
        raise _refused("group_by", f"`group_by` takes at most {_GROUPS} names")
    return names


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= PAGE):
        raise _refused("limit", f"`limit` is a number from 1 to {PAGE}")
    return int(text)


def _place(text: str) -> Place | None:
    if not text:
        return None
    try:
        at, _, last = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii").partition(".")
        if not (at.isascii() and at.isdigit() and last and last.isprintable()) or int(at) > LATEST:
            raise ValueError("no place")
        return Place(int(at), last)
    except (ValueError, binascii.Error):
        raise _refused("after", "`after` is no cursor of this list") from None


def _refused(name: str, message: str) -> InvalidRequest:
    return InvalidRequest(message, data={"param": name} if name else {})
