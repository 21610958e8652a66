"""What all edges have in common on the wire: how each family writes a refusal, the headers the hub adds, how a key is sent. Pure."""

from typing import Any

from hub.openapi.operation import Errors
from hub.openapi.refusals import kinds


def named(name: str) -> dict[str, Any]:
    """A reference to a schema of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def _open(description: str, required: list[str], **properties: Any) -> dict[str, Any]:
    shape = {"type": "object", "description": description, "properties": properties}
    return {**shape, "required": required, "additionalProperties": True}


_TEXT = {"type": "string"}
_HUB = _open("The hub's own account of a refusal. Absent where the error is the provider's.", ["code"], code=named("RefusalCode"))
_OPENAI = _open("", ["message", "type"], message=_TEXT, type=_TEXT, param={"type": ["string", "null"]}, code={}, hub=_HUB)
_ANTHROPIC = _open("", ["type", "message"], type=_TEXT, message=_TEXT, hub=_HUB)
_RPC = _open("", ["code", "message"], code={"type": "integer"}, message=_TEXT, data={"type": "object", "additionalProperties": True})

SCHEMAS: dict[str, dict[str, Any]] = {
    "RefusalCode": {
        "type": "string",
        "description": "A stable code: what programs read. Messages may change. `x-refusals` says what each means.",
        "enum": [kind.code for kind in kinds()],
    },
    "Problem": _open(
        "A refusal of an operator's route (RFC 9457).",
        ["type", "title", "status", "code"],
        type={"type": "string", "const": "about:blank"},
        title=_TEXT,
        status={"type": "integer", "minimum": 400, "maximum": 599},
        detail=_TEXT,
        code=named("RefusalCode"),
    ),
    "OpenAIError": _open("An error as OpenAI's SDKs read it.", ["error"], error=_OPENAI),
    "AnthropicError": _open(
        "An error as Anthropic's SDKs read it.", ["type", "error"], type={"const": "error"}, error=_ANTHROPIC, request_id=_TEXT
    ),
    "RpcError": _open(
        "A refusal in JSON-RPC 2.0; `error.data.code` is the stable code. Where no protocol has been chosen yet, `id` is null.",
        ["jsonrpc", "id", "error"],
        jsonrpc={"const": "2.0"},
        id={"type": ["string", "integer", "null"]},
        error=_RPC,
    ),
}

_STRING = {"type": "string"}
HEADERS: dict[str, tuple[str, Any]] = {
    "x-request-id": ("The id of the request: in logs, spans and records it has the same.", _STRING),
    "request-id": ("The same, under the name Anthropic's SDKs read.", _STRING),
    "hub-receipt": (
        "Where the call stands in the journal: origin, position, hash. A stream bears that of its intent, and its outcome's in a comment.",
        _STRING,
    ),
    "hub-cost-estimate": (
        "What was set aside for the call, in US dollars: its most. Absent for a model without a price.",
        _STRING,
    ),
    "x-hub-variant": ("The deployment that answered, as `provider/model`, where a route chooses by weight.", _STRING),
    "mcp-session-id": ("The session that was opened, to be sent with every later request. Answers to `initialize` only.", _STRING),
    "retry-after": ("Seconds until it may be asked again. Absent where waiting is pointless.", {"type": "integer", "minimum": 0}),
    "retry-after-ms": ("The same in milliseconds, for SDKs that read it.", {"type": "integer", "minimum": 0}),
    "x-should-retry": ("`false` where trying again is pointless; SDKs obey it.", _STRING),
    "www-authenticate": ("How a key is sent.", _STRING),
    "allow": ("The methods there are.", _STRING),
}

SECURITY: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A hub key: `Authorization: Bearer hub_…`, as OpenAI's SDKs send it."},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "A hub key, as Anthropic's SDKs send it."},
    "hub-key": {"type": "apiKey", "in": "header", "name": "hub-key", "description": "A hub key, where `Authorization` is another's."},
}
"""Any one of them. Two that differ are refused."""

BARE = Errors(
    "hub",
    named("RpcError"),
    {"400": ("invalid_request",), "403": ("host_refused",), "408": ("request_timeout",), "500": ("internal",)},
)
"""What the server itself refuses before an edge is reached: on every path, in this shape."""
