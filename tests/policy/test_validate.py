"""What is refused when policies are loaded, and the sentence it is refused with."""

import pytest

from hub.call import Target
from hub.config.callers import Policies, PolicySpec
from hub.policy.decide import Places, Policy, PolicyInvalid, ToolType

ON_TRANSFER = 'forbid(principal, action == Hub::Action::"call_tool:bank/transfer", resource)'


def refused(compiled, cedar: str = "", **more) -> str:
    with pytest.raises(PolicyInvalid) as error:
        compiled(cedar, **more)
    return "\n".join(error.value.messages)


@pytest.mark.parametrize(
    ("cedar", "sentence"),
    [
        (
            f'@id("cap") {ON_TRANSFER} when {{ context.args.fee > 1 }};',
            "policy cap (set main): args.fee may be absent: ask `context.args has fee` before reading it",
        ),
        (
            f'{ON_TRANSFER} when {{ context.args.note == "x" }};',
            "policy main.1 (set main): args.note may be absent: ask `context.args has note` before reading it",
        ),
        (
            f"{ON_TRANSFER} when {{ context.args.amuont > 1 }};",
            'policy main.1 (set main): attribute `args.amuont` in context for Hub::Action::"call_tool:bank/transfer" not found',
        ),
        (
            f"{ON_TRANSFER} when {{ context.args has amuont && context.args.amuont > 1 }};",
            "policy main.1 (set main): it asks for context.args.amuont, which nothing it applies to has",
        ),
        (f"{ON_TRANSFER} when {{ context.args has extra }};", "it asks for context.args.extra, which nothing it applies to has"),
        (f'{ON_TRANSFER} when {{ context.args.amount == "x" }};', "policy main.1 (set main): the types"),
        (
            'forbid(principal, action == Hub::Action::"call_tool:bank/trasnfer", resource);',
            "policy main.1 (set main): there is no tool bank/trasnfer",
        ),
        ('forbid(principal, action, resource == Hub::Tool::"bank/trasnfer");', "there is no tool bank/trasnfer"),
        ('forbid(principal, action == Hub::Action::"get_prompt:crm/x", resource);', "there is no prompt crm/x"),
        ('forbid(principal, action == Hub::Action::"frobnicate:crm/x", resource);', "there is no action frobnicate:crm/x"),
        ('forbid(principal, action, resource) when { resource in Hub::Upstream::"bnak" };', "there is no upstream bnak"),
        ('forbid(principal, action, resource in Hub::VirtualServer::"dsek");', "there is no virtual server dsek"),
        ('forbid(principal, action == Hub::Action::"call_tool", resource);', "its head fits no call"),
        ("forbid(principal, action, resource) when { principal.admin };", "attribute `admin` on entity type `Hub::"),
        ("forbid(principal, action, resource) when { context.door == 5 };", "the types"),
        ("forbid(principal, action, resource);\n\nforbid(principal, actio, resource);", "policy set main, policy 2 (line 3): "),
        ("forbid(principal, action, resource)", "policy set main, policy 1 (line 1): "),
        ("permit(principal == ?principal, action, resource);", "templates (?principal, ?resource) are not supported"),
        ('@id("a") permit(principal, action, resource); @id("a") permit(principal, action, resource);', "policy a: the id is used twice"),
        ('@id("hub.grants") permit(principal, action, resource);', "the id hub.grants is the hub's own"),
        ('@id("no-grant") permit(principal, action, resource);', "the id no-grant is the hub's own"),
        ('@id("a`b") permit(principal, action, resource);', "an @id is 1 to 128"),
    ],
)
def test_a_policy_that_cannot_do_what_it_says_is_refused_with_its_id(compiled, cedar, sentence):
    assert sentence in refused(compiled, cedar)


def test_everything_that_is_wrong_is_said_at_once(compiled):
    said = refused(
        compiled, "forbid(principal, action, resource) when { principal.a }; forbid(principal, action, resource) when { principal.b };"
    )
    assert "main.1" in said
    assert "main.2" in said


def test_an_id_used_in_two_sets_is_refused_naming_both(compiled):
    one = PolicySpec(org="default", cedar='@id("x") forbid(principal, action, resource);')
    assert "policy x: the id is used twice, in set a and in set b" in refused(compiled, sets={"a": one, "b": one})


def test_semicolons_in_strings_and_comments_do_not_end_a_policy(compiled, call, caller):
    cedar = """// first; of two
@id("a") forbid(principal, action, resource) when { context.door == "x;\\";" }; // end;
// nothing; here
"""
    policy = compiled(cedar)
    assert policy.decide(call("bank/balance", {}), caller()).allow
    assert policy.text_of("a").startswith("// first; of two")


def test_a_set_is_inline_or_a_file_beside_the_configuration(tmp_path, targets):
    (tmp_path / "p.cedar").write_text('@id("off") forbid(principal, action, resource);', encoding="utf-8")
    policy = Policy.compile(Policies(sets={"a": PolicySpec(file="p.cedar")}), tmp_path, targets, Places())
    assert policy.text_of("off")
    (tmp_path / "bad.cedar").write_bytes(b"\xff\xfe")
    specs = {"a": PolicySpec(file="none.cedar"), "b": PolicySpec(), "c": PolicySpec(cedar="x", file="y"), "d": PolicySpec(file="bad.cedar")}
    with pytest.raises(PolicyInvalid) as error:
        Policy.compile(Policies(sets=specs), tmp_path, targets, Places())
    assert error.value.messages == (
        "policy set a: none.cedar cannot be read: No such file or directory",
        "policy set b: give either `cedar` or `file`",
        "policy set c: give either `cedar` or `file`",
        "policy set d: bad.cedar is not UTF-8 text",
    )


def test_policies_on_an_upstream_not_heard_of_yet_wait_and_deny_when_they_err(compiled, call, caller):
    cedar = '@id("later") forbid(principal, action in [Hub::Action::"call_tool:mail/send", Hub::Action::"call_tool:bank/balance"], resource) when { context.args.size > 3 };'
    assert "there is no tool mail/send" in refused(compiled, cedar)
    policy = compiled(cedar, awaited=["mail"])
    assert policy.pending == ("later",)
    decision = policy.decide(call("bank/balance", {}), caller())
    assert (decision.allow, decision.errors) == (False, ("later reads an attribute that is absent",))
    assert policy.decide(call("mail/send", {"size": 1}), caller()).reasons == ("unknown-target",)


def test_the_schema_given_to_operators_is_the_one_policies_are_checked_against(compiled):
    text = compiled().schema_text
    assert 'action "call_tool:bank/transfer" in ["call_tool"]' in text
    assert '"amount": Long' in text
    assert '"note"?: String' in text
    assert '"to": {"iban": String, "own"?: Bool}' in text
    assert '"tags"?: Set<String>' in text
    assert "extra" not in text
    assert 'action "get_prompt:crm/summary" in ["get_prompt"]' in text
    assert '"customer": String, "tone"?: String' in text


def test_a_policy_on_all_tools_waits_while_no_catalogue_has_what_it_asks_for(compiled, call, caller, targets):
    cedar = """
    @id("path") forbid(principal, action in Hub::Action::"call_tool", resource) when { context.args has path && context.args.path like "/etc/*" };
    @id("any") forbid(principal, action, resource) when { context has args && context.args has path && context.args.path == "/" };
    @id("hint") forbid(principal, action in Hub::Action::"call_tool", resource) when { resource.destructive };
    """
    assert "asks for context.args.path" in refused(compiled, cedar, targets=[each for each in targets if each.target.upstream == "bank"])
    assert compiled(cedar, targets=[], awaited=["files"]).pending == ("path", "any", "hint")
    some = [each for each in targets if each.target.upstream == "bank"]
    assert compiled(cedar, targets=some, awaited=["files"]).pending == ("path", "any")
    policy = compiled(cedar, awaited=["files"])
    assert policy.pending == (), "an upstream with a catalogue is not awaited any more"
    assert policy.decide(call("files/read_file", {"path": "/etc/x"}), caller()).reasons == ("path",)


def test_waiting_excuses_no_mistake_that_time_cannot_mend(compiled):
    assert "attribute `zz`" in refused(
        compiled, "forbid(principal, action, resource) when { principal.zz };", targets=[], awaited=["files"]
    )
    assert "fits no call" in refused(compiled, 'forbid(principal, action == Hub::Action::"call_tool", resource);', awaited=["mail"])


def test_an_upstream_with_nothing_but_resources_or_nothing_at_all_exists(compiled, targets):
    cedar = 'forbid(principal, action == Hub::Action::"read_resource", resource in Hub::Upstream::"docs");'
    assert "there is no upstream docs" in refused(compiled, cedar)
    readme = ToolType(Target("docs", "resource", "file:///readme"))
    assert compiled(cedar, targets=[*targets, readme]).pending == ()
    assert compiled(cedar, awaited=["docs"]).pending == ()
    assert compiled(cedar, awaited=["docs", "bank"]).hash == compiled(cedar, awaited=["docs"]).hash
