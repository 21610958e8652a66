"""Whose stored responses are: rows on either medium, ids in requests however they are spelled, ids in streams however they are cut."""

import contextlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.call import Caller, Target
from hub.llm import stored as room
from hub.llm.announced import Announced, Announcement, announced, last_of
from hub.llm.carry import Passed
from hub.llm.head import read
from hub.llm.references import MOST, Reference, references
from hub.llm.stored import Stored
from hub.llm.stored_rows import Row
from hub.refusal import InvalidRequest, ParseFailed
from tests.support.hub import eventually
from tests.support.media import PostgresStore, Store
from tests.support.provider import Asked
from tests.support.responses import Shelf

ONE, TWO = Target("one", "model", "m"), Target("two", "model", "m")


def caller(subject: str = "user:ann", org: str = "acme") -> Caller:
    return Caller(org, subject, "k")


async def test_a_response_is_its_makers_alone_until_it_is_forgotten(store: Store) -> None:
    kept = Stored(store.stored)
    await kept.keep(caller(), ONE, "fast", Announced("resp_1", items=("msg_1", "msg_1", "rs_1")), whole=False)
    await kept.keep(caller(), ONE, "fast", Announced("resp_1", items=("msg_2",)), whole=True)
    await eventually(lambda: _found(kept, "resp_1"))
    found = await kept.find(caller(), "resp_1")
    assert found is not None
    assert (found.target, found.door, found.response) == (ONE, "fast", "resp_1")
    assert await kept.find(caller(), "msg_1") is None, "an item is no response"
    for other in (caller("user:bob"), caller(org="other"), caller("key:k")):
        assert await kept.find(other, "resp_1") is None
        pin = await kept.pin(other, [Reference("resp_1", "previous_response_id")])
        never = await kept.pin(other, [Reference("resp_0", "previous_response_id")])
        assert (pin.target, pin.why.replace("resp_1", "resp_0")) == (None, never.why)
    assert (await kept.pin(caller(), [Reference("msg_1", "input[0].id"), Reference("rs_1", "input[1].id")])).target == ONE
    assert (await kept.pin(caller(), [Reference("msg_1", "previous_response_id")])).target is None
    await kept.keep(caller(), TWO, "fast", Announced("resp_2"), whole=False)
    both = await kept.pin(caller(), [Reference("resp_1", "previous_response_id"), Reference("resp_2", "input[0].id")])
    assert both.target is None
    assert "different providers" in both.why
    for odd in ("", "\0", "resp_1\0", "r" * 100_000, "' OR 1=1 --", "%", "größer\U0001f600"):
        assert (await kept.pin(caller(), [Reference("resp_1", "input[0].id"), Reference(odd, "input[1].id")])).target is None
    await kept.forget(found)
    assert await kept.find(caller(), "resp_1") is None
    assert (await kept.pin(caller(), [Reference("msg_2", "input[0].id")])).target is None
    assert (await kept.find(caller(), "resp_2")) is not None


async def _found(kept: Stored, response: str) -> bool:
    return (await kept.pin(caller(), [Reference("msg_2", "input[0].id")])).target is not None


async def test_what_is_older_than_a_month_is_forgotten_by_itself(store: Store) -> None:
    now = time.time_ns() // 1000
    for name, age in (("old", room.KEPT + 60), ("new", room.KEPT - 60)):
        await store.stored.put([Row("acme", "user:ann", name, name, "one", "m", "fast", now - age * 1_000_000)])
    kept = Stored(store.stored)
    kept.start()
    try:

        async def gone() -> bool:
            return await kept.find(caller(), "old") is None

        await eventually(gone)
        assert await kept.find(caller(), "new") is not None
    finally:
        await kept.close()


async def test_the_database_itself_shows_no_row_of_another_organisation(store: Store) -> None:
    await store.stored.put([Row("acme", "user:ann", "resp_1", "resp_1", "one", "m", "fast", 1)])
    if isinstance(store, PostgresStore):
        query = "SELECT count(*) FROM stored_response"
        assert await store.postgres.read(lambda connection: connection.fetchval(query), org="other") == 0
        assert await store.postgres.read(lambda connection: connection.fetchval(query), org="acme") == 1
    assert await store.count("stored_response") == 1


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"input": "x"}, []),
        ({"previous_response_id": None, "conversation": None, "input": "x"}, []),
        ({"previous_response_id": "r", "input": "x"}, [("r", "previous_response_id")]),
        ({"conversation": "c"}, [("c", "conversation")]),
        ({"conversation": {"id": "c"}}, [("c", "conversation")]),
        ({"input": [{"role": "user", "content": "x", "id": "msg_1"}, {"type": "reasoning", "id": "rs_1", "summary": []}]}, []),
        ({"input": [{"role": "user", "content": "x"}, {"type": "item_reference", "id": "m"}]}, [("m", "input[1].id")]),
        ({"input": [{"id": "m"}, {"type": None, "id": "n"}]}, [("m", "input[0].id"), ("n", "input[1].id")]),
    ],
)
def test_references_are_found_however_they_are_spelled(body: dict[str, Any], named: list[tuple[str, str]]) -> None:
    raw = json.dumps({"model": "fast", **body})
    wanted = [Reference(*one) for one in named]
    assert list(references(read(raw.encode(), "responses"))) == wanted
    spelled = raw.replace("item_reference", "\\u0069tem_reference").replace('"id"', '"\\u0069d"').replace("previous_", "previou\\u0073_")
    assert list(references(read(spelled.encode(), "responses"))) == wanted


@pytest.mark.parametrize(
    "body",
    [{"previous_response_id": 1}, {"conversation": {}, "input": [{"id": 1}]}, {"input": [{"id": 1}]}, {"input": ["id", {"id": "m"}]}],
)
def test_what_cannot_be_an_id_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        references(read(json.dumps({"model": "fast", **body}).replace('["id"', '["\\u0069d"').encode(), "responses"))


def test_items_nested_however_deep_and_names_without_end_are_refused() -> None:
    def nested(depth: int) -> bytes:
        return b'{"model":"m","input":[{"id":"x","type":' + b"[" * depth + b"]" * depth + b"}]}"

    with ThreadPoolExecutor(1) as pool:  # whose stack is shallow: it reads what would be too deep further up
        for depth in range(900, 1100):
            with contextlib.suppress(ParseFailed, InvalidRequest):
                references(pool.submit(read, nested(depth), "responses").result())
    items = [{"id": f"m{at}"} for at in range(MOST + 1)]
    with pytest.raises(InvalidRequest, match="more than"):
        references(read(json.dumps({"model": "m", "input": items}).encode(), "responses"))
    assert len(references(read(json.dumps({"model": "m", "input": items[1:]}).encode(), "responses"))) == MOST


@pytest.mark.parametrize("member", [b'"previous_response_id":1e400', b'"conversation":1e400', b'"conversation":{"id":1e400}'])
def test_a_number_that_no_program_can_hold_is_no_id_either(member: bytes) -> None:
    with pytest.raises(InvalidRequest):
        references(read(b'{"model":"fast",%b}' % member, "responses"))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 400), max_size=40), st.booleans())
def test_no_byte_of_an_id_goes_on_before_it_is_heard(cuts: list[int], comment: bool) -> None:
    parts = Shelf().answer(Asked("/v1/responses", {}, json.dumps({"model": "m", "input": "x", "stream": True}).encode())).parts
    raw = (b": hello\n\n" if comment else b"") + b"".join(part for part in parts if isinstance(part, bytes))
    announcement, passed, at = Announcement(), b"", 0
    for cut in [*cuts, len(raw)]:
        passed += announcement.feed(raw[at : at + cut])
        at += cut
        if announcement.said is None:
            assert b"resp_" not in passed
        else:
            break
    assert announcement.said is not None
    assert passed + announcement.rest() + raw[at:] == raw
    last = last_of(parts[-1])  # type: ignore[arg-type]
    assert last is not None
    assert (announcement.said.id, announcement.said.store, announcement.said.status) == (last.id, True, "in_progress")
    assert last.items == (f"msg_{last.id}",)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 400), max_size=40))
def test_the_items_of_a_stream_are_heard_in_whatever_pieces_its_end_comes(cuts: list[int]) -> None:
    parts = Shelf().answer(Asked("/v1/responses", {}, json.dumps({"model": "m", "input": "x", "stream": True}).encode())).parts
    raw = b"".join(part for part in parts if isinstance(part, bytes))
    stream, at = Passed("responses", strip=False), 0
    for cut in [*cuts, len(raw)]:
        stream.feed(raw[at : at + cut])
        at += cut
    last = last_of(stream.last)
    assert last is not None
    assert (last.status, last.items) == ("completed", (f"msg_{last.id}",))


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"id": 1}', b'{"id": ""}', b'{"object": "response"}'])
def test_an_answer_without_an_id_is_none(body: bytes) -> None:
    assert announced(body) is None
