"""Conditions as plain functions against Cedar itself: whatever is taken decides as Cedar does, and the usual ones are taken."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.call import Target
from hub.policy.decide import Policy, PolicyInvalid
from tests.policy.test_soundness import TRANSFERS

TRANSFER = Target("bank", "tool", "transfer")
HEAD = 'principal, action == Hub::Action::"call_tool:bank/transfer", resource'

TEXTS = ["context.args.to.iban", "context.door", "context.key", "resource.name", '"DE1"', '"EUR"', '"desk"', '"*"', '"é"']
NUMBERS = ["context.args.amount", "100", "0", "-5", "9223372036854775807"]
FLAGS = ["true", "false", "resource.readOnly", "resource.destructive", 'principal == Hub::User::"ann"', 'principal in Hub::Org::"acme"']
FLAGS += ['resource in Hub::Upstream::"bank"', 'resource in [Hub::VirtualServer::"desk", Hub::Upstream::"web"]', "principal is Hub::App"]
FLAGS += [
    'action in Hub::Action::"call_tool"',
    'principal is Hub::User in Hub::Org::"default"',
    "principal == resource",
    "context has args",
]
PATTERNS = st.lists(st.sampled_from(["*", "D", "DE", "1", "\\\\*", "E", "R1", "**"]), max_size=5).map("".join)
SETS = ['["DE1", "FR1"]', '["x"]', '["EUR", "USD", "EUR"]']

text, number = st.sampled_from(TEXTS), st.sampled_from(NUMBERS)
atom = st.one_of(
    st.sampled_from(FLAGS),
    st.tuples(text, PATTERNS).map(lambda t: f'{t[0]} like "{t[1]}"'),
    st.tuples(text, st.sampled_from(["==", "!="]), text).map(" ".join),
    st.tuples(number, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), number).map(" ".join),
    st.tuples(st.sampled_from(SETS), text).map(lambda t: f"{t[0]}.contains({t[1]})"),
    st.tuples(st.sampled_from(["containsAny", "containsAll"]), st.sampled_from(SETS)).map(
        lambda t: f"(context.args has tags && context.args.tags.{t[0]}({t[1]}))"
    ),
    st.sampled_from(['"x"', '"y"', "context.door"]).map(lambda sought: f"(context.args has tags && context.args.tags.contains({sought}))"),
    st.sampled_from(["(context.args has tags && context.args.tags.isEmpty())", "(context.args.to has own && context.args.to.own)"]),
    st.sampled_from(["context.args has to.own", "context.args has fee && context.args.fee > 3", "context.args has note"]),
    st.just('(if context.args has currency then context.args.currency == "EUR" else context.args.amount > 3)'),
).map(lambda one: f"({one})")
condition = st.recursive(
    atom,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(lambda t: f"({' '.join(t)})"),
        inner.map(lambda one: f"!{one}"),
        st.tuples(inner, inner, inner).map(lambda t: f"(if {t[0]} then {t[1]} else {t[2]})"),
    ),
    max_leaves=8,
)
policy = st.tuples(st.sampled_from(["permit", "forbid"]), st.lists(st.tuples(st.sampled_from(["when", "unless"]), condition), max_size=3))


def written(drawn: Any) -> str:
    return "\n".join(f"{effect}({HEAD}) {' '.join(f'{kind} {{ {said} }}' for kind, said in clauses)};" for effect, clauses in drawn)


def taken(found: Policy, who: Any, door: str) -> bool:
    """Whether the question is answered without Cedar, now that it has been asked."""
    question = found._entry(who, door, TRANSFER).question
    return question is None or question.tests is not None


@settings(max_examples=100, deadline=None)
@given(drawn=st.lists(policy, min_size=1, max_size=4), default=st.sampled_from(["grants", "deny"]), data=st.data())
def test_whatever_is_taken_decides_as_cedar_does(compiled, call, caller, drawn, default, data):
    try:
        found = compiled(written(drawn), default=default)
    except PolicyInvalid:
        return  # Cedar's validator calls a condition impossible that is always false
    for _ in range(5):
        subject, org = data.draw(st.sampled_from(["user:ann", "app:ci"])), data.draw(st.sampled_from(["default", "acme"]))
        who, door, arguments = caller(subject, org=org), data.draw(st.sampled_from(["desk", "lab"])), data.draw(TRANSFERS)
        decision = found.decide(call("bank/transfer", arguments, door=door), who)
        assert decision == found.judge(who, door, TRANSFER, arguments)
        assert taken(found, who, door)


@pytest.mark.parametrize(
    "said",
    ["context.args.amount + 1 > 3", "[context.args.amount, 5].contains(100)", 'context.args.to == {iban: "x"}', "context.args has nothing"],
)
def test_what_is_beyond_it_is_left_to_cedar(compiled, call, caller, said):
    try:
        found = compiled(f"forbid({HEAD}) when {{ {said} || context.args.amount > 7 }};")
    except PolicyInvalid:
        return
    arguments = {"amount": 3, "to": {"iban": "DE1"}}
    assert found.decide(call("bank/transfer", arguments), caller()) == found.judge(caller(), "desk", TRANSFER, arguments)
    assert not taken(found, caller(), "desk")


def test_policies_that_nobody_checked_are_left_to_cedar(compiled, call, caller):
    found = compiled(f"forbid({HEAD}) when {{ context.args.amount > 100 }};")
    again = Policy.from_snapshot(found.snapshot())
    arguments = {"amount": 101, "to": {"iban": "DE1"}}
    assert again.decide(call("bank/transfer", arguments), caller()) == found.decide(call("bank/transfer", arguments), caller())
    assert taken(found, caller(), "desk")
    assert not taken(again, caller(), "desk")


def test_a_pattern_with_many_wildcards_takes_no_longer_for_a_hostile_text(compiled, call, caller):
    found = compiled(f'forbid({HEAD}) when {{ context.args.to.iban like "{"*a" * 60}b" }};')
    arguments = {"amount": 1, "to": {"iban": "a" * 200_000}}
    assert found.decide(call("bank/transfer", arguments), caller()).allow  # a matcher that tries again and again would not come back
