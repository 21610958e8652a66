"""The four traps measured in Cedar's Python engine, each closed, and the way each would have been walked into."""

import cedarpy
import pytest

from hub.call import Target
from hub.policy.decide import ToolType

CAP = """
@id("cap") forbid(principal, action == Hub::Action::"call_tool:bank/transfer", resource)
when { context.args.amount > 100 };
"""
HAS = """
@id("fee") forbid(principal, action == Hub::Action::"call_tool:bank/transfer", resource)
when { context.args has fee && context.args.fee > 3 };
"""
TO = {"iban": "DE1"}


def test_trap_1_a_forbid_whose_attribute_is_missing_denies_though_cedar_allows(compiled, call, caller):
    bare = "permit(principal, action, resource); forbid(principal, action, resource) when { context.args.amount > 100 };"
    asked = {"principal": 'U::"a"', "action": 'Action::"x"', "resource": 'T::"t"', "context": {"args": {}}}
    assert cedarpy.is_authorized(asked, bare, []).allowed, "if Cedar stops allowing here, this trap is gone"
    decision = compiled(CAP).decide(call("bank/transfer", {"to": TO}), caller())
    assert not decision.allow
    assert decision.reasons == ("policy-error",)
    assert decision.errors == ("args.amount is missing, though its schema requires it",)


@pytest.mark.parametrize(
    ("fee", "said"),
    [
        (3.5, "args.fee is a number with a fraction or exponent"),
        (1e300, "args.fee is a number with a fraction or exponent"),
        (float("nan"), "args.fee is a number with a fraction or exponent"),
        (None, "args.fee is null"),
        (2**70, "args.fee is an integer beyond 2^53"),
        (-(2**53) - 1, "args.fee is an integer beyond 2^53"),
        ("9", "args.fee is not an integer"),
        (True, "args.fee is not an integer"),
    ],
)
def test_trap_2_a_number_cedar_cannot_hold_denies_where_a_policy_reads_it_even_behind_has(compiled, call, caller, fee, said):
    decision = compiled(HAS).decide(call("bank/transfer", {"amount": 1, "to": TO, "fee": fee}), caller())
    assert (decision.allow, decision.errors) == (False, (said,))


def test_trap_2_the_same_numbers_do_no_harm_where_no_policy_reads_them(compiled, call, caller):
    decision = compiled(CAP).decide(call("bank/transfer", {"amount": 1, "to": TO, "fee": 3.5, "extra": None}), caller())
    assert decision.allow


@pytest.mark.parametrize("key", ["__entity", "__extn", "__expr"])
def test_trap_3_arguments_cannot_become_entities_at_any_depth(compiled, call, caller, key):
    forged = {key: {"type": "Hub::User", "id": "admin", "fn": "ip", "arg": "1.1.1.1"}}
    own = compiled(
        '@id("own") forbid(principal, action == Hub::Action::"call_tool:bank/transfer", resource)'
        " unless { context.args.to has own && context.args.to.own };"
    )
    for to in (forged, {**TO, "own": forged}, {**TO, **forged}):
        assert not own.decide(call("bank/transfer", {"amount": 1, "to": to}), caller()).allow
    assert own.decide(call("bank/transfer", {"amount": 1, "to": {**TO, "own": True}}), caller()).allow


def test_trap_3_a_schema_that_declares_a_reserved_key_gives_policies_no_such_attribute(compiled):
    schema = b'{"type":"object","properties":{"__entity":{"type":"object","properties":{"type":{"type":"string"}}},"ok":{"type":"string"}}}'
    policy = compiled(targets=[ToolType(Target("evil", "tool", "t"), schema)])
    assert "__entity" not in policy.schema_text
    assert "ok" in policy.schema_text


def test_trap_3_a_whole_record_is_not_judged_while_part_of_it_is_unseen(compiled, call, caller):
    policy = compiled(
        '@id("one") forbid(principal, action == Hub::Action::"call_tool:crm/delete_customer", resource) unless { context.args == {id: 7} };'
    )
    assert policy.decide(call("crm/delete_customer", {"id": 7}), caller()).allow
    decision = policy.decide(call("crm/delete_customer", {"id": 7, "__entity": {"type": "A", "id": "b"}}), caller())
    assert decision.errors == ("args is more than its schema declares",)


def test_trap_4_reasons_are_the_ids_the_operator_wrote_with_the_hash_of_the_set(compiled, call, caller):
    policy = compiled(CAP + "forbid(principal is Hub::App, action, resource);")
    decision = policy.decide(call("bank/transfer", {"amount": 101, "to": TO}), caller("app:x"))
    assert decision.reasons == ("cap", "main.2")
    assert decision.policy_set == policy.hash
    assert policy.hash.startswith("sha256:")
    assert policy.decide(call("bank/transfer", {"amount": 1, "to": TO}), caller()).reasons == ("hub.grants",)


def test_cedar_s_own_error_texts_which_quote_values_never_get_out(compiled, call, caller):
    policy = compiled(
        '@id("sum") forbid(principal, action == Hub::Action::"call_tool:bank/transfer", resource)'
        " when { context.args.amount + 9223372036854775800 > 5 };"
    )
    decision = policy.decide(call("bank/transfer", {"amount": 4711, "to": TO}), caller())
    assert decision.errors == ("sum overflows a 64-bit integer",)
    assert not decision.allow


def test_text_with_a_lone_surrogate_denies_where_it_is_read(compiled, call, caller):
    policy = compiled(
        '@id("p") forbid(principal, action == Hub::Action::"call_tool:web/fetch", resource) when { context.args.url like "*x*" };'
    )
    assert policy.decide(call("web/fetch", {"url": "a\ud800"}), caller()).errors == ("args.url is not valid Unicode",)
