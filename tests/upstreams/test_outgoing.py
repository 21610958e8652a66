"""What is remembered of a client's `_meta` changes nothing of what is sent."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.call import Trace
from virtual_servers import rpc
from virtual_servers.outgoing import _LONGEST, _REMEMBERED, Outgoing

KEYS = st.sampled_from(["baggage", "traceparent", "tracestate", "progressToken", "own", f"{rpc.RESERVED}logLevel", 'a"b', "é", *rpc.OWNED])
VALUES = st.one_of(st.text(max_size=8), st.integers(), st.none(), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2))
TRACE = Trace("a" * 32, "b" * 16)


@pytest.mark.parametrize("modern", [True, False])
@given(
    meta=st.none() | st.dictionaries(KEYS, VALUES, max_size=5),
    state=st.sampled_from(["", "v=1"]),
    traced=st.booleans(),
    tight=st.booleans(),
)
def test_it_sends_what_replacing_members_sends(modern, meta, state, traced, tight):
    outgoing = Outgoing(modern=modern)
    trace = Trace("a" * 32, "b" * 16, state=state) if traced else None
    whole = {"name": "echo", "arguments": {"_meta": {"x": 1}}, **({} if meta is None else {"_meta": meta})}
    raw = json.dumps(whole, separators=(",", ":") if tight else None).encode()
    expected = rpc.meta(raw, {**outgoing._own, **rpc.trace_members(trace)}, drop=outgoing._drop, token=b"7")
    for _ in range(2):  # the second time from memory
        params, token = outgoing.params(raw, trace, b"7")
        assert json.loads(token or b"null") == json.loads(expected[1] or b"null")
        got, want = json.loads(params), json.loads(expected[0])
        if trace is not None and not state:
            for said in (got, want):  # a state without the parent it belonged to says nothing
                said.get("_meta", {}).pop("tracestate", None)
        assert got == want


def test_each_call_has_its_own_trace():
    outgoing = Outgoing(modern=True)
    raw = b'{"name":"echo","_meta":{"own":1}}'
    first, _ = outgoing.params(raw, TRACE, b"1")
    second, _ = outgoing.params(raw, Trace("c" * 32, "d" * 16), b"2")
    assert json.loads(first)["_meta"]["traceparent"] == f"00-{'a' * 32}-{'b' * 16}-00"
    assert json.loads(second)["_meta"]["traceparent"] == f"00-{'c' * 32}-{'d' * 16}-00"


@pytest.mark.parametrize("raw", [b'{"_meta":1}', b'{"_meta":[]}', b'{"_meta":null}', b'[{"_meta":{}}]'])
def test_what_is_no_object_is_refused(raw):
    with pytest.raises(rpc.Garbage):
        Outgoing(modern=True).params(raw, TRACE, b"1")


def test_what_is_remembered_is_bounded():
    outgoing = Outgoing(modern=True)
    for n in range(2 * _REMEMBERED):
        outgoing.params(b'{"_meta":{"n":%d}}' % n, TRACE, b"1")
        assert len(outgoing._heads) <= _REMEMBERED
    outgoing._heads.clear()
    outgoing.params(b'{"_meta":{"n":"%b"}}' % (b"x" * _LONGEST), TRACE, b"1")
    outgoing.params(b'{"_meta":{"progressToken":5}}', TRACE, b"1")
    assert not outgoing._heads
