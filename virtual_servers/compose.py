"""Compiles the declaration of a virtual server and what its upstreams offer into a view. Pure: the same input, the same view.

Order: the includes as written, and within one the upstream's own order, which its authors chose and clients cache by. What the hub
leaves out or cannot show is in `View.problems`; nothing an upstream sends makes it fail.
"""

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any, cast

import msgspec
from msgspec import Raw, Struct

from hub import jsonscan
from hub.call import Target
from hub.config.mcp import Override, VirtualServerSpec
from hub.refusal import Refusal
from virtual_servers.arguments import SchemaRefused, Validator
from virtual_servers.catalog import Catalogue, Item
from virtual_servers.headers import Misplaced, Table, table
from virtual_servers.names import Problem, assign
from virtual_servers.select import Selection, select
from virtual_servers.templates import Matcher, Shield, Unreadable
from virtual_servers.view import Gate, Route, View, accept

_members = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode
MAX_GATES = 256
"""Templates of one view that can be matched: each costs a look at every uri that is not listed."""

_IDENTITY = {"tool": "name", "prompt": "name", "resource": "uri", "template": "uriTemplate"}


class ComposeError(ValueError):
    """A declaration that names two things alike. `problems` are sentences."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class _Unfit(ValueError):
    """An item that cannot be shown; the sentence says why."""


class _Read(Struct, frozen=True):
    """An item that can be shown: parsed once, and sliced into raw members."""

    target: Target
    members: dict[str, Raw]
    raw: bytes
    parsed: dict[str, Any]
    check: Validator | None = None
    headers: Table = {}


def compose(name: str, spec: VirtualServerSpec, catalogues: Mapping[str, Catalogue], *, strict: bool = False) -> View:
    """The view of `spec`. `catalogues` by upstream name; one that is absent leaves its part out and is reported.

    Raises `ComposeError` only when `strict`, with the sentences of the problems that are errors.
    """
    selection = select(spec, catalogues)
    problems = list(selection.problems)
    read = _read_all(selection, problems)
    tools = _named(spec, "tool", spec.tools, read["tool"], selection, problems)
    prompts = _named(spec, "prompt", spec.prompts, read["prompt"], selection, problems)
    resources = {entry.target.name: Route(entry.target, entry.target.name, entry.raw) for entry in read["resource"]}
    templates = tuple(Route(entry.target, entry.target.name, entry.raw) for entry in read["template"])
    errors = tuple(problem.text for problem in problems if problem.severity == "error")
    if strict and errors:
        raise ComposeError(errors)
    instructions = spec.instructions or _instructions(selection, catalogues)
    return View(
        name=name,
        org=spec.org,
        shared=spec.shared,
        title=spec.title,
        instructions=instructions,
        tools=tools,
        prompts=prompts,
        resources=resources,
        templates=templates,
        revision=_revision(spec.title, instructions, (tools.values(), prompts.values(), resources.values(), templates)),
        gates=tuple(_gates(templates, resources, selection, problems)),
        problems=tuple(problems),
        upstreams=selection.upstreams,
        absent=selection.absent,
    )


def _read_all(selection: Selection, problems: list[Problem]) -> dict[str, list[_Read]]:
    """The items that can be shown, by kind. The first of two that say the same identity is kept."""
    found: dict[str, dict[str, _Read]] = {kind: {} for kind in _IDENTITY}
    for upstream, item in selection.taken:
        what = f"{item.kind} `{upstream}/{item.name}`"
        kept = found[item.kind].get(_slot(upstream, item))
        if kept is not None:
            problems.append(Problem("warning", f"{what} is listed by `{kept.target.upstream}` already: the first one is shown"))
            continue
        try:
            found[item.kind][_slot(upstream, item)] = _read(upstream, item)
        except _Unfit as reason:
            problems.append(Problem("warning", f"{what} is left out: {reason}"))
    return {kind: list(entries.values()) for kind, entries in found.items()}


def _slot(upstream: str, item: Item) -> str:
    """Uris are one space for all upstreams, for they are never rewritten; names are each upstream's own."""
    return item.name if item.kind in ("resource", "template") else f"{upstream}/{item.name}"


def _read(upstream: str, item: Item) -> _Read:
    try:
        value = jsonscan.scan(item.raw)
        members = _members.decode(item.raw)
    except Refusal as refusal:
        raise _Unfit(refusal.message) from None
    except msgspec.MsgspecError:
        raise _Unfit("it is not a JSON object") from None
    parsed = cast("dict[str, Any]", value)
    if not item.name or parsed.get(_IDENTITY[item.kind]) != item.name:
        raise _Unfit(f"its `{_IDENTITY[item.kind]}` is missing or empty")
    target = Target(upstream, "resource" if item.kind == "template" else item.kind, item.name)
    if item.kind != "tool":
        return _Read(target, members, item.raw, parsed)
    try:
        check = Validator(bytes(members.get("inputSchema", b"null")))
        mirrored = table(parsed["inputSchema"])
    except (SchemaRefused, Misplaced) as reason:
        raise _Unfit(f"its inputSchema cannot be used: {reason}") from None
    return _Read(target, members, item.raw, parsed, check, mirrored)


def _named(
    spec: VirtualServerSpec,
    kind: str,
    overrides: Mapping[str, Override],
    entries: list[_Read],
    selection: Selection,
    problems: list[Problem],
) -> dict[str, Route]:
    present = {str(entry.target) for entry in entries}
    problems += [
        Problem("warning", f"{kind}s: the override of `{key}` is of nothing that is shown")
        for key in overrides
        if key not in present and selection.known(key)
    ]
    names = assign(spec.naming, (entry.target for entry in entries), {key: override.name for key, override in overrides.items()})
    problems += names.problems
    routes: dict[str, Route] = {}
    for entry in entries:
        advertised = names.advertised.get(entry.target)
        if advertised is not None:
            routes[advertised] = _route(entry, advertised, overrides.get(str(entry.target), Override()))
    return routes


def _route(entry: _Read, advertised: str, override: Override) -> Route:
    annotations = {**_object(entry.parsed.get("annotations")), **(override.annotations or {})}
    schema = entry.members.get("inputSchema" if entry.target.kind == "tool" else "arguments")
    return Route(
        target=entry.target,
        advertised=advertised,
        item=_shown(entry, advertised, override),
        check=entry.check or accept,
        schema=None if schema is None else bytes(schema),
        annotations=annotations,
        headers=entry.headers,
    )


def _shown(entry: _Read, advertised: str, override: Override) -> bytes:
    """The item with the members replaced that the name and the override replace; the rest as the upstream wrote it, to the byte."""
    changed: dict[str, Any] = {}
    if advertised != entry.target.name:
        changed["name"] = advertised
    if override.title is not None:
        changed["title"] = override.title
    if override.description is not None:
        changed["description"] = override.description
    if override.annotations is not None:
        sliced: dict[str, Any] = {}
        if isinstance(entry.parsed.get("annotations"), dict):
            sliced.update(_members.decode(entry.members["annotations"]))
        changed["annotations"] = {**sliced, **override.annotations}
    return _encode({**entry.members, **changed}) if changed else entry.raw


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _gates(templates: Iterable[Route], resources: Mapping[str, Route], selection: Selection, problems: list[Problem]) -> Iterator[Gate]:
    shields = {
        upstream: Shield(upstream, (uri for uri in uris if uri not in resources), selection.denied(upstream))
        for upstream, uris in selection.uris.items()
    }
    for count, route in enumerate(templates):
        try:
            if count >= MAX_GATES:
                raise Unreadable(f"there are more than {MAX_GATES}")
            yield Gate(route, Matcher(route.advertised), shields[route.target.upstream])
        except Unreadable as reason:
            problems.append(Problem("warning", f"template `{route.target}` is shown but cannot be used: {reason}"))


def _instructions(selection: Selection, catalogues: Mapping[str, Catalogue]) -> str:
    """Those of the upstreams, where the declaration has none: verbatim for one, under the names of the upstreams for several."""
    said = [(name, catalogues[name].instructions) for name in selection.upstreams if name in catalogues and catalogues[name].instructions]
    if len(selection.upstreams) == 1:
        return said[0][1] if said else ""
    return "\n\n".join(f"{name}:\n{text}" for name, text in said)


def _revision(title: str, instructions: str, lists: Iterable[Iterable[Route]]) -> str:
    """A hash over everything shown, in order. Lengths go in with it, so that no two views say the same bytes."""
    digest = sha256()
    for part in _parts(title, instructions, lists):
        digest.update(b"%d:%b" % (len(part), part))
    return f"sha256:{digest.hexdigest()}"


def _parts(title: str, instructions: str, lists: Iterable[Iterable[Route]]) -> Iterator[bytes]:
    yield title.encode(errors="surrogatepass")
    yield instructions.encode(errors="surrogatepass")
    for routes in lists:
        items = [route.item for route in routes]
        yield b"%d" % len(items)
        yield from items
