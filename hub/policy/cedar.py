"""How the hub's callers, targets and doors are written in Cedar: names, entities and the generated schema. It judges nothing."""

import unicodedata
from typing import Any

from msgspec import Struct

from hub.call import Caller, Target
from hub.policy.shapes import Shape

PRINCIPALS = {"key": "Hub::Key", "user": "Hub::User", "app": "Hub::App", "agent": "Hub::Agent"}
"""What a subject's prefix is in Cedar."""
KINDS = {"tool": "Hub::Tool", "prompt": "Hub::Prompt", "resource": "Hub::Resource", "model": "Hub::Model"}
GROUPS = {"tool": "call_tool", "prompt": "get_prompt", "resource": "read_resource", "model": "call_model"}
ENDPOINTS = ("chat", "responses", "messages", "completions", "count_tokens", "embeddings", "moderations")
"""Kinds of model calls: an action each, `call_model:<endpoint>`, in the group `call_model`."""

Uid = tuple[str, str]
"""An entity: (type, id)."""


class Node(Struct, frozen=True):
    """An entity of a request with everything it is in. `parents` are direct, `within` is all of them and itself."""

    uid: Uid
    attrs: dict[str, Any]
    parents: tuple[Uid, ...]
    within: frozenset[Uid]


def node(uid: Uid, attrs: dict[str, Any] | None = None, *parents: "Node") -> Node:
    within = frozenset({uid}).union(*(parent.within for parent in parents))
    return Node(uid, attrs or {}, tuple(parent.uid for parent in parents), within)


def principal(caller: Caller) -> Node | None:
    """The caller in its organisation; None where the subject is of no kind that policies can speak of."""
    prefix, _, name = caller.subject.partition(":")
    kind = PRINCIPALS.get(prefix)
    return None if kind is None or not name else node((kind, name), None, node(("Hub::Org", caller.org)))


def door(name: str, org: str | None) -> Node:
    """A virtual server, in the organisation that declared it."""
    return node(("Hub::VirtualServer", name), None, *(() if org is None else (node(("Hub::Org", org)),)))


def alias(name: str, org: str | None) -> Node:
    """A model as clients name it, in the organisation that declared it."""
    return node(("Hub::Alias", name), None, *(() if org is None else (node(("Hub::Org", org)),)))


def resource(target: Target, traits: dict[str, bool], through: Node) -> Node:
    """A tool, prompt or resource at its upstream, as reached through one virtual server; a model at its provider, through one alias."""
    attrs: dict[str, Any] = {"uri": target.name} if target.kind == "resource" else {"name": target.name, **traits}
    at = "Hub::Provider" if target.kind == "model" else "Hub::Upstream"
    return node((KINDS[target.kind], str(target)), attrs, node((at, target.upstream)), through)


def action(target: Target | None, endpoint: str = "") -> Node:
    """The action on a target; without one, `list`. In the group of their kind, tools and prompts have an action each, and so has each
    kind of model call."""
    if target is None:
        return node(("Hub::Action", "list"))
    group = node(("Hub::Action", GROUPS[target.kind]))
    if target.kind == "resource":
        return group
    return node(("Hub::Action", f"{group.uid[1]}:{endpoint if target.kind == 'model' else target}"), None, group)


def uid_json(uid: Uid) -> dict[str, str]:
    return {"type": uid[0], "id": uid[1]}


def entities_json(*nodes: Node) -> list[dict[str, Any]]:
    """Cedar's JSON for these entities and, without attributes, for everything they are in."""
    known: dict[Uid, dict[str, Any]] = {}
    for each in nodes:
        known[each.uid] = {
            "uid": uid_json(each.uid),
            "attrs": each.attrs,
            "parents": [uid_json(parent) for parent in sorted(each.within - {each.uid})],
        }
    for each in nodes:
        for uid in each.within:
            known.setdefault(uid, {"uid": uid_json(uid), "attrs": {}, "parents": []})
    return list(known.values())


def traits(annotations: dict[str, Any]) -> dict[str, bool]:
    """A tool's hints as policies see them; what is unsaid has MCP's default (schema 2026-07-28, `ToolAnnotations`).

    `destructiveHint` and `idempotentHint` mean something only for tools that are not read-only: unsaid, a read-only tool is not
    destructive and is idempotent.
    """

    def hint(name: str, default: bool) -> bool:
        said = annotations.get(name)
        return said if isinstance(said, bool) else default

    read_only = hint("readOnlyHint", False)
    return {
        "readOnly": read_only,
        "destructive": hint("destructiveHint", not read_only),
        "idempotent": hint("idempotentHint", read_only),
        "openWorld": hint("openWorldHint", True),
    }


_HEAD = """\
namespace Hub {
  entity Org;
  entity Key in [Org];
  entity User in [Org];
  entity App in [Org];
  entity Agent in [Org];
  entity VirtualServer in [Org];
  entity Upstream;
  entity Provider;
  entity Alias in [Org];
  entity Tool in [Upstream, VirtualServer] = { name: String, readOnly: Bool, destructive: Bool, idempotent: Bool, openWorld: Bool };
  entity Prompt in [Upstream, VirtualServer] = { name: String };
  entity Resource in [Upstream, VirtualServer] = { uri: String };
  entity Model in [Provider, Alias] = { name: String };

  action "call_tool";
  action "get_prompt";
  action "call_model";
"""
_APPLIES = "appliesTo { principal: [Key, User, App, Agent], resource: [%s], context: { door: String, key: String%s } };\n"


def schema_text(targets: dict[Target, Shape]) -> str:
    """The Cedar schema of a hub with these tools and prompts, in Cedar's own syntax."""
    lines = [_HEAD, '  action "list" ', _APPLIES % ("VirtualServer", ""), '  action "read_resource" ', _APPLIES % ("Resource", "")]
    lines += [f'  action "call_model:{endpoint}" in ["call_model"] {_APPLIES % ("Model", "")}' for endpoint in ENDPOINTS]
    for target, shape in targets.items():
        group, kind = GROUPS[target.kind], KINDS[target.kind].removeprefix("Hub::")
        lines.append(f'  action {quote(f"{group}:{target}")} in ["{group}"] {_APPLIES % (kind, ", args: " + _type(shape))}')
    return "".join([*lines, "}\n"])


def _type(shape: Shape) -> str:
    if shape.kind == "set":
        assert shape.element is not None
        return f"Set<{_type(shape.element)}>"
    if shape.kind == "record":
        fields = (f"{quote(name)}{'?' if field.optional else ''}: {_type(field)}" for name, field in shape.fields.items())
        return "{" + ", ".join(fields) + "}"
    return {"string": "String", "long": "Long", "bool": "Bool"}[shape.kind]


_ESCAPES = {'"': '\\"', "'": "\\'", "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}


def quote(text: str) -> str:
    """A Cedar string literal, escaped as Cedar itself would print it (it takes entity names in no other form)."""
    return '"' + "".join(_ESCAPES.get(char) or (char if _plain(char) else f"\\u{{{ord(char):x}}}") for char in text) + '"'


def _plain(char: str) -> bool:
    return char.isprintable() and (char.isascii() or unicodedata.category(char) not in ("Mn", "Me"))
