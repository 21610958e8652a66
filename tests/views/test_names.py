"""Advertised names: unique, within the budget, the same every time."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.call import Target
from hub.config.mcp import Naming
from virtual_servers.names import assign, fit

namings = st.builds(
    Naming,
    prefix=st.sampled_from(["never", "auto", "always"]),
    separator=st.sampled_from(["_", ".", "-", "__"]),
    max_length=st.integers(8, 128),
)
targets = st.builds(
    Target,
    st.sampled_from(["a", "b", "a_b"]),
    st.just("tool"),
    st.sampled_from(["x", "b_x", "search", "a_x", "x y", "x_y", "é", "long" * 40]) | st.text(min_size=1, max_size=12),
)


@given(
    namings,
    st.lists(targets, max_size=12, unique=True),
    st.dictionaries(st.sampled_from(["a/x", "b/x", "a/search"]), st.sampled_from(["x", "y", "n" * 100])),
)
@settings(max_examples=100, deadline=None)
def test_names_are_unique_within_the_budget_and_repeatable(naming: Naming, all_targets: list[Target], renames: dict[str, str]) -> None:
    names = assign(naming, all_targets, renames)
    shown = list(names.advertised.values())
    assert len(shown) == len(set(shown))
    assert all(1 <= len(name) <= naming.max_length and re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in shown)
    assert names == assign(naming, all_targets, renames)
    assert names.advertised == assign(naming, reversed(all_targets), renames).advertised
    dropped = [target for target in all_targets if target not in names.advertised]
    assert all(any(f"`{target}`" in problem.text and problem.severity == "error" for problem in names.problems) for target in dropped)


A, B = Target("a", "tool", "x"), Target("b", "tool", "x")


@pytest.mark.parametrize(("prefix", "expected"), [("always", {A: "a_x", B: "b_x"}), ("auto", {A: "a_x", B: "b_x"}), ("never", {})])
def test_prefixes_part_two_upstreams_with_the_same_name(prefix: str, expected: dict[Target, str]) -> None:
    names = assign(Naming(prefix=prefix), [A, B], {})
    assert names.advertised == expected
    if not expected:
        assert (
            str(names.problems[0]) == "tools `a/x` and `b/x` would share the name `x`: rename one, or set naming.prefix; neither is shown"
        )


def test_auto_leaves_a_name_alone_that_only_one_upstream_has() -> None:
    assert assign(Naming(), [A, Target("b", "tool", "y")], {}).advertised == {A: "x", Target("b", "tool", "y"): "y"}


def test_a_rename_is_taken_as_written_and_frees_the_name() -> None:
    assert assign(Naming(), [A, B], {"a/x": "mine"}).advertised == {A: "mine", B: "x"}


def test_a_rename_onto_a_name_in_use_drops_both() -> None:
    names = assign(Naming(), [A, Target("a", "tool", "y")], {"a/x": "y"})
    assert names.advertised == {}
    assert [problem.severity for problem in names.problems] == ["error"]


def test_prefixes_that_run_together_are_a_conflict() -> None:
    names = assign(Naming(prefix="always"), [Target("a", "tool", "b_c"), Target("a_b", "tool", "c")], {})
    assert names.advertised == {}


def test_a_rename_beyond_the_budget_is_shortened_and_said() -> None:
    names = assign(Naming(max_length=12), [A], {"a/x": "n" * 20})
    assert names.advertised[A].startswith("nnn_")
    assert names.problems[0].severity == "warning"


def test_long_names_keep_their_beginning_and_differ_by_their_hash() -> None:
    first, second = Target("a", "tool", "n" * 80 + "1"), Target("a", "tool", "n" * 80 + "2")
    shown = [fit(target.name, target, 64) for target in (first, second)]
    assert shown[0] == "n" * 55 + "_" + shown[0][-8:]
    assert len(set(shown)) == 2
    assert len(fit("n" * 80, first, 8)) == 8
