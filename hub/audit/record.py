"""Records of calls, built from the values of the governed path. Pure but for the clock; what the journal adds is not its concern.

A record holds commitments in place of payloads: `sha256:` over 32 random bytes and the payload. The salt travels to the journal under
`SALT`, which is no part of the record. Every string that a caller could choose is cut to 256 characters and made valid Unicode.
"""

import time
from hashlib import sha256
from typing import Any, Literal

from hub.audit.entry import INTENT, OUTCOME, check, mend, text
from hub.audit.receipt import Receipt
from hub.call import Call, Caller, Decision, Target, new_id

Status = Literal["ok", "error", "refused", "aborted", "unknown"]

SALT = "_salt"
ALGORITHM = "salted-sha256-v1"
"""`commit.alg`: SHA-256 over the record's salt followed by what is committed to (`Call.committed`), or by the reply, byte for byte."""

_MAX_ITEMS = 32
_MAX_STRING = 2048

_REMEMBERED = 4096

_second: tuple[int, str] = (0, "")
_actors: dict[str, tuple[Caller, dict[str, Any]]] = {}
_targets: dict[int, tuple[Target, str, str, dict[str, str]]] = {}
_decisions: dict[int, tuple[Decision, dict[str, Any]]] = {}


def intent(call: Call, caller: Caller, decision: Decision, salt: bytes) -> dict[str, Any]:
    """What is about to leave the hub. To be durable before it does."""
    record = _begin(call, caller, INTENT)
    record["decision"] = _decision(decision)
    if sent := call.committed or call.payload:
        record["commit"] = {"req": _commitment(salt, sent), "alg": ALGORITHM}
    record[SALT] = salt
    return record


def outcome(
    call: Call,
    caller: Caller,
    decision: Decision,
    *,
    status: Status,
    code: str,
    us: int,
    reply: bytes | None,
    salt: bytes,
    of: Receipt | None,
    like: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What became of an intent. `us` is the call's duration in microseconds, `of` the receipt of the intent.

    The decision is said once, by the intent; an outcome repeats it only where it could not be tied to one. `like` is the record of the
    intent, if it is at hand: what both say is then taken from it.
    """
    record = _begin(call, caller, OUTCOME) if like is None else _again(like, call.kind + OUTCOME)
    record["outcome"] = {"status": status, "code": text(code), "us": int(us)} if code else {"status": status, "us": int(us)}
    if of is None:
        record["decision"] = _decision(decision)
    else:
        record["intent"] = of.index
    if reply is not None:
        record["commit"] = {"res": _commitment(salt, reply), "alg": ALGORITHM}
    record[SALT] = salt
    return record


def single(
    call: Call,
    caller: Caller,
    decision: Decision | None,
    *,
    status: Status,
    code: str,
    us: int,
    reply: bytes | None,
    salt: bytes,
) -> dict[str, Any]:
    """A call that the hub answered by itself, or refused: one record says it all."""
    record = _begin(call, caller, "")
    record["outcome"] = {"status": status, "code": text(code), "us": int(us)} if code else {"status": status, "us": int(us)}
    if decision is not None:
        record["decision"] = _decision(decision)
    sent = call.committed or call.payload
    if sent or reply is not None:
        commit = record["commit"] = {"alg": ALGORITHM}
        if sent:
            commit["req"] = _commitment(salt, sent)
        if reply is not None:
            commit["res"] = _commitment(salt, reply)
    record[SALT] = salt
    return record


def event(kind: str, /, **fields: Any) -> dict[str, Any]:
    """Something that is no call: `admin.key.create`, `policy.change`, `log.recover`.

    Empty fields are left out, long strings cut. Raises `hub.audit.entry.ProfileError` for values that no record can hold.
    """
    record: dict[str, Any] = {"id": new_id(), "ts": now(), "kind": kind}
    record.update((name, mend(value, _MAX_STRING)) for name, value in fields.items() if value not in (None, "", (), [], {}))
    check(record)
    return record


def now() -> str:
    """`hub.call.timestamp()`, several times faster: the part up to the second is made once a second."""
    global _second  # noqa: PLW0603 - a memo of one value
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    at, head = _second
    if at != seconds:
        head = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(seconds))
        _second = (seconds, head)
    return f"{head}{nanoseconds // 1000:06d}Z"


def _begin(call: Call, caller: Caller, suffix: str) -> dict[str, Any]:
    record: dict[str, Any] = {"id": call.id, "ts": now(), "kind": call.kind + suffix, "actor": _actor(caller), "target": _target(call)}
    if call.parent:
        record["parent"] = text(call.parent)
    if call.client_id:
        record["client"] = text(call.client_id)
    if call.trace is not None:
        record["trace"] = call.trace.trace_id
    if call.flags:
        record["flags"] = [text(flag) for flag in call.flags[:_MAX_ITEMS]]
    return record


def _again(like: dict[str, Any], kind: str) -> dict[str, Any]:
    """The beginning of another record of the same call."""
    record = like.copy()
    del record["decision"]
    record.pop("commit", None)
    record["kind"] = kind
    record["ts"] = now()
    return record


def _actor(caller: Caller) -> dict[str, Any]:
    """The same for every call of a caller, and callers are made once for each key: so it is made once, and never changed."""
    known = _actors.get(caller.key_id)
    if known is not None and known[0] is caller:
        return known[1]
    subject = caller.subject
    actor: dict[str, Any] = {"kind": subject.partition(":")[0], "id": caller.key_id, "sub": text(subject)}
    if caller.chain:
        actor["chain"] = [text(link) for link in caller.chain[:_MAX_ITEMS]]
    if len(_actors) >= _REMEMBERED:
        _actors.clear()
    _actors[caller.key_id] = (caller, actor)
    return actor


def _target(call: Call) -> dict[str, str]:
    """The same for every call of a name at a door, whose target is made once for each generation."""
    target = call.target
    if target is None:
        return {"door": text(call.door), "advertised": text(call.name)} if call.name else {"door": text(call.door)}
    known = _targets.get(id(target))
    if known is not None and known[0] is target and known[1] == call.door and known[2] == call.name:
        return known[3]
    parts = {"door": text(call.door), "upstream": target.upstream, "kind": target.kind, "name": text(target.name)}
    if call.name and call.name != target.name:
        parts["advertised"] = text(call.name)
    if len(_targets) >= _REMEMBERED:
        _targets.clear()
    _targets[id(target)] = (target, call.door, call.name, parts)
    return parts


def _decision(decision: Decision) -> dict[str, Any]:
    """The same object for every call that a remembered decision is about."""
    known = _decisions.get(id(decision))
    if known is not None and known[0] is decision:
        return known[1]
    parts: dict[str, Any] = {"effect": "allow" if decision.allow else "deny"}
    if decision.policy_set:
        parts["policy_set"] = decision.policy_set
    if decision.reasons:
        parts["reasons"] = [text(reason) for reason in decision.reasons[:_MAX_ITEMS]]
    if decision.errors:
        parts["errors"] = [text(error) for error in decision.errors[:_MAX_ITEMS]]
    if len(_decisions) >= _REMEMBERED:
        _decisions.clear()
    _decisions[id(decision)] = (decision, parts)
    return parts


def _commitment(salt: bytes, payload: bytes) -> str:
    return "sha256:" + sha256(salt + payload).hexdigest()
