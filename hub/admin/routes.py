"""Operators' routes: keys and status under `/admin/v1`, `/metrics`, `/health`. Errors are RFC 9457 problem documents.

Each route but the health checks names the one permission it needs; which role has it, and how far it reaches, is in one table
(`hub.identity.roles`). What is refused of a known caller is on record, once a second for each permission, code and key. What is changed is
on record before it is and after (`hub.audit.deed`).
"""

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.admin import budgets, contents, document, vault
from hub.admin.answers import answer, problem, read
from hub.admin.prices import Prices
from hub.audit import record
from hub.audit.deed import Deed
from hub.budget.override_desk import OverrideDesk
from hub.budget.price_desk import PriceDesk
from hub.call import Caller, Credential
from hub.capture.keeper import Keeper
from hub.identity.giving import Wanted, ended, given
from hub.identity.roles import Permission, may, scope, why_not
from hub.pipeline import authenticate
from hub.plan import Steps
from hub.refusal import Denied, Internal, InvalidParams, JournalDown, OutcomeUnrecorded, Refusal, Unauthenticated, Unavailable
from hub.routing.vault import Vault
from hub.telemetry.metrics import CONTENT_TYPE

log = logging.getLogger("hub.admin")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")

Handler = Callable[[Request], Awaitable[Response]]


class Admin:
    """The operators' application.

    `status` returns what `/admin/v1/status` shows; `ready` the reasons why the hub is not ready; `standing` what everybody may see of it
    beside them, who must be able to tell replicas apart that run different configurations; `surface` the OpenAPI document.
    """

    def __init__(
        self,
        steps: Steps,
        kept: Vault,
        status: Callable[[], Awaitable[dict[str, Any]]],
        ready: Callable[[], list[str]],
        standing: Callable[[], dict[str, Any]],
        prices: PriceDesk,
        overrides: OverrideDesk,
        keeper: Keeper,
        surface: Callable[[], str],
    ) -> None:
        self._steps = steps
        self._status = status
        self._ready = ready
        self._standing = standing
        self.exposition: Callable[[], Awaitable[bytes]] = self._own_metrics
        """The text of `/metrics`."""
        self.permissions: dict[Handler, Permission] = {}
        """What the handlers of guarded routes need."""
        self.app = Starlette(
            routes=[
                Route("/health", self._health),
                Route("/health/ready", self._readiness),
                *Prices(prices, self.deed).routes(self.guarded),
                Route("/metrics", self.guarded(self._metrics, "metrics:read")),
                Route("/admin/v1/status", self.guarded(self._show_status, "status:read")),
                Route("/admin/v1/keys", self.guarded(self._list_keys, "keys:read"), methods=["GET"]),
                Route("/admin/v1/keys", self.guarded(self._create_key, "keys:write"), methods=["POST"]),
                Route("/admin/v1/keys/{key}", self.guarded(self._revoke_key, "keys:write"), methods=["DELETE"]),
                *budgets.routes(self, overrides, steps.identity),
                *vault.routes(self, kept, keeper),
                *contents.routes(self, keeper),
                *document.routes(surface),
            ],
            exception_handlers={404: _not_found, 405: _not_found, 500: _failed},
        )

    def guarded(self, handler: Callable[[Request, Caller], Awaitable[Response]], permission: Permission) -> Handler:
        """A handler for callers who have the permission, whose refusals are answered as problem documents and are on record."""

        async def guarded(request: Request) -> Response:
            try:
                caller = await self._caller(request)
            except Refusal as refusal:
                return problem(refusal)
            try:
                if not may(caller, permission):
                    raise Denied(why_not(caller, permission), data={"permission": permission})
                return await handler(request, caller)
            except Refusal as refusal:
                return problem(await self._refused(request, caller, permission, refusal))
            except ValueError as error:
                return problem(await self._refused(request, caller, permission, InvalidParams(str(error))))

        self.permissions[guarded] = permission
        return guarded

    async def _caller(self, request: Request) -> Caller:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        secret = token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key") or request.headers.get("hub-key") or ""
        return await authenticate(self._steps, Credential(secret), request.client.host if request.client else "")

    async def _refused(self, request: Request, caller: Caller, permission: Permission, refusal: Refusal) -> Refusal:
        """Put a refusal on record; what to answer. The same key refused the same again within a second is counted only."""
        journal = self._steps.journal
        self._steps.metrics.refused(refusal.code)
        if isinstance(refusal, JournalDown | OutcomeUnrecorded) or refusal.recorded:
            return refusal
        if journal.repeats(f"{caller.key_id}/{permission}/{refusal.code}"):
            journal.coalesce(refusal.code, caller.key_id)
            return refusal
        asked = {**_asked(request), "permission": permission}
        outcome = {"status": "refused", "code": refusal.code}
        try:
            await journal.append(caller.org, record.event("admin.refused", actor=_actor(caller), change=asked, outcome=outcome))
        except JournalDown as down:
            return refusal if isinstance(refusal, Unavailable) else down  # who asked for a change is not told that it was not made
        return refusal

    async def _health(self, request: Request) -> Response:
        return answer(200, {"status": "ok"})

    async def _readiness(self, request: Request) -> Response:
        reasons = self._ready()
        return answer(503 if reasons else 200, {"status": "not ready" if reasons else "ready", "reasons": reasons, **self._standing()})

    async def _metrics(self, request: Request, caller: Caller) -> Response:
        return Response(await self.exposition(), media_type=CONTENT_TYPE)

    async def _own_metrics(self) -> bytes:
        return self._steps.metrics.render()

    async def _show_status(self, request: Request, caller: Caller) -> Response:
        return answer(200, await self._status())

    async def _list_keys(self, request: Request, caller: Caller) -> Response:
        mine = scope(caller, "keys:read")
        keys = await self._steps.identity.list(mine.org or request.query_params.get("org"))
        return answer(200, {"keys": [key for key in keys if mine.covers(key.org, key.subject)]})

    async def _create_key(self, request: Request, caller: Caller) -> Response:
        identity = self._steps.identity
        mine = identity.key(caller.key_id)
        if mine is None:  # revoked since it was presented
            raise Unauthenticated
        wanted = given(caller, mine, await read(request, Wanted, "a key to create"))
        async with self.deed(caller) as deed:
            made = await identity.create(**msgspec.structs.asdict(wanted), before=deed.begin)
            await self.done(deed, made.record)
        return answer(201, {"key": made.text, "info": made.key})

    async def _revoke_key(self, request: Request, caller: Caller) -> Response:
        identity, mine = self._steps.identity, scope(caller, "keys:write")
        meant = ended(caller, mine, await identity.find(mine.org, request.path_params["key"]))
        async with self.deed(caller) as deed:
            change = await identity.revoke(mine.org, meant.id, deed.begin)  # by its id: a name may be another's by now
            await self.done(deed, change.record)
        return answer(200, {"revoked": change.key})

    def deed(self, caller: Caller) -> Deed:
        """The records of a change that `caller` makes."""
        return Deed(self._steps.journal, _actor(caller))

    async def done(self, deed: Deed, fields: dict[str, Any]) -> None:
        """A change that was made goes on record; and it is answered, also where it could not, when it holds in every process."""
        try:
            await deed.done(fields)
        finally:
            await self._steps.identity.everywhere()

    async def recorded(self, caller: Caller, kind: str, org: str, fields: dict[str, Any]) -> None:
        """What is about to be shown goes on record."""
        await self._steps.journal.append(org, record.event(kind, actor=_actor(caller), change=fields))


def _asked(request: Request) -> dict[str, str]:
    """Which route was asked, and of what, where that reads like a name: somebody may have put a secret there."""
    path: str = request.scope["path"]
    found: dict[str, str] = {}
    for name, value in request.path_params.items():
        path = path.replace(f"/{value}", f"/{{{name}}}")
        if _NAME.fullmatch(value) and not value.startswith("hub_"):
            found[name] = value
    return {"method": request.method, "route": path, **found}


def _actor(caller: Caller) -> dict[str, str]:
    return {"kind": "admin", "id": caller.key_id, "sub": caller.subject}


async def _failed(request: Request, error: Exception) -> Response:
    """A fault of the hub's, which the server logs."""
    return problem(Internal("the hub failed to handle this request"))


async def _not_found(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    body = {"type": "about:blank", "title": "not found" if status == 404 else "method not allowed", "status": status, "code": "not_found"}
    return Response(orjson.dumps(body), status, media_type="application/problem+json")
