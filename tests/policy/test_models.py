"""Grants and policies over models: which alias, which deployment behind it, which kind of call."""

import pytest

from hub.call import Call, Caller, Credential, Grant, Target
from hub.policy.decide import Policy, PolicyInvalid
from hub.policy.explain import explain

MINI, BIG = Target("openai", "model", "gpt-5-mini"), Target("openai", "model", "org/gpt-5")


def asking(target: Target, endpoint: str = "chat", door: str = "fast") -> Call:
    return Call("1", f"llm.{endpoint}", f"/v1/{endpoint}", door, b"", Credential(), 0.0, target=target)


def who(*grants: Grant, org: str = "default") -> Caller:
    return Caller(org, "app:shop", "k1", grants or (Grant(model="*"),), repr(grants))


def says(policy: Policy, call: Call, caller: Caller) -> tuple[bool, str]:
    decision = policy.decide(call, caller)
    assert call.target is not None
    assert policy.allows(caller, call.door, call.target, call.kind.partition(".")[2]) == decision.allow
    return decision.allow, decision.reasons[-1]


@pytest.mark.parametrize(
    ("grant", "call", "expected"),
    [
        (Grant(model="fast"), asking(MINI), (True, "hub.grants")),
        (Grant(model="slow"), asking(MINI), (False, "grant:no-door")),
        (Grant(virtual_server="*"), asking(MINI), (False, "grant:no-door")),
        (Grant(model="openai:*"), asking(MINI, door="openai:gpt-5-mini"), (True, "hub.grants")),
        (Grant(model="fast", endpoints=("embeddings",)), asking(MINI), (False, "grant:no-endpoint")),
        (Grant(model="fast", endpoints=("embed*",)), asking(MINI, "embeddings"), (True, "hub.grants")),
        (Grant(model="fast", deployments=("other/*",)), asking(MINI), (False, "grant:no-target")),
        (Grant(model="fast", deployments=("gpt-5-*",)), asking(MINI), (True, "hub.grants")),
        (Grant(model="*", deny=("openai/org/*",)), asking(BIG), (False, "grant:0:deny")),
        (Grant(model="*", deny=("openai/org/*",)), asking(MINI), (True, "hub.grants")),
    ],
)
def test_grants_open_models_deployments_and_endpoints_and_deny_wins(compiled, grant: Grant, call: Call, expected: tuple[bool, str]) -> None:
    assert says(compiled(), call, who(grant)) == expected


def test_a_grant_of_models_opens_no_virtual_server(compiled) -> None:
    tool = Call("1", "mcp.tools.call", "tools/call", "desk", b"", Credential(), 0.0, target=Target("web", "tool", "fetch"), arguments={})
    assert not compiled().decide(tool, who(Grant(model="*"))).allow


def test_policies_judge_by_provider_model_alias_and_endpoint(compiled) -> None:
    policy = compiled(
        """
        @id("no-embeddings") forbid(principal, action == Hub::Action::"call_model:embeddings", resource in Hub::Provider::"openai");
        @id("not-big") forbid(principal, action in Hub::Action::"call_model", resource == Hub::Model::"openai/org/gpt-5");
        @id("no-direct") forbid(principal, action, resource in Hub::Alias::"openai:gpt-5-mini");
        """
    )
    assert says(policy, asking(MINI), who()) == (True, "hub.grants")
    assert says(policy, asking(MINI, "embeddings"), who()) == (False, "no-embeddings")
    assert says(policy, asking(BIG), who()) == (False, "not-big")
    assert says(policy, asking(MINI, door="openai:gpt-5-mini"), who()) == (False, "no-direct")


def test_the_owner_of_a_shared_model_judges_foreign_callers_too(compiled) -> None:
    policy = compiled('@id("owner") forbid(principal, action in Hub::Action::"call_model", resource);', org="acme")
    assert says(policy, asking(MINI), who()) == (True, "hub.grants")
    assert says(policy, asking(MINI, door="theirs"), who()) == (False, "owner")
    assert says(policy, asking(Target("vault", "model", "x"), door="vault:x"), who()) == (False, "owner")


def test_deny_by_default_needs_a_permit(compiled) -> None:
    policy = compiled('@id("shop") permit(principal == Hub::App::"shop", action in Hub::Action::"call_model", resource);', default="deny")
    assert says(policy, asking(MINI), who()) == (True, "shop")
    assert not policy.decide(asking(MINI), Caller("default", "app:other", "k2", (Grant(model="*"),), "2")).allow


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ('principal, action, resource in Hub::Provider::"opemai"', "there is no provider opemai"),
        ('principal, action, resource in Hub::Alias::"fsat"', "there is no model fsat"),
        ('principal, action, resource == Hub::Model::"gpt/x"', "there is no provider gpt"),
        ('principal, action == Hub::Action::"call_model:chats", resource', "there is no action call_model:chats"),
    ],
)
def test_a_policy_on_what_is_not_there_is_refused(compiled, head: str, said: str) -> None:
    with pytest.raises(PolicyInvalid, match=said):
        compiled(f"forbid({head});")


def test_a_recorded_decision_on_a_model_is_explained_and_made_again(compiled) -> None:
    policy = compiled(
        '@id("not-big") forbid(principal, action == Hub::Action::"call_model:chat", resource == Hub::Model::"openai/org/gpt-5");'
    )
    decision = policy.decide(asking(BIG), who())
    record = {
        "kind": "llm.chat",
        "actor": {"sub": "app:shop", "id": "k1"},
        "target": {"door": "fast", "upstream": "openai", "kind": "model", "name": "org/gpt-5"},
        "decision": {"effect": "deny", "policy_set": decision.policy_set, "reasons": list(decision.reasons)},
    }
    again = Policy.from_snapshot(policy.snapshot())
    assert again.hash == policy.hash
    assert explain(record, again, org="default").outcome == "same"
