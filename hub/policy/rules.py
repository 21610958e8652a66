"""One Cedar policy as a value: what it applies to and which arguments it reads, taken from its syntax tree. It does not evaluate.

Both are exact or err towards more: a policy that this file says does not apply cannot be satisfied, and an argument that it does not
name cannot be reached by the expression.
"""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, cast

from cedarpy import PolicySet, pst
from msgspec import Struct

from hub.policy.cedar import Node, Uid
from hub.policy.source import PolicyInvalid, SetText, statements

BUILT_IN = "hub.grants"
"""The permit that makes grants decide under `policies.default: grants`."""
NO_GRANT, GRANT_DENY = "no-grant", "grant-deny"
NO_PERMIT, POLICY_ERROR = "no-permit", "policy-error"
UNKNOWN_TARGET, UNKNOWN_SUBJECT = "unknown-target", "unknown-subject"
ANSWERS = frozenset({NO_GRANT, GRANT_DENY, NO_PERMIT, POLICY_ERROR, UNKNOWN_TARGET, UNKNOWN_SUBJECT})
"""Reasons that are not the id of a policy."""
FACTS = frozenset({"door", "key"})
"""What the context holds besides `args`."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.:/@+-]{0,127}")
Path = tuple[str, ...]


class Scope(Struct, frozen=True):
    """One part of a policy's head. What is set has to fit: the type, the entity itself, one of the entities it is in."""

    kind: str = ""
    exactly: Uid | None = None
    within: frozenset[Uid] | None = None

    def fits(self, node: Node) -> bool:
        return (
            (not self.kind or self.kind == node.uid[0])
            and (self.exactly is None or self.exactly == node.uid)
            and (self.within is None or not self.within.isdisjoint(node.within))
        )


class Rule(Struct, frozen=True):
    """A policy. `reads`: paths below `context.args`, each with whether the value or only its presence is read.

    `facts`: what it reads of the context besides.
    """

    id: str
    set: str
    org: str
    text: str
    tree: pst.Template
    principal: Scope
    action: Scope
    resource: Scope
    reads: frozenset[tuple[Path, bool]]
    facts: frozenset[str]

    @property
    def forbids(self) -> bool:
        return self.tree.effect == "forbid"

    @property
    def bare(self) -> bool:
        """Whether it is satisfied by everything it applies to."""
        return not self.tree.clauses

    def applies(self, who: Node, action: Node, what: Node) -> bool:
        """Whether its head fits the request."""
        return self.action.fits(action) and self.principal.fits(who) and self.resource.fits(what)


def built_in() -> Rule:
    anything = pst.ScopeAny()
    tree = pst.Template(BUILT_IN, "permit", anything, anything, anything, (), pst.FrozenMap())
    text = f'@id("{BUILT_IN}") permit(principal, action, resource);'
    return Rule(BUILT_IN, "", "*", text, tree, Scope(), Scope(), Scope(), frozenset(), frozenset())


def parse(sets: tuple[SetText, ...]) -> list[Rule]:
    """Every policy of every set, in order. Raises `PolicyInvalid` with all that is wrong."""
    rules: list[Rule] = []
    problems: list[str] = []
    for each in sets:
        for number, (line, text) in enumerate(statements(each.cedar), start=1):
            try:
                rules.append(_rule(each, number, text))
            except ValueError as error:
                problems.append(f"policy set {each.name}, policy {number} (line {line}): {error}")
    seen: dict[str, str] = {}
    for rule in rules:
        if rule.id in seen:
            problems.append(f"policy {rule.id}: the id is used twice, in set {seen[rule.id]} and in set {rule.set}")
        seen[rule.id] = rule.set
    if problems:
        raise PolicyInvalid(problems)
    return rules


def _rule(owner: SetText, number: int, text: str) -> Rule:
    parsed = PolicySet.from_str(text).to_pst()
    if parsed.templates:
        raise ValueError("templates (?principal, ?resource) are not supported")
    if len(parsed.static_policies) != 1:
        raise ValueError("expected one policy before the `;`")
    tree = next(iter(parsed.static_policies.values()))
    name = tree.annotations.get("id") or f"{owner.name}.{number}"
    if not _ID.fullmatch(name):
        raise ValueError("an @id is 1 to 128 letters, digits, spaces and any of _.:/@+- and begins with a letter or digit")
    if name in ANSWERS or name.startswith(("hub.", "grant:")):
        raise ValueError(f"the id {name} is the hub's own")
    read = set(_context_reads(tree.clauses))
    reads = frozenset((path[1:], whole) for path, whole in read if not path or path[0] == "args")
    facts = FACTS if ((), True) in read else frozenset(path[0] for path, _ in read if path and path[0] != "args")
    heads = _scope(tree.principal), _action_scope(tree.action), _scope(tree.resource)
    return Rule(name, owner.name, owner.org, text, replace(tree, id=name), *heads, reads, facts)


def _context_reads(root: Any) -> Iterator[tuple[Path, bool]]:
    """Every maximal chain of attributes on `context` below `root`, with whether its value is used or only its presence."""
    stack: list[Any] = [root]
    while stack:
        item = stack.pop()
        if isinstance(item, pst.HasAttr) and (path := _chain(item.base)) is not None:
            yield path + item.attrs, False
        elif isinstance(item, pst.GetAttr | pst.Var) and (path := _chain(item)) is not None:
            yield path, True
        elif isinstance(item, tuple):
            stack.extend(cast("tuple[Any, ...]", item))
        elif isinstance(item, dict):
            stack.extend(cast("dict[str, Any]", item).values())
        elif is_dataclass(item):
            stack.extend(getattr(item, field.name) for field in fields(item))


def _chain(item: Any) -> Path | None:
    """The attributes of `context.a.b`; None where the expression does not begin at `context`."""
    path: list[str] = []
    while isinstance(item, pst.GetAttr):
        path.append(item.attr)
        item = item.base
    return tuple(reversed(path)) if isinstance(item, pst.Var) and item.name == "context" else None


def uids(tree: pst.Template) -> set[Uid]:
    """Every entity a policy names, anywhere."""
    return {_uid(each) for each in pst.entity_uids(tree)}


def _scope(scope: pst.PrincipalOrResourceConstraint) -> Scope:
    match scope:
        case pst.ScopeAny():
            return Scope()
        case pst.ScopeEq(entity):
            return Scope(exactly=_named(entity))
        case pst.ScopeIn(entity):
            return Scope(within=frozenset({_named(entity)}))
        case pst.ScopeIs(kind):
            return Scope(str(kind))
        case pst.ScopeIsIn(kind, entity):
            return Scope(str(kind), within=frozenset({_named(entity)}))


def _action_scope(scope: pst.ActionConstraint) -> Scope:
    match scope:
        case pst.ScopeAny():
            return Scope()
        case pst.ActionEq(entity):
            return Scope(exactly=_uid(entity))
        case pst.ActionIn(entities):
            return Scope(within=frozenset(map(_uid, entities)))


def _named(entity: pst.EntityOrSlot) -> Uid:
    assert isinstance(entity, pst.EntityUid)  # templates were refused
    return _uid(entity)


def _uid(entity: pst.EntityUid) -> Uid:
    return str(entity.type), entity.id
