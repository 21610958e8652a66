"""What lies within what: a law over grants, patterns and targets."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hub.call import Caller, Grant, Target
from hub.grants import granted, within

NAMES = ["a", "b", "ab", "aab", "a/b", "b/a", "ab/ab", "a:b", "a://b", "a:b/a"]
LETTERS = st.sampled_from(NAMES)
PATTERNS = st.one_of(LETTERS, st.sampled_from(["*", "a*", "ab*", "a/*", "a/b*", "*b", "?", "a?", "[ab]", "a:*", "*/b", "a://*", "[!a]*"]))
SOME = st.lists(PATTERNS, max_size=2).map(tuple)
DOORS = st.one_of(st.just(""), PATTERNS)
GRANTS = st.builds(Grant, virtual_server=DOORS, model=DOORS, tools=SOME, resources=SOME, deployments=SOME, endpoints=SOME)
TARGETS = [Target(server, kind, name) for server in ("a", "b", "ab") for kind in ("tool", "resource", "model") for name in NAMES]


@settings(max_examples=400, deadline=None)
@given(st.lists(GRANTS, max_size=2), st.lists(GRANTS, max_size=3), LETTERS, st.sampled_from(["a", "ab"]))
def test_what_lies_within_allows_nothing_that_the_whole_does_not(inner: list[Grant], outer: list[Grant], door: str, endpoint: str) -> None:
    if not within(inner, outer):
        return
    callers = [Caller("o", "s", "k", tuple(one)) for one in (inner, outer)]
    for target in TARGETS:
        kind = "model" if target.kind == "model" else "virtual_server"
        said = [granted(caller, kind, door, target, endpoint if kind == "model" else "") for caller in callers]
        assert said[1].allowed or not said[0].allowed, target


@settings(max_examples=200, deadline=None)
@given(st.lists(GRANTS, max_size=3))
def test_everything_lies_within_itself_and_within_all(grants: list[Grant]) -> None:
    everything = Grant(virtual_server="*", model="*", agent="*")
    assert within(grants, grants)
    assert within(grants, [everything])
    assert within([], grants)
