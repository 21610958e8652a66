"""What a scrubber lets through: never a secret, however its bytes are cut into chunks; everything else, and at once."""

import re

from hypothesis import given
from hypothesis import strategies as st

from hub.routing.scrub import REDACTED, SHORTEST, Scrubber

KEY = b"sk-canary-2f6d0c1b9a"
letters = st.text("ab", min_size=SHORTEST, max_size=14).map(str.encode)
"""Few letters, so that secrets begin like each other and like themselves further on."""


def through(scrubber: Scrubber, chunks: list[bytes]) -> bytes:
    stream = scrubber.stream()
    return b"".join(map(stream.feed, chunks)) + stream.finish()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    at = sorted({place % (len(data) + 1) for place in places})
    return [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True)]


@given(st.lists(letters, min_size=1, max_size=3), st.text("ab\n", max_size=80).map(str.encode), st.lists(st.integers(0), max_size=30))
def test_however_it_is_cut_a_stream_is_what_the_whole_would_be_and_holds_no_secret(
    secrets: list[bytes], data: bytes, places: list[int]
) -> None:
    scrubber = Scrubber(secrets)
    whole = scrubber.whole(data)
    assert through(scrubber, cut(data, places)) == whole
    assert not any(secret in whole for secret in secrets)
    alternatives = b"|".join(map(re.escape, sorted(secrets, key=len, reverse=True)))
    assert whole == re.sub(alternatives, REDACTED, data)


@given(st.lists(st.integers(0), max_size=40), st.binary(max_size=20), st.binary(max_size=20))
def test_a_key_split_anywhere_is_taken_out(places: list[int], before: bytes, after: bytes) -> None:
    data = before + KEY + after
    out = through(Scrubber([KEY]), cut(data, places))
    assert KEY not in out
    assert out == data.replace(KEY, REDACTED)


def test_only_what_may_begin_a_secret_waits() -> None:
    stream = Scrubber([KEY]).stream()
    assert stream.feed(b"data: {}\n\n") == b"data: {}\n\n"
    assert stream.feed(b"ask") == b"a"
    assert stream.feed(b"-can") == b""
    assert stream.feed(b"ary!") == b"sk-canary!"
    assert stream.feed(KEY[:-1]) == b""
    assert stream.feed(KEY[-1:]) == REDACTED
    assert stream.feed(b"s") == b""
    assert stream.finish() == b"s"
    assert stream.finish() == b""
    chunk = b"nothing"
    assert stream.feed(chunk) is chunk, "what is clean is not copied"


def test_a_secret_is_found_as_json_has_it_and_short_words_are_left_alone() -> None:
    scrubber = Scrubber([b'pass"word/\\x'])
    assert scrubber.whole(b'{"echo": "pass\\"word/\\\\x"} pass\\"word\\/\\\\x pass"word/\\x') == b'{"echo": "***"} *** ***'
    assert Scrubber([b"ollama"]).whole(b"ollama is a tool") == b"ollama is a tool"
    assert Scrubber([]).stream().feed(b"x") == b"x"
    clean = {"a": "b", "c": ""}
    assert scrubber.fields(clean) is clean
    assert scrubber.fields({"a": 'é pass"word/\\x', "b": "c"}) == {"a": "é ***", "b": "c"}
    assert "pass" not in repr(scrubber)
