"""What a policy decides, for whom, and what it remembers."""

import pytest

from hub.call import Grant
from hub.config.callers import PolicySpec
from hub.policy import decide
from hub.policy.decide import Policy

TO = {"iban": "DE1"}
FREEZE = '@id("freeze") forbid(principal, action in Hub::Action::"call_tool", resource) unless { resource.readOnly };'


def test_without_policies_grants_decide(compiled, call, caller):
    policy = compiled()
    decision = policy.decide(call("bank/transfer", {"amount": 1, "to": TO}), caller())
    assert (decision.allow, decision.reasons, decision.policy_set) == (True, ("hub.grants",), policy.hash)


def test_what_no_grant_covers_is_denied_before_policy_is_asked(compiled, call, caller):
    policy = compiled('@id("all") permit(principal, action, resource);')
    nothing = policy.decide(call("bank/balance"), caller(grants=()))
    assert (nothing.allow, nothing.reasons) == (False, ("no-grant", "grant:no-door"))
    denied = policy.decide(call("bank/balance"), caller(grants=(Grant(virtual_server="*", deny=("bank/*",)),), version="2"))
    assert (denied.allow, denied.reasons) == (False, ("grant-deny", "grant:0:deny"))


def test_a_forbid_wins_over_grants_and_over_every_permit(compiled, call, caller):
    policy = compiled(FREEZE + '@id("all") permit(principal, action, resource);')
    assert policy.decide(call("bank/balance"), caller()).reasons == ("all", "hub.grants")
    decision = policy.decide(call("bank/transfer", {"amount": 1, "to": TO}), caller())
    assert (decision.allow, decision.reasons) == (False, ("freeze",))


def test_under_default_deny_a_permit_is_needed_on_top_of_the_grants(compiled, call, caller):
    policy = compiled('@id("ann") permit(principal == Hub::User::"ann", action, resource in Hub::Upstream::"bank");', default="deny")
    assert policy.decide(call("bank/balance"), caller()).reasons == ("ann",)
    assert policy.decide(call("web/fetch"), caller()).reasons == ("no-permit",)
    assert policy.decide(call("bank/balance"), caller("user:bob")).reasons == ("no-permit",)
    assert policy.decide(call("bank/balance"), caller(grants=(), version="2")).reasons == ("no-grant", "grant:no-door")


def test_one_organisation_s_policies_never_judge_another_s_calls(compiled, call, caller):
    sets = {
        "a": PolicySpec(org="acme", cedar='@id("acme-off") forbid(principal, action, resource);'),
        "d": PolicySpec(org="default", cedar='@id("default-off") forbid(principal, action in Hub::Action::"get_prompt", resource);'),
        "e": PolicySpec(org="*", cedar='@id("all-off") forbid(principal, action == Hub::Action::"call_tool:web/fetch", resource);'),
    }
    policy = compiled(sets=sets)
    assert policy.decide(call("bank/balance"), caller(org="default")).allow
    assert policy.decide(call("bank/balance"), caller(org="other")).allow
    assert policy.decide(call("bank/balance", door="lab"), caller(org="acme")).reasons == ("acme-off",)
    assert policy.decide(call("crm/summary", kind="prompt", door="lab"), caller(org="acme")).reasons == ("acme-off",)
    assert policy.decide(call("crm/summary", kind="prompt"), caller(org="default")).reasons == ("default-off",)
    assert policy.decide(call("web/fetch", door="lab"), caller(org="acme")).reasons == ("acme-off", "all-off")
    assert policy.decide(call("web/fetch"), caller(org="other")).reasons == ("all-off",)


def test_at_a_shared_virtual_server_the_organisation_that_owns_it_judges_foreign_callers_too(compiled, call, caller):
    sets = {
        "a": PolicySpec(org="acme", cedar='@id("no-fetch") forbid(principal, action == Hub::Action::"call_tool:web/fetch", resource);'),
        "d": PolicySpec(
            org="default", cedar='@id("no-balance") forbid(principal, action == Hub::Action::"call_tool:bank/balance", resource);'
        ),
    }
    policy = compiled(sets=sets)
    guest, owner = caller(org="default"), caller(org="acme")  # the door `lab` is acme's
    assert policy.decide(call("web/fetch", door="lab"), guest).reasons == ("no-fetch",)
    assert policy.decide(call("bank/balance", door="lab"), guest).reasons == ("no-balance",), "its own judge it wherever it goes"
    assert policy.decide(call("web/fetch"), guest).allow, "beyond that door acme has no say over it"
    assert policy.decide(call("bank/balance", door="lab"), owner).allow, "a guest's policies do not judge the owner"
    assert not policy.visible(guest, "lab", call("web/fetch").target)


def test_a_foreign_caller_needs_one_permit_and_no_forbid_of_either_organisation(compiled, call, caller):
    sets = {"a": PolicySpec(org="acme", cedar='@id("guests") permit(principal in Hub::Org::"default", action, resource);')}
    policy = compiled(sets=sets, default="deny")
    assert policy.decide(call("web/fetch", door="lab"), caller(org="default")).reasons == ("guests",)
    assert policy.decide(call("web/fetch"), caller(org="default")).reasons == ("no-permit",)
    assert policy.decide(call("web/fetch", door="lab"), caller(org="other")).reasons == ("no-permit",)


@pytest.mark.parametrize(("subject", "kind"), [("key:k1", "Key"), ("user:ann", "User"), ("app:ci", "App"), ("agent:bot", "Agent")])
def test_each_kind_of_subject_is_a_principal_in_its_organisation(compiled, call, caller, subject, kind):
    name = subject.partition(":")[2]
    policy = compiled(
        f'@id("in") permit(principal == Hub::{kind}::"{name}", action, resource) when {{ principal in Hub::Org::"acme" }};', default="deny"
    )
    assert policy.decide(call("bank/balance"), caller(subject, org="acme")).allow
    assert not policy.decide(call("bank/balance"), caller(subject, org="default")).allow


@pytest.mark.parametrize("subject", ["", "robot:x", "key:", "ann"])
def test_a_subject_policies_cannot_speak_of_is_allowed_nothing(compiled, call, caller, subject):
    assert compiled().decide(call("bank/balance"), caller(subject)).reasons == ("unknown-subject",)


def test_a_tool_or_prompt_that_is_not_in_the_catalogue_is_denied(compiled, call, caller):
    policy = compiled()
    assert policy.decide(call("bank/steal"), caller()).reasons == ("unknown-target",)
    assert policy.decide(call("bank/balance", kind="prompt"), caller()).reasons == ("unknown-target",)


def test_resources_are_judged_by_their_uri_listed_or_not(compiled, call, caller):
    policy = compiled(
        '@id("etc") forbid(principal, action == Hub::Action::"read_resource", resource) when { resource.uri like "file:///etc/*" };'
    )
    assert policy.decide(call("files/file:///srv/a", kind="resource"), caller()).allow
    assert policy.decide(call("files/file:///etc/passwd", kind="resource"), caller()).reasons == ("etc",)


def test_prompts_have_actions_and_text_arguments(compiled, call, caller):
    policy = compiled(
        '@id("tone") forbid(principal, action == Hub::Action::"get_prompt:crm/summary", resource)'
        ' when { context.args has tone && context.args.tone == "rude" };'
    )
    assert policy.decide(call("crm/summary", {"customer": "1"}, kind="prompt"), caller()).allow
    assert policy.decide(call("crm/summary", {"customer": "1", "tone": "rude"}, kind="prompt"), caller()).reasons == ("tone",)


def test_the_virtual_server_is_an_ancestor_of_what_is_reached_through_it_and_the_door_is_in_the_context(compiled, call, caller):
    policy = compiled(
        '@id("lab") forbid(principal, action in Hub::Action::"call_tool", resource in Hub::VirtualServer::"lab");'
        '@id("desk") forbid(principal, action == Hub::Action::"call_tool:web/fetch", resource) when { context.door == "desk" && context.key == "k1" };'
    )
    assert policy.decide(call("bank/balance", door="lab"), caller()).reasons == ("lab",)
    assert policy.decide(call("bank/balance"), caller()).allow
    assert policy.decide(call("web/fetch"), caller()).reasons == ("desk",)


def test_a_call_without_a_target_is_the_action_list_on_the_door(compiled, call, caller):
    policy = compiled('@id("shut") forbid(principal is Hub::App, action == Hub::Action::"list", resource == Hub::VirtualServer::"desk");')
    assert policy.decide(call(""), caller()).allow
    assert policy.decide(call(""), caller("app:x")).reasons == ("shut",)
    assert policy.decide(call("", door="lab"), caller("app:x")).allow


def test_hints_have_mcp_s_defaults_and_mean_nothing_of_harm_for_read_only_tools(compiled, call, caller):
    policy = compiled(
        '@id("destructive") forbid(principal, action in Hub::Action::"call_tool", resource) when { resource.destructive };'
        '@id("open") forbid(principal, action in Hub::Action::"call_tool", resource) when { resource.openWorld };'
        '@id("twice") forbid(principal, action in Hub::Action::"call_tool", resource) unless { resource.idempotent };'
    )
    assert policy.decide(call("bank/balance"), caller()).allow
    assert policy.decide(call("web/fetch"), caller()).reasons == ("open",)
    assert policy.decide(call("crm/delete_customer", {"id": 1}), caller()).reasons == ("destructive", "open", "twice")


def test_lists_show_what_some_arguments_could_be_allowed_and_hide_the_rest(compiled, caller):
    from_names = [(decide.Target("bank", "tool", name)) for name in ("transfer", "balance")]
    policy = compiled(
        '@id("cap") forbid(principal, action == Hub::Action::"call_tool:bank/transfer", resource) when { context.args.amount > 100 };'
        '@id("apps") forbid(principal is Hub::App, action == Hub::Action::"call_tool:bank/transfer", resource)'
        " unless { resource.readOnly && context.args.amount == 1 };"
        '@id("bots") forbid(principal is Hub::Agent, action in Hub::Action::"call_tool", resource);'
    )
    shown = {subject: [policy.visible(caller(subject), "desk", each) for each in from_names] for subject in ("user:a", "app:a", "agent:a")}
    assert shown == {"user:a": [True, True], "app:a": [False, True], "agent:a": [False, False]}
    assert not policy.visible(caller(grants=(), version="2"), "desk", from_names[1])


def test_under_default_deny_a_permit_that_reads_arguments_makes_its_tool_visible(compiled, caller):
    policy = compiled(
        '@id("small") permit(principal == Hub::User::"ann", action == Hub::Action::"call_tool:bank/transfer", resource) when { context.args.amount < 5 };',
        default="deny",
    )
    transfer, balance = decide.Target("bank", "tool", "transfer"), decide.Target("bank", "tool", "balance")
    assert policy.visible(caller(), "desk", transfer)
    assert not policy.visible(caller("user:bob"), "desk", transfer)
    assert not policy.visible(caller(), "desk", balance)


def test_changed_grants_are_not_answered_from_memory(compiled, call, caller):
    policy = compiled()
    assert policy.decide(call("bank/balance"), caller()).allow
    assert not policy.decide(call("bank/balance"), caller(grants=(), version="2")).allow
    assert policy.decide(call("bank/balance"), caller(version="")).allow
    assert not policy.decide(call("bank/balance"), caller(grants=(), version="")).allow


def test_what_is_remembered_is_bounded(compiled, call, caller, monkeypatch):
    monkeypatch.setattr(decide, "REMEMBERED", 8)
    policy = compiled(FREEZE)
    for number in range(40):
        assert policy.decide(call("bank/balance"), caller(f"user:u{number}")).allow
        assert policy.decide(call("bank/balance"), caller("user:first")).allow
    assert len(policy._entries) == 8
    assert any("user:first" in key for key in policy._entries)


def test_a_policy_set_has_one_hash_whatever_the_order_of_the_catalogue_and_another_when_a_policy_changes(compiled, targets):
    assert compiled(FREEZE).hash == compiled(FREEZE, targets=list(reversed(targets))).hash
    assert (
        len({compiled(FREEZE).hash, compiled(FREEZE + " ").hash, compiled(FREEZE, org="acme").hash, compiled(FREEZE, default="deny").hash})
        == 4
    )
    assert compiled(FREEZE).hash != compiled(FREEZE, targets=targets[:-1]).hash


def test_a_snapshot_decides_as_the_policy_it_was_taken_of(compiled, call, caller):
    policy = compiled(FREEZE, awaited=["mail"])
    again = Policy.from_snapshot(policy.snapshot())
    assert (again.hash, again.snapshot(), again.schema_text) == (policy.hash, policy.snapshot(), policy.schema_text)
    for name in ("bank/transfer", "bank/balance"):
        assert again.decide(call(name), caller()) == policy.decide(call(name), caller())


def test_tools_with_names_of_any_characters_can_be_decided_and_listed(compiled, call, caller):
    odd = decide.Target("odd", "tool", 'a"b\\c\n/ü\u202e')
    policy = compiled(
        '@id("n") forbid(principal, action in Hub::Action::"call_tool", resource) when { context.args has "we ird" && context.args["we ird"] > 3 };',
        targets=[decide.ToolType(odd, b'{"type":"object","properties":{"we ird":{"type":"integer"},"\\n\\"q":{"type":"string"}}}')],
    )
    assert policy.visible(caller(), "desk", odd)
    asked = call("odd/" + odd.name, {"we ird": 4})
    assert policy.decide(asked, caller()).reasons == ("n",)


@pytest.mark.parametrize(
    ("head", "subjects"),
    [
        ("principal is Hub::User", {"user:ann"}),
        ('principal is Hub::User in Hub::Org::"default"', {"user:ann"}),
        ('principal is Hub::User in Hub::Org::"acme"', set()),
        ('principal in Hub::Org::"default"', {"user:ann", "app:ann"}),
        ('principal == Hub::App::"ann"', {"app:ann"}),
        ("principal", {"user:ann", "app:ann"}),
    ],
)
@pytest.mark.parametrize("condition", ["", "when { true }"])
def test_a_head_is_read_the_same_with_and_without_the_engine(compiled, call, caller, head, subjects, condition):
    policy = compiled(f'@id("h") forbid({head}, action, resource is Hub::Tool in Hub::Upstream::"bank") {condition};')
    denied = {subject for subject in ("user:ann", "app:ann") if not policy.decide(call("bank/balance"), caller(subject)).allow}
    assert denied == subjects
    assert policy.decide(call("web/fetch"), caller()).allow
    assert policy.decide(call("bank/file:///a", kind="resource"), caller()).allow
