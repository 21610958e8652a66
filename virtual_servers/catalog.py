"""What one downstream server offers: its full lists, item by item, exactly as it sent them. It does not know how they are shown.

Bounded in pages, items and bytes; a cursor that comes twice ends the list. An item that cannot be used is left out and named in
`problems`; it takes nothing else with it.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Literal, cast

import msgspec
from msgspec import Raw, Struct

from hub.call import timestamp
from hub.refusal import UpstreamFault
from virtual_servers import rpc
from virtual_servers.handshake import Hello
from virtual_servers.headers import Misplaced, Table, table

ItemKind = Literal["tool", "prompt", "resource", "template"]

KINDS = ("tools", "prompts", "resources")
"""The lists whose changes are announced, as the capabilities name them."""

PAGES = 200
"""Pages of one list."""
ITEMS = 5_000
"""Items of one server, over all lists."""
BYTES = 16 * 1024 * 1024
"""Bytes of items of one server, over all lists."""

UNKNOWN_METHOD = -32601

_LISTS: tuple[tuple[ItemKind, str, str, str, str], ...] = (
    ("tool", "tools", "tools/list", "tools", "name"),
    ("prompt", "prompts", "prompts/list", "prompts", "name"),
    ("resource", "resources", "resources/list", "resources", "uri"),
    ("template", "resources", "resources/templates/list", "resourceTemplates", "uriTemplate"),
)
"""Kind, capability that must be declared, method, member that holds the list, member that names an item."""


class Item(Struct, frozen=True):
    """One thing offered. `name`: tool or prompt name, resource URI, URI template. `raw`: its JSON as the server sent it."""

    kind: ItemKind
    name: str
    raw: bytes


class Catalogue(Struct, frozen=True):
    """Everything one server offers. `server_info` and `capabilities` are raw JSON objects; `fetched` is a time (RFC 3339)."""

    upstream: str
    era: str
    items: tuple[Item, ...]
    server_info: bytes
    capabilities: bytes
    instructions: str
    fetched: str
    problems: tuple[str, ...] = ()


Query = Callable[[str, bytes], Awaitable[rpc.Message]]
Tables = dict[str, Table]


class _Collector:
    """Gathers the lists of one server within the bounds."""

    def __init__(self, *, mirrored: bool) -> None:
        self.items: list[Item] = []
        self.problems: list[str] = []
        self.tables: Tables = {}
        self._mirrored = mirrored
        self._seen: set[tuple[str, str]] = set()
        self._bytes = 0

    @property
    def full(self) -> bool:
        return len(self.items) >= ITEMS or self._bytes >= BYTES

    def add(self, kind: ItemKind, member: str, raw: bytes, position: int) -> None:
        try:
            name = rpc.value(rpc.members(raw).get(member, Raw(b"null")))
        except rpc.Garbage:
            name = None
        if not isinstance(name, str) or not name:
            self.problems.append(f"{kind} {position} has no {member} and is left out")
            return
        if (kind, name) in self._seen:
            self.problems.append(f"{kind} {name[:128]!r} is listed twice; the first is used")
            return
        if kind == "tool" and self._mirrored and not self._mirror(name, raw):
            return
        self._seen.add((kind, name))
        self._bytes += len(raw)
        self.items.append(Item(kind, name, raw))

    def _mirror(self, name: str, raw: bytes) -> bool:
        """Read the tool's `x-mcp-header` marks; a tool with wrong ones must be left out (streamable HTTP, "Schema Extension")."""
        if b"x-mcp-header" not in raw and b"\\u" not in raw:
            return True
        try:
            schema = rpc.value(rpc.members(raw).get("inputSchema", Raw(b"null")))
            found = table(cast("dict[str, Any]", schema)) if isinstance(schema, dict) else {}
        except (Misplaced, rpc.Garbage) as problem:
            self.problems.append(f"tool {name[:128]!r} is left out: {problem}")
            return False
        if found:
            self.tables[name] = found
        return True


async def fetch(upstream: str, hello: Hello, query: Query, *, mirrored: bool) -> tuple[Catalogue, Tables]:
    """All lists the server declares, and what its tools want mirrored in headers where `mirrored`. Raises `Unavailable`."""
    gathered = _Collector(mirrored=mirrored)
    for kind, capability, method, member, naming in _LISTS:
        if hello.offers(capability):
            await _list(gathered, query, kind, method, member, naming)
    catalogue = Catalogue(
        upstream=upstream,
        era=hello.era,
        items=tuple(gathered.items),
        server_info=hello.server_info,
        capabilities=hello.capabilities,
        instructions=hello.instructions,
        fetched=timestamp(),
        problems=tuple(gathered.problems),
    )
    return catalogue, gathered.tables


async def _list(gathered: _Collector, query: Query, kind: ItemKind, method: str, member: str, naming: str) -> None:
    cursors: set[bytes] = set()
    params, position = b"", 0
    while True:
        message = await query(method, params)
        if message.error:
            _refused(gathered, kind, method, message.error)
            return
        items, cursor = _page(message.result, member)
        for raw in items:
            gathered.add(kind, naming, bytes(raw), position)
            position += 1
            if gathered.full:
                gathered.problems.append(f"{method} offers more than the hub takes; the rest is left out")
                return
        if not cursor:
            return
        if cursor in cursors or len(cursors) >= PAGES:
            gathered.problems.append(f"{method} does not come to an end; the rest is left out")
            return
        cursors.add(cursor)
        params = b'{"cursor":%b}' % cursor


def _page(result: bytes, member: str) -> tuple[list[Raw], bytes]:
    """The items of one page, and the raw cursor of the next (empty for none)."""
    try:
        page = rpc.members(result)
        items = msgspec.json.decode(page.get(member, Raw(b"null")), type=list[Raw])
    except (rpc.Garbage, msgspec.MsgspecError, RecursionError):
        raise UpstreamFault(f"the server's list of {member} is not one") from None
    cursor = bytes(page.get("nextCursor", Raw(b"")))
    return items, cursor if cursor[:1] == b'"' and cursor != b'""' else b""


def _refused(gathered: _Collector, kind: ItemKind, method: str, error: bytes) -> None:
    seen = rpc.error_object(error)
    if kind != "template" or seen is None or seen.code != UNKNOWN_METHOD:
        gathered.problems.append(f"{method} was refused by the server")
