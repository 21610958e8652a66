"""What is looked after until it is there is settled once, whatever its provider says of it, and by whichever process."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hub.budget.budgets import Budgets
from hub.call import Caller, Target, Tokens
from hub.llm import background
from hub.llm.background import Background
from hub.llm.background_postgres import PostgresBackground
from hub.llm.background_rows import Row, Rows
from hub.llm.background_sqlite import SqliteBackground
from hub.llm.due import Due
from hub.refusal import StoreDown
from tests.support.hub import eventually
from tests.support.media import SqliteStore, Store

TARGET, ANN = Target("one", "model", "m"), Caller("acme", "user:ann", "k")
DONE = b'{"id":"r","status":"completed","usage":{"input_tokens":3,"output_tokens":4,"total_tokens":7}}'
LONG = 60_000_000


class Settled:
    """A `Due` that says how it was settled."""

    def __init__(self, call: str = "c1") -> None:
        self.said: list[tuple[Tokens | None, str, int | None]] = []
        self.held: Any = SimpleNamespace(id=call, outlive=lambda: None, hand_over=lambda: self.said.append((None, "elsewhere", None)))

    def settle(self, tokens: Tokens | None, status: str, said: int | None = None) -> dict[str, Any]:
        self.said.append((tokens, status, said))
        return {"status": status}

    def kept(self) -> str:
        return "{}"

    def close(self) -> None:
        self.said.append((None, "closed", None))


@pytest.fixture
def rows(store: Store) -> Rows:
    return SqliteBackground(store.database) if isinstance(store, SqliteStore) else PostgresBackground(store.postgres)


def room(rows: Rows) -> Background:
    return Background(dict, rows, cast("Budgets", None), alone=True)


async def tended(where: Background, due: Settled, response: str = "r") -> None:
    await where.tend(ANN, response, TARGET, cast("Due", due))


@pytest.mark.parametrize("odd", [b'"\xff"', b"1e999", b'"\xed\xa0\x80"'])
async def test_an_answer_that_cannot_be_read_whole_is_settled_all_the_same(rows: Rows, odd: bytes) -> None:
    where, due = room(rows), Settled()
    await tended(where, due)
    body = DONE.replace(b'"usage"', b'"x":' + odd + b',"usage"')
    assert await where.seen(ANN, "r", body) == {"status": "ok"}
    assert await where.seen(ANN, "r", body) is None
    assert await rows.calls() == []
    await where.close()
    [(tokens, status, said)] = due.said
    assert tokens is not None
    assert (tokens.input, tokens.output, status, said) == (3, 4, "ok", None)


@pytest.mark.parametrize("body", [b'{"id":"r","status":"processing"}', b'{"id":"r","object":"response"}', b'{"id":"r","status":null}'])
async def test_an_answer_that_does_not_say_that_it_is_over_is_waited_for(rows: Rows, body: bytes) -> None:
    where, due = room(rows), Settled()
    await tended(where, due)
    assert await where.seen(ANN, "r", body) is None
    assert await rows.calls() == ["c1"]
    assert await where.seen(ANN, "r", DONE) == {"status": "ok"}
    await where.close()
    assert len(due.said) == 1


async def test_of_two_answers_with_one_id_each_is_settled(rows: Rows) -> None:
    where, one, other = room(rows), Settled("c1"), Settled("c2")
    await tended(where, one)
    await tended(where, other)
    await eventually(lambda: [status for _, status, _ in one.said] == ["unknown"])
    assert await where.gone(ANN, "r") == {"status": "unknown"}
    await where.close()
    assert (len(one.said), len(other.said)) == (1, 1)


async def test_of_two_processes_that_see_it_at_once_one_settles_it_and_the_other_lets_go(rows: Rows) -> None:
    both, dues = [room(rows), room(rows)], [Settled(), Settled()]
    for where, due in zip(both, dues, strict=True):
        await tended(where, due)
    found = await asyncio.gather(*(where.seen(ANN, "r", DONE) for where in both for _ in range(3)))
    assert sorted(map(str, found)) == ["None"] * 5 + ["{'status': 'ok'}"]
    assert sorted(due.said[0][1] for due in dues) == ["elsewhere", "ok"]
    for where in both:
        await where.close()
    assert [len(due.said) for due in dues] == [1, 1]


async def test_one_that_stops_hands_it_on_and_what_was_never_written_is_closed(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    where, written, lost = room(rows), Settled("c1"), Settled("c2")
    await tended(where, written)
    assert await rows.claim(LONG, every=False) == []

    async def away(*_: Any) -> None:
        raise StoreDown("away")

    monkeypatch.setattr(type(rows), "put", away)
    await tended(where, lost, "other")
    await where.close()
    assert (written.said, lost.said) == ([], [(None, "closed", None)])
    assert [row.call for row in await rows.claim(LONG, every=False)] == ["c1"]
    assert await rows.claim(LONG, every=False) == [], "who claims it looks after it"


async def test_a_database_that_is_away_keeps_it_waiting(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    where, due = room(rows), Settled()
    await tended(where, due)

    async def away(*_: Any) -> bool:
        raise StoreDown("away")

    with monkeypatch.context() as broken:
        broken.setattr(type(rows), "take", away)
        assert await where.seen(ANN, "r", DONE) is None
    assert due.said == []
    assert await where.seen(ANN, "r", DONE) == {"status": "ok"}
    await where.close()


async def test_many_that_are_taken_over_at_once_are_asked_for_a_few_at_a_time(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way, most, asked, go = 0, 0, 0, asyncio.Event()

    class Asking:
        """An attempt that is answered when all may be."""

        def __init__(self, *_: object, **__: object) -> None:
            self.response, self.body = SimpleNamespace(status=200), DONE

        async def __aenter__(self) -> "Asking":
            nonlocal under_way, most, asked
            under_way, asked = under_way + 1, asked + 1
            most = max(most, under_way)
            await go.wait()
            return self

        async def __aexit__(self, *_: object) -> None:
            nonlocal under_way
            under_way -= 1

    dues = {f"c{number}": Settled(f"c{number}") for number in range(50)}
    for call in dues:
        await rows.put(Row(call, "acme", "user:ann", f"r-{call}", "one", "m", time.time_ns() // 1000, call), 0)

    async def again(_: object, kept: str) -> Settled:
        return dues[kept]

    monkeypatch.setattr(background, "Attempt", Asking)
    monkeypatch.setattr(background, "again", again)
    where = Background(lambda: {"one": cast("Any", SimpleNamespace(provider=None))}, rows, cast("Budgets", None), alone=True)
    where.start()
    await eventually(lambda: len(where._waiting) == len(dues) and asked >= 1)
    for _ in range(10):
        await asyncio.sleep(0)
    go.set()
    await eventually(lambda: all(due.said for due in dues.values()))
    await where.close()
    assert most == background.AT_ONCE
    assert all(len(due.said) == 1 for due in dues.values())


async def test_who_has_its_place_again_looks_after_what_another_took_in_it(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    due = Settled("c1")

    async def again(*_: object) -> Settled:
        return due

    monkeypatch.setattr(background, "again", again)
    where = room(rows)
    where.resume()  # before it has begun there is nothing to look at again
    where.start()
    await eventually(lambda: where._keeper is not None and where._keeper.done())
    await rows.put(Row("c1", "acme", "user:ann", "r", "one", "m", time.time_ns() // 1000, ""), LONG)
    where.resume()
    await eventually(lambda: where.seen(ANN, "r", DONE))
    await where.close()
    assert [status for _, status, _ in due.said] == ["ok"]


async def test_rows_are_found_by_whose_they_are(rows: Rows) -> None:
    mine = Row("c1", "acme", "user:ann", "r", "one", "m", 5, '{"x":"ü"}')
    await rows.put(mine, 0)
    await rows.put(Row("c2", "acme", "user:bob", "r", "one", "m", 5, ""), LONG)
    assert await rows.find("acme", "user:ann", "r") == [mine]
    assert await rows.find("other", "user:ann", "r") == []
    assert sorted(await rows.calls()) == ["c1", "c2"]
    await rows.renew(["c2"], 0)
    assert sorted(row.call for row in await rows.claim(LONG, every=False)) == ["c1", "c2"]
    assert len(await rows.claim(LONG, every=True)) == 2
    assert [await rows.take("c1"), await rows.take("c1"), await rows.take("c2")] == [True, False, True]
