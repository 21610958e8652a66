"""What the hub says of itself when a client opens: capabilities, identity, instructions, in the words of each era. Pure."""

from typing import Any

import orjson

from hub import __version__
from virtual_servers.catalog import KINDS
from virtual_servers.eras import MODERN, NEWEST_OLDER, OLDER
from virtual_servers.view import View

GOVERNED = frozenset(
    {"tools/list", "tools/call", "prompts/list", "prompts/get", "resources/list", "resources/templates/list", "resources/read"}
)
"""Methods both eras have and the governed path carries."""

CHANGES = {kind: f"notifications/{kind}/list_changed" for kind in KINDS}


class Greeting:
    """The hub's own identity. `serverInfo` is for display only (MCP server/discover)."""

    def __init__(self, name: str = "countersign", version: str = __version__) -> None:
        self.server_info: dict[str, Any] = {"name": name, "version": version, "title": "Countersign"}

    def discover(self, view: View) -> bytes:
        """The `DiscoverResult` of 2026-07-28."""
        result: dict[str, Any] = {
            "resultType": "complete",
            "supportedVersions": [MODERN],
            "capabilities": capabilities(view),
            **_instructions(view),
            "ttlMs": 60_000,
            "cacheScope": "private",
            "_meta": {"io.modelcontextprotocol/serverInfo": self._info(view)},
        }
        return orjson.dumps(result)

    def initialize(self, view: View, asked: str) -> tuple[str, bytes]:
        """(version agreed, `InitializeResult`): the version asked for when it is one of the older era, else the newest of them."""
        version = asked if asked in OLDER else NEWEST_OLDER
        result = {"protocolVersion": version, "capabilities": capabilities(view), "serverInfo": self._info(view), **_instructions(view)}
        return version, orjson.dumps(result)

    def _info(self, view: View) -> dict[str, Any]:
        return {**self.server_info, "title": view.title} if view.title else self.server_info


def capabilities(view: View) -> dict[str, Any]:
    """What this virtual server offers. Tools always: a list that is empty today may fill when an upstream comes back."""
    found: dict[str, Any] = {"tools": {"listChanged": True}}
    if view.prompts:
        found["prompts"] = {"listChanged": True}
    if view.resources or view.templates:
        found["resources"] = {"listChanged": True}
    return found


def _instructions(view: View) -> dict[str, Any]:
    return {"instructions": view.instructions} if view.instructions else {}
