"""Reading the usage ledger: whatever is asked for, both stores give the rows, in the order and with the sums, that a plain look at them gives."""

import csv
import io
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.budget import usage_read, usage_shown, usage_sql
from hub.budget.usage import TOKENS, Facts, Ledger, Usage
from hub.budget.usage_ask import Place, Question
from hub.call import Tokens
from tests.budget.purse import InPostgres, InSqlite

START = 1_900_000_000_000_000 - 1_900_000_000_000_000 % 86_400_000_000
TAGS: list[dict[str, str]] = [{}, {"feature": "search"}, {"feature": "se", "x": "search"}, {'a"feature': "search"}, {"feature": '"}, {"'}]
QUESTIONS: list[Question] = [
    Question(),
    Question(org="acme"),
    Question(org="acme", key="k1"),
    Question(key="k2"),
    Question(org="acme", key="k1", equal=(("model", ("m1",)),)),
    Question(org="acme", equal=(("spender", ("ann",)),)),
    Question(org="evil", equal=(("model", ("m1",)), ("team", ("core",)))),
    Question(equal=(("model", ("m1", "m2")),)),
    Question(org="acme", tags=(("feature", "search"),)),
    Question(tags=(("feature", '"}, {"'),)),
    Question(unpriced=True),
    Question(org="acme", unpriced=False, equal=(("status", ("error",)),)),
    Question(org="acme", equal=(("app", ("",)),)),
    Question(since=START + 5_000_000, until=START + 12_000_000),
    Question(org="nobody"),
]


def ledger_rows() -> list[Usage]:
    """120 rows; several in one microsecond, so that the order is by more than the time."""
    made: list[Usage] = []
    for n in range(120):
        org, key = ("acme", f"k{n % 3}") if n % 4 else ("evil", "e1")
        who = (org, key, "user:ann", "ann" if n % 2 else "", "shop" if n % 5 == 0 else "", "core" if n % 3 else "", "")
        cost = None if n % 7 == 0 else 10**9 * n + 7
        facts = Facts("llm.chat", "fast", "error" if n % 6 == 0 else "ok", 1000 + n, 1, TAGS[n % len(TAGS)])
        at = START + n // 3 * 1_000_000 + (n // 40) * 3_600_000_000
        made.append(Usage(f"{n * 7919 % 1000:04d}", at, *who, "openai", f"m{n % 3}", cost, Tokens(input=n, output=1), facts))
    return made


@pytest.fixture(params=["sqlite", "postgresql"])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ledger]:
    monkeypatch.setattr(usage_sql, "PART", 7)
    place = InSqlite(tmp_path / "hub.db") if request.param == "sqlite" else InPostgres(request.getfixturevalue("emptied_url"))
    if isinstance(place, InPostgres):
        await place.open()
    for row in ledger_rows():
        place.store.put(row, holds=False)
    await place.store.settled()
    yield place.store
    await place.close()


def wanted(question: Question) -> list[Usage]:
    """The rows, looked at one by one."""

    def fits(row: Usage) -> bool:
        columns = dict(zip(usage_shown.FILTERS.values(), (_of(row, name) for name in usage_shown.FILTERS), strict=True))
        return (
            question.org in (None, row.org)
            and question.key in ("", row.key)
            and question.since <= row.at < question.until
            and all(columns[name] in values for name, values in question.equal)
            and all(row.facts.tags.get(name) == value for name, value in question.tags)
            and question.unpriced in (None, row.cost is None)
        )

    return sorted(filter(fits, ledger_rows()), key=lambda row: (row.at, row.id), reverse=True)


def _of(row: Usage, name: str) -> Any:
    return {"alias": row.facts.door, "kind": row.facts.kind, "status": row.facts.status}.get(name) or getattr(row, name, "")


def _grouped(rows: Sequence[Usage], by: Sequence[str]) -> dict[tuple[Any, ...], list[int]]:
    found: dict[tuple[Any, ...], list[int]] = {}
    for row in rows:
        group = tuple(_value(row, name) for name in by)
        sums = found.setdefault(group, [0, 0, 0])
        sums[0] += 1
        sums[1] += row.cost is None
        sums[2] += row.cost or 0
    return found


def _value(row: Usage, name: str) -> Any:
    if name == "hour":
        return row.at - row.at % 3_600_000_000
    if name == "tag.feature":
        return row.facts.tags.get("feature", "")
    return _of(row, {"spender": "user", "door": "alias"}.get(name, name))


async def test_pages_and_sums_are_those_of_a_plain_look(ledger: Ledger) -> None:
    for question in QUESTIONS:
        rows = wanted(question)
        assert await usage_read.page(ledger, question, None, 1000) == rows, question
        read = [row async for some in usage_read.pages(ledger, question, 11) for row in some]
        assert read == rows, question
        for by in ([], ["model"], ["key", "hour"], ["tag.feature"], ["spender", "status"]):
            totals = await usage_read.totals(ledger, question, by)
            assert {one.group: [one.calls, one.unpriced, one.cost] for one in totals} == _grouped(rows, by), (question, by)
            assert sum(one.tokens[TOKENS.index("input")] for one in totals) == sum(row.tokens.input for row in rows)


async def test_a_page_goes_on_behind_its_cursor_while_rows_are_added(ledger: Ledger) -> None:
    first = await usage_read.page(ledger, Question(org="acme"), None, 10)
    newer = Usage("zzzz", START + 10**12, "acme", "k1", *("",) * 5, "openai", "m1", 1, Tokens())
    ledger.put(newer, holds=False)
    await ledger.settled()
    after = Place(first[-1].at, first[-1].id)
    assert await usage_read.page(ledger, Question(org="acme"), after, 10) == wanted(Question(org="acme"))[10:20]


async def test_too_many_groups_are_refused_by_name(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_read, "GROUPS", 3)
    with pytest.raises(usage_read.InvalidRequest) as refused:
        await usage_read.totals(ledger, Question(), ["key", "model"])
    assert refused.value.data == {"param": "group_by"}


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3), st.text(max_size=12))
def test_any_text_survives_csv_and_none_of_it_is_a_formula(tags: dict[str, str], door: str) -> None:
    row = Usage("id", START, "acme", "k", *("",) * 5, "openai", "m", None, Tokens(), Facts("llm.chat", door, "ok", 1, 1, tags))
    text = usage_shown.written([usage_shown.LIST, usage_shown.line(usage_shown.LIST, usage_shown.record(row))]).decode()
    (head, cells) = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert text.endswith("\r\n")
    assert len(head) == len(cells)
    found = dict(zip(head, cells, strict=True))
    assert found["alias"].removeprefix("'" if door.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else "") == door
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for cell in cells)
    assert (found["cost_usd"], found["unpriced"]) == ("", "true")
