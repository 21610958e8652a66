"""The one pass over a request that is passed through: what is known of it, and that nothing else of it changes."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.llm import head
from hub.llm.quirks import OPENAI, quirks_of
from hub.refusal import InvalidRequest, ParseFailed

ODD = (
    b' {\n "messages" : [ {"role":"user","content":"\\u00fc \\ud83d\\ude00 {\\"model\\":\\"x\\"}"} ],'
    b'"n":1.0, "model" :\t"fast" , "temperature":1.0,"seed":12345678901234567890,"logit_bias":{"50256":1e-7}, "unknown":[1,[2]]}\r\n'
)


def test_only_the_models_name_changes() -> None:
    read = head.read(ODD)
    assert head.write(read, "gpt-5-mini") == ODD.replace(b'"fast"', b'"gpt-5-mini"')
    assert (read.model, read.n, read.stream, read.max_tokens) == ("fast", 1, False, None)
    assert read.value("seed") == b"12345678901234567890"
    assert read.value("absent") == b""


def test_usage_is_asked_for_without_touching_the_rest() -> None:
    body = b'{"model":"m","stream":true,"stream_options":{"include_obfuscation":false},"x":1.0}'
    assert head.write(head.read(body), "n", ask_usage=True) == (
        b'{"model":"n","stream":true,"stream_options":{"include_obfuscation":false,"include_usage":true},"x":1.0}'
    )
    plain = b'{"model":"m","stream":true}'
    assert head.write(head.read(plain), "n", ask_usage=True) == b'{"stream_options":{"include_usage":true},"model":"n","stream":true}'
    assert b'"stream_options":{"include_usage":true}' in head.write(
        head.read(b'{"model":"m","stream":true,"stream_options":null}'), "n", ask_usage=True
    )
    large = b'{"model":"m","stream":true,"stream_options":{"x":1e400,"y":12345678901234567890123}}'
    assert b'{"x":1e400,"y":12345678901234567890123,"include_usage":true}' in head.write(head.read(large), "n", ask_usage=True)
    for left in (b'{"model":"m"}', b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}'):
        assert head.write(head.read(left), "m", ask_usage=True) == left


def test_a_provider_gets_the_words_it_knows_and_nothing_else_changes() -> None:
    body = (
        b'{"model":"m", "max_completion_tokens" : 7,"messages":[ {"role" : "developer","content":"developer"},'
        b'{"content":"developer","role":"user"} , {"role":"developer","content":"developer"}]}'
    )
    read = head.read(body)
    assert head.write(read, "m", quirks=OPENAI) == body
    assert head.write(read, "m", quirks=quirks_of("vllm")) == (
        b'{"model":"m", "max_tokens" : 7,"messages":[ {"role" : "system","content":"developer"},'
        b'{"content":"developer","role":"user"} , {"role":"system","content":"developer"}]}'
    )


def test_messages_that_are_no_array_are_a_clients_fault() -> None:
    read = head.read(b'{"model":"m","messages":"developer"}')
    with pytest.raises(InvalidRequest):
        head.write(read, "m", quirks=quirks_of("vllm"))


def test_what_the_hub_needs_to_know_is_read() -> None:
    data = "A" * 4000
    body = json.dumps(
        {
            "model": "claude",
            "max_tokens": 100,
            "stream": True,
            "system": "s" * 50,
            "metadata": {"user_id": "u-1"},
            "tools": [{"name": "f"}, {"name": "g"}],
            "messages": [
                {"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}]}
            ],
        }
    ).encode()
    read = head.read(body, "messages")
    assert (read.stream, read.max_tokens, read.tools, read.user) == (True, 100, 2, "u-1")
    assert (read.media, read.media_bytes) == (1, 4000)
    assert 50 < read.prompt_bytes < 400
    assert data[:10] not in repr(read)
    both = head.read(b'{"model":"m","max_tokens":5,"max_completion_tokens":9,"user":"u","n":3,"stream_options":{"include_usage":true}}')
    assert (both.max_tokens, both.user, both.n, both.include_usage) == (9, "u", 3, True)


@pytest.mark.parametrize(
    ("members", "texts"),
    [
        (b'"prompt":"a"', 1),
        (b'"prompt":"a","n":2,"best_of":5', 5),
        (b'"prompt":["a","b"],"n":3', 6),
        (b'"prompt":[ [1,2], [3] ]', 2),
        (b'"prompt":[1,2,3]', 1),
        (b'"prompt":[]', 1),
        (b'"prompt":{"id":"p"},"n":0', 1),
    ],
)
def test_each_prompt_is_answered_as_often_as_is_asked_for(members: bytes, texts: int) -> None:
    assert head.read(b'{"model":"m",%b}' % members).texts == texts


def test_all_that_the_model_reads_counts_as_its_prompt() -> None:
    for name in (b"messages", b"prediction", b"output_config", b"output_format"):
        assert head.read(b'{"model":"m","%b":"%b"}' % (name, b"x" * 100)).prompt_bytes == 102


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", ParseFailed),
        (b"nonsense", ParseFailed),
        (b'{"model":"a"} x', ParseFailed),
        (b'{"model":"a","b":"\xff"}', ParseFailed),
        (b'{"model":"a",}', ParseFailed),
        (b'{"model":"a","x":' + b"[" * 100_000, ParseFailed),
        (b'{"model":"a","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", ParseFailed),
        (b"[1]", InvalidRequest),
        (b"{}", InvalidRequest),
        (b'{"model":5}', InvalidRequest),
        (b'{"model":"a","stream":"yes"}', InvalidRequest),
        (b'{"model":"a","n":1.5}', InvalidRequest),
        (b'{"model":"a","max_tokens":true}', InvalidRequest),
        (b'{"model":"a","max_tokens":-1}', InvalidRequest),
        (b'{"model":"a","max_tokens":1e308}', InvalidRequest),
        (b'{"model":"a","max_output_tokens":12345678901234567890}', InvalidRequest),
        (b'{"model":"a","n":1025}', InvalidRequest),
        (b'{"model":"a","x":1,"model":"b"}', InvalidRequest),
        (b'{"model":"a","model":"a"}', InvalidRequest),
        (b'{"x":12,"model":"a","x":1}', InvalidRequest),
        (b'{"x":1,"model":"a","\\u0078":1}', InvalidRequest),
    ],
)
def test_what_two_readers_might_read_differently_is_refused(body: bytes, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        head.read(body)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from([1.0, 1e-7, '"model":"x"', "\\", "{", "}", ",", '"']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(["a", "ü", 'q"', "b\\", "model ", "", "messages_"])
spaces = st.sampled_from([b"", b" ", b"\n\t", b"\r\n"])


@settings(deadline=None, max_examples=300)
@given(members=st.lists(st.tuples(keys, values, spaces, st.booleans()), max_size=6), at=st.integers(0, 6))
def test_any_object_is_walked_as_it_stands_and_a_repeated_key_is_refused(members: list[tuple[str, Any, bytes, bool]], at: int) -> None:
    pieces = [
        space
        + json.dumps(key, ensure_ascii=escaped).encode()
        + space
        + b":"
        + space
        + json.dumps(value, ensure_ascii=escaped).encode()
        + space
        for key, value, space, escaped in members
    ]
    pieces.insert(min(at, len(pieces)), b'"model":"fast"')
    body = b"{" + b",".join(pieces) + b"}"
    if len({key for key, *_ in members}) != len(members):
        with pytest.raises(InvalidRequest):
            head.read(body)
        return
    read = head.read(body)
    pieces[pieces.index(b'"model":"fast"')] = b'"model":"slow"'
    assert head.write(read, "slow") == b"{" + b",".join(pieces) + b"}"
    assert {name: json.loads(read.value(name)) for name in read.spans} == json.loads(body)
