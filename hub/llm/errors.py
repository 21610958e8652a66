"""Errors as OpenAI's and Anthropic's SDKs know them: the hub's refusals, and one family's errors in the other's words. Pure.

The SDKs choose their exception by the status, and whether to try again by `x-should-retry`, `retry-after-ms` and `retry-after`, in this
order. Both read a wait of more than a minute as none, so such a one is said not to be worth a retry.
Sources: platform.openai.com/docs/guides/error-codes, docs.anthropic.com/en/api/errors, the SDKs' `_base_client.py`.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, cast

import orjson
from msgspec import Struct

from hub import refusal as no
from hub.llm.body import dump
from hub.llm.canonical import Fault
from hub.refusal import Refusal

Dialect = Literal["chat", "responses", "messages"]
Family = Literal["openai", "anthropic"]

_LONGEST_WAIT = 60.0
_TOO_LONG = "prompt is too long"
"""Anthropic's words for it, by which its clients know that they have to shorten a conversation: there is no code."""

_UNTHREADED = {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
"""By which Anthropic's SDKs know that they have to send the whole conversation each time; they do so by themselves."""


class Answer(Struct, frozen=True):
    """One error over HTTP. Header names are lower case; the request's id is the caller's to add under the dialect's name for it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class _Words(Struct, frozen=True):
    """How both families say one kind of fault: status, type and code; Anthropic has no code."""

    openai: tuple[int, str, str | None]
    anthropic: tuple[int, str]


_WORDS: dict[str, _Words] = {
    "invalid": _Words((400, "invalid_request_error", None), (400, "invalid_request_error")),
    "unauthenticated": _Words((401, "invalid_request_error", "invalid_api_key"), (401, "authentication_error")),
    "billing": _Words((429, "insufficient_quota", "insufficient_quota"), (402, "billing_error")),
    "quota": _Words((429, "insufficient_quota", "insufficient_quota"), (429, "rate_limit_error")),
    "denied": _Words((403, "permission_error", "permission_denied"), (403, "permission_error")),
    "missing": _Words((404, "invalid_request_error", "not_found"), (404, "not_found_error")),
    "conflict": _Words((409, "invalid_request_error", "conflict"), (409, "conflict_error")),
    "too_large": _Words((413, "invalid_request_error", "request_too_large"), (413, "request_too_large")),
    "limited": _Words((429, "requests", "rate_limit_exceeded"), (429, "rate_limit_error")),
    "timeout": _Words((504, "server_error", "timeout"), (504, "timeout_error")),
    "overloaded": _Words((503, "server_error", "overloaded"), (529, "overloaded_error")),
    "broken": _Words((500, "server_error", None), (500, "api_error")),
}

_KINDS: tuple[tuple[type[Refusal], str], ...] = (
    (no.TooLarge, "too_large"),
    (no.TimedOutReading, "timeout"),
    (no.MethodNotFound, "missing"),
    (no.Malformed, "invalid"),
    (no.Unauthenticated, "unauthenticated"),
    (no.WrongHost, "denied"),
    (no.Denied, "denied"),
    (no.NotFound, "missing"),
    (no.SessionNotFound, "missing"),
    (no.Limited, "limited"),
    (no.UpstreamTimeout, "timeout"),
    (no.Unavailable, "broken"),
)
"""The first that fits; any other refusal is a fault of ours, or goes by its status."""

_STATUSES: tuple[tuple[type[Refusal], int], ...] = ((no.UpstreamTimeout, 504), (no.UpstreamDown, 502), (no.UpstreamFault, 502))
_BY_STATUS = {
    400: "invalid",
    401: "unauthenticated",
    402: "billing",
    403: "denied",
    404: "missing",
    408: "timeout",
    409: "conflict",
    413: "too_large",
    422: "invalid",
    429: "limited",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}
_BY_TYPE = {
    "invalid_request_error": "invalid",
    "authentication_error": "unauthenticated",
    "billing_error": "billing",
    "insufficient_quota": "quota",
    "permission_error": "denied",
    "not_found_error": "missing",
    "conflict_error": "conflict",
    "request_too_large": "too_large",
    "rate_limit_error": "limited",
    "rate_limit_exceeded": "limited",
    "timeout_error": "timeout",
    "overloaded_error": "overloaded",
    "overloaded": "overloaded",
    "api_error": "broken",
    "server_error": "broken",
}


def family(dialect: Dialect) -> Family:
    return "anthropic" if dialect == "messages" else "openai"


def refused(refusal: Refusal, dialect: Dialect, request_id: str = "") -> Answer:
    """A refusal of the hub's over HTTP. Its stable code and its data stand under `error.hub`, which both SDKs leave alone."""
    kind = _kind(refusal)
    status = _status(refusal, kind, dialect)
    body = envelope(_fault(refusal), dialect, request_id, _hub(refusal))
    return Answer(status, (("content-type", "application/json"), *_waiting(refusal, status)), _json(body))


def translated(fault: Fault, dialect: Dialect, headers: Mapping[str, str], request_id: str = "") -> Answer:
    """A provider's error in a front's words. `headers` are the provider's, by lower-case names: how long to wait is carried on."""
    words = _WORDS[fault.kind]
    front = family(dialect)
    status = words.openai[0] if front == "openai" else words.anthropic[0]
    if fault.kind == "broken" and fault.status >= 500:
        status = 503 if fault.status == 529 else fault.status
    kept = [(name, headers[name]) for name in ("retry-after", "retry-after-ms", "x-should-retry") if name in headers]
    if fault.kind in ("billing", "quota") and "x-should-retry" not in headers:
        kept.append(("x-should-retry", "false"))
    return Answer(status, (("content-type", "application/json"), *kept), _json(envelope(fault, dialect, request_id)))


def in_band(error: Refusal | Fault, dialect: Dialect, sequence: int = 0, request_id: str = "") -> bytes:
    """An error inside a stream that has begun, as the event its dialect has for it. Nothing may follow: no stop, no `[DONE]`.

    In Responses the members stand both at the top, where the reference has them, and under `error`, where the SDKs look to raise.
    """
    fault, hub = (_fault(error), _hub(error)) if isinstance(error, Refusal) else (error, None)
    body = envelope(fault, dialect, request_id, hub)
    if dialect == "chat":
        return b"data: " + _json(body) + b"\n\n"
    if dialect == "responses":
        inner = body["error"]
        top = {name: inner[name] for name in ("code", "message", "param")}
        body = {"type": "error", "sequence_number": sequence, **top, "error": inner}
    return b"event: error\ndata: " + _json(body) + b"\n\n"


def envelope(fault: Fault, dialect: Dialect, request_id: str = "", hub: dict[str, Any] | None = None) -> dict[str, Any]:
    """The error object of a dialect's family."""
    words = _WORDS[fault.kind]
    extra = {"hub": hub} if hub else {}
    if family(dialect) == "anthropic":
        known = fault.code != "context_length_exceeded" or _TOO_LONG in fault.message
        message = fault.message if known else f"{_TOO_LONG}: {fault.message}"
        details = {"details": _UNTHREADED} if fault.kind == "invalid" and fault.param == "thread" else {}
        error = {"type": words.anthropic[1], "message": message, **details, **extra}
        return {"type": "error", "error": error, **({"request_id": request_id} if request_id else {})}
    code = fault.code or words.openai[2]
    return {"error": {"message": fault.message, "type": words.openai[1], "param": fault.param or None, "code": code, **extra}}


def read_fault(status: int, body: bytes, source: Family) -> Fault:
    """What a provider's error answer says. `status` 0: it stood in a stream. A body that cannot be read leaves the status to speak."""
    try:
        value: Any = orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        value = None
    return fault_of(value, status, source)


def fault_of(value: Any, status: int, source: Family) -> Fault:
    """The same of a body that has been parsed: `{"error": {…}}`, or the error object alone, or a list of one, as some providers say it."""
    if isinstance(value, list) and value:
        value = cast("list[Any]", value)[0]
    error: Any = cast("dict[str, Any]", value).get("error", cast("Any", value)) if isinstance(value, dict) else None
    if isinstance(error, str):
        error = {"message": error}
    members = cast("dict[str, Any]", error) if isinstance(error, dict) else {}
    message = members.get("message")
    said, code, param = (str(members.get(name) or "") for name in ("type", "code", "param"))
    kind = _kind_of(status, said, code)
    text = _words_of(message, status)
    if source == "anthropic" and kind == "invalid" and _TOO_LONG in text:
        code = "context_length_exceeded"
    return Fault(cast("Any", kind), text, status, "" if code.isdigit() else code, param)


def _words_of(message: Any, status: int) -> str:
    """The provider's words; Mistral gives an object where it lists what is wrong with a request."""
    if isinstance(message, str) and message:
        return message
    if message:
        return dump(message).decode()
    return f"the provider answered with status {status}" if status else "the provider failed"


def _kind_of(status: int, said: str, code: str) -> str:
    if "insufficient_quota" in (said, code):
        return "quota"
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500:
        return "broken"
    return _BY_TYPE.get(code) or _BY_TYPE.get(said) or ("invalid" if 400 <= status < 500 else "broken")


def _fault(refusal: Refusal) -> Fault:
    kind = _kind(refusal)
    param = str(refusal.data.get("param") or "")
    code = ""
    if kind == "missing" and param == "model":
        code = "model_not_found"
    elif param == "previous_response_id" and refusal.data.get("reason") == "not_found":
        code = "previous_response_not_found"
    elif kind in ("broken", "billing"):
        code = refusal.code
    return Fault(cast("Any", kind), refusal.message, 0, code, param)


def _kind(refusal: Refusal) -> str:
    if _about_money(refusal):
        return "quota"
    return next((kind for known, kind in _KINDS if isinstance(refusal, known)), None) or _BY_STATUS.get(type(refusal).status, "broken")


def _about_money(refusal: Refusal) -> bool:
    return "budget" in refusal.data or "budget" in refusal.code or "quota" in refusal.code


def _status(refusal: Refusal, kind: str, dialect: Dialect) -> int:
    """Its own where that is an error over HTTP: 200 is what JSON-RPC wants of some. A budget is 429 in either family, as limits are."""
    for known, status in _STATUSES:
        if isinstance(refusal, known):
            return status
    own = refusal.status
    if own >= 400:
        return own
    words = _WORDS[kind]
    return words.openai[0] if family(dialect) == "openai" else words.anthropic[0]


def _hub(refusal: Refusal) -> dict[str, Any]:
    return {"code": refusal.code, **{name: value for name, value in refusal.data.items() if name != "param"}}


def _waiting(refusal: Refusal, status: int) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    wait = refusal.retry_after
    if wait is not None:
        found += [("retry-after", str(max(math.ceil(wait), 0))), ("retry-after-ms", str(max(math.ceil(wait * 1000), 0)))]
    pointless = status == 429 and (wait is None or wait > _LONGEST_WAIT or _about_money(refusal))
    if pointless or isinstance(refusal, no.OutcomeUnrecorded):
        found.append(("x-should-retry", "false"))
    return found


def _json(body: dict[str, Any]) -> bytes:
    return orjson.dumps(body, default=str)
