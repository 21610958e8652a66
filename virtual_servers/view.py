"""A virtual server as a caller sees it: compiled once, immutable, every list already serialised. Knows no configuration and no caller.

What is not in a view cannot be called: there is no other way from an advertised name to a target.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from hub.call import Kind, Target
from virtual_servers.headers import Table
from virtual_servers.names import Problem
from virtual_servers.templates import Matcher, Shield, canonical

ListKind = Literal["tools", "prompts", "resources", "templates"]

MEMBER: Mapping[ListKind, str] = {"tools": "tools", "prompts": "prompts", "resources": "resources", "templates": "resourceTemplates"}
"""The member of the result that bears the list."""

_encode = msgspec.json.Encoder().encode


def accept(_: Any) -> None:
    """The check of what has no input schema."""


class Route(Struct, frozen=True):
    """The way from what is shown to what is meant. `item` is the JSON as advertised.

    `check` raises `InvalidParams` for arguments that do not fit. `schema` is raw: a tool's inputSchema, a prompt's `arguments`.
    `annotations` are as advertised, the operator's own included. `headers`: see `virtual_servers.headers.Table`.
    """

    target: Target
    advertised: str
    item: bytes
    check: Callable[[Any], None] = accept
    schema: bytes | None = None
    annotations: dict[str, Any] = field(default_factory=dict[str, Any])
    headers: Table = field(default_factory=dict[str, tuple[tuple[str, ...], str]])


class Gate(Struct, frozen=True):
    """What decides whether a uri that is not listed goes the way of a template."""

    route: Route
    matcher: Matcher
    shield: Shield


class View(Struct, frozen=True):
    """`tools` and `prompts` by advertised name, `resources` by uri. `revision` is `sha256:` and hex over everything shown.

    The target of a template's route names the uriTemplate. `gates` are for those templates that can be matched.
    `upstreams` are those it includes, `absent` those of them that have no catalogue yet.
    """

    name: str
    org: str
    shared: bool
    title: str
    instructions: str
    tools: dict[str, Route]
    prompts: dict[str, Route]
    resources: dict[str, Route]
    templates: tuple[Route, ...]
    revision: str
    gates: tuple[Gate, ...] = ()
    problems: tuple[Problem, ...] = ()
    upstreams: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    def resolve(self, kind: Kind, advertised: str) -> Route | None:
        """The route of an advertised name or uri; None for all that is not shown. A templated uri gets a route of its own."""
        if kind == "tool":
            return self.tools.get(advertised)
        if kind == "prompt":
            return self.prompts.get(advertised)
        return self.resources.get(advertised) or self._templated(advertised)

    def routes(self, kind: ListKind) -> tuple[Route, ...]:
        """All of one kind, in the order they are shown."""
        if kind == "templates":
            return self.templates
        routes: dict[str, Route] = getattr(self, kind)
        return tuple(routes.values())

    def list_bytes(self, kind: ListKind, allowed: frozenset[Target] | None = None) -> tuple[bytes, ...]:
        """The raw items of one kind, in order; `allowed` keeps those whose target is in it."""
        return tuple(route.item for route in self.routes(kind) if allowed is None or route.target in allowed)

    def _templated(self, uri: str) -> Route | None:
        """Its target bears the canonical spelling, so that a grant or a policy on `file:///etc/*` also sees `file:///%65tc/x`."""
        for gate in self.gates:
            name = canonical(uri) if gate.matcher.matches(uri) and not gate.shield.hides(uri) else None
            if name is not None:
                return Route(Target(gate.route.target.upstream, "resource", name), uri, gate.route.item)
        return None


def legacy_result(kind: ListKind, items: Sequence[bytes], cursor: str = "") -> bytes:
    """The `result` of a list for 2025-11-25 and earlier."""
    return b"{" + _list(kind, items, cursor) + b"}"


def modern_result(kind: ListKind, items: Sequence[bytes], cursor: str = "", *, ttl_ms: int, server_info: bytes) -> bytes:
    """The `result` of a list for 2026-07-28 (server/utilities/caching; basic, `_meta`). `server_info` is a raw `Implementation`.

    The scope is private: what a list holds depends on who asks, and all pages of a list must bear the same scope.
    """
    return b'{"resultType":"complete",%b,"ttlMs":%d,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":%b}}' % (
        _list(kind, items, cursor),
        ttl_ms,
        server_info,
    )


def _list(kind: ListKind, items: Sequence[bytes], cursor: str) -> bytes:
    body = b'"%b":[%b]' % (MEMBER[kind].encode(), b",".join(items))
    return body + b',"nextCursor":%b' % _encode(cursor) if cursor else body
