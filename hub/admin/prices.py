"""Operators' routes about the price table: which one is in force, staging another, confirming or rejecting it."""

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.audit.deed import Deed
from hub.budget.price_desk import PriceDesk
from hub.budget.price_diff import written
from hub.call import Caller
from hub.identity.roles import Permission
from hub.refusal import InvalidParams, InvalidRequest

_MAX_BODY = 16 * 1024 * 1024

_T = TypeVar("_T")
_Handler = Callable[[Request, Caller], Awaitable[Response]]


class NewTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A price table in base64. `allow`: globs over `provider/model` whose changes are meant, however large."""

    table: str
    allow: tuple[str, ...] = ()


class StagedDecision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to do with the staged table. `table`: the hash it must have."""

    table: str = ""


class Prices:
    """The table is the whole hub's: administrators of one organisation have no say in it (`hub.identity.roles.HUB_WIDE`)."""

    def __init__(self, desk: PriceDesk, deed: Callable[[Caller], Deed]) -> None:
        self._desk = desk
        self._deed = deed

    def routes(self, guarded: Callable[..., Callable[[Request], Awaitable[Response]]]) -> list[Route]:
        def route(path: str, handler: _Handler, method: str, permission: Permission) -> Route:
            return Route(f"/admin/v1/prices{path}", guarded(handler, permission), methods=[method])

        return [
            route("", self._state, "GET", "prices:read"),
            route("/diff", self._compare, "POST", "prices:read"),
            route("/staged", self._stage, "POST", "prices:write"),
            route("/confirm", self._confirm, "POST", "prices:write"),
            route("/reject", self._reject, "POST", "prices:write"),
        ]

    async def _state(self, request: Request, caller: Caller) -> Response:
        return _json(await self._desk.state())

    async def _compare(self, request: Request, caller: Caller) -> Response:
        body, _ = await _table(request)
        return _json(written(await self._desk.compare(body)))

    async def _stage(self, request: Request, caller: Caller) -> Response:
        table, allow = await _table(request)
        async with self._deed(caller) as deed:
            found, decided = await self._desk.stage(table, allow, deed.begin)
            await deed.done(decided.record)
        return _json(written(found))

    async def _confirm(self, request: Request, caller: Caller) -> Response:
        return await self._decide(request, caller, confirm=True)

    async def _reject(self, request: Request, caller: Caller) -> Response:
        return await self._decide(request, caller, confirm=False)

    async def _decide(self, request: Request, caller: Caller, *, confirm: bool) -> Response:
        wanted = _decoded(await _body(request) or b"{}", StagedDecision)
        async with self._deed(caller) as deed:
            decided = await self._desk.decide(confirm=confirm, table=wanted.table, before=deed.begin)
            await deed.done(decided.record)
        return _json({"table": decided.record["table"], "decision": "confirmed" if confirm else "rejected"})


async def _table(request: Request) -> tuple[bytes, tuple[str, ...]]:
    given = _decoded(await _body(request), NewTable)
    try:
        return base64.b64decode(given.table, validate=True), given.allow
    except binascii.Error:
        raise InvalidParams("`table` is not base64") from None


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MAX_BODY:
            raise InvalidRequest("the body is too large")
    return bytes(body)


def _decoded(body: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise InvalidParams(str(error)) from None


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
