"""Operators' routes about budgets, under `/admin/v1/budgets`: which there are, and overriding one for a while."""

from typing import TYPE_CHECKING

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.admin.answers import answer, read, scope_of
from hub.budget.override_desk import OverrideDesk
from hub.budget.override_vet import Giver, Wish
from hub.budget.overrides import ALL
from hub.call import Caller
from hub.identity.authenticate import Identity
from hub.refusal import Denied, InvalidParams

if TYPE_CHECKING:
    from hub.admin.routes import Admin

_AT = "/admin/v1/budgets"


class _Routes:
    def __init__(self, admin: "Admin", desk: OverrideDesk, identity: Identity) -> None:
        self._admin = admin
        self._desk = desk
        self._identity = identity

    async def listed(self, request: Request, caller: Caller) -> Response:
        return answer(200, {"budgets": await self._desk.budgets(_seen(request, caller))})

    async def overrides(self, request: Request, caller: Caller) -> Response:
        wanted = request.query_params.get("ended", "false")
        if wanted not in ("true", "false"):
            raise InvalidParams("`ended` is true or false")
        return answer(200, {"overrides": await self._desk.listed(_seen(request, caller), ended=wanted == "true")})

    async def give(self, request: Request, caller: Caller) -> Response:
        wish = await read(request, Wish, "an override: `amount`, `until`, `reason`, and if wanted `mode`, `who`, `org`")
        own = scope_of(caller)
        if own is not None and wish.org not in ("", own):
            raise Denied("this key administers its own organisation only")
        budget = request.path_params["budget"]
        org = own or wish.org or "default"
        if wish.who != ALL and org != ALL and await self._counts_keys(budget, own):
            key = await self._identity.find(org, wish.who)
            if key is None:
                raise InvalidParams("no live key of the organisation has this name or id")
            wish = replace(wish, who=key.id)
        async with self._admin.deed(caller) as deed:
            change = await self._desk.give(budget, wish, _giver(caller), deed.begin)
            await self._admin.done(deed, change.record)
        return answer(201, {"override": change.shown})

    async def end(self, request: Request, caller: Caller) -> Response:
        async with self._admin.deed(caller) as deed:
            change = await self._desk.end(request.path_params["override"], _giver(caller), deed.begin)
            await self._admin.done(deed, change.record)
        return answer(200, {"ended": change.shown})

    async def _counts_keys(self, budget: str, org: str | None) -> bool:
        return any(one["budget"] == budget and one["scope"] == "key" for one in await self._desk.budgets(org))


def routes(admin: "Admin", desk: OverrideDesk, identity: Identity) -> list[Route]:
    made = _Routes(admin, desk, identity)
    return [
        Route(_AT, admin.guarded(made.listed, "budgets:read"), methods=["GET"]),
        Route(f"{_AT}/overrides", admin.guarded(made.overrides, "budgets:read"), methods=["GET"]),
        Route(f"{_AT}/{{budget}}/overrides", admin.guarded(made.give, "budgets:write"), methods=["POST"]),
        Route(f"{_AT}/overrides/{{override}}", admin.guarded(made.end, "budgets:write"), methods=["DELETE"]),
    ]


def _seen(request: Request, caller: Caller) -> str | None:
    return scope_of(caller) or request.query_params.get("org")


def _giver(caller: Caller) -> Giver:
    return Giver(scope_of(caller), caller.key_id, caller.subject)
