"""What the MCP edge says of itself: one operation for each method of its address, held to what it answers (tests/openapi/)."""

from typing import Any

from hub.openapi.operation import Answer, Body, Errors, Operation, Parameter
from hub.openapi.refusals import example, grouped, kinds
from hub.openapi.shapes import named
from virtual_servers.answers import status_of
from virtual_servers.eras import CAPABILITIES_KEY, MODERN, NEWEST_OLDER, OLDER, VERSION_KEY

_ELSEWHERE = frozenset({"model_not_priced", "budget_exceeded", "credential_unavailable", "host_refused"})
"""Refusals that no call of MCP meets: they are of models, or of the server before any edge is reached."""

_REFERENCE = "https://modelcontextprotocol.io/specification"
_PATH = "/mcp/{virtual_server}"
_RECEIPT = ("x-request-id", "hub-receipt")


def _codes() -> dict[str, tuple[str, ...]]:
    """The refusals by their status, in either era. In the newer one, members that `_meta` lacks are a 400."""
    pairs = [(status_of(example(kind), era), kind.code) for kind in kinds() if kind.code not in _ELSEWHERE for era in ("", MODERN)]
    return grouped([*pairs, (400, "invalid_params")])


RPC = Errors("mcp", named("RpcError"), _codes(), headers=_RECEIPT, waits=("retry-after",))

_SERVER = Parameter("virtual_server", "path", "A name of `virtual_servers`.", {"type": "string", "pattern": "^[^/]+$"}, example="demo")
_SESSION = Parameter("mcp-session-id", "header", "Older era: the session `initialize` opened.")
_OLDER_VERSION = Parameter("mcp-protocol-version", "header", "Older era: the version that was agreed on.", {"enum": list(OLDER)})
_VERSION = Parameter(
    "mcp-protocol-version",
    "header",
    "Chooses the era; it must agree with the body.",
    {"enum": [*OLDER, MODERN]},
    example=MODERN,
)
_METHOD = Parameter("mcp-method", "header", f"{MODERN}: the method of the body.", {"type": "string"}, example="tools/list")
_NAME = Parameter("mcp-name", "header", f"{MODERN}: the tool, the prompt or the uri of the body.", {"type": "string"})

_ID: dict[str, Any] = {"type": ["string", "integer"]}
_OPEN: dict[str, Any] = {"type": "object", "additionalProperties": True}
_MESSAGE: dict[str, Any] = {
    "type": "object",
    "description": "One message of JSON-RPC 2.0: a request, or without `id` a notification. No key may come twice, at any depth.",
    "properties": {"jsonrpc": {"const": "2.0"}, "id": _ID, "method": {"type": "string", "minLength": 1}, "params": _OPEN},
    "required": ["jsonrpc", "method"],
    "additionalProperties": False,
}
_BATCH: dict[str, Any] = {
    "type": "array",
    "description": "With a session of 2025-03-26 only.",
    "items": _MESSAGE,
    "minItems": 1,
    "maxItems": 50,
}
_RESULT: dict[str, Any] = {
    "type": "object",
    "description": "The answer to a request.",
    "properties": {"jsonrpc": {"const": "2.0"}, "id": _ID, "result": _OPEN},
    "required": ["jsonrpc", "id", "result"],
}
_ANSWERED: dict[str, Any] = {"anyOf": [_RESULT, named("RpcError"), {"type": "array", "items": {"anyOf": [_RESULT, named("RpcError")]}}]}
_LIST: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/list",
    "params": {"_meta": {VERSION_KEY: MODERN, CAPABILITIES_KEY: {}}},
}

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "POST",
        _PATH,
        "mcp_send",
        "MCP",
        "Send one message to a virtual server",
        (
            Answer(
                "200",
                "The answer, which may be an error in JSON-RPC; as a stream where something comes before it, or where one was asked for.",
                {"application/json": _ANSWERED, "text/event-stream": str},
                (*_RECEIPT, "mcp-session-id"),
            ),
            Answer("202", "A notification was taken, or the call was cancelled by its own client.", headers=("x-request-id",)),
        ),
        RPC,
        f"Both eras of the protocol: {MODERN}, where each request stands alone, and {OLDER[0]} to {NEWEST_OLDER}, which open with "
        "`initialize`. The request decides. `Accept` must take JSON; where it takes a stream too, progress comes before the answer.",
        (_SERVER, _VERSION, _METHOD, _NAME, _SESSION),
        Body({"anyOf": [_MESSAGE, _BATCH]}, _LIST),
        reference=_REFERENCE,
    ),
    Operation(
        "GET",
        _PATH,
        "mcp_listen",
        "MCP",
        "Follow what changes",
        (Answer("200", "A stream, until the client leaves.", {"text/event-stream": str}, _RECEIPT),),
        RPC,
        f"Older era; in {MODERN} it is `subscriptions/listen`. `Accept` must name `text/event-stream`.",
        (_SERVER, _OLDER_VERSION, _SESSION),
        reference=_REFERENCE,
    ),
    Operation(
        "DELETE",
        _PATH,
        "mcp_end",
        "MCP",
        "End a session",
        (Answer("204", "It is over.", headers=("x-request-id",)),),
        RPC,
        "Older era.",
        (_SERVER, _OLDER_VERSION, _SESSION),
        reference=_REFERENCE,
    ),
)
