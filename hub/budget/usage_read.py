"""Reading the usage ledger: a page, every row in pages, and what rows come to. It asks in parts, so that nobody waits long behind it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from hub.budget.usage import Usage, row_of
from hub.budget.usage_ask import TAG, Dialect, Place, Question, Statement, Total
from hub.budget.usage_sql import HOUR, PART, Walk, hour_totals, made_hours, still_made, whole
from hub.refusal import InvalidRequest

GROUPS = 10_000
"""Groups of a summary; more are refused."""

PAGE = 1000
"""Rows of a page at most."""


_AT_ONCE = 500
"""Groups that are added before others on the loop have their turn."""


class Reader(Protocol):
    """Where the ledger is read."""

    @property
    def dialect(self) -> Dialect: ...

    async def select(self, statement: Statement, org: str | None) -> list[Sequence[Any]]:
        """The rows of a statement on the ledger, of one organisation (None: of all). Raises `StoreDown`, and `OverflowError` for a sum that
        this store cannot make."""
        ...


async def page(reader: Reader, question: Question, after: Place | None = None, limit: int = 100) -> list[Usage]:
    """The newest rows, those behind `after`. Raises `StoreDown`."""
    walk = Walk(question, reader.dialect)
    before = question.until if after is None else min(question.until, after.at + 1)
    if walk.direct:
        found = await reader.select(walk.rows(question.since, before, after, limit), question.org)
        return [row_of(row) for row in found]
    rows: list[Usage] = []
    async for since, end in _parts(reader, walk, question, before):
        found = await reader.select(walk.rows(since, end, after, limit - len(rows)), question.org)
        rows += [row_of(row) for row in found]
        if len(rows) >= limit:
            break
    return rows


async def pages(reader: Reader, question: Question, size: int = PAGE, after: Place | None = None) -> AsyncGenerator[list[Usage]]:
    """Every row behind `after`, in pages. Raises `StoreDown`."""
    while True:
        rows = await page(reader, question, after, size)
        if rows:
            yield rows
        if len(rows) < size:
            return
        after = Place(rows[-1].at, rows[-1].id)


async def totals(reader: Reader, question: Question, by: Sequence[str], *, hours: bool = True) -> list[Total]:
    """What rows come to, by columns, buckets and tags (`hub.budget.usage_ask`), in the order of the groups.

    Whole hours whose sums are kept are taken from there (`hours`), what lies beside them from the rows. Raises `InvalidRequest` for too
    many groups, `StoreDown`.
    """
    found: dict[tuple[str | int, ...], Total] = {}
    for span in await _spans(reader, question, by) if hours else [_Span(question.since, question.until)]:
        if span.hours and (kept := await _kept(reader, question, by, span)) is not None:
            await _take(found, by, kept)
            continue
        beside = replace(question, since=span.since, until=span.until)
        walk = Walk(beside, reader.dialect)
        async for start, end in _parts(reader, walk, beside, span.until):
            made = partial(walk.totals, by, start, end)
            await _take(found, by, await _summed(reader, question, by, made))
    return sorted(found.values(), key=lambda one: one.group)


class _Span(Struct):
    """A time that is asked for. `hours` of which the sums are kept, and the sum of their `turns`; 0: it is read row by row."""

    since: int
    until: int
    hours: int = 0
    turns: int = 0
    groups: int = 0


async def _spans(reader: Reader, question: Question, by: Sequence[str]) -> list[_Span]:
    """The time that is asked for, in order; spans of hours that are kept have some `PART` groups each."""
    if question.tags or any(name.startswith(TAG) for name in by):
        return [_Span(question.since, question.until)]
    spans: list[_Span] = []
    at = question.since
    for hour, groups, turn in await reader.select(made_hours(reader.dialect, question.since, question.until), question.org):
        last = spans[-1] if spans else None
        if hour > at:
            spans.append(_Span(at, hour))
        elif last is not None and last.hours and last.groups + groups <= PART:
            last.until, last.hours, last.turns, last.groups = hour + HOUR, last.hours + 1, last.turns + turn, last.groups + groups
            at = hour + HOUR
            continue
        spans.append(_Span(hour, hour + HOUR, 1, turn, groups))
        at = hour + HOUR
    return [*spans, _Span(at, question.until)] if at < question.until else spans


async def _kept(reader: Reader, question: Question, by: Sequence[str], span: _Span) -> list[Sequence[Any]] | None:
    """The sums of hours, unless one of them was begun anew before they were read: then what was there may be half of it."""
    made = partial(hour_totals, reader.dialect, question, by, span.since, span.until)
    found = await _summed(reader, question, by, made)
    [[hours, turns]] = await reader.select(still_made(reader.dialect, span.since, span.until), question.org)
    return found if (int(hours), int(turns)) == (span.hours, span.turns) else None


async def _summed(reader: Reader, question: Question, by: Sequence[str], made: Callable[..., Statement]) -> list[Sequence[Any]]:
    """The sums of a statement, however large they are."""
    try:
        return await reader.select(made(), question.org)
    except OverflowError:
        return [whole(row, len(by)) for row in await reader.select(made(halves=True), question.org)]


async def _parts(reader: Reader, walk: Walk, question: Question, before: int) -> AsyncGenerator[tuple[int, int]]:
    """Spans of time, the newest first, with some `PART` rows on the way each."""
    while True:
        last = await reader.select(walk.end_of_part(before), question.org)
        since = int(last[0][0]) if last else question.since
        yield since, before
        if not last:
            return
        before = since


async def _take(found: dict[tuple[str | int, ...], Total], by: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    for number, row in enumerate(rows, 1):
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
        _add(found, tuple(row[: len(by)]), [int(value or 0) for value in row[len(by) :]])
    if len(found) > GROUPS:
        raise InvalidRequest(f"this makes more than {GROUPS} groups: ask for less time, or by less", data={"param": "group_by"})


def _add(found: dict[tuple[str | int, ...], Total], group: tuple[str | int, ...], sums: list[int]) -> None:
    calls, unpriced, cost, *tokens = sums
    if not calls:
        return  # without groups, no rows come to a row of nothing
    total = found.get(group)
    if total is None:
        found[group] = Total(group, calls, unpriced, cost, tokens)
        return
    total.calls += calls
    total.unpriced += unpriced
    total.cost += cost
    total.tokens = [one + other for one, other in zip(total.tokens, tokens, strict=True)]
