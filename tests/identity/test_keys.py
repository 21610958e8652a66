"""The text form of keys."""

import string

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hub.identity.keys import CHECK, DIGITS, LENGTH, mint, parse


def test_a_minted_key_reads_back_with_its_id():
    for _ in range(200):
        key = mint()
        parsed = parse(key.text)
        assert parsed is not None
        assert (parsed.id, parsed.text) == (key.id, key.text)


def test_a_key_has_the_published_shape():
    key = mint()
    prefix, name, secret = key.text.split("_")
    assert (prefix, len(name), len(secret)) == ("hub", 12, 43 + CHECK)
    assert len(key.text) == LENGTH
    assert set(name + secret) <= set(string.ascii_letters + string.digits)


def test_keys_do_not_repeat():
    assert len({mint().text for _ in range(2000)}) == 2000


def test_the_secret_fills_its_width():
    leading = {mint().text[17] for _ in range(500)}
    assert len(leading) > 50  # 62^43 is 1.03 times 2^256: nearly every digit may lead


def test_no_repr_shows_the_secret():
    key = mint()
    parsed = parse(key.text)
    for shown in (repr(key), str(key), repr(parsed), f"{[key, parsed]}"):
        assert key.text[17:] not in shown


@settings(max_examples=300, deadline=None)
@given(position=st.integers(0, LENGTH - 1), digit=st.sampled_from(DIGITS + "_- \n\u00e9\u0661"))
def test_one_changed_character_is_noticed(position: int, digit: str):
    text = mint().text
    assume(text[position] != digit)
    assert parse(text[:position] + digit + text[position + 1 :]) is None


@settings(max_examples=300, deadline=None)
@given(position=st.integers(0, LENGTH - 2))
def test_two_swapped_neighbours_are_noticed(position: int):
    text = mint().text
    swapped = text[:position] + text[position + 1] + text[position] + text[position + 2 :]
    assume(swapped != text)
    assert parse(swapped) is None


@settings(max_examples=300, deadline=None)
@given(cut=st.integers(0, LENGTH - 1), tail=st.text(max_size=3))
def test_a_cut_or_lengthened_key_is_no_key(cut: int, tail: str):
    text = mint().text
    assert parse(text[:cut]) is None
    assume(tail)
    assert parse(text + tail) is None
    assert parse(tail + text) is None


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=100), st.from_regex(r"hub_[0-9A-Za-z]{12}_[0-9A-Za-z]{40}", fullmatch=True)))
def test_other_texts_are_no_keys(text: str):
    assert parse(text) is None
