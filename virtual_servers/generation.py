"""One generation of what is served: every virtual server compiled against one set of catalogues and one policy. Immutable.

A call keeps the generation it began with; a reload or a changed catalogue makes the next one, which is swapped in whole.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Struct

from hub.call import Target
from hub.config.model import Config
from hub.policy.decide import Places, Policy, PolicyInvalid, ToolType
from virtual_servers.catalog import Catalogue, Item
from virtual_servers.compose import compose
from virtual_servers.door import Door, Sender
from virtual_servers.greeting import CHANGES
from virtual_servers.lists import Lists


class Generation(Struct, frozen=True):
    """`catalogues` are those it was made from; `problems` are sentences for the operator."""

    config: Config
    config_hash: str
    catalogues: Mapping[str, Catalogue]
    policy: Policy
    doors: dict[str, Door]
    problems: tuple[str, ...]


def build(
    config: Config,
    config_hash: str,
    base: Path,
    catalogues: Mapping[str, Catalogue],
    lists: Lists,
    sender: Callable[[str], Sender],
) -> Generation:
    """Compile everything. Takes milliseconds to a second, and no I/O but the policy files: run it off the loop. Raises `PolicyInvalid`."""
    views = {name: compose(name, spec, catalogues) for name, spec in config.virtual_servers.items()}
    awaited = [name for name in config.upstreams if name not in catalogues]
    policy = Policy.compile(config.policies, base, targets_of(catalogues), Places.of(config), awaited)
    doors = {name: Door(view, policy, lists, sender) for name, view in views.items()}
    problems = tuple(f"{name}: {problem}" for name, view in views.items() for problem in view.problems)
    return Generation(config, config_hash, catalogues, policy, doors, problems)


def build_what_fits(
    config: Config,
    config_hash: str,
    base: Path,
    catalogues: Mapping[str, Catalogue],
    before: Mapping[str, Catalogue],
    lists: Lists,
    sender: Callable[[str], Sender],
) -> Generation:
    """Like `build`, but an upstream whose new tools the policies do not fit keeps its catalogue of `before`, or is left out.

    Its tools cannot be called then, and no other upstream suffers from it. Raises `PolicyInvalid` where the policies are wrong whatever
    the tools are.
    """
    try:
        return build(config, config_hash, base, catalogues, lists, sender)
    except PolicyInvalid:
        fitting = {name: found for name, found in before.items() if name in catalogues}
    made = build(config, config_hash, base, fitting, lists, sender)
    problems: list[str] = []
    for name, catalogue in catalogues.items():
        if fitting.get(name) is catalogue:
            continue
        try:
            made = build(config, config_hash, base, {**fitting, name: catalogue}, lists, sender)
            fitting[name] = catalogue
        except PolicyInvalid as error:
            problems.append(f"upstream {name}: its tools are not taken up, the policies do not fit them: {error}")
    return msgspec.structs.replace(made, problems=(*made.problems, *problems))


def changes(before: Generation | None, after: Generation) -> dict[str, list[str]]:
    """Which notifications each virtual server owes to its listeners: door → methods."""
    if before is None:
        return {}
    everything = before.config.policies != after.config.policies
    found: dict[str, list[str]] = {}
    for name, door in after.doors.items():
        old = before.doors.get(name)
        if old is None or (not everything and old.view.revision == door.view.revision):
            continue
        found[name] = [method for kind, method in CHANGES.items() if everything or _shown(old, kind) != _shown(door, kind)]
    return found


def _shown(door: Door, kind: str) -> tuple[tuple[bytes, ...], ...]:
    view = door.view
    if kind == "resources":
        return view.list_bytes("resources"), view.list_bytes("templates")
    return (view.list_bytes("tools" if kind == "tools" else "prompts"),)


def targets_of(catalogues: Mapping[str, Catalogue]) -> list[ToolType]:
    """What policies can speak of: the tools and prompts of every upstream, whether a virtual server shows them or not."""
    items = ((name, item) for name, catalogue in catalogues.items() for item in catalogue.items)
    return [_target(name, item) for name, item in items if item.kind in ("tool", "prompt")]


class _Shape(Struct):
    inputSchema: msgspec.Raw = msgspec.Raw(b"")  # noqa: N815 (the protocol's name)
    annotations: Any = None


_shape = msgspec.json.Decoder(_Shape)


def _target(upstream: str, item: Item) -> ToolType:
    """What policies may see of a tool: its name, its schema and the annotations its server gave it."""
    kind = "tool" if item.kind == "tool" else "prompt"
    try:
        shape = _shape.decode(item.raw)
    except msgspec.MsgspecError:
        shape = _Shape()
    said: Any = shape.annotations
    annotations = cast("dict[str, Any]", said) if isinstance(said, dict) else dict[str, Any]()
    return ToolType(Target(upstream, kind, item.name), bytes(shape.inputSchema) or None, annotations)
