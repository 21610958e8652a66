"""Reading the usage ledger: a page, every row in pages, and what rows come to. It asks in parts, so that nobody waits long behind it."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Protocol

from hub.budget.usage import Usage, row_of
from hub.budget.usage_ask import Dialect, Place, Question, Statement, Total
from hub.budget.usage_sql import Walk
from hub.refusal import InvalidRequest

GROUPS = 10_000
"""Groups of a summary; more are refused."""

PAGE = 1000
"""Rows of a page at most."""


class Reader(Protocol):
    """Where the ledger is read."""

    @property
    def dialect(self) -> Dialect: ...

    async def select(self, statement: Statement, org: str | None) -> list[Sequence[Any]]:
        """The rows of a statement on the ledger, of one organisation (None: of all). Raises `StoreDown`."""
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


async def totals(reader: Reader, question: Question, by: Sequence[str]) -> list[Total]:
    """What rows come to, by columns, buckets and tags (`hub.budget.usage_ask`), in the order of the groups.

    Raises `InvalidRequest` for too many groups, `StoreDown`.
    """
    walk = Walk(question, reader.dialect)
    found: dict[tuple[str | int, ...], Total] = {}
    async for since, end in _parts(reader, walk, question, question.until):
        for row in await reader.select(walk.totals(by, since, end), question.org):
            _add(found, tuple(row[: len(by)]), [int(value or 0) for value in row[len(by) :]])
        if len(found) > GROUPS:
            raise InvalidRequest(f"this makes more than {GROUPS} groups: ask for less time, or by less", data={"param": "group_by"})
    return sorted(found.values(), key=lambda one: one.group)


async def _parts(reader: Reader, walk: Walk, question: Question, before: int) -> AsyncGenerator[tuple[int, int]]:
    """Spans of time, the newest first, with some `PART` rows on the way each."""
    while True:
        last = await reader.select(walk.end_of_part(before), question.org)
        since = int(last[0][0]) if last else question.since
        yield since, before
        if not last:
            return
        before = since


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
