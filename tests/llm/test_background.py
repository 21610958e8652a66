"""What is looked after until it is there is settled once, whatever its provider says of it, and by whichever process."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from hub.budget.budgets import Budgets
from hub.call import Caller, Target, Tokens
from hub.llm import background, background_keeper, background_postgres, background_sqlite
from hub.llm.background import Background
from hub.llm.background_ended import Ended
from hub.llm.background_keeper import Keeper
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
        self.held: Any = SimpleNamespace(id=call, ended=False, then=None, outlive=lambda: None, hand_over=self._handed)

    def _handed(self) -> None:
        self.said.append((None, "elsewhere", None))

    def settle(self, tokens: Tokens | None, status: str, said: int | None = None) -> dict[str, Any]:
        self.said.append((tokens, status, said))
        return {"status": status}

    async def lasting(self) -> bool:
        return True

    def kept(self) -> str:
        return "{}"

    def close(self) -> None:
        self.said.append((None, "closed", None))


@pytest.fixture
def rows(store: Store) -> Rows:
    return SqliteBackground(store.database) if isinstance(store, SqliteStore) else PostgresBackground(store.postgres)


def room(rows: Rows, *, alone: bool = True) -> Background:
    return Background(dict, rows, cast("Budgets", None), alone=alone)


async def none_left(rows: Rows) -> bool:
    return not await rows.calls()


async def tended(where: Background, due: Settled, response: str = "r") -> None:
    await where.tend(ANN, response, TARGET, cast("Due", due))


@pytest.mark.parametrize("odd", [b'"\xff"', b"1e999", b'"\xed\xa0\x80"'])
async def test_an_answer_that_cannot_be_read_whole_is_settled_all_the_same(rows: Rows, odd: bytes) -> None:
    where, due = room(rows), Settled()
    await tended(where, due)
    body = DONE.replace(b'"usage"', b'"x":' + odd + b',"usage"')
    assert await where.seen(ANN, "r", body) == {"status": "ok"}
    assert await where.seen(ANN, "r", body) is None
    await eventually(lambda: none_left(rows))
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
    assert await rows.claim(LONG, 9) == []

    async def away(*_: Any) -> None:
        raise StoreDown("away")

    monkeypatch.setattr(type(rows), "put", away)
    await tended(where, lost, "other")
    await where.close()
    assert (written.said, lost.said) == ([], [(None, "closed", None)])
    assert [row.call for row in await rows.claim(LONG, 9)] == ["c1"]
    assert await rows.claim(LONG, 9) == [], "who claims it looks after it"


async def test_a_database_that_is_away_keeps_it_waiting(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    where, due = room(rows), Settled()
    await tended(where, due)

    async def away(*_: Any) -> bool:
        raise StoreDown("away")

    with monkeypatch.context() as broken:
        broken.setattr(type(rows), "end", away)
        assert await where.seen(ANN, "r", DONE) is None
    assert due.said == []
    assert await where.seen(ANN, "r", DONE) == {"status": "ok"}
    await where.close()


async def test_a_stream_that_breaks_while_the_database_fails_at_its_end_goes_on_being_waited_for(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, due, asked, go = room(rows), Settled(), asyncio.Event(), asyncio.Event()
    await where.follow(ANN, "r", TARGET, cast("Due", due))
    looked = asyncio.Event()

    async def away(*_: Any) -> bool:
        asked.set()
        await go.wait()
        raise StoreDown("away")

    async def look(*_: Any) -> None:
        looked.set()

    monkeypatch.setattr(background, "FIRST", 0.01)
    monkeypatch.setattr(Background, "_look", look)
    with monkeypatch.context() as broken:
        broken.setattr(type(rows), "end", away)
        seen = asyncio.create_task(where.seen(ANN, "r", DONE))  # a client asks for it beside its stream
        await asked.wait()
        await where.tend(ANN, "r", TARGET, cast("Due", due))
        go.set()
        assert await seen is None
    await asyncio.wait_for(looked.wait(), 30)
    assert due.said == []
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
    await eventually(lambda: all(task.done() for task in where._keeper._tasks))
    await rows.put(Row("c1", "acme", "user:ann", "r", "one", "m", time.time_ns() // 1000, ""), LONG)
    where.resume()
    await eventually(lambda: where.seen(ANN, "r", DONE))
    await where.close()
    assert [status for _, status, _ in due.said] == ["ok"]


@pytest.mark.parametrize("settled", [False, True])
async def test_what_another_found_out_in_the_place_of_one_that_is_alone_is_settled_by_that(
    rows: Rows, settled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had its place for a while, and is no more; `settled`: the ledger has what it settled."""
    mine, anew = Settled("c1"), Settled("c1")

    async def again(*_: object) -> Settled | None:
        return None if settled else anew

    monkeypatch.setattr(background, "again", again)
    where = room(rows)
    where.start()
    await eventually(lambda: all(task.done() for task in where._keeper._tasks))
    await tended(where, mine)
    await rows.end("c1", Ended("error", Tokens(input=1), by="another").text())
    assert await where.seen(ANN, "r", DONE) is None
    await eventually(lambda: none_left(rows))
    await where.close()
    assert mine.said == [(None, "elsewhere", None)]
    assert anew.said == ([] if settled else [(Tokens(input=1), "error", None)])


async def test_what_was_found_out_and_not_heard_of_is_what_it_is_settled_by(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database kept it, and its answer was lost."""
    where, due = room(rows), Settled()
    await tended(where, due)
    end = type(rows).end

    async def unheard(self: Rows, call: str, ended: str) -> str | None:
        await end(self, call, ended)
        raise StoreDown("nobody knows")

    with monkeypatch.context() as broken:
        broken.setattr(type(rows), "end", unheard)
        assert await where.seen(ANN, "r", DONE) is None
    assert await where.gone(ANN, "r") == {"status": "ok"}, "by what was found out first"
    await where.close()
    [(tokens, status, _)] = due.said
    assert (tokens and tokens.output, status) == (4, "ok")


async def test_rows_are_found_by_whose_they_are(rows: Rows) -> None:
    mine = Row("c1", "acme", "user:ann", "r", "one", "m", 5, '{"x":"ü"}')
    await rows.put(mine, 0)
    await rows.put(Row("c2", "acme", "user:bob", "r", "one", "m", 5, ""), LONG)
    assert await rows.find("acme", "user:ann", "r") == [mine]
    assert await rows.find("other", "user:ann", "r") == []
    assert sorted(await rows.calls()) == ["c1", "c2"]
    assert await rows.renew(["c2", "c3"], 0) == {"c2": ""}
    assert await rows.claim(LONG, 9, {"c1", "c2"}) == []
    claimed = [row.call for _ in range(2) for row in await rows.claim(LONG, 1)]
    assert sorted(claimed) == ["c1", "c2"]
    assert await rows.claim(LONG, 9) == []
    await rows.free()
    assert len(await rows.claim(LONG, 9)) == 2
    assert [await rows.end("c1", "one"), await rows.end("c1", "other"), await rows.end("c3", "one")] == ["one", "one", None]
    await rows.put(mine, LONG)
    assert await rows.find("acme", "user:ann", "r") == [msgspec.structs.replace(mine, ended="one")], "written once"
    assert await rows.renew(["c1", "c2"], LONG) == {"c1": "one", "c2": ""}
    for call in ("c1", "c1", "c2"):
        await rows.drop(call)
    assert await rows.calls() == []


async def test_an_answer_to_a_client_who_says_what_is_in_it_settles_nothing_without_its_usage(rows: Rows) -> None:
    where, due = room(rows), Settled()
    await tended(where, due)
    assert await where.seen(ANN, "r", b'{"id":"r","status":"completed"}', plain=False) is None
    assert await where.told(ANN, "r", None) is None
    assert due.said == []
    assert await where.seen(ANN, "r", DONE, plain=False) == {"status": "ok"}
    await where.close()


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("ended", ["", '{"how":"later"}'])
async def test_what_a_later_version_has_written_is_left_to_it_and_told_once(
    rows: Rows, alone: bool, ended: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background_keeper, "EVERY", 0.01)
    monkeypatch.setattr(background_keeper, "LEASE", 1)
    where, due = room(rows, alone=alone), Settled("mine")
    await rows.put(Row("later", "acme", "user:ann", "r", "one", "m", time.time_ns() // 1000, '{"told":{"of":"another kind"}}'), 0)
    if ended:
        await rows.end("later", ended)
    await rows.put(Row("mine", "acme", "user:ann", "r2", "one", "m", time.time_ns() // 1000, "mine"), 0)
    read = background.again

    async def again(budgets: Budgets, kept: str) -> Any:
        return due if kept == "mine" else await read(budgets, kept)

    monkeypatch.setattr(background, "again", again)
    where.start()
    await eventually(lambda: "mine" in where._waiting and caplog.text.count("later version") == 1)
    for _ in range(3):
        assert await where.seen(ANN, "r", DONE) is None
        await where.look(ANN, "r")
        assert await where.gone(ANN, "r") is None
    assert await where.seen(ANN, "r2", DONE) == {"status": "ok"}, "the others are settled"
    await asyncio.sleep(0.1)  # some more looks
    await where.close()
    assert caplog.text.count("later version") == 1
    assert "Traceback" not in caplog.text
    assert [row.call for row in await rows.claim(LONG, 9)] == ["later"], "nobody looks after it but who can"


async def test_a_look_ends_however_many_rows_are_of_a_later_version(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_keeper, "TOGETHER", 3)
    monkeypatch.setattr(background_keeper, "MOST_LEFT", 5)
    for at in range(12):
        await rows.put(Row(f"c{at}", "acme", "user:ann", "r", "one", "m", 0, "{}"), 0)
    await rows.free()

    async def leave(row: Row) -> None:
        keeper.leave(row)

    keeper = Keeper(rows, list[str], lambda *_: None, leave, alone=False)
    await asyncio.wait_for(keeper._take_over(), 60)
    assert len(await rows.claim(LONG, 99)) == 12, "for a process of that version"


async def test_what_a_dead_process_waited_for_is_taken_over_many_at_a_time(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than are claimed at a time, none of them twice, while what is looked after already is renewed."""
    monkeypatch.setattr(background_keeper, "TOGETHER", 40)
    monkeypatch.setattr(background_keeper, "EVERY", 0.02)
    under_way, most, taken, renewed, crowd = 0, 0, [], 0, asyncio.Event()

    async def again(_: object, kept: str) -> Settled:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if under_way == background_keeper.AT_ONCE:
            crowd.set()
        await crowd.wait()
        await eventually(lambda: renewed > 1)
        under_way -= 1
        taken.append(kept)
        return Settled(kept)

    renew = type(rows).renew

    async def renewing(self: Rows, calls: Any, lease: int) -> dict[str, str]:
        nonlocal renewed
        renewed += lease > 0
        return await renew(self, calls, lease)

    monkeypatch.setattr(background, "again", again)
    monkeypatch.setattr(type(rows), "renew", renewing)
    calls = [f"c{number:03}" for number in range(100)]
    for call in calls:
        await rows.put(Row(call, "acme", "user:ann", f"r-{call}", "one", "m", time.time_ns() // 1000, call), 0)
    where = room(rows, alone=False)
    await tended(where, Settled("mine"), "r-mine")
    where.start()
    await eventually(lambda: len(taken) == len(calls))
    await where.close()
    assert sorted(taken) == calls
    assert most == background_keeper.AT_ONCE


async def test_finding_and_claiming_go_by_an_index(store: Store, rows: Rows) -> None:
    """However many rows there are."""
    if isinstance(store, SqliteStore):
        asked = [background_sqlite._FIND, background_sqlite._CLAIM]
        plans = [
            await store.database.read(
                lambda connection, text=text: str(connection.execute(f"EXPLAIN QUERY PLAN {text}", (1,) * text.count("?")).fetchall())
            )
            for text in asked
        ]
    else:
        find = background_postgres._FIND.replace("$1", "'a'").replace("$2", "'b'").replace("$3", "'c'")
        claim = background_postgres._CLAIM.replace("$1", "1").replace("$2", "5").replace("$3", "'{}'")
        off = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off"
        plans = [await store.sql(f"{off}; EXPLAIN {text}") for text in (find, claim)]
    assert "background_response_of" in plans[0]
    assert "background_response_until" in plans[1]


async def test_what_streams_to_its_client_is_settled_by_its_call_or_else_by_who_takes_it_over(rows: Rows) -> None:
    where, mine, broken = room(rows), Settled("c1"), Settled("c2")
    for due in (mine, broken):
        await where.follow(ANN, f"r-{due.held.id}", TARGET, cast("Due", due))
    assert sorted(await rows.calls()) == ["c1", "c2"]
    mine.held.ended = True
    mine.held.then()  # its call has settled it
    await where.tend(ANN, "r-c2", TARGET, cast("Due", broken))
    assert await where.seen(ANN, "r-c2", DONE) == {"status": "ok"}
    assert await where.seen(ANN, "r-c1", DONE) is None
    await where.tend(ANN, "r-c1", TARGET, cast("Due", mine))
    await eventually(lambda: none_left(rows))
    await where.close()
    assert ([len(due.said) for due in (mine, broken)], await rows.calls()) == ([0, 1], [])
