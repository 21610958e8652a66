"""Whatever JSON a client or a provider sends: a refusal with a reason, never a fault of ours."""

import json
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.llm import head
from hub.llm.body import dump, load
from hub.llm.seals import MARK, purged
from hub.refusal import InvalidRequest, ParseFailed, UpstreamFault
from tests.llm.answers import WHOLE
from tests.llm.cases import REQUESTS
from tests.llm.matrix import DIALECTS, ROOM

ODD: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    1.5,
    10**30,
    "",
    "x",
    "text",
    "function",
    "message",
    "assistant",
    [],
    [None],
    {},
    {"type": "text"},
    MARK,
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


def spoiled(source: dict[str, Any]) -> st.SearchStrategy[Any]:
    """The same with one or two of its values replaced by something odd."""
    one = st.tuples(st.sampled_from(places(source)[1:]), st.sampled_from(ODD))
    return st.lists(one, min_size=1, max_size=2).map(lambda changes: _spoil(source, changes))


def _spoil(source: Any, changes: list[tuple[tuple[Any, ...], Any]]) -> Any:
    for path, new in changes:
        try:
            source = changed(source, path, new)
        except (KeyError, IndexError, TypeError, ValueError):
            continue
    return source


@pytest.mark.parametrize("front", DIALECTS)
@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_request_is_read_or_refused_with_a_reason(front: str, data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(sorted(REQUESTS[front])))
    body = data.draw(spoiled(REQUESTS[front][case]))
    try:
        request = cast("Any", ROOM[front]).read_request(body)
    except InvalidRequest:
        return
    for back in DIALECTS:
        try:
            written = cast("Any", ROOM[back]).write_request(request, "claude-sonnet-4-5")
        except InvalidRequest:
            continue
        json.loads(dump(written.body))


@pytest.mark.parametrize("front", DIALECTS)
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_request_is_passed_through_or_refused_with_a_reason(front: Any, data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(sorted(REQUESTS[front])))
    raw = dump({"value": data.draw(spoiled(REQUESTS[front][case]))})[len(b'{"value":') : -1]
    try:
        known = head.read(raw, front)
        assert load(head.write(known, known.model, ask_usage=True))
        purged(load(raw))
    except (InvalidRequest, ParseFailed):
        return


@pytest.mark.parametrize("back", DIALECTS)
@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_reply_is_read_or_is_the_providers_fault(back: str, data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(sorted(WHOLE[back])))
    body = data.draw(spoiled(WHOLE[back][case]))
    try:
        cast("Any", ROOM[back]).read_reply(body)
    except UpstreamFault:
        return
