"""Puts one question to Cedar and reads the answer the safe way round: anything but a clean yes is a no. It knows no grants.

Cedar skips a policy whose evaluation fails and says so in its diagnostics, so that a `forbid` that fails would allow. Here any error
denies, as does an argument that a policy reads and that Cedar cannot hold. Cedar's own error texts quote values; ours never do.
"""

import re
from collections.abc import Sequence
from typing import Any

import cedarpy
import msgspec
import orjson
from cedarpy import _internal, pst  # pyright: ignore[reportPrivateUsage] - see _judge
from msgspec import Struct

from hub.policy import cedar, quick
from hub.policy.cedar import Node
from hub.policy.context import Reading, Wanted
from hub.policy.rules import NO_PERMIT, POLICY_ERROR, Rule
from hub.policy.shapes import Shape

_FAULTS = (
    ("does not have the attribute", "reads an attribute that is absent"),
    ("overflow", "overflows a 64-bit integer"),
    ("type error", "meets a value of the wrong type"),
    ("does not exist", "reads an entity that does not exist"),
)
_ENGINE: Any = cedarpy
"""Its functions take plain dicts, which its annotations leave open."""
_judge: Any = _internal.is_authorized_batch
"""What `cedarpy.is_authorized` calls. Around it, that copies the request and reads the answer with a slower parser: a fifth more."""

_UNKNOWN = {"__extn": {"fn": "unknown", "arg": "args"}}


class _Diagnostics(Struct):
    reason: list[str] = []
    errors: list[str] = []


class _Answer(Struct):
    decision: str
    diagnostics: _Diagnostics


_answer = msgspec.json.Decoder(_Answer)


class Ruling(Struct, frozen=True):
    """An answer. `reasons` are sorted ids of the deciding policies, or one of `hub.policy.rules.ANSWERS`."""

    allow: bool
    reasons: tuple[str, ...]
    errors: tuple[str, ...] = ()


class Slice(Struct, frozen=True):
    """The policies that apply to one kind of question, and what they read. `wanted` is None where none reads an argument."""

    policies: cedarpy.PolicySet
    wanted: Wanted | None
    facts: frozenset[str]


class Question(Struct, frozen=True):
    """Everything about a call but its arguments."""

    head: dict[str, Any]
    context: dict[str, str]
    shape: Shape
    part: Slice
    entities: cedarpy.Entities
    inner: Any
    """The same, as the engine itself holds it."""
    tests: tuple[tuple[Rule, quick.Test], ...] | None = None
    """The policies as plain functions, where all of them can be (`hub.policy.quick`)."""


def cut(rules: list[Rule]) -> Slice:
    """The Cedar policy set of these rules, under their own ids."""
    nodes = pst.PolicySet(pst.FrozenMap(), pst.FrozenMap({rule.id: rule.tree for rule in rules}), ())
    wanted = Wanted()
    for rule in rules:
        for path, whole in rule.reads:
            wanted.add(path, whole)
    return Slice(
        cedarpy.PolicySet.from_pst(nodes),
        wanted if any(rule.reads for rule in rules) else None,
        frozenset[str]().union(*(rule.facts for rule in rules)),
    )


def question(
    who: Node, action: Node, what: Node, context: dict[str, str], shape: Shape, part: Slice, checked: Sequence[Rule] = ()
) -> Question:
    """`checked`: the policies of `part`, where all of them passed strict validation."""
    text = orjson.dumps(cedar.entities_json(who, action, what)).decode()
    head = {"principal": cedar.uid_json(who.uid), "action": cedar.uid_json(action.uid), "resource": cedar.uid_json(what.uid)}
    facts = {name: value for name, value in context.items() if name in part.facts}
    entities = _ENGINE.Entities.from_json_str(text)
    tests = quick.tests(checked, who, action, what, shape) if checked else None
    return Question(head, facts, shape, part, entities, entities._inner, tests)


def evident(rules: list[Rule]) -> Ruling | None:
    """The ruling where every policy that applies is without conditions, which needs no engine. None where one has any."""
    if not all(rule.bare for rule in rules):
        return None
    forbids = tuple(sorted(rule.id for rule in rules if rule.forbids))
    permits = tuple(sorted(rule.id for rule in rules if not rule.forbids))
    return Ruling(not forbids and bool(permits), forbids or permits or (NO_PERMIT,))


def rule(asked: Question, arguments: Any, *, plainly: bool = False) -> Ruling:
    """Decide. `arguments` is parsed JSON of any shape. `plainly`: by Cedar itself, whatever else could."""
    context: dict[str, Any] = asked.context
    if asked.part.wanted is not None:
        reading = Reading()
        context = {**context, "args": reading.arguments(arguments, asked.shape, asked.part.wanted)}
        if reading.problems:
            return Ruling(False, (POLICY_ERROR,), tuple(reading.problems))
    if asked.tests is not None and not plainly:
        try:
            return _tested(asked.tests, context)
        except (LookupError, TypeError, RecursionError):  # nothing that was validated gets here: if it did, Cedar would have the word
            pass
    try:
        request = {**asked.head, "context": orjson.dumps(context).decode()}
        answer = _answer.decode(_judge([request], asked.part.policies, asked.inner, None, False)[0])
    except Exception:
        return Ruling(False, (POLICY_ERROR,), ("the policy engine could not read this call",))
    return _read(answer)


def _tested(tests: tuple[tuple[Rule, quick.Test], ...], context: dict[str, Any]) -> Ruling:
    """What Cedar says of policies of which these are satisfied (docs.cedarpolicy.com, authorization)."""
    satisfied = [rule for rule, test in tests if test(context)]
    forbids = [rule.id for rule in satisfied if rule.forbids]
    if forbids:
        return Ruling(False, tuple(sorted(forbids)))
    return Ruling(True, tuple(sorted([rule.id for rule in satisfied]))) if satisfied else Ruling(False, (NO_PERMIT,))


def _read(answer: _Answer) -> Ruling:
    fired = tuple(sorted(set(answer.diagnostics.reason)))
    errors = tuple(sorted({_plain(error) for error in answer.diagnostics.errors}))
    if answer.decision == "Allow" and not errors:
        return Ruling(True, fired)
    if answer.decision == "Deny":
        return Ruling(False, fired or ((POLICY_ERROR,) if errors else (NO_PERMIT,)), errors)
    return Ruling(False, (POLICY_ERROR,), errors or ("the policy engine made no decision",))


def possible(asked: Question) -> bool:
    """Whether some arguments might be allowed: Cedar's partial evaluation with the arguments unknown. A preview, never a decision.

    Where there can be no preview it is yes: what is hidden must be uncallable, and the call itself is decided in full.
    """
    context = orjson.dumps({**asked.context, "args": _UNKNOWN}).decode()
    request = {name: f"{uid['type']}::{cedar.quote(uid['id'])}" for name, uid in asked.head.items()} | {"context": context}
    try:
        result: cedarpy.PartialAuthzResult = _ENGINE.is_authorized_partial(request, asked.part.policies, asked.entities)
    except Exception:
        return True
    return not result.diagnostics.errors and result.decision is not cedarpy.Decision.Deny


def _plain(error: str) -> str:
    """What went wrong in which policy, without the values Cedar quotes."""
    found = re.match(r"error while evaluating policy `([^`]*)`: (.*)", error, re.DOTALL)
    if found is None:
        return "the policy engine could not read this call"
    said = found.group(2)
    return f"{found.group(1)} " + next((fault for sign, fault in _FAULTS if sign in said), "could not be evaluated")
