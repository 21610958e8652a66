"""Operators' routes to captured content, under `/admin/v1/contents`. Each reading of what was said is on record."""

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.admin.answers import answer, scope_of
from hub.call import Caller
from hub.capture.keeper import Keeper
from hub.capture.rows import ContentPart, Row
from hub.refusal import InvalidRequest

if TYPE_CHECKING:
    from hub.admin.routes import Admin

_AT = "/admin/v1/contents"


class _Routes:
    def __init__(self, admin: "Admin", keeper: Keeper) -> None:
        self._admin = admin
        self._keeper = keeper

    async def listed(self, request: Request, caller: Caller) -> Response:
        query = request.query_params
        org, limit = scope_of(caller) or query.get("org"), _number(query.get("limit"))
        rows = await self._keeper.listed(org, _number(query.get("before")), 50 if limit is None else limit)
        return answer(200, {"contents": [shown(row) for row in rows]})

    async def read(self, request: Request, caller: Caller) -> Response:
        row, parts = await self._keeper.shown(scope_of(caller), request.path_params["call"])
        await self._admin.recorded(caller, "admin.content.read", row.org, {"call": row.id})
        return answer(200, {"call": shown(row), "parts": parts})

    async def erase(self, request: Request, caller: Caller) -> Response:
        async with self._admin.deed(caller) as deed:
            row = await self._keeper.erase(scope_of(caller), request.path_params["call"], deed.begin)
            await self._admin.done(deed, {"call": row.id})
        return answer(200, {"erased": row.id})


def routes(admin: "Admin", keeper: Keeper) -> list[Route]:
    made = _Routes(admin, keeper)
    return [
        Route(_AT, admin.guarded(made.listed, "contents:list"), methods=["GET"]),
        Route(f"{_AT}/{{call}}", admin.guarded(made.read, "contents:read"), methods=["GET"]),
        Route(f"{_AT}/{{call}}", admin.guarded(made.erase, "contents:erase"), methods=["DELETE"]),
    ]


def shown(row: Row) -> dict[str, object]:
    """What is said of a part in a list: all but its content."""
    return {name: getattr(row, name) for name in ContentPart.__struct_fields__}


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InvalidRequest("`before` and `limit` are whole numbers")
    return int(text)
