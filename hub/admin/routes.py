"""Operators' routes: keys and status under `/admin/v1`, `/metrics`, `/health`. Errors are RFC 9457 problem documents.

Everything but the health checks needs a key with the admin role (reading: auditor as well). Administrators of the organisation
`default` run the hub; those of any other see and change the keys of their own organisation and nothing else.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.admin import contents, vault
from hub.admin.answers import OPERATORS, answer, problem, read, scope_of
from hub.admin.prices import Prices
from hub.audit import record
from hub.budget.price_desk import PriceDesk
from hub.call import Caller, Credential, Grant
from hub.capture.keeper import Keeper
from hub.pipeline import authenticate
from hub.plan import Steps
from hub.refusal import Denied, InvalidParams, Refusal
from hub.routing.vault import Vault
from hub.telemetry.metrics import CONTENT_TYPE

log = logging.getLogger("hub.admin")

Handler = Callable[[Request], Awaitable[Response]]


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST /admin/v1/keys`."""

    name: str
    org: str = "default"
    subject: str = ""
    grants: tuple[Grant, ...] = ()
    roles: tuple[str, ...] = ()
    expires: str = ""


class Admin:
    """The operators' application.

    `status` returns what `/admin/v1/status` shows; `ready` the reasons why the hub is not ready; `standing` what everybody may see of it
    beside them, who must be able to tell replicas apart that run different configurations.
    """

    def __init__(
        self,
        steps: Steps,
        kept: Vault,
        status: Callable[[], Awaitable[dict[str, Any]]],
        ready: Callable[[], list[str]],
        standing: Callable[[], dict[str, Any]],
        prices: PriceDesk,
        keeper: Keeper,
    ) -> None:
        self._steps = steps
        self._status = status
        self._ready = ready
        self._standing = standing
        self.exposition: Callable[[], Awaitable[bytes]] = self._own_metrics
        """The text of `/metrics`."""
        self.app = Starlette(
            routes=[
                Route("/health", self._health),
                Route("/health/ready", self._readiness),
                *Prices(prices, steps.journal, self.of_hub).routes(self.guarded),
                Route("/metrics", self.guarded(self._metrics, "admin", "auditor")),
                Route("/admin/v1/status", self.guarded(self._show_status, "admin", "auditor")),
                Route("/admin/v1/keys", self.guarded(self._list_keys, "admin", "auditor"), methods=["GET"]),
                Route("/admin/v1/keys", self.guarded(self._create_key, "admin"), methods=["POST"]),
                Route("/admin/v1/keys/{key}", self.guarded(self._revoke_key, "admin"), methods=["DELETE"]),
                *vault.routes(self, kept, keeper),
                *contents.routes(self, keeper),
            ],
            exception_handlers={404: _not_found, 405: _not_found},
        )

    def guarded(self, handler: Callable[[Request, Caller], Awaitable[Response]], *roles: str) -> Handler:
        """A handler for callers with one of these roles, whose refusals are answered as problem documents."""

        async def guarded(request: Request) -> Response:
            try:
                caller = self._admit(request, roles)
                return await handler(request, caller)
            except Refusal as refusal:
                return problem(refusal)
            except ValueError as error:
                return problem(InvalidParams(str(error)))

        return guarded

    def _admit(self, request: Request, roles: tuple[str, ...]) -> Caller:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        secret = token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key") or request.headers.get("hub-key") or ""
        caller = authenticate(self._steps, Credential(secret), request.client.host if request.client else "")
        if not set(roles) & set(caller.roles):
            raise Denied(f"this needs a key with the role {' or '.join(roles)}")
        return caller

    def of_hub(self, caller: Caller) -> None:
        """What shows the whole hub is for the hub's own operators only."""
        if scope_of(caller) is not None:
            raise Denied(f"this needs a key of the organisation {OPERATORS}")

    async def _health(self, request: Request) -> Response:
        return answer(200, {"status": "ok"})

    async def _readiness(self, request: Request) -> Response:
        reasons = self._ready()
        return answer(503 if reasons else 200, {"status": "not ready" if reasons else "ready", "reasons": reasons, **self._standing()})

    async def _metrics(self, request: Request, caller: Caller) -> Response:
        self.of_hub(caller)
        return Response(await self.exposition(), media_type=CONTENT_TYPE)

    async def _own_metrics(self) -> bytes:
        return self._steps.metrics.render()

    async def _show_status(self, request: Request, caller: Caller) -> Response:
        self.of_hub(caller)
        return answer(200, await self._status())

    async def _list_keys(self, request: Request, caller: Caller) -> Response:
        org = scope_of(caller) or request.query_params.get("org")
        return answer(200, {"keys": await self._steps.identity.list(org)})

    async def _create_key(self, request: Request, caller: Caller) -> Response:
        wanted = await read(request, NewKey, "a key to create")
        if scope_of(caller) not in (None, wanted.org):
            raise Denied("this key administers its own organisation only")
        made = await self._steps.identity.create(
            wanted.org, wanted.name, subject=wanted.subject, grants=wanted.grants, roles=wanted.roles, expires=wanted.expires
        )
        await self.recorded(caller, made.kind, made.key.org, made.record)
        return answer(201, {"key": made.text, "info": made.key})

    async def _revoke_key(self, request: Request, caller: Caller) -> Response:
        change = await self._steps.identity.revoke(scope_of(caller), request.path_params["key"])
        await self.recorded(caller, change.kind, change.key.org, change.record)
        return answer(200, {"revoked": change.key})

    async def recorded(self, caller: Caller, kind: str, org: str, fields: dict[str, Any]) -> None:
        """A change goes on record; and it is answered when it holds in every process."""
        actor = {"kind": "admin", "id": caller.key_id, "sub": caller.subject}
        await self._steps.journal.append(org, record.event(kind, actor=actor, change=fields))
        await self._steps.identity.everywhere()


async def _not_found(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    body = {"type": "about:blank", "title": "not found" if status == 404 else "method not allowed", "status": status, "code": "not_found"}
    return Response(orjson.dumps(body), status, media_type="application/problem+json")
