"""What operators' routes have in common: bodies read, answers and refusals written, and whom an administrator may administer."""

from typing import Any, TypeVar

import msgspec
import orjson
from starlette.requests import Request
from starlette.responses import Response

from hub.call import Caller
from hub.identity.roles import OPERATORS
from hub.refusal import Denied, InvalidParams, InvalidRequest, Refusal

__all__ = ["OPERATORS", "answer", "problem", "read", "scope_of"]

_MAX_BODY = 64 * 1024

T = TypeVar("T")


async def read(request: Request, kind: type[T], what: str, *, secret: bool = False) -> T:
    """The body of a request as a value. Raises `InvalidRequest`, `InvalidParams`, which with `secret` says nothing of what it holds."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MAX_BODY:
            raise InvalidRequest("the body is too large")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise InvalidParams(f"not {what}" if secret else f"not {what}: {error}") from None


def scope_of(caller: Caller) -> str | None:
    """The organisation an administrator is confined to; None for the hub's own operators, who administer all."""
    return None if caller.org == OPERATORS else caller.org


def problem(refusal: Refusal) -> Response:
    """RFC 9457. A refusal that is an answer (200) on the protocol edges is a 403 or 400 here."""
    status = refusal.status if refusal.status != 200 else 403 if isinstance(refusal, Denied) else 400
    body = {
        "type": "about:blank",
        "title": refusal.code.replace("_", " "),
        "status": status,
        "detail": refusal.message,
        "code": refusal.code,
    }
    headers = {"www-authenticate": 'Bearer realm="hub"'} if status == 401 else {}
    return Response(orjson.dumps(body | refusal.data), status, headers, media_type="application/problem+json")


def answer(status: int, value: Any) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
