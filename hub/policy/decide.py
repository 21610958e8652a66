"""The policy step: grants first, then Cedar over who, what, where and with which arguments. It knows no wire protocol and no store.

A `Policy` is immutable: a reload or a changed catalogue makes a new one, with a new hash. Decisions that no argument can change are
remembered; for the others Cedar is asked each time, with only the arguments that the policies read.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import cedarpy
from msgspec import Struct

from hub.call import Call, Caller, Decision, Target
from hub.config.callers import Policies
from hub.grants import granted
from hub.policy import cedar, engine, rules
from hub.policy.engine import Question, Ruling, Slice
from hub.policy.rules import Rule
from hub.policy.shapes import EMPTY, Shape
from hub.policy.source import Places, PolicyInvalid, Source, ToolType, collect, decode
from hub.policy.validate import check

__all__ = ["Places", "Policy", "PolicyInvalid", "ToolType", "endpoint_of"]

REMEMBERED = 4096
"""Pairs of caller and target kept; the least recently used goes."""


class _Entry(Struct):
    """What is known before the arguments: a decision that they cannot change, or the question to ask with them."""

    decision: Decision | None = None
    question: Question | None = None
    visible: bool | None = None


class Policy:
    """Decides calls. Make one with `compile` or `from_snapshot`."""

    def __init__(self, source: Source, snapshot: bytes, parsed: list[Rule], pending: tuple[str, ...], *, checked: bool) -> None:
        self._snapshot = snapshot
        self._default = source.default
        self._targets = {each.target: each for each in source.targets}
        self._doors = source.doors
        self._models = source.models
        self._providers = source.providers
        self._rules = [*parsed, rules.built_in()] if source.default == "grants" else parsed
        self._orgs = {rule.org: [r for r in self._rules if r.org in ("*", rule.org)] for rule in self._rules}
        self._everyone = [r for r in self._rules if r.org == "*"]
        self._checked = frozenset({rule.id for rule in self._rules} - set(pending) if checked else ())
        """Ids of policies that passed strict validation against the schema in force."""
        self._slices: dict[tuple[str, ...], Slice] = {}
        self._decisions: dict[Ruling, Decision] = {}
        self._entries: OrderedDict[Any, _Entry] = OrderedDict()
        self.hash = f"sha256:{sha256(snapshot).hexdigest()}"
        """`sha256:` and the hash of `snapshot()`: policies, default, and everything about the targets that policies can see."""
        self.pending = pending
        """Ids of policies not checked yet: they name tools of an upstream whose catalogue is awaited."""

    @staticmethod
    def compile(
        policies: Policies,
        base: Path,
        targets: Sequence[ToolType],
        places: Places,
        awaited: Collection[str] = (),
    ) -> "Policy":
        """Read, parse and strictly validate.

        `base` is the folder of `hub.yaml`, `awaited` names the upstreams that may have tools which are not among `targets` yet: policies
        on them wait, unchecked, in `pending`. Those that have targets are not waited for, so all that are configured may be named.
        Raises `PolicyInvalid`.
        """
        source = collect(policies, base, targets, places, awaited)
        parsed = rules.parse(source.sets)
        try:
            schema = cedarpy.Schema.from_str(_schema_text(source), release_gil=True)  # compiled off the loop, which goes on
        except ValueError as error:
            raise PolicyInvalid([f"the tools' schemas cannot be expressed for policies: {error}"]) from None
        return Policy(source, source.encode(), parsed, check(parsed, source, schema), checked=True)

    @staticmethod
    def from_snapshot(snapshot: bytes) -> "Policy":
        """The policy whose `snapshot()` this is, with the same hash. Raises `PolicyInvalid`."""
        source = decode(snapshot)
        return Policy(source, snapshot, rules.parse(source.sets), (), checked=False)

    def snapshot(self) -> bytes:
        """Canonical JSON of all that decides. With a caller's identity, a door, a target and arguments, it decides again the same."""
        return self._snapshot

    @property
    def schema_text(self) -> str:
        """The Cedar schema that policies are validated against."""
        return _schema_text(decode(self._snapshot))

    def decide(self, call: Call, caller: Caller) -> Decision:
        """Whether `caller` may make `call`, which has been resolved: `target`, `arguments` and `door` are what will be sent.

        A call without a target is the action `list` on its virtual server. Never raises on account of the arguments.
        """
        target = call.target
        endpoint = "" if target is None or target.kind != "model" else endpoint_of(call.kind)
        entry = self._entry(caller, call.door, target, endpoint)
        if entry.decision is not None:
            return entry.decision
        return self._decision(engine.rule(_asked(entry), call.arguments))

    def allows(self, caller: Caller, door: str, target: Target, endpoint: str) -> bool:
        """Whether `caller` may make model calls of this kind to this deployment of `door`."""
        entry = self._entry(caller, door, target, endpoint)
        return entry.decision is not None and entry.decision.allow

    def visible(self, caller: Caller, door: str, target: Target) -> bool:
        """Whether a list shows `target`: false where every call of it would be denied, whatever its arguments."""
        entry = self._entry(caller, door, target)
        if entry.visible is None:
            entry.visible = entry.decision.allow if entry.decision is not None else engine.possible(_asked(entry))
        return entry.visible

    def judge(self, caller: Caller, door: str, target: Target | None, arguments: Any, endpoint: str = "") -> Decision:
        """What Cedar alone says, the grants left aside and nothing remembered."""
        entry = self._ask(caller, door, target, endpoint)
        if entry.decision is not None:
            return entry.decision
        return self._decision(engine.rule(_asked(entry), arguments, plainly=True))

    def reads_arguments(self, caller: Caller, door: str, target: Target | None, endpoint: str = "") -> bool:
        """Whether a policy that applies to these reads an argument, so that deciding again takes the arguments."""
        return self._ask(caller, door, target, endpoint).question is not None

    def text_of(self, policy: str) -> str:
        """The policy's text as written, comments included; empty where there is none of that id."""
        return next((rule.text for rule in self._rules if rule.id == policy), "")

    def _entry(self, caller: Caller, door: str, target: Target | None, endpoint: str = "") -> _Entry:
        key = (caller.org, caller.subject, caller.key_id, caller.grants_version or (caller.grants, caller.ceilings), door, target, endpoint)
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
            return entry
        verdict = granted(caller, "model" if endpoint else "virtual_server", door, target, endpoint)
        if verdict.allowed:
            entry = self._ask(caller, door, target, endpoint)
        else:
            kind = rules.GRANT_DENY if verdict.reason.endswith("deny") else rules.NO_GRANT
            entry = _Entry(Decision(False, (kind, verdict.reason), self.hash))
        if len(self._entries) >= REMEMBERED:
            self._entries.popitem(last=False)
        self._entries[key] = entry
        return entry

    def _ask(self, caller: Caller, door: str, target: Target | None, endpoint: str = "") -> _Entry:
        """Settle what the arguments cannot change, or put the question together."""
        who = cedar.principal(caller)
        if who is None:
            return _Entry(Decision(False, (rules.UNKNOWN_SUBJECT,), self.hash))
        owner = self._owner(door, endpoint)
        found = self._resource(door, owner, target)
        if found is None:
            return _Entry(Decision(False, (rules.UNKNOWN_TARGET,), self.hash))
        what, shape = found
        action = cedar.action(target, endpoint)
        applying = [rule for rule in self._judges(caller.org, owner) if rule.applies(who, action, what)]
        ruling = engine.evident(applying)
        if ruling is not None:
            return _Entry(self._decision(ruling))
        part = self._slice(applying)
        checked = applying if self._checked.issuperset(rule.id for rule in applying) else ()
        question = engine.question(who, action, what, {"door": door, "key": caller.key_id}, shape, part, checked)
        return _Entry(question=question) if part.wanted is not None else _Entry(self._decision(engine.rule(question, None)))

    def _owner(self, door: str, endpoint: str) -> str | None:
        """The organisation a door belongs to; `provider:model` is the provider's. None where there is no such door."""
        if not endpoint:
            return self._doors.get(door)
        return self._models.get(door) or self._providers.get(door.partition(":")[0])

    def _judges(self, org: str, owner: str | None) -> list[Rule]:
        """The rules of the caller's organisation, and at a shared door those of the organisation that shares it."""
        own = self._orgs.get(org, self._everyone)
        return own if owner in (None, org) else [*own, *(rule for rule in self._orgs.get(owner, ()) if rule.org == owner)]

    def _resource(self, door: str, owner: str | None, target: Target | None) -> tuple[cedar.Node, Shape] | None:
        if target is not None and target.kind == "model":
            return cedar.resource(target, {}, cedar.alias(door, owner)), EMPTY
        through = cedar.door(door, owner)
        if target is None:
            return through, EMPTY
        if target.kind == "resource":
            return cedar.resource(target, {}, through), EMPTY
        known = self._targets.get(target)
        return None if known is None else (cedar.resource(target, known.traits, through), known.args)

    def _slice(self, applying: list[Rule]) -> Slice:
        key = tuple(rule.id for rule in applying)
        part = self._slices.get(key)
        if part is None:
            if len(self._slices) >= REMEMBERED:
                self._slices.clear()
            part = self._slices[key] = engine.cut(applying)
        return part

    def _decision(self, ruling: Ruling) -> Decision:
        """One object for each ruling there is: few rulings are made many times, and records keep what they say of one."""
        known = self._decisions.get(ruling)
        if known is None:
            if len(self._decisions) >= REMEMBERED:
                self._decisions.clear()
            known = self._decisions[ruling] = Decision(ruling.allow, ruling.reasons, self.hash, ruling.errors)
        return known


def endpoint_of(kind: str) -> str:
    """The kind of a model call as grants and policies name it: `llm.chat`, also as `llm.chat.intent`, is `chat`."""
    return kind.split(".")[1]


def _asked(entry: _Entry) -> Question:
    assert entry.question is not None  # an entry has one of the two
    return entry.question


def _schema_text(source: Source) -> str:
    return cedar.schema_text({each.target: each.args for each in source.targets})
