"""Cursors: they walk a list exactly once, and only those of this hub, list and revision are taken."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.refusal import InvalidParams
from virtual_servers.pages import Pages

KEY = b"k" * 32


@given(total=st.integers(0, 60), size=st.integers(1, 20))
@settings(max_examples=80, deadline=None)
def test_following_the_cursors_shows_every_item_once(total: int, size: int) -> None:
    pages = Pages(KEY, size)
    seen: list[int] = []
    cursor: str | None = None
    while True:
        start, stop, cursor = pages.window("list:1", total, cursor)
        seen += range(start, stop)
        if cursor is None:
            break
    assert seen == list(range(total))


def given_cursor(stamp: str = "tools:1") -> str:
    cursor = Pages(KEY, 2).window(stamp, 5)[2]
    assert cursor is not None
    return cursor


def test_a_short_list_has_no_cursor() -> None:
    assert Pages(KEY).window("tools:1", 1000) == (0, 1000, None)


@pytest.mark.parametrize("stamp", ["tools:2", "prompts:1"])
def test_a_cursor_of_another_revision_or_list_is_refused(stamp: str) -> None:
    with pytest.raises(InvalidParams, match="start again"):
        Pages(KEY, 2).window(stamp, 5, given_cursor())


@given(at=st.integers(0, 37), character=st.sampled_from("ABCabc019-_=+/ é"))
@settings(max_examples=150, deadline=None)
def test_a_tampered_cursor_is_refused(at: int, character: str) -> None:
    cursor = given_cursor()
    tampered = cursor[:at] + character + cursor[at + 1 :]
    if tampered != cursor:
        with pytest.raises(InvalidParams):
            Pages(KEY, 2).window("tools:1", 5, tampered)


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidParams):
        Pages(KEY, 2).window("tools:1", 5, text)


def test_a_cursor_made_with_another_key_is_refused() -> None:
    with pytest.raises(InvalidParams, match="not one this hub"):
        Pages(b"x" * 32, 2).window("tools:1", 5, given_cursor())


def test_a_cursor_beyond_a_list_that_shrank_shows_nothing() -> None:
    assert Pages(KEY, 2).window("tools:1", 1, given_cursor()) == (1, 1, None)


def test_a_weak_key_is_a_fault_of_the_caller() -> None:
    with pytest.raises(ValueError):
        Pages(b"short")
