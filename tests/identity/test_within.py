"""What lies within what: a law over grants, patterns and targets."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hub.call import Caller, Grant, Target
from hub.grants import granted, within

LETTERS = st.sampled_from(["a", "b", "ab", "aab", "a/b", "b/a", "ab/ab", "a:b", "a://b", "a:b/a"])
PATTERNS = st.one_of(LETTERS, st.sampled_from(["*", "a*", "ab*", "a/*", "a/b*", "*b", "?", "a?", "[ab]", "a:*", "*/b", "a://*", "[!a]*"]))
SOME = st.lists(PATTERNS, max_size=2).map(tuple)
DOORS = st.one_of(st.just(""), PATTERNS)
GRANTS = st.builds(Grant, virtual_server=DOORS, model=DOORS, tools=SOME, resources=SOME, deployments=SOME, endpoints=SOME)
TARGETS = st.builds(Target, st.sampled_from(["a", "b", "ab"]), st.sampled_from(["tool", "resource", "model"]), LETTERS)


@settings(max_examples=2000, deadline=None)
@given(st.lists(GRANTS, max_size=2), st.lists(GRANTS, max_size=3), TARGETS, LETTERS, st.sampled_from(["a", "ab"]))
def test_what_lies_within_allows_nothing_that_the_whole_does_not(
    inner: list[Grant], outer: list[Grant], target: Target, door: str, endpoint: str
) -> None:
    kind = "model" if target.kind == "model" else "virtual_server"
    said = [granted(Caller("o", "s", "k", tuple(one)), kind, door, target, endpoint if kind == "model" else "") for one in (inner, outer)]
    if within(inner, outer) and said[0].allowed:
        assert said[1].allowed


@settings(max_examples=200, deadline=None)
@given(st.lists(GRANTS, max_size=3))
def test_everything_lies_within_itself_and_within_all(grants: list[Grant]) -> None:
    everything = Grant(virtual_server="*", model="*", agent="*")
    assert within(grants, grants)
    assert within(grants, [everything])
    assert within([], grants)
