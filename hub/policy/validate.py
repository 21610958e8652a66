"""Whether policies say something about this hub: strict validation against its schema, and what Cedar's validator lets pass.

Cedar checks types and attributes. It does not know which entities exist, and it takes `context.args has amuont` for a condition that
is merely never true; both are errors here, because a forbid that can never apply protects nothing.
"""

import re
from collections.abc import Iterator
from typing import Any

import cedarpy

from hub.policy import cedar
from hub.policy.cedar import Node, Uid
from hub.policy.rules import Path, Rule, uids
from hub.policy.shapes import Shape
from hub.policy.source import PolicyInvalid, Source

_TARGETS = {"Hub::Tool": "tool", "Hub::Prompt": "prompt"}
_NOWHERE = "its head fits no call (a group of actions is named with `in`, one action with `==`)"
_GROUPS = {"call_tool": "tool", "get_prompt": "prompt"}


def check(rules: list[Rule], source: Source, schema: cedarpy.Schema) -> tuple[str, ...]:
    """Raises `PolicyInvalid` with a sentence for each fault.

    Returns the ids of policies that cannot be checked yet, because what they name, or all they can apply to, may be at an upstream in
    `source.awaited`: they stand in the set unchecked, where an evaluation error of theirs denies.
    """
    known = _Known(source)
    pending: list[str] = []
    problems: list[str] = []
    for rule in rules:
        if any(known.awaits(uid) for uid in uids(rule.tree)):
            pending.append(rule.id)
            continue
        said = list(_strange_names(rule, known)) or _typing(rule, schema)
        idle = said == [_NOWHERE] if said else bool(said := list(_idle_reads(rule, known)))
        if idle and known.may_grow(rule):
            pending.append(rule.id)
        else:
            problems += [f"policy {rule.id} (set {rule.set}): {sentence}" for sentence in said]
    if problems:
        raise PolicyInvalid(problems)
    return tuple(pending)


class _Known:
    """What exists in the hub, as Cedar names."""

    def __init__(self, source: Source) -> None:
        targets = [each.target for each in source.targets]
        self.actions: list[tuple[Node, Shape]] = [(cedar.action(each.target), each.args) for each in source.targets]
        self.upstreams = {each.upstream for each in source.targets}
        self.doors = source.doors
        self.models, self.providers = source.models, source.providers
        self._awaited = set(source.awaited)
        self._targets = {(cedar.KINDS[target.kind], str(target)) for target in targets}
        self._actions = {uid for action, _ in self.actions for uid in action.within}
        self._actions |= {("Hub::Action", f"call_model:{endpoint}") for endpoint in cedar.ENDPOINTS}

    def awaits(self, uid: Uid) -> bool:
        """Whether it names a tool or prompt of an upstream whose catalogue is not known yet."""
        kind, name = uid
        if kind == "Hub::Action":
            group, colon, name = name.partition(":")
            return bool(colon) and group in _GROUPS and name.split("/")[0] in self._awaited
        return kind in _TARGETS and name.split("/")[0] in self._awaited

    def may_grow(self, rule: Rule) -> bool:
        """Whether tools or prompts yet to come could be among what it applies to."""
        return (
            bool(self._awaited)
            and rule.action.exactly is None
            and any(rule.action.fits(cedar.node(("Hub::Action", group))) for group in _GROUPS)
        )

    def strange(self, uid: Uid) -> str:
        """A sentence when the hub has no such thing, else empty. Organisations, subjects and resources are open sets."""
        kind, name = uid
        if kind == "Hub::Action" and ":" in name and uid not in self._actions:
            group, _, target = name.partition(":")
            return f"there is no {_GROUPS.get(group, 'action')} {target}" if group in _GROUPS else f"there is no action {name}"
        if kind in _TARGETS and uid not in self._targets:
            return f"there is no {_TARGETS[kind]} {name}"
        if kind == "Hub::Upstream" and name not in self.upstreams and name not in self._awaited:
            return f"there is no upstream {name}"
        if kind == "Hub::VirtualServer" and name not in self.doors:
            return f"there is no virtual server {name}"
        return self._strange_model(kind, name)

    def _strange_model(self, kind: str, name: str) -> str:
        """Which models a provider has is an open set; which providers there are is not."""
        if kind == "Hub::Alias" and name not in self.models and name.partition(":")[0] not in self.providers:
            return f"there is no model {name}"
        if kind == "Hub::Provider" and name not in self.providers:
            return f"there is no provider {name}"
        if kind == "Hub::Model" and name.partition("/")[0] not in self.providers:
            return f"there is no provider {name.partition('/')[0]}"
        return ""


def _strange_names(rule: Rule, known: _Known) -> Iterator[str]:
    return filter(None, (known.strange(uid) for uid in sorted(uids(rule.tree))))


def _typing(rule: Rule, schema: cedarpy.Schema) -> list[str]:
    """What Cedar's strict validator says, in its words without its numbering, each once."""
    engine: Any = cedarpy  # its annotations are partial
    result: cedarpy.ValidationResult = engine.validate_policies(rule.text, schema, release_gil=True)
    return list(dict.fromkeys(_plain(error.error) for error in result.errors))


def _plain(error: str) -> str:
    error = re.sub(r"^for policy `[^`]*`, ", "", error)
    if optional := re.search(r"access to optional attribute `([^`]*)`", error):
        *parents, name = optional.group(1).split(".")
        return f"{optional.group(1)} may be absent: ask `{'.'.join(['context', *parents])} has {name}` before reading it"
    if "unable to find an applicable action" in error:
        return _NOWHERE
    return error


def _idle_reads(rule: Rule, known: _Known) -> Iterator[str]:
    """Arguments that the policy asks for and that nothing it applies to has."""
    shapes = [shape for action, shape in known.actions if rule.action.fits(action)] if rule.reads else []
    for path, _ in sorted(rule.reads):
        if not any(_has(shape, path) for shape in shapes):
            yield f"it asks for {'.'.join(('context.args', *path))}, which nothing it applies to has"


def _has(shape: Shape, path: Path) -> bool:
    for step in path:
        if step not in shape.fields:
            return False
        shape = shape.fields[step]
    return True
