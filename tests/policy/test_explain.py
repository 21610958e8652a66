"""A recorded decision is decided again from its record, the snapshot, and the params where they were read."""

import json
import os
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.audit import record
from hub.call import Call, Credential, Decision
from hub.policy.decide import Policy, PolicyInvalid
from hub.policy.explain import explain
from hub.policy.snapshots import kept
from hub.policy.snapshots_sqlite import SqliteSnapshots
from hub.store.sqlite import Database

CAP = """// Large transfers need a person.
@id("cap") forbid(principal, action == Hub::Action::"call_tool:bank/transfer", resource) when { context.args.amount > 100 };
@id("apps") forbid(principal is Hub::App, action == Hub::Action::"call_tool:web/fetch", resource);
"""
SALT = bytes(range(32))


def made(call: Call, caller, policy: Policy, arguments=None) -> tuple[dict, bytes]:
    """The intent of a call with these arguments, as the journal would keep it."""
    payload = json.dumps(arguments).encode()
    sent = Call(
        "1", "mcp.tools.call", "tools/call", call.door, b"{}", Credential(), 0.0, target=call.target, arguments=arguments, committed=payload
    )
    entry = record.intent(sent, caller, policy.decide(sent, caller), SALT)
    return {name: value for name, value in entry.items() if name != record.SALT}, payload


def test_a_decision_no_argument_could_change_is_decided_again_from_the_record_alone(compiled, call, caller):
    policy = compiled(CAP)
    entry, _ = made(call("web/fetch", {"url": "x"}), caller("app:ci"), policy, {"url": "x"})
    found = explain(entry, policy, org="default")
    assert (found.outcome, found.effect, found.reasons) == ("same", "deny", ("apps",))
    assert found.policies[0].text.startswith('@id("apps") forbid')
    assert "app:ci was denied" in found.text()
    assert "Forbidden by apps." in found.text()


@pytest.mark.parametrize(("amount", "effect"), [(5, "allow"), (500, "deny"), (5.5, "deny")])
def test_with_the_params_that_were_sent_a_decision_on_arguments_is_decided_again(compiled, call, caller, amount, effect):
    policy = compiled(CAP)
    arguments = {"amount": amount, "to": {"iban": "D"}}
    entry, payload = made(call("bank/transfer", arguments), caller(), policy, arguments)
    found = explain(entry, policy, org="default", payload=payload, salt=SALT)
    assert (found.outcome, found.effect) == ("same", effect)
    assert found.again is not None
    assert list(found.again.errors) == entry["decision"].get("errors", [])


def test_without_the_right_params_it_says_what_is_missing(compiled, call, caller):
    policy = compiled(CAP)
    arguments = {"amount": 500, "to": {"iban": "D"}}
    entry, payload = made(call("bank/transfer", arguments), caller(), policy, arguments)
    for given_payload, salt, sentence in (
        (None, SALT, "give the request's `arguments` as they were sent"),
        (payload, None, "The record's salt was erased"),
        (payload + b" ", SALT, "they do not match the record's commitment"),
    ):
        found = explain(entry, policy, org="default", payload=given_payload, salt=salt)
        assert found.outcome == "undecided"
        assert sentence in found.text()
        assert found.policies[0].text.startswith("// Large transfers"), "the policy that decided is shown all the same"


def test_a_record_that_was_changed_comes_out_differently(compiled, call, caller):
    policy = compiled(CAP)
    entry, _ = made(call("web/fetch"), caller("app:ci"), policy)
    entry["decision"] = {**entry["decision"], "effect": "allow", "reasons": ["hub.grants"]}
    found = explain(entry, policy, org="default")
    assert found.outcome == "different"
    assert "(deny, apps)" in found.text()


def test_grants_are_not_in_the_policy_set_and_it_says_so(compiled, call, caller):
    policy = compiled(CAP)
    entry, _ = made(call("web/fetch"), caller(grants=(), version="2"), policy)
    found = explain(entry, policy, org="default")
    assert found.outcome == "undecided"
    assert "No grant of the caller covers it (no-grant, grant:no-door); policies were not asked." in found.text()


def test_another_policy_set_than_the_recorded_one_is_not_used(compiled, call, caller):
    policy = compiled(CAP)
    entry, _ = made(call("web/fetch"), caller(), policy)
    for other in (None, compiled()):
        found = explain(entry, other, org="default")
        assert found.outcome == "undecided"
        assert f"The policy set {policy.hash} is not at hand" in found.text()


def test_records_without_a_decision_and_lists_are_explained_too(compiled, caller, call):
    policy = compiled(CAP)
    listing = Call("1", "mcp.tools.list", "tools/list", "desk", b"", Credential(), 0.0)
    single = record.single(listing, caller(), None, status="ok", code="", us=1, reply=b"{}", salt=SALT)
    assert "It was answered or refused before policy was asked." in explain(single, policy, org="default").text()
    assert "at index 7" in explain({"kind": "mcp.tools.call.outcome", "intent": 7}, policy, org="default").text()
    decided = record.single(listing, caller(), policy.decide(listing, caller()), status="ok", code="", us=1, reply=None, salt=SALT)
    assert explain(decided, policy, org="default").outcome == "same"


def test_a_target_whose_name_was_cut_is_not_guessed(compiled, call, caller):
    policy = compiled(CAP)
    entry, _ = made(call("files/file:///" + "a" * 300, kind="resource"), caller(), policy)
    assert "name was cut" in explain(entry, policy, org="default").text()


@settings(max_examples=100, deadline=None)
@given(
    entry=st.dictionaries(
        st.sampled_from(["decision", "actor", "target", "commit", "kind", "id", "intent"]),
        st.none()
        | st.text(max_size=3)
        | st.dictionaries(
            st.sampled_from(["effect", "reasons", "policy_set", "kind", "name", "sub"]), st.text(max_size=3) | st.lists(st.text(max_size=3))
        ),
    )
)
def test_no_record_makes_it_raise(compiled, entry):
    assert explain(entry, None, org="default").text()


async def test_snapshots_are_kept_by_hash_across_restarts_and_checked(compiled, call, caller, tmp_path):
    policy = compiled(CAP)
    database = Database(tmp_path / "hub.db")
    database.open()
    await SqliteSnapshots(database).save(policy)
    await SqliteSnapshots(database).save(policy)
    await database.close()
    database = Database(tmp_path / "hub.db")
    database.open()
    again = kept(policy.hash, await SqliteSnapshots(database).body(policy.hash))
    assert again is not None
    assert again.decide(call("web/fetch"), caller("app:ci")) == Decision(False, ("apps",), policy.hash)
    assert kept("sha256:00", await SqliteSnapshots(database).body("sha256:00")) is None
    await database.write(lambda connection: connection.execute("UPDATE policy_sets SET body = ?", (os.urandom(8),)))
    with pytest.raises(PolicyInvalid, match="has another hash"):
        kept(policy.hash, await SqliteSnapshots(database).body(policy.hash))
    await database.close()


def test_the_hash_is_of_the_snapshot_and_other_bytes_are_refused(compiled):
    policy = compiled(CAP)
    assert policy.hash == f"sha256:{sha256(policy.snapshot()).hexdigest()}"
    for wrong in (b"", b"{}", b"\xff", b'{"v":2}'):
        with pytest.raises(PolicyInvalid):
            Policy.from_snapshot(wrong)
