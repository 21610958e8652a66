"""Grants: which doors and targets they open."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.call import Caller, Grant, Target
from hub.grants import covers, granted, may_enter

TIME = Target("time", "tool", "get_time")


def caller(*grants: Grant, org: str = "default") -> Caller:
    return Caller(org=org, subject="user:a", key_id="k", grants=grants)


def allowed(who: Caller, target: Target | None = TIME, door: str = "demo") -> bool:
    return granted(who, "virtual_server", door, target).allowed


def test_without_grants_nothing_is_open():
    assert granted(caller(), "virtual_server", "demo", TIME).reason == "grant:no-door"
    assert not allowed(caller(), None)


def test_a_grant_opens_the_doors_its_pattern_names():
    who = caller(Grant(virtual_server="team-*"))
    assert allowed(who, door="team-a")
    assert not allowed(who, door="demo")
    assert not allowed(who, door="Team-a")


def test_a_grant_about_one_kind_of_door_says_nothing_of_another():
    who = caller(Grant(model="*"))
    assert not granted(who, "virtual_server", "demo", None).allowed
    assert granted(who, "model", "fast", None).allowed
    assert granted(caller(Grant(agent="planner")), "agent", "planner", None).allowed


def test_the_grant_that_allowed_is_named():
    who = caller(Grant(virtual_server="other"), Grant(virtual_server="demo", tools=("nothing",)), Grant(virtual_server="*"))
    assert granted(who, "virtual_server", "demo", TIME).reason == "grant:2"


def test_an_open_door_does_not_open_what_no_pattern_covers():
    who = caller(Grant(virtual_server="demo", tools=("git/*",)))
    assert granted(who, "virtual_server", "demo", TIME).reason == "grant:no-target"
    assert allowed(who, None)


def test_each_kind_of_target_has_its_own_patterns():
    who = caller(Grant(virtual_server="demo", tools=(), prompts=("ask",), resources=("file:*",)))
    assert not allowed(who)
    assert allowed(who, Target("x", "prompt", "ask"))
    assert allowed(who, Target("x", "resource", "file:///a/b"))
    assert not allowed(who, Target("x", "resource", "http://a/b"))


@pytest.mark.parametrize("kind", ["tool", "prompt", "resource"])
def test_deny_wins_over_every_grant_and_every_kind(kind):
    who = caller(Grant(virtual_server="*"), Grant(virtual_server="elsewhere", deny=("time/get_*",)))
    verdict = granted(who, "virtual_server", "demo", Target("time", kind, "get_time"))
    assert (verdict.allowed, verdict.reason) == (False, "grant:1:deny")
    assert allowed(who, Target("git", "tool", "get_time"))


@pytest.mark.parametrize(
    ("pattern", "target", "expected"),
    [
        ("*", TIME, True),
        ("get_time", TIME, True),
        ("get_*", TIME, True),
        ("GET_*", TIME, False),
        ("time/get_time", TIME, True),
        ("time/*", TIME, True),
        ("*/get_time", TIME, True),
        ("tim?/get_[st]ime", TIME, True),
        ("git/*", TIME, False),
        ("time", TIME, False),
        ("time/", TIME, False),
        ("", TIME, False),
        ("get_time\n", TIME, False),
        ("file:///etc/*", Target("fs", "resource", "file:///etc/passwd"), True),
        ("file:///etc/*", Target("fs", "resource", "file:///home/me"), False),
        ("fs/file:///etc/*", Target("fs", "resource", "file:///etc/passwd"), True),
        ("other/file:///etc/*", Target("fs", "resource", "file:///etc/passwd"), False),
        ("a.b", Target("x", "tool", "aXb"), False),
        ("a(b", Target("x", "tool", "a(b"), True),
    ],
)
def test_what_a_pattern_covers(pattern, target, expected):
    assert covers(pattern, target) is expected


@settings(max_examples=200, deadline=None)
@given(name=st.text(max_size=20), allow=st.text(max_size=6), deny=st.text(max_size=6))
def test_odd_patterns_and_names_never_raise_and_deny_always_wins(name, allow, deny):
    target = Target("up", "tool", name)
    verdict = granted(caller(Grant(virtual_server="*", tools=(allow,), deny=(deny,))), "virtual_server", "demo", target)
    assert verdict.allowed == (covers(allow, target) and not covers(deny, target))


def test_a_star_does_not_cross_organisations():
    who = caller(Grant(virtual_server="*"), org="acme")
    assert may_enter(who, "acme", shared=False)
    assert may_enter(who, "other", shared=True)
    assert not may_enter(who, "other", shared=False)
