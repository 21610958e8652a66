"""Questions to the usage ledger as SQL, for SQLite and for PostgreSQL. Pure: values are never part of a text.

Rows are read newest first. A question is either answered by one index alone (`Walk.direct`), or walked part by part along one, so that no
statement looks at more rows than a part has, whatever is asked for.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import json as msgjson

from hub.budget.usage import COLUMNS, TOKENS
from hub.budget.usage_ask import BUCKETS, FILTERS, TAG, Dialect, Place, Question, Statement

PART = 20_000
"""Rows that one statement looks at: some ten milliseconds."""

HOUR = BUCKETS["hour"]
UNPRICED = "unpriced"
"""As a group: 1 of calls whose cost nobody knows, 0 of others."""

BY_HOUR = (*FILTERS.values(), UNPRICED)
"""What hours are kept by, beside the hour; then come `CALLS`."""

CALLS = ("calls", "cost", *TOKENS)

_INDEXED = ("key", "spender", "app", "team", "project", "model")
"""Columns with an index of their own, the narrowest first. All but `key` stand there behind the organisation."""

_PARTIAL = frozenset({"spender", "app", "team", "project"})
_SUMMED = ("1", "CASE WHEN cost IS NULL THEN 1 ELSE 0 END", "coalesce(cost, 0)", *TOKENS)
_HOUR_SUMMED = ("calls", "calls * unpriced", "cost", *TOKENS)
"""What rows, and rows of hours, are added up by: as in `Total`."""

_HALF = 32
"""Bits."""

_NAMES = ", ".join(COLUMNS)


class _Text:
    """A statement in the making: what is given becomes a placeholder."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.values: list[Any] = []

    def given(self, value: Any) -> str:
        self.values.append(value)
        return f"{'?' if self.dialect == 'sqlite' else '$'}{len(self.values)}"

    def done(self, text: str) -> Statement:
        return Statement(text, tuple(self.values))


class Walk:
    """How one question is answered: along which index, and what is asked of each row on the way."""

    def __init__(self, question: Question, dialect: Dialect) -> None:
        self._question = question
        self._dialect: Dialect = dialect
        self._along = _index(question)
        self._lead = _lead(question, self._along)
        self._aside = "+" if dialect == "sqlite" else ""
        """Before a column by which SQLite, which knows nothing of how often values are, is not to choose an index."""
        self._rest = tuple(one for one in question.equal if one != self._along)
        self.direct = not self._rest and not question.tags and question.unpriced is None
        """Whether the index alone answers it."""

    def end_of_part(self, before: int) -> Statement:
        """When the last row of the part that begins `before` was settled; no row where the part is the last one."""
        text = _Text(self._dialect)
        where = self._on_the_way(text, self._question.since, before)
        return text.done(f"SELECT at FROM usage WHERE {where} ORDER BY {self._order} LIMIT 1 OFFSET {PART}")  # noqa: S608 (no values)

    def rows(self, since: int, before: int, after: Place | None, limit: int) -> Statement:
        """At most `limit` rows with `since <= at < before`, those behind `after` only."""
        text = _Text(self._dialect)
        where = [self._on_the_way(text, since, before), *self._asked(text)]
        ident = _ident(self._dialect)
        if after is not None:
            at, last = text.given(after.at), text.given(after.id)
            where.append(f"(at < {at} OR {ident} < {last})")
        where_text = " AND ".join(where)
        return text.done(f"SELECT {_NAMES} FROM usage WHERE {where_text} ORDER BY {self._order}, {ident} DESC LIMIT {int(limit)}")  # noqa: S608

    def totals(self, by: Sequence[str], since: int, before: int, *, halves: bool = False) -> Statement:
        """What rows with `since <= at < before` come to, in groups: their values first, then the sums as in `Total`, or as `halves` of
        them (`whole`)."""
        text = _Text(self._dialect)
        groups = [_group(text, name) for name in by]
        where = " AND ".join([self._on_the_way(text, since, before), *self._asked(text)])
        numbers = ", ".join(str(number) for number in range(1, len(groups) + 1))
        grouped = f" GROUP BY {numbers}" if groups else ""
        return text.done(f"SELECT {', '.join([*groups, _sums(_SUMMED, halves)])} FROM usage WHERE {where}{grouped}")  # noqa: S608 (no values)

    def _on_the_way(self, text: _Text, since: int, before: int) -> str:
        """The rows of the span, as the index has them.

        PostgreSQL is given the index's columns as one value: it then has no other index for it, and none for the order. Left to choose, it
        walks along the time for a value it takes to be common, and finds out that it is not.
        """
        question, lead = self._question, self._lead
        found: list[str] = []
        if lead is None or self._dialect == "sqlite":
            found += [f"at >= {text.given(since)}", f"at < {text.given(before)}"]
            found += [f"{lead[0]} = {text.given(lead[1])}"] if lead is not None else []
        else:
            name, value = lead
            found.append(f"({name}, at) >= ({text.given(value)}, {text.given(since)})")
            found.append(f"({name}, at) < ({text.given(value)}, {text.given(before)})")
        if question.org is not None and lead is not None and lead[0] != "org":
            found.append(f"{self._aside if lead[0] == 'key' else ''}org = {text.given(question.org)}")
        if lead is not None and lead[0] in _PARTIAL:
            found.append(f"{lead[0]} <> ''")
        return " AND ".join(found)

    @property
    def _order(self) -> str:
        """The newest first."""
        return f"{self._lead[0]} DESC, at DESC" if self._lead is not None and self._dialect != "sqlite" else "at DESC"

    def _asked(self, text: _Text) -> list[str]:
        question, dialect = self._question, self._dialect
        found = [f"{self._aside}{name} IN ({', '.join(text.given(one) for one in values)})" for name, values in self._rest]
        holds = "instr" if dialect == "sqlite" else "strpos"
        for name, value in question.tags:
            pair = msgjson.encode({name: value}).decode()[1:-1]  # exactly as the row has it; a quote within a text is never bare
            first, later = text.given("{" + pair), text.given("," + pair)
            found.append(f"({holds}(tags, {first}) = 1 OR {holds}(tags, {later}) > 0)")
        if question.unpriced is not None:
            found.append("cost IS NULL" if question.unpriced else "cost IS NOT NULL")
        return found


def made_hours(dialect: Dialect, since: int, until: int) -> Statement:
    """The hours that lie within a span and whose sums are kept: how many groups each has, and which turn of being made it is of."""
    text = _Text(dialect)
    where = f"state = 1 AND dirty = 0 AND hour >= {text.given(since)} AND hour <= {text.given(until - HOUR)}"
    return text.done(f"SELECT hour, groups, turn FROM usage_rolled WHERE {where} ORDER BY hour")  # noqa: S608 (no values)


def still_made(dialect: Dialect, since: int, until: int) -> Statement:
    """How many hours of a span are kept, and the sum of their turns: of hours that were begun anew meanwhile another than before."""
    text = _Text(dialect)
    where = f"state = 1 AND hour >= {text.given(since)} AND hour < {text.given(until)}"
    return text.done(f"SELECT count(*), coalesce(sum(turn), 0) FROM usage_rolled WHERE {where}")  # noqa: S608 (no values)


def hour_totals(dialect: Dialect, question: Question, by: Sequence[str], since: int, until: int, *, halves: bool = False) -> Statement:
    """As `Walk.totals`, of hours that are kept: `since` and `until` are whole ones. Not by tags."""
    text = _Text(dialect)
    groups = [f"hour - hour % {BUCKETS[name]}" if name in BUCKETS else name for name in by]
    where = [f"hour >= {text.given(since)}", f"hour < {text.given(until)}"]
    where += [f"org = {text.given(question.org)}"] if question.org is not None else []
    where += [f"key = {text.given(question.key)}"] if question.key else []
    where += [f"{name} IN ({', '.join(text.given(one) for one in values)})" for name, values in question.equal]
    where += [f"unpriced = {int(question.unpriced)}"] if question.unpriced is not None else []
    grouped = f" GROUP BY {', '.join(str(number) for number in range(1, len(groups) + 1))}" if groups else ""
    sums = _sums(_HOUR_SUMMED, halves)
    return text.done(f"SELECT {', '.join([*groups, sums])} FROM usage_hour WHERE {' AND '.join(where)}{grouped}")  # noqa: S608


def whole(row: Sequence[Any], groups: int) -> list[Any]:
    """A row of sums in halves as one of sums, behind so many `groups`."""
    halves = row[groups:]
    return [*row[:groups], *((int(high or 0) << _HALF) + int(low or 0) for high, low in zip(halves[::2], halves[1::2], strict=True))]


def _sums(summed: Sequence[str], halves: bool) -> str:
    """SQLite adds up to 64 bits, and fails beyond: in halves nothing comes to so much."""
    if not halves:
        return ", ".join(f"sum({one})" for one in summed)
    return ", ".join(f"sum(({one}) >> {_HALF}), sum(({one}) & {(1 << _HALF) - 1})" for one in summed)


def _index(question: Question) -> tuple[str, tuple[str, ...]] | None:
    """The filter that is walked along, where one has an index."""
    single = {name: values for name, values in question.equal if len(values) == 1 and values[0]}
    for name in _INDEXED:
        if name in single and (name == "key" or question.org is not None) and not question.key:
            return name, single[name]
    return None


def _lead(question: Question, along: tuple[str, tuple[str, ...]] | None) -> tuple[str, str] | None:
    """The column that stands before the time in the index that is walked along, and its value; None: there is the time alone."""
    if question.key:
        return "key", question.key
    if along is not None:
        return along[0], along[1][0]
    return None if question.org is None else ("org", question.org)


def _ident(dialect: Dialect) -> str:
    return "id" if dialect == "sqlite" else 'id COLLATE "C"'


def _group(text: _Text, name: str) -> str:
    """The value of a group for a row. `name`: a column, a bucket, or `tag.` and the name of a tag."""
    if name in BUCKETS:
        return f"at - at % {BUCKETS[name]}"
    if name == UNPRICED:
        return "CASE WHEN cost IS NULL THEN 1 ELSE 0 END"
    if not name.startswith(TAG):
        return name
    tag = text.given(name[len(TAG) :])
    if text.dialect == "sqlite":
        return f"CASE WHEN tags = '' THEN '' ELSE coalesce((SELECT value FROM json_each(tags) WHERE json_each.key = {tag}), '') END"  # noqa: S608
    # PostgreSQL cannot hold a NUL, which JSON can write
    return f"CASE WHEN tags = '' OR strpos(tags, '\\u0000') > 0 THEN '' ELSE coalesce(tags::json ->> {tag}, '') END"
