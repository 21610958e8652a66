"""Operators' routes to the vault, under `/admin/v1/vault`. Values go in and never come out."""

from typing import TYPE_CHECKING

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.admin.answers import OPERATORS, answer, read, scope_of
from hub.call import Caller
from hub.capture.keeper import Keeper
from hub.refusal import Denied
from hub.routing.vault import Vault
from hub.routing.vault_admin import OVERLAP, with_days

if TYPE_CHECKING:
    from hub.admin.routes import Admin

_AT = "/admin/v1/vault"


class NewValue(Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `PUT /admin/v1/vault/{name}`. It never prints itself."""

    value: str
    org: str = ""
    overlap: float = OVERLAP

    def __repr__(self) -> str:
        return "NewValue(***)"


class _Routes:
    def __init__(self, admin: "Admin", vault: Vault, keeper: Keeper) -> None:
        self._admin = admin
        self._vault = vault
        self._keeper = keeper

    async def listed(self, request: Request, caller: Caller) -> Response:
        org = scope_of(caller) or request.query_params.get("org")
        return answer(200, {"secrets": await self._vault.listed(org)})

    async def put(self, request: Request, caller: Caller) -> Response:
        wanted = await read(request, NewValue, "a value to keep: `value`, and if wanted `org` and `overlap`", secret=True)
        org = _org(caller, wanted.org)
        async with self._admin.deed(caller) as deed:
            change = await self._vault.put(org, request.path_params["name"], wanted.value, wanted.overlap, deed.begin)
            await self._admin.done(deed, change.record)
        return answer(200, {"set": change.shown})

    async def remove(self, request: Request, caller: Caller) -> Response:
        org = _org(caller, request.query_params.get("org", ""))
        async with self._admin.deed(caller) as deed:
            change = await self._vault.remove(org, request.path_params["name"], deed.begin)
            await self._admin.done(deed, change.record)
        return answer(200, {"removed": change.shown})

    async def rotate(self, request: Request, caller: Caller) -> Response:
        async with self._admin.deed(caller) as deed:
            await deed.begin(await self._vault.rotation())
            days = await self._keeper.rotate()
            change = with_days(await self._vault.rotate(), days)
            await self._admin.done(deed, change.record)
        return answer(200, {"rotated": change.shown})


def routes(admin: "Admin", vault: Vault, keeper: Keeper) -> list[Route]:
    made = _Routes(admin, vault, keeper)
    return [
        Route(_AT, admin.guarded(made.listed, "vault:read"), methods=["GET"]),
        Route(f"{_AT}/rotate", admin.guarded(made.rotate, "vault:rotate"), methods=["POST"]),
        Route(f"{_AT}/{{name}}", admin.guarded(made.put, "vault:write"), methods=["PUT"]),
        Route(f"{_AT}/{{name}}", admin.guarded(made.remove, "vault:write"), methods=["DELETE"]),
    ]


def _org(caller: Caller, wanted: str) -> str:
    """The organisation meant: the caller's own, unless an operator of the hub names another."""
    own = scope_of(caller)
    if own is not None and wanted not in ("", own):
        raise Denied("this key administers its own organisation only")
    return wanted or own or OPERATORS
