"""Staging, confirming and rejecting price tables, on every medium; what changes between two of them."""

import asyncio
from typing import Any

import pytest

from hub.budget import price_desk
from hub.budget.price_book import PriceBook
from hub.budget.price_desk import PriceDesk
from hub.budget.price_diff import Change, diff, written
from hub.budget.price_table import BadTable, Table, embedded_bytes, embedded_hash
from hub.refusal import InvalidRequest, NotFound
from tests.support.hub import eventually
from tests.support.media import Store
from tests.support.tables import edited, table


def one(input_rate: int, **more: Any) -> bytes:
    return table({"m": {"rates": {"input": input_rate, "output": 5, **more}}})


def desk(store: Store, body: bytes | None = None) -> tuple[PriceDesk, PriceBook]:
    book = PriceBook(table=Table(body) if body else None)
    return PriceDesk(store.prices, book), book


async def test_a_table_is_staged_confirmed_and_found_again_after_a_restart(store: Store) -> None:
    first, book = desk(store)
    await first.open()
    assert (await first.state())["staged"] is None
    new = edited(lambda models: models["gpt-5-mini"]["phases"][0]["price"]["rates"].update(output=2_500_000_000))
    found, staged = await first.stage(new)
    assert [(change.model, change.figure, change.old, change.new, change.percent) for change in found.changes] == [
        ("gpt-5-mini", "output", 2_000_000_000, 2_500_000_000, "+25.0 %")
    ]
    assert staged.record == {"table": found.new, "in_force": embedded_hash()}
    assert book.hash == embedded_hash()
    assert (await first.state())["staged"]["hash"] == found.new
    with pytest.raises(NotFound):
        await first.decide(confirm=True, table="sha256:00")
    done = await first.decide(confirm=True, table=found.new)
    assert done.record == {"table": found.new, "in_force": embedded_hash()}
    price = book.find("openai", "openai", "gpt-5-mini")
    assert price is not None
    assert price.rates.output == 2_500_000_000
    with pytest.raises(InvalidRequest, match="in force already"):
        await first.stage(new)
    await first.close()
    await store.close()
    await store.open()
    again, other = desk(store)
    await again.open()
    assert other.hash == found.new
    await again.close()


async def test_what_is_rejected_changes_nothing_and_the_hubs_own_can_be_taken_up_again(store: Store) -> None:
    changing, book = desk(store)
    found, _ = await changing.stage(one(7), allow=["*"])
    assert (await changing.decide(confirm=False)).record["table"] == found.new
    assert book.hash == embedded_hash()
    with pytest.raises(NotFound):
        await changing.decide(confirm=True)
    for body in (one(7), embedded_bytes(), one(7), embedded_bytes()):
        diffed, _ = await changing.stage(body, allow=["*"])
        await changing.decide(confirm=True)
        assert book.hash == diffed.new
    assert book.hash == embedded_hash()
    assert found.new != book.hash
    assert await store.count("price_tables") == 2


async def test_a_table_staged_later_takes_the_place_of_the_one_before(store: Store) -> None:
    changing, book = desk(store)
    first, _ = await changing.stage(one(7), allow=["*"])
    second, _ = await changing.stage(one(8), allow=["*"])
    with pytest.raises(NotFound):
        await changing.decide(confirm=True, table=first.new)
    await changing.decide(confirm=True, table=second.new)
    assert book.hash == second.new
    # one that was in force, staged again and left behind by another, stays what it was
    await changing.stage(one(9), allow=["*"])
    await changing.decide(confirm=True)
    await changing.stage(one(8), allow=["*"])
    await changing.stage(one(10), allow=["*"])
    assert (await changing.state())["in_force"]["hash"] == Table(one(9)).hash
    await changing.decide(confirm=False)
    assert (await changing.state())["staged"] is None


async def test_another_process_takes_up_what_was_confirmed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(price_desk, "EVERY", 0.02)
    (mine, _), (theirs, book) = desk(store), desk(store)
    await theirs.open(shared=True)
    try:
        found, _ = await mine.stage(one(7), allow=["*"])
        await mine.decide(confirm=True)
        await eventually(lambda: book.hash == found.new)
    finally:
        await theirs.close()


async def test_two_that_decide_at_once_do_so_once(store: Store) -> None:
    (mine, _), (theirs, _) = desk(store), desk(store)
    await mine.stage(one(7), allow=["*"])
    done = await asyncio.gather(mine.decide(confirm=True), theirs.decide(confirm=False), return_exceptions=True)
    assert sum(isinstance(one, NotFound) for one in done) == 1


async def test_a_table_that_somebody_changed_in_the_database_is_refused(store: Store) -> None:
    changing, _ = desk(store)
    await changing.stage(one(7), allow=["*"])
    await changing.decide(confirm=True)
    await store.change(f"UPDATE price_tables SET body = {store.literal(one(8))}")
    with pytest.raises(BadTable, match="has another hash"):
        await desk(store)[0].open()


@pytest.mark.parametrize("body", [b"", b"{}", embedded_bytes()[:1000], b'{"format": 9}'])
async def test_what_is_no_table_is_not_staged(store: Store, body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        await desk(store)[0].stage(body)
    assert await store.count("price_tables") == 0


@pytest.mark.parametrize(
    ("old", "new", "absurd"),
    [(10, 0, True), (10, 101, True), (10, 100, False), (100, 10, False), (100, 9, True), (0, 7, False), (0, 0, False), (10, None, False)],
)
def test_a_change_to_nothing_or_of_more_than_ten_times_is_not_believed(old: int, new: int | None, absurd: bool) -> None:
    assert Change("p", "m", "input", old, new).absurd is absurd


async def test_unbelievable_changes_are_refused_unless_they_are_named(store: Store) -> None:
    changing, _ = desk(store, table({name: {"rates": {"input": 10, "output": 10}} for name in "abc"}))
    new = table({name: {"rates": {"input": rate, "output": 10}} for name, rate in (("a", 0), ("b", 101), ("c", 11))})
    with pytest.raises(InvalidRequest, match=r"of acme/a, acme/b: if that is meant"):
        await changing.stage(new)
    with pytest.raises(InvalidRequest, match=r"of acme/b: if"):
        await changing.stage(new, allow=["acme/a"])
    found, _ = await changing.stage(new, allow=["acme/a", "*/b"])
    assert [(change.model, change.percent, change.absurd) for change in found.changes] == [
        ("a", "-100.0 %", True),
        ("b", "+910.0 %", True),
        ("c", "+10.0 %", False),
    ]
    shown = written(found)["changes"][2]
    assert (shown["provider"], shown["figure"], shown["new"], shown["percent"], shown["absurd"]) == ("acme", "input", 11, "+10.0 %", False)


def test_a_part_that_is_not_priced_apart_any_more_costs_what_its_side_costs() -> None:
    rates = {"input": 100, "output": 100, "cache_read": 5, "cache_write_1h": 7, "reasoning": 100}
    old = Table(table({"m": {"rates": rates, "long": [{"over": 9, "rates": {"input": 200, "cache_read": 15}}]}}))
    new = Table(table({"m": {"rates": {"input": 100, "output": 100}, "long": [{"over": 9, "rates": {"input": 200}}]}}))
    found = diff(old, new, at=0)
    assert [(one.figure, one.old, one.new, one.absurd) for one in found.changes] == [
        ("cache_read", 5, 100, True),
        ("cache_write_1h", 7, 100, True),
        ("cache_read, over 9", 15, 200, True),
    ]


def test_a_diff_names_new_and_vanished_models_and_what_is_to_come() -> None:
    def phases(*prices: Any) -> list[dict[str, Any]]:
        return [{"start": start, "price": {"rates": {"input": rate}}} for start, rate in prices]

    def made(**models: list[dict[str, Any]]) -> Table:
        import json

        listed = [{"id": name, "match": {"equals": name}, "phases": them} for name, them in models.items()]
        content = {"format": 1, "date": "", "sources": [], "names": {}, "urls": {}, "providers": {"acme": {"models": listed}}}
        return Table(json.dumps(content).encode())

    day = 86_400
    old = made(same=phases((0, 1)), gone=phases((0, 1)), late=phases((0, 1)), unpriced=[{}])
    new = made(same=phases((0, 1)), fresh=phases((0, 1)), late=phases((0, 1), (20 * day, 2)), unpriced=phases((0, 3)))
    found = diff(old, new, at=10 * day)
    assert (found.added, found.vanished) == (("acme/fresh", "acme/unpriced"), ("acme/gone",))
    assert [(one.model, one.figure, one.old, one.new) for one in found.changes] == [("late", "input, from 1970-01-21", None, 2)]
    assert diff(new, new, at=0).changes == ()
    services = {"rates": {"input": 1}, "long": [{"over": 5, "rates": {"input": 2}}], "call": 3, "search": 4}
    longer = Table(table({"m": {**services, "long": [{"over": 5, "rates": {"input": 9}}], "search": 5}}))
    assert [(one.figure, one.old, one.new) for one in diff(Table(table({"m": services})), longer, at=0).changes] == [
        ("input, over 5", 2, 9),
        ("search", 4, 5),
    ]
