"""Which uris a template covers, what it must not reach, and that matching never takes long."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virtual_servers.templates import MAX_PARTS, MAX_URI, Matcher, Shield, Unreadable, canonical


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("test://template/{id}/data", "test://template/123/data"),
        ("test://{a}.{b}", "test://x.y.z"),
        ("test://{a},{b}", "test://x,y"),
        ("test://{a,b}", "test://x,y"),
        ("users://{email}", "users://bob@example.com"),
        ("file:///{+path}", "file:///a/b/c.txt"),
        ("file:///{path*}", "file:///a/b/c.txt"),
        ("x://a{/b,c}", "x://a/1/2"),
        ("x://a{/b}", "x://a"),
        ("x://a{.ext}", "x://a.json"),
        ("x://a{#part}", "x://a#top/1"),
        ("x://a{?q,page}", "x://a?page=2&q=a%20b"),
        ("x://a{?q}", "x://a"),
        ("x://a?fixed=1{&q}", "x://a?fixed=1&q=2"),
        ("x://a{;q}", "x://a;q=1"),
        ("x://{city:3}", "x://rom"),
        ("x://{name}", "x://Köln"),
        ("x://fixed", "x://fixed"),
    ],
)
def test_a_template_covers_its_uris(template: str, uri: str) -> None:
    assert Matcher(template).matches(uri)


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("test://template/{id}/data", "test://template//data"),
        ("test://template/{id}/data", "test://template/1/2/data"),
        ("test://template/{id}/data", "test://template/1/data/"),
        ("test://template/{id}", "xtest://template/1"),
        ("x://{id}", "x://a?b"),
        ("x://{id}", "x://a b"),
        ("x://{id}", "x://a\n"),
        ("x://a{?q}", "x://a?evil=1"),
        ("x://a{?q}", "x://a?q=1&evil=1"),
        ("file:///{+path}", "file:///a/../b"),
        ("file:///{+path}", "file:///a/%2e%2E/b"),
        ("file:///{+path}", "file:///a/%252e%252e/b"),
        ("file:///{+path}", "file:///.."),
        ("file:///{+path}", "file:///a\\..\\b"),
        ("file:///{+path}", "file:///" + "a" * MAX_URI),
    ],
)
def test_a_template_covers_nothing_else(template: str, uri: str) -> None:
    assert not Matcher(template).matches(uri)


@pytest.mark.parametrize(
    "template", ["x://{", "x://}", "x://{}", "x://{a b}", "x://{=a}", "x://{a,}", "x://{{a}}", "{a}" * (MAX_PARTS + 1), "a" * 5000]
)
def test_malformed_and_oversized_templates_are_refused(template: str) -> None:
    with pytest.raises(Unreadable):
        Matcher(template)


@pytest.mark.parametrize("unit", ["{a}{b}x", "{+a}x", "{a}.", "{?a,b}{&a}", "{/a}", "{a*}"])
def test_no_template_makes_matching_slow(unit: str) -> None:
    matcher = Matcher("a" + unit * (MAX_PARTS // 3))
    started = time.process_time()
    for text in ("ax" + "x" * 2000, "a" + "a." * 1000, "a" + "?a=1&b" * 300, "a" + "/x" * 1000, "a" + "%41" * 600):
        matcher.matches(text)
    assert time.process_time() - started < 1.0


@given(st.lists(st.sampled_from(["{a}", "{+b}", "{/c}", "{.d}", "x", "/", ".", "a?"]), max_size=6), st.text("ax/.?b%2e", max_size=16))
@settings(max_examples=150, deadline=None)
def test_position_sets_agree_with_a_backtracking_regex(parts: list[str], uri: str) -> None:
    regex = {"{a}": "[^/?#,]+", "{+b}": ".+", "{/c}": "(?:/[^?#]+)?", "{.d}": r"(?:\.[^?#]+)?"}
    expected = re.fullmatch("".join(regex.get(part, re.escape(part)) for part in parts), uri) is not None
    assert Matcher("".join(parts)).matches(uri) == (expected and canonical(uri) is not None)


@given(st.text(max_size=40))
@settings(max_examples=100, deadline=None)
def test_the_canonical_spelling_is_stable(uri: str) -> None:
    once = canonical(uri)
    assert once is None or canonical(once) in (once, None)


@pytest.mark.parametrize(
    "uri",
    [
        "file:///secret",
        "file:///%73ecret",
        "file:///%2573ecret",
        "FILE:///secret",
        "file:////secret",
        "file:///private/x",
        "file:///privat%65/x",
    ],
)
def test_the_shield_sees_through_spellings(uri: str) -> None:
    assert Shield("u", ["file:///secret"], ["file:///private/*"]).hides(uri)


def test_the_shield_judges_patterns_with_and_without_the_upstream() -> None:
    shield = Shield("u", [], ["u/x://a*", "v/x://b*"])
    assert shield.hides("x://a1")
    assert not shield.hides("x://b1")
