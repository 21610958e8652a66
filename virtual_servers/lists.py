"""Lists as one caller sees them: filtered by grants and policy, serialised once per (view, policy, caller), served by page."""

import asyncio
import time
from collections import OrderedDict
from typing import Any

from hub.call import Caller
from hub.policy.decide import Policy
from hub.refusal import InvalidParams
from virtual_servers.pages import Pages
from virtual_servers.view import ListKind, View, legacy_result, modern_result

LISTS: dict[str, ListKind] = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "templates",
}
TTL_MS = 60_000
"""For how long a client of the newer era may take a list as fresh; a change is announced at once all the same."""

_KEPT = 1024
_TURN = 0.01
"""Seconds of work on one list before other calls have their turn: a policy may have to be asked about each of thousands of items."""


class Lists:
    """Keeps what it has serialised until it is displaced. One for all generations: its keys name the view and the policy."""

    def __init__(self, pages: Pages, server_info: bytes) -> None:
        self._pages = pages
        self._server_info = server_info
        self._kept: OrderedDict[tuple[str, ...], tuple[bytes, ...]] = OrderedDict()

    def forget(self) -> None:
        """Drop what was serialised: of views that are no longer served, nothing must be kept."""
        self._kept.clear()

    async def page(self, method: str, view: View, policy: Policy, caller: Caller, cursor: Any, *, modern: bool) -> bytes:
        """The raw `result` of a list request. Raises `InvalidParams` for a cursor that is not ours or is of an older list."""
        if cursor is not None and not isinstance(cursor, str):
            raise InvalidParams("cursor must be a string")
        kind = LISTS[method]
        items = await self._items(kind, view, policy, caller)
        start, stop, following = self._pages.window(f"{view.name}/{kind}/{caller.key_id}/{view.revision}", len(items), cursor)
        if modern:
            return modern_result(kind, items[start:stop], following or "", ttl_ms=TTL_MS, server_info=self._server_info)
        return legacy_result(kind, items[start:stop], following or "")

    async def _items(self, kind: ListKind, view: View, policy: Policy, caller: Caller) -> tuple[bytes, ...]:
        key = (kind, view.name, view.revision, policy.hash, caller.key_id, caller.grants_version)
        items = self._kept.get(key)
        if items is None:
            items = self._kept[key] = await _visible(kind, view, policy, caller)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return items


async def _visible(kind: ListKind, view: View, policy: Policy, caller: Caller) -> tuple[bytes, ...]:
    items: list[bytes] = []
    until = time.monotonic() + _TURN
    for route in view.routes(kind):
        if policy.visible(caller, view.name, route.target):
            items.append(route.item)
        if time.monotonic() > until:
            await asyncio.sleep(0)
            until = time.monotonic() + _TURN
    return tuple(items)
