"""Captured content on either medium: sealed by organisation and day, gone after its days, opened as what it is and nothing else."""

import asyncio
import time
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest

from hub.call import Call, Caller, Chunk, Credential, Emit, new_id
from hub.capture import keeper as keeping
from hub.capture.keeper import Keeper
from hub.config.callers import Capture, Org
from hub.llm.capture import Capturing
from hub.llm.delivery import Served
from hub.plan import Plan
from hub.refusal import InvalidRequest, NotFound, StoreDown
from hub.store.envelope import Kek, kek_of
from hub.store.keks import Keks
from tests.support.media import Store

ONE, TWO = kek_of(b"1" * 32), kek_of(b"2" * 32)
SAID = b'{"messages":[{"role":"user","content":"canary-9c1e"}]}'


def keeper(store: Store, *keks: Kek, **orgs: Capture) -> Keeper:
    known = keks or (ONE,)
    made = Keeper(store.contents, Keks(known[0], {kek.id: kek for kek in known}))
    made.configure({"rival": Org()} | {name: Org(capture=spec) for name, spec in (orgs or {"acme": Capture()}).items()})
    return made


def call() -> Call:
    return Call(new_id(), "llm.chat", "/v1/chat/completions", "fast", SAID, Credential(), time.monotonic() + 60)


def caller(org: str = "acme") -> Caller:
    return Caller(org, "user:ann", "k1")


class Clock(datetime):
    """A clock that can be set forward."""

    ahead = timedelta()

    @classmethod
    def now(cls, tz: object = None) -> "Clock":  # type: ignore[override]
        return datetime.now(UTC) + cls.ahead  # type: ignore[return-value]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    monkeypatch.setattr(keeping, "datetime", Clock)
    monkeypatch.setattr(Clock, "ahead", timedelta())
    return Clock


async def test_what_was_said_is_kept_sealed_and_shown_to_its_organisation_alone(store: Store) -> None:
    kept, asked = keeper(store), call()
    await kept.keep(asked, caller(), "question", SAID)
    assert await kept.answered(asked, caller(), "größer".encode())
    row, parts = await kept.shown("acme", asked.id)
    assert [(part.part, part.content, part.cut) for part in parts] == [("question", SAID.decode(), False), ("answer", "größer", False)]
    assert (row.org, row.kind, row.door, row.sub) == ("acme", "llm.chat", "fast", "user:ann")
    assert not await store.holds(b"canary-9c1e")
    for org in ("rival", "default"):
        with pytest.raises(NotFound):
            await kept.shown(org, asked.id)
        with pytest.raises(NotFound):
            await kept.erase(org, asked.id)
        assert await kept.listed(org, None, 10) == []
    assert [one.part for one in await kept.listed(None, None, 10)] == ["answer", "question"]
    assert [one.part for one in await kept.listed("acme", (await kept.listed("acme", None, 1))[0].at, 10)] == ["question"]
    assert (await kept.erase("acme", asked.id)).id == asked.id
    assert await kept.listed(None, None, 10) == []


async def test_who_did_not_opt_in_has_nothing_kept(store: Store) -> None:
    kept = keeper(store)
    assert not kept.wants("rival")
    await kept.keep(call(), caller("rival"), "question", SAID)
    assert await store.count("content") == await store.count("content_day") == 0


async def test_long_content_is_cut_where_the_organisation_says(store: Store) -> None:
    kept, asked = keeper(store, acme=Capture(max_bytes=1024)), call()
    await kept.keep(asked, caller(), "question", b"x" * 500_000)
    (part,) = (await kept.shown("acme", asked.id))[1]
    assert (part.cut, part.size, part.content) == (True, 500_000, "x" * 1024)


async def test_large_content_is_sealed_whole(store: Store) -> None:
    kept, asked = keeper(store), call()
    await kept.keep(asked, caller(), "question", b"y" * 700_000)
    assert (await kept.shown("acme", asked.id))[1][0].content == "y" * 700_000


async def test_a_day_goes_when_its_days_are_over_with_its_key(store: Store, clock: type[Clock]) -> None:
    kept = keeper(store, acme=Capture(days=2), other=Capture(days=30))
    first, second = call(), call()
    await kept.keep(first, caller(), "question", SAID)
    await kept.keep(first, caller("other"), "question", SAID)
    clock.ahead = timedelta(days=1)
    await kept.keep(second, caller(), "question", SAID)
    assert await kept.sweep() == 0
    clock.ahead = timedelta(days=2)
    assert await kept.sweep() == 1
    assert [one.id for one in await kept.listed("acme", None, 10)] == [second.id]
    kept.configure({"acme": Org(capture=Capture(days=90))})
    clock.ahead = timedelta(days=29)
    assert await kept.sweep() == 0, "the days are counted as they are configured now"
    clock.ahead = timedelta(days=30)
    assert await kept.sweep() == 1, "who keeps nothing any more keeps what it has as long as it was promised"
    assert await kept.listed("other", None, 10) == []
    assert await store.count("content_day") == 1


async def test_processes_that_begin_a_day_at_once_agree_on_its_key(store: Store) -> None:
    many = [keeper(store) for _ in range(8)]
    calls = [call() for _ in many]
    await asyncio.gather(*(kept.keep(asked, caller(), "question", SAID) for kept, asked in zip(many, calls, strict=True)))
    assert await store.count("content_day") == 1
    for asked in calls:
        assert (await many[0].shown("acme", asked.id))[1][0].content == SAID.decode()


async def test_the_days_keys_are_wrapped_anew_all_or_none(store: Store) -> None:
    asked = call()
    await keeper(store).keep(asked, caller(), "question", SAID)
    with pytest.raises(InvalidRequest, match="nothing was changed"):
        await keeper(store, TWO).rotate()
    assert await keeper(store, TWO, ONE).rotate() == 1
    assert await keeper(store, TWO, ONE).rotate() == 0
    assert (await keeper(store, TWO).shown("acme", asked.id))[1][0].content == SAID.decode()
    with pytest.raises(StoreDown, match="cannot be opened"):
        await keeper(store, ONE).shown("acme", asked.id)
    with pytest.raises(StoreDown, match="cannot be opened"):
        await keeper(store, ONE).keep(call(), caller(), "question", SAID)


@pytest.mark.parametrize("change", ["part = 'answer'", "id = 'x'", "org = 'rival'", "sealed = {}"])
async def test_a_row_that_was_changed_or_passes_for_another_is_not_opened(store: Store, change: str) -> None:
    kept, asked = keeper(store, acme=Capture(), rival=Capture()), call()
    await kept.keep(asked, caller(), "question", SAID)
    await kept.keep(call(), caller("rival"), "question", SAID)
    told = change.format(store.literal(b"\0" * 64))
    await store.change(f"UPDATE content SET {told} WHERE org = 'acme'")
    with pytest.raises(StoreDown, match="cannot be opened"):
        await kept.shown(None, "x" if change.startswith("id") else asked.id)


async def test_while_the_store_is_away_a_question_is_refused_and_an_answer_is_counted_as_lost(store: Store) -> None:
    kept, asked = keeper(store), call()
    await kept.keep(asked, caller(), "question", SAID)
    await store.close()
    try:
        with pytest.raises(StoreDown):
            await kept.keep(call(), caller(), "question", SAID)
        assert not await kept.answered(asked, caller(), b"x")
        kept.later(asked, caller(), "answer", b"x", 1)
        await kept.close()
        assert kept.lost == 2
    finally:
        await store.open()


class _Spoken:
    """A model whose answer is a stream of many pieces."""

    def __init__(self, pieces: int) -> None:
        self.pieces = pieces

    async def dispatch(self, call: Call, emit: Emit) -> Served:
        for _ in range(self.pieces):
            await emit(Chunk("", b"x" * 65536))
        return Served(result=b"end")

    def resolve(self, call: Call, caller: Caller) -> Plan:
        return Plan(call, dispatch=self.dispatch)


async def test_of_a_long_stream_no_more_is_held_than_is_kept(store: Store) -> None:
    kept, asked = keeper(store, acme=Capture(max_bytes=100_000)), call()
    plan = Capturing(_Spoken(1024), kept).resolve(asked, caller())
    assert plan.dispatch is not None

    async def emit(chunk: Chunk) -> None:
        return None

    tracemalloc.start()
    try:
        reply = await plan.dispatch(asked, emit)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000, "not the 64 MiB that went past"
    finally:
        tracemalloc.stop()
    assert reply.facts == {"content": "kept"}
    _, parts = await kept.shown("acme", asked.id)
    [answer] = [part for part in parts if part.part == "answer"]
    assert (answer.size, answer.cut, answer.content) == (1024 * 65536 + 3, True, "x" * 100_000)
