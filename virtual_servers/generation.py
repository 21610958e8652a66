"""One generation of what is served: every virtual server compiled against one set of catalogues and one policy. Immutable.

A call keeps the generation it began with; a reload or a changed catalogue makes the next one, which is swapped in whole.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import orjson
from msgspec import Struct

from hub.call import Target
from hub.config.model import Config
from hub.policy.decide import Policy, ToolType
from virtual_servers.catalog import Catalogue, Item
from virtual_servers.compose import compose
from virtual_servers.door import Door, Sender
from virtual_servers.greeting import CHANGES
from virtual_servers.lists import Lists


class Generation(Struct, frozen=True):
    """`problems` are sentences for the operator, each about one virtual server."""

    config: Config
    config_hash: str
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
    targets = [kind for catalogue in catalogues.values() for kind in _targets(catalogue)]
    orgs = {name: spec.org for name, spec in config.virtual_servers.items()}
    awaited = [name for name in config.upstreams if name not in catalogues]
    policy = Policy.compile(config.policies, base, targets, orgs, awaited)
    doors = {name: Door(view, policy, lists, sender) for name, view in views.items()}
    problems = tuple(f"{name}: {problem}" for name, view in views.items() for problem in view.problems)
    return Generation(config, config_hash, policy, doors, problems)


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


def _targets(catalogue: Catalogue) -> list[ToolType]:
    return [_target(catalogue.upstream, item) for item in catalogue.items if item.kind in ("tool", "prompt")]


class _Shape(Struct):
    inputSchema: msgspec.Raw = msgspec.Raw(b"")  # noqa: N815 (the protocol's name)
    annotations: msgspec.Raw = msgspec.Raw(b"")


_shape = msgspec.json.Decoder(_Shape)


def _target(upstream: str, item: Item) -> ToolType:
    """What policies may see of a tool: its name, its schema and the annotations its server gave it."""
    try:
        shape = _shape.decode(item.raw)
        annotations: Any = orjson.loads(shape.annotations) if shape.annotations else {}
    except (msgspec.MsgspecError, orjson.JSONDecodeError):
        shape, annotations = _Shape(), {}
    found = cast("dict[str, Any]", annotations) if isinstance(annotations, dict) else {}
    return ToolType(Target(upstream, "tool" if item.kind == "tool" else "prompt", item.name), bytes(shape.inputSchema) or None, found)
