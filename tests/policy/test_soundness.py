"""Against Cedar itself: slicing, remembering and reading only what is read change no answer, and nothing a caller sends raises."""

import json
from functools import cache
from typing import Any

import cedarpy
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.call import Caller, Decision, Target
from hub.config.callers import PolicySpec
from hub.policy import cedar, rules
from hub.policy.context import Reading, Wanted
from hub.policy.decide import Policy
from hub.policy.source import decode

HEADS = [
    "principal, action, resource",
    'principal, action in Hub::Action::"call_tool", resource',
    'principal, action == Hub::Action::"call_tool:bank/transfer", resource',
    'principal is Hub::App, action in [Hub::Action::"call_tool:bank/transfer", Hub::Action::"call_tool:crm/delete_customer"], resource',
    'principal == Hub::User::"ann", action, resource in Hub::Upstream::"bank"',
    'principal in Hub::Org::"acme", action, resource in Hub::VirtualServer::"desk"',
    'principal is Hub::User in Hub::Org::"default", action in Hub::Action::"call_tool", resource is Hub::Tool in Hub::Upstream::"bank"',
    'principal, action == Hub::Action::"call_tool:bank/transfer", resource == Hub::Tool::"bank/transfer"',
]
CONDITIONS = [
    "",
    "when { resource is Hub::Tool && resource.readOnly }",
    'unless { context.door == "desk" }',
    'when { context.key == "k1" && principal in Hub::Org::"acme" }',
]
TRANSFER_CONDITIONS = [
    "when { context.args.amount > 100 }",
    'unless { context.args has currency && context.args.currency == "EUR" }',
    'when { context.args has tags && context.args.tags.contains("x") }',
    "when { context.args.to has own && context.args.to.own }",
    "when { [context.args.to].contains(context.args.to) && context.args.amount > 50 }",
    'unless { context.args.to.iban like "DE*" || principal == Hub::User::"ann" }',
    'when { [context.args.amount, 5].contains(100) && context.door == "lab" }',
    "when { (if context.args has fee then context.args.fee else 7) > 3 }",
    "when { context.args.amount + 9223372036854775807 > 3 }",
]
ON_TRANSFER = {2, 7}


@st.composite
def policies(draw: st.DrawFn) -> tuple[tuple[str, str], ...]:
    found = []
    for _ in range(draw(st.integers(0, 5))):
        head = draw(st.integers(0, len(HEADS) - 1))
        condition = draw(st.sampled_from(CONDITIONS + (TRANSFER_CONDITIONS * 2 if head in ON_TRANSFER else [])))
        found.append(
            (draw(st.sampled_from(["default", "acme", "*"])), f"{draw(st.sampled_from(['permit', 'forbid']))}({HEADS[head]}) {condition};")
        )
    return tuple(found)


TRANSFERS = st.fixed_dictionaries(
    {
        "amount": st.integers(-5, 205),
        "to": st.fixed_dictionaries({"iban": st.sampled_from(["DE1", "FR1"])}, optional={"own": st.booleans()}),
    },
    optional={
        "currency": st.sampled_from(["EUR", "USD"]),
        "tags": st.lists(st.sampled_from(["x", "y"]), max_size=2),
        "fee": st.integers(0, 9),
        "note": st.none() | st.text(max_size=3),
    },
)
CALLERS = [(org, subject) for org in ("default", "acme") for subject in ("user:ann", "user:bob", "app:ci", "key:k1")]
NAMES = ["bank/transfer", "bank/balance", "crm/delete_customer", "files/read_file"]


def by_cedar_alone(policy: Policy, caller: Caller, door: str, target: Target, arguments: Any) -> tuple[bool, tuple[str, ...]]:
    """The whole set, unsliced, with the whole context, in Cedar's text form."""
    source = decode(policy.snapshot())
    texts = [r for r in rules.parse(source.sets) if r.org in ("*", caller.org, source.doors[door])]
    texts += [rules.built_in()] if source.default == "grants" else []
    known = {each.target: each for each in source.targets}[target]
    who, what = cedar.principal(caller), cedar.resource(target, known.traits, cedar.door(door, source.doors[door]))
    assert who is not None
    action = cedar.action(target)
    reading = Reading()
    context = {"door": door, "key": caller.key_id, "args": reading.arguments(arguments, known.args, Wanted(whole=True))}
    assert not reading.problems
    request = {name: cedar.uid_json(node.uid) for name, node in (("principal", who), ("action", action), ("resource", what))}
    text = "\n".join(r.text for r in texts)
    result = cedarpy.is_authorized({**request, "context": context}, text, cedar.entities_json(who, action, what))
    fired = tuple(sorted(texts[int(each.removeprefix("policy"))].id for each in result.diagnostics.reasons))
    return result.allowed and not result.diagnostics.errors, fired


@settings(max_examples=120, deadline=None)
@given(drawn=policies(), default=st.sampled_from(["grants", "deny"]), data=st.data())
def test_remembered_sliced_and_pruned_answers_are_cedar_s_own(compiled, call, caller, drawn, default, data):
    sets = {f"s{number}": PolicySpec(org=org, cedar=text) for number, (org, text) in enumerate(drawn)}
    policy = compiled(sets=sets, default=default)
    for _ in range(6):
        org, subject = data.draw(st.sampled_from(CALLERS))
        name, door = data.draw(st.sampled_from(NAMES[:1] * 3 + NAMES)), data.draw(st.sampled_from(["desk", "lab"]))
        arguments = (
            data.draw(TRANSFERS)
            if name == "bank/transfer"
            else {"id": 1}
            if name.startswith("crm")
            else {"path": "/x"}
            if "file" in name
            else {}
        )
        who, asked = caller(subject, org=org), call(name, arguments, door=door)
        decision = policy.decide(asked, who)
        allow, fired = by_cedar_alone(policy, who, door, asked.target, arguments)
        assert decision.allow == allow
        if decision.allow or not decision.errors:
            assert decision.reasons == (fired or ("no-permit",))
        assert decision == policy.decide(asked, who) == policy.judge(who, door, asked.target, arguments)
        if decision.allow:
            assert policy.visible(who, door, asked.target), "what can be called is listed"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters(), max_size=8) | st.just("\ud800"),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["amount", "to", "iban", "own", "tags", "__entity", "__extn", "type", "id"]) | st.text(max_size=4),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
READ_ALL = """
@id("amount") forbid(principal, action == Hub::Action::"call_tool:bank/transfer", resource) when { context.args.amount > 100 };
@id("rest") forbid(principal, action == Hub::Action::"call_tool:bank/transfer", resource)
when { context.args has tags && context.args.tags.contains("x") || context.args.to has own && context.args.to.own || context.args.to.iban like "X*" };
"""


@cache
def _keep(build: Any, cedar_text: str) -> Policy:
    return build(cedar_text)


@settings(max_examples=300, deadline=None)
@given(
    arguments=JSON
    | st.fixed_dictionaries({"amount": JSON, "to": JSON | st.fixed_dictionaries({"iban": JSON, "own": JSON})}, optional={"tags": JSON})
)
def test_no_arguments_make_it_raise_and_only_well_typed_ones_are_allowed(compiled, call, caller, arguments):
    policy = _keep(compiled, READ_ALL)
    decision = policy.decide(call("bank/transfer", arguments), caller())
    assert isinstance(decision, Decision)
    if decision.allow:
        assert type(arguments["amount"]) is int
        assert arguments["amount"] <= 100
        assert type(arguments["to"]["iban"]) is str
        assert arguments["to"].get("own") in (None, False)
        assert all(type(tag) is str and tag != "x" for tag in arguments.get("tags", []))


@settings(max_examples=60, deadline=None)
@given(gone=st.sampled_from(["amount", "to"]), arguments=TRANSFERS)
def test_a_forbid_that_reads_what_is_missing_denies_whatever_else_is_there(compiled, call, caller, gone, arguments):
    policy = _keep(compiled, READ_ALL)
    decision = policy.decide(call("bank/transfer", {name: value for name, value in arguments.items() if name != gone}), caller())
    assert (decision.allow, decision.reasons) == (False, ("policy-error",))


def test_deep_wide_and_long_arguments_are_bounded_not_followed(compiled, call, caller):
    policy = _keep(compiled, READ_ALL)
    deep: Any = "x"
    for _ in range(5000):
        deep = {"to": deep}
    wide = {"amount": 1, "to": {"iban": "D"}, "tags": ["y"] * 20_000}
    long = {"amount": 1, "to": {"iban": "D" * 2_000_000}}
    said = [policy.decide(call("bank/transfer", each), caller()).errors for each in (deep, wide, long)]
    assert said[1][0] == "args.tags[] is more values than can be judged"
    assert said[2] == ("args.to.iban is more text than can be judged",)
    assert all(said)


def test_json_duplicates_of_what_the_engine_reads_cannot_differ_from_what_was_parsed(compiled, call, caller):
    policy = _keep(compiled, READ_ALL)
    arguments = json.loads('{"amount": 1, "amount": 500, "to": {"iban": "D"}}')
    assert policy.decide(call("bank/transfer", arguments), caller()).reasons == ("amount",)
