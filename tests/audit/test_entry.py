import orjson
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.audit import entry
from hub.audit.entry import MAX_INTEGER, ProfileError, canonical, check

KEYS = st.text("abcxyz019_.-", min_size=1, max_size=8)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12)
RECORDS = st.dictionaries(KEYS, VALUES, max_size=6)


@settings(max_examples=120, deadline=None)
@given(RECORDS)
def test_within_the_profile_three_implementations_agree(record):
    written = canonical(record)
    assert written == rfc8785.dumps(record)
    assert written == orjson.dumps(record, option=orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER)


@settings(max_examples=30, deadline=None)
@given(RECORDS)
def test_what_was_written_reads_back(record):
    assert orjson.loads(canonical(record)) == record


@pytest.mark.parametrize(
    "character", [chr(n) for n in range(0x21)] + ['"', "\\", "/", "\x7f", "\x80", "\u2028", "\ufb33", "\U0001f600", "\uffff"]
)
def test_every_awkward_character_is_spelled_as_the_rfc_says(character):
    record = {"a": character}
    assert canonical(record) == rfc8785.dumps(record) == orjson.dumps(record)


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        MAX_INTEGER + 1,
        -MAX_INTEGER - 1,
        "\ud800",
        "a\udfff",
        b"bytes",
        {1: 2},
        {"A": 1},
        {"": 1},
        {"é": 1},
        {"a b": 1},
        {"a\n": 1},
        [1.5],
        object(),
    ],
)
def test_what_lies_outside_the_profile_is_refused_by_place_and_not_by_value(value):
    with pytest.raises(ProfileError, match=r"^record\.field"):
        canonical({"field": value})


def test_nesting_is_bounded():
    value: list = []
    for _ in range(entry.MAX_DEPTH):
        value = [value]
    with pytest.raises(ProfileError, match="nested"):
        check({"a": value})


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=600))
def test_any_text_is_made_fit(value):
    fit = entry.text(value)
    assert len(fit) <= 256
    check({"a": fit})
    if len(value) <= 256 and value.isprintable():
        assert fit == value


def test_a_cut_is_marked():
    assert entry.text("x" * 300) == "x" * 255 + "…"


def test_mending_cuts_strings_and_lists_and_touches_nothing_else():
    assert entry.mend({"a": ["xyz" * 9] * 9, "b": {"c": 1, "d": None}}, 4) == {"a": ["xyz…"] * 4, "b": {"c": 1, "d": None}}


@pytest.mark.parametrize(
    ("kind", "phase", "base"),
    [("mcp.tools.call.intent", 1, "mcp.tools.call"), ("a.outcome", 2, "a"), ("admin.key.create", 0, "admin.key.create")],
)
def test_a_kind_says_which_phase_it_is(kind, phase, base):
    assert (entry.phase(kind), entry.base(kind)) == (phase, base)
