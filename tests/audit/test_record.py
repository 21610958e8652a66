import hashlib
import re
import time

import pytest

from hub.audit import record
from hub.audit.entry import ProfileError, canonical
from hub.audit.receipt import Receipt
from hub.call import Decision

SALT = b"s" * 32


def test_an_intent_says_who_what_and_why(audit):
    call = audit.call(client_id="7", parent="p", flags=("float",))
    built = record.intent(call, audit.caller(), audit.allow, SALT)
    assert built.pop(record.SALT) == SALT
    assert built.pop("ts") <= record.now()
    assert built == {
        "id": call.id,
        "kind": "mcp.tools.call.intent",
        "actor": {"kind": "key", "id": "abcdefghijkl", "sub": "key:ci"},
        "target": {"door": "demo", "upstream": "time", "kind": "tool", "name": "now", "advertised": "time_now"},
        "decision": {"effect": "allow", "policy_set": "sha256:" + "a" * 64, "reasons": ["grants"]},
        "commit": {"req": "sha256:" + hashlib.sha256(SALT + call.payload).hexdigest(), "alg": "salted-sha256-v1"},
        "parent": "p",
        "client": "7",
        "trace": call.trace.trace_id,
        "flags": ["float"],
    }


def test_an_outcome_names_its_intent_and_commits_to_the_reply(audit):
    call = audit.call()
    built = record.outcome(
        call, audit.caller(), audit.allow, status="error", code="-32602", us=12, reply=b"", salt=SALT, of=Receipt("o", 9, b"")
    )
    assert built["kind"] == "mcp.tools.call.outcome"
    assert built["intent"] == 9
    assert "decision" not in built
    assert built["outcome"] == {"status": "error", "code": "-32602", "us": 12}
    assert built["commit"]["res"] == "sha256:" + hashlib.sha256(SALT).hexdigest()


def test_an_outcome_without_a_known_intent_says_the_decision_itself(audit):
    built = record.outcome(audit.call(), audit.caller(), audit.allow, status="ok", code="", us=1, reply=None, salt=SALT, of=None)
    assert built["decision"]["effect"] == "allow"
    assert "intent" not in built
    assert "commit" not in built


def test_a_refusal_is_one_record_with_the_denying_policies(audit):
    decision = Decision(False, ("no-exfil",), "sha256:b", ("broken: type error",))
    built = record.single(audit.call(target=None), audit.caller(), decision, status="refused", code="denied", us=3, reply=None, salt=SALT)
    assert built["kind"] == "mcp.tools.call"
    assert built["decision"] == {"effect": "deny", "policy_set": "sha256:b", "reasons": ["no-exfil"], "errors": ["broken: type error"]}
    assert built["target"] == {"door": "demo", "advertised": "time_now"}


def test_a_call_without_payload_name_or_decision_leaves_the_fields_out(audit):
    built = record.single(
        audit.call(payload=b"", name="", target=None, trace=None), audit.caller(), None, status="ok", code="", us=3, reply=None, salt=SALT
    )
    assert set(built) == {"id", "ts", "kind", "actor", "target", "outcome", record.SALT}


@pytest.mark.parametrize("hostile", ["x" * 100_000, "\ud800" * 9, "\x00" * 9, "😀" * 9999])
def test_no_string_of_a_caller_can_spoil_or_swell_a_record(audit, hostile):
    call = audit.call(name=hostile, client_id=hostile, door=hostile, parent=hostile, flags=(hostile,) * 99)
    for built in (
        record.intent(call, audit.caller(), Decision(True, (hostile,) * 99, "", (hostile,) * 99), SALT),
        record.single(call, audit.caller(), None, status="refused", code=hostile, us=3, reply=None, salt=SALT),
    ):
        del built[record.SALT]
        assert len(canonical(built)) < 200_000


def test_no_payload_and_no_credential_is_in_a_record(audit):
    call = audit.call(payload=b'{"secret":"canary"}')
    built = record.single(call, audit.caller(), audit.allow, status="ok", code="", us=1, reply=b"canary", salt=SALT)
    assert "canary" not in str(built)
    assert "hub_secret" not in str(built)


def test_an_event_leaves_empty_fields_out_and_cuts_long_ones():
    built = record.event("admin.key.create", actor={"id": "k"}, note="", text="x" * 9999, items=())
    assert set(built) == {"id", "ts", "kind", "actor", "text"}
    assert len(built["text"]) == 2048


def test_an_event_with_a_float_is_refused():
    with pytest.raises(ProfileError, match="float"):
        record.event("admin.key.create", age=1.5)


def test_time_is_utc_with_microseconds_and_moves():
    first = record.now()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", first)
    assert abs(time.mktime(time.strptime(first[:19], "%Y-%m-%dT%H:%M:%S")) - time.mktime(time.gmtime())) <= 2
    assert first <= record.now()


def test_a_receipt_reads_as_the_header_says():
    assert Receipt("hub-x/audit/org_1", 7, b"\xab" * 32).header() == "hub-x/audit/org_1/7;" + "ab" * 32
