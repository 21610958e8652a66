"""Why a recorded decision was made, and whether the recorded policies make it again. Pure: it is given the record and the policies.

The record names the caller, the door, the target and the policy set, not the arguments. Where a policy reads arguments they have to be
given, and count only if they match the record's commitment (`commit.req`: SHA-256 of the salt and the raw `arguments` as sent).
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct

from hub.call import Caller, Decision, Target
from hub.policy.decide import Policy, endpoint_of
from hub.policy.rules import ANSWERS, BUILT_IN, GRANT_DENY, NO_GRANT, NO_PERMIT, UNKNOWN_SUBJECT, UNKNOWN_TARGET

_CEILING = re.compile(r"grant:((?:user|app|team|project):[^:]+):")
"""The beginning of a reason in which not the caller's own grants say no (`hub.grants`)."""

_ANSWERED = {
    NO_PERMIT: "No policy permits it, and under `policies.default: deny` that is a no.",
    UNKNOWN_TARGET: "The hub knew no such tool or prompt when it decided.",
    UNKNOWN_SUBJECT: "Policies cannot speak of a subject of this kind, and so nothing is allowed to it.",
}


class Fired(Struct, frozen=True):
    """A policy that decided, with its text as the operator wrote it (empty where the set is not at hand)."""

    id: str
    text: str


class Explanation(Struct, frozen=True):
    """`outcome`: the decision was made again and is the same, or is not; or it could not be made again, and `sentences` say why."""

    outcome: Literal["same", "different", "undecided"]
    effect: str
    policy_set: str
    reasons: tuple[str, ...]
    errors: tuple[str, ...]
    policies: tuple[Fired, ...]
    sentences: tuple[str, ...]
    again: Decision | None = None

    def text(self) -> str:
        """For people: the sentences, then each policy that decided with its text."""
        parts = [*self.sentences, *(f"  error: {error}" for error in self.errors)]
        for fired in self.policies:
            parts += ["", f"{fired.id}:", *(f"  {line}" for line in fired.text.splitlines())]
        return "\n".join(parts)


def explain(
    record: Mapping[str, Any], policy: Policy | None, *, org: str, payload: bytes | None = None, salt: bytes | None = None
) -> Explanation:
    """Explain one record of a call and decide it again.

    `record` is an intent, or the one record of a call that was not sent; `policy` the one its `policy_set` names, None where it is not
    kept; `org` the organisation whose journal it is from. `payload` is the JSON of the request's `arguments` as sent, `salt` the record's,
    None where it was erased. Never raises on account of the record's content.
    """
    said = _object(record.get("decision"))
    reasons, errors = _strings(said.get("reasons")), _strings(said.get("errors"))
    effect, policy_set = str(said.get("effect", "")), str(said.get("policy_set", ""))
    right = policy is not None and policy.hash == policy_set
    fired = tuple(Fired(reason, policy.text_of(reason) if policy and right else "") for reason in reasons if _is_policy(reason))
    obstacle, again = _again(record, policy if right else None, org, payload, salt)
    sentences = (*_account(record, effect, reasons), obstacle)
    outcome: Literal["same", "different", "undecided"] = "undecided"
    if again is not None:
        same = again.allow == (effect == "allow") and again.reasons[: len(reasons)] == reasons
        outcome = "same" if same else "different"
        sentences = (*sentences[:-1], _verdict(again, same))
    return Explanation(outcome, effect, policy_set, reasons, errors, fired, tuple(filter(None, sentences)), again)


def _account(record: Mapping[str, Any], effect: str, reasons: tuple[str, ...]) -> list[str]:
    """What the record itself says."""
    actor, target = _object(record.get("actor")), _object(record.get("target"))
    if not effect:
        return [f"Record {record.get('id', '')} ({record.get('kind', '')}) holds no decision of policy."]
    what = f"{target['upstream']}/{target.get('name', '')}" if "upstream" in target else "the list"
    verb = "was allowed" if effect == "allow" else "was denied"
    lines = [f"{actor.get('sub', 'A caller')} {verb} {record.get('kind', '')} of {what} at {target.get('door', '')}."]
    if (unit := _ceiling(reasons)) and reasons[-1].endswith(":undeclared"):
        lines.append(f"No such unit as {unit} is declared, so its keys may use nothing ({', '.join(reasons)}); policies were not asked.")
    elif unit and GRANT_DENY in reasons:
        lines.append(f"The caller's grants allow it, but {unit} denies it ({', '.join(reasons)}); policies were not asked.")
    elif unit:
        lines.append(f"The caller's grants allow it, but not those of {unit} ({', '.join(reasons)}); policies were not asked.")
    elif NO_GRANT in reasons:
        lines.append(f"No grant of the caller covers it ({', '.join(reasons)}); policies were not asked.")
    elif GRANT_DENY in reasons:
        lines.append(f"A grant of the caller denies it ({', '.join(reasons)}); policies were not asked.")
    elif BUILT_IN in reasons:
        lines.append("The caller's grants allow it and no policy forbids it.")
    elif policies := [reason for reason in reasons if _is_policy(reason)]:
        lines.append(f"{'Permitted' if effect == 'allow' else 'Forbidden'} by {', '.join(policies)}.")
    else:
        lines += [_ANSWERED.get(reason, "A policy could not be evaluated, and that is a no.") for reason in reasons]
    return lines


def _ceiling(reasons: tuple[str, ...]) -> str:
    """The unit whose ceiling refused, such as `team core`; empty where none did."""
    found = next((said[1] for reason in reasons if (said := _CEILING.match(reason))), "")
    return found.replace(":", " ", 1)


def _again(
    record: Mapping[str, Any], policy: Policy | None, org: str, payload: bytes | None, salt: bytes | None
) -> tuple[str, Decision | None]:
    """Decide again: (what stands in the way, None) or ("", the decision)."""
    said, actor, place = (_object(record.get(part)) for part in ("decision", "actor", "target"))
    if not said:
        if "intent" in record:
            return f"Its decision is in the record of its intent, at index {record['intent']}.", None
        return "It was answered or refused before policy was asked.", None
    if {NO_GRANT, GRANT_DENY} & set(_strings(said.get("reasons"))):
        return "Grants are not part of the policy set: this cannot be decided again from the record.", None
    if policy is None:
        return f"The policy set {said.get('policy_set', '')} is not at hand: this cannot be decided again.", None
    target = _target(place)
    if target is not None and target.name.endswith("…"):
        return "The target's name was cut in the record: this cannot be decided again.", None
    caller = Caller(org, str(actor.get("sub", "")), str(actor.get("id", "")))
    door = str(place.get("door", ""))
    endpoint = endpoint_of(str(record.get("kind", ""))) if target is not None and target.kind == "model" else ""
    if not policy.reads_arguments(caller, door, target, endpoint):
        return "", policy.judge(caller, door, target, None, endpoint)
    commitment = str(_object(record.get("commit")).get("req", ""))
    obstacle, arguments = _arguments(commitment, payload, salt)
    return (obstacle, None) if obstacle else ("", policy.judge(caller, door, target, arguments))


def _arguments(commitment: str, payload: bytes | None, salt: bytes | None) -> tuple[str, Any]:
    """The arguments in `payload`, if that is what was sent: (what is wrong, None) or ("", arguments)."""
    if payload is None:
        return "The policies read arguments, which the record does not hold: give the request's `arguments` as they were sent.", None
    if salt is None:
        return "The record's salt was erased, so nobody can show which arguments were sent.", None
    if f"sha256:{sha256(salt + payload).hexdigest()}" != commitment:
        return "The arguments given are not the ones that were sent: they do not match the record's commitment.", None
    try:
        arguments: Any = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "The arguments given are not JSON.", None
    return "", arguments


def _verdict(again: Decision, same: bool) -> str:
    if same:
        return "Decided again with the recorded policy set: the same."
    said = f"{'allow' if again.allow else 'deny'}, {', '.join(again.reasons)}"
    return f"Decided again with the recorded policy set it comes out differently ({said}): this hub does not decide as the record says."


def _target(place: Mapping[str, Any]) -> Target | None:
    kind = place.get("kind")
    if kind not in ("tool", "prompt", "resource", "model"):
        return None
    return Target(str(place.get("upstream", "")), kind, str(place.get("name", "")))


def _is_policy(reason: str) -> bool:
    return reason not in ANSWERS and not reason.startswith("grant:")


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(str(each) for each in cast("list[Any]", value)) if isinstance(value, list | tuple) else ()
