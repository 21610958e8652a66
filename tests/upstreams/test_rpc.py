"""Cutting envelopes open and closing them: whatever is not ours keeps its bytes."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.call import Trace
from virtual_servers import rpc

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
spaces = st.sampled_from(["", " ", "\n", "\t \r\n"])


@st.composite
def written(draw, value):
    """A way to write the value as JSON: with blanks and escapes where they are allowed."""
    blank = draw(spaces)
    if isinstance(value, dict):
        parts = [f"{json.dumps(key, ensure_ascii=draw(st.booleans()))}{blank}:{draw(written(one))}" for key, one in value.items()]
        return f"{blank}{{{blank}{','.join(parts)}{blank}}}{draw(spaces)}"
    if isinstance(value, list):
        return f"{blank}[{','.join([draw(written(one)) for one in value])}{blank}]{blank}"
    return f"{blank}{json.dumps(value, ensure_ascii=draw(st.booleans()))}{draw(spaces)}"


json_bytes = values.flatmap(written).map(str.encode)
objects = st.dictionaries(text, values, max_size=5).flatmap(written).map(str.encode)


@given(json_bytes, st.integers(0, 10**15), st.permutations([0, 1, 2]), spaces)
@settings(max_examples=50)
def test_a_result_is_cut_out_with_exactly_its_bytes(raw, ident, order, blank):
    parts = [b'"jsonrpc":"2.0"', b'"id":%d' % ident, b'"result":' + raw]
    message = rpc.parse(blank.encode() + b"{" + b",".join(parts[at] for at in order) + b"}" + blank.encode())
    assert message == rpc.Message(ident, result=raw.strip(b" \n\r\t"))


@given(st.text(max_size=20).map(str), objects, st.integers(0, 10**9))
@settings(max_examples=40)
def test_a_request_carries_its_parameters_byte_by_byte(method, params, ident):
    method = method.encode("utf-8", "replace").decode() or "m"
    built = rpc.request(ident, method, params)
    assert params in built
    again = rpc.parse(built)
    assert (again.id, again.method, again.params, again.asks) == (ident, method, params.strip(b" \n\r\t"), True)
    assert rpc.parse(rpc.notification(method, params)).params == again.params


@given(objects.filter(lambda raw: "_meta" not in json.loads(raw)), st.booleans())
@settings(max_examples=50)
def test_setting_meta_splices_and_changes_no_other_value(raw, escaped):
    out, token = rpc.meta(raw, rpc.modern_members(), token=b"7")
    assert token == b""
    before, after = rpc.members(raw), rpc.members(out)
    assert rpc.value(after.pop("_meta"))["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert {key: bytes(one) for key, one in after.items()} == {key: bytes(one) for key, one in before.items()}
    assert list(after) == list(before)


@given(objects, st.dictionaries(text, values, max_size=4), json_bytes, st.booleans())
@settings(max_examples=50)
def test_changing_an_existing_meta_keeps_every_other_byte_of_value(raw, inner, token, upper):
    members = {key: bytes(one) for key, one in rpc.members(raw).items() if key != "_meta"}
    kept = {key: json.dumps(one).encode() for key, one in inner.items() if key not in ("progressToken", *rpc.OWNED, "gone")}
    meta = (
        b"{"
        + b",".join(json.dumps(key).encode() + b":" + one for key, one in [*kept.items(), ("progressToken", token), ("gone", b"1")])
        + b"}"
    )
    name = b'"\\u005fmeta"' if upper else b'"_meta"'
    whole = b"{" + b",".join([*(json.dumps(key).encode() + b": " + one for key, one in members.items()), name + b":" + meta]) + b"}"
    out, theirs = rpc.meta(whole, rpc.modern_members(), drop=("gone",), token=b"42")
    assert theirs == token.strip(b" \n\r\t")
    after = rpc.members(out)
    changed = {key: bytes(one) for key, one in rpc.members(after.pop("_meta")).items()}
    assert {key: bytes(one) for key, one in after.items()} == members
    assert changed.pop("progressToken") == b"42"
    assert {key: one for key, one in changed.items() if key not in rpc.OWNED} == kept
    assert set(rpc.OWNED) <= set(changed)


@given(objects, json_bytes)
@settings(max_examples=40)
def test_a_progress_token_is_mapped_back_and_nothing_else_changes(raw, token):
    ours = {key: bytes(one) for key, one in rpc.members(raw).items()}
    params = msgspec.json.encode({**{key: msgspec.Raw(one) for key, one in ours.items()}, "progressToken": 5})
    assert rpc.progress_of(params) == 5
    after = {key: bytes(one) for key, one in rpc.members(rpc.retoken(params, token.strip())).items()}
    assert after.pop("progressToken") == token.strip()
    ours.pop("progressToken", None)
    assert after == ours


@given(st.binary(max_size=60) | objects | json_bytes)
@settings(max_examples=60)
def test_whatever_arrives_is_a_message_or_garbage(data):
    try:
        message = rpc.parse(data)
    except rpc.Garbage:
        return
    assert message.method or bool(message.result) != bool(message.error)


GARBAGE = [
    b"", b" ", b"null", b"[]", b"1", b"{}", b'{"id":1}', b'{"id":1,"result":1,"error":{"code":1,"message":""}}', b'{"id":1,"result":{}} x',
    b'{"id":1,"result":{"a":"\xff"}}', b'{"id":1,"result":{"a":tru}}', b'{"id":1,"result":{"a":"\n"}}', b'{"method":5}', b"\xef\xbb\xbf{}",
    b'{"id":1,"result":' + b"[" * 100_000, b'{"id":1,"result":{"a":"\\ud800"}}', b'[{"id":1,"result":{}}]',
]  # fmt: skip


@pytest.mark.parametrize("data", GARBAGE)
def test_what_is_no_message_is_garbage(data):
    with pytest.raises(rpc.Garbage):
        rpc.parse(data)


@pytest.mark.parametrize(
    ("raw", "ident"), [(b"7", 7), (b'"7"', "7"), (b"null", None), (b"-7", -7), (b"7.0", None), (b"true", None), (b"9" * 30, None)]
)
def test_an_id_is_the_number_or_the_text_it_was(raw, ident):
    assert rpc.parse(b'{"id":%b,"result":{}}' % raw).id == ident


def test_says_error_reads_the_member_itself():
    assert rpc.says_error(b'{"isError":true}')
    assert rpc.says_error(b'{"\\u0069sError":true}')
    assert not rpc.says_error(b'{"isError":false}')
    assert not rpc.says_error(b'{"content":"isError\\":true"}')
    assert not rpc.says_error(b'{"content":{"isError":true}}')


def test_the_trace_goes_along():
    trace = Trace("0" * 31 + "1", "0" * 15 + "2", sampled=True, state="a=b")
    out, _ = rpc.meta(b"{}", rpc.trace_members(trace))
    assert json.loads(out) == {"_meta": {"traceparent": f"00-{'0' * 31}1-{'0' * 15}2-01", "tracestate": "a=b"}}
    assert rpc.trace_members(None) == {}


@pytest.mark.parametrize("raw", [b"[]", b"5", b'"x"', b'{"_meta":5}', b'{"_meta":', b"null"])
def test_meta_of_what_is_no_object_is_refused(raw):
    with pytest.raises(rpc.Garbage):
        rpc.meta(raw, rpc.modern_members())
