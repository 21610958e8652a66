"""What every client of a family must have seen, whatever its language and generation, by the model it asked. See actor.py for the scenes."""

from typing import Any

from tests.clients.actor import VECTOR

HELLO = "Hello, wörld."
RESULT = "Hello, a1: Bern 1"
RESULTS = "Hello, a1: Bern 1; b2: Rome 2"
ADA = {"name": "Ada", "age": 36}
REFUSED = "I cannot help with that."
THOUGHT = "7 times 13."
STATUSES = (400, 404, 413, 422, 429, 500, 529)

Seen = dict[str, Any]

_OPENAI_NAMES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    404: "NotFoundError",
    413: "APIStatusError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
}
# What the provider's status becomes on its way into the other family's words: status and code, or status and type.
_OPENAI_TRANSLATED: dict[int, tuple[int, str | None]] = {
    400: (400, None),
    404: (404, "not_found"),
    413: (413, "request_too_large"),
    422: (400, None),
    429: (429, "rate_limit_exceeded"),
    500: (500, None),
    529: (503, "overloaded"),
}


def openai(*, native: bool) -> Seen:
    """Of `fast` (OpenAI's own wire: `native`), or of `wise` behind Anthropic's."""

    def error(status: int, code: str | None) -> list[Any]:
        return [_OPENAI_NAMES.get(status, "InternalServerError"), status, code, True]

    told = {status: (status, "told") if native else _OPENAI_TRANSLATED[status] for status in STATUSES}
    chat_usage, responses_usage = [20, 8, None, None], [None, None, 20, 8]
    return {
        "chat": {
            "whole": [HELLO, "stop", chat_usage],
            "stream": [HELLO, "stop", chat_usage],
            "usage_unasked": [],
            "cut": ["One, two", "length"],
            "image": HELLO,
            "refusal": REFUSED,
        },
        "tools": ["tool_calls", "stop", RESULT],
        "parallel": ["tool_calls", "stop", RESULTS],
        "parallel_streamed": ["tool_calls", "stop", RESULTS],
        "parsed": [ADA, ADA],
        "responses": {
            "whole": [HELLO, "completed", responses_usage],
            "stream": [HELLO, "completed", responses_usage],
            "events": ["response.created", True, "response.completed"],
            "parsed": ADA,
            "thought": [[THOUGHT]] if native else [[THOUGHT], []],
            "refusal": [REFUSED],
            "image": HELLO,
            "cut": ["incomplete", "max_output_tokens"],
        },
        "responses_tools": RESULT,
        "responses_parallel": RESULTS,
        "errors": {str(status): error(*told[status]) for status in STATUSES}
        | {
            "missing": error(404, "model_not_found"),
            "broken": error(400, None),
            "stranger": error(401, "invalid_api_key"),
            "stranger_stream": error(401, "invalid_api_key"),
        },
    }


OPENAI_ONCE: Seen = {
    "others": {"base64": list(VECTOR), "float": list(VECTOR), "moderation": False, "completion": HELLO, "retrieved": "fast"},
    "models": ["fast", "wise"],
    "raw": [True, True, "application/json"],
    "timeout": ["APITimeoutError"],
    "patience": {"waited": True, "spent": ["RateLimitError", 429, "insufficient_quota", True]},
}

_EVENTS = ("content_block_delta", "content_block_start", "content_block_stop", "message_delta", "message_start", "message_stop")
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


def anthropic(names: dict[int, str], *, native: bool) -> Seen:
    """Of `wise` (Anthropic's own wire: `native`), or of `fast` behind OpenAI's. `names`: what this generation calls some errors."""

    def error(status: int) -> list[Any]:
        known = {name: text for name, text in _OPENAI_NAMES.items() if name != 413} | names
        return [known.get(status, "InternalServerError"), status, _TYPES[status], True]

    return {
        "messages": {
            "whole": [HELLO, "end_turn", 20, 8],
            "events": list(_EVENTS),
            "order": ["message_start", "message_delta", "message_stop"],
            "stream": [HELLO, HELLO, "end_turn", 8],
            "thought": [[THOUGHT], [THOUGHT]],
            "signed": [True, True],
            "refusal": "refusal",
            "cut": ["One, two", "max_tokens"],
            "image": HELLO,
            "counted": 9 if native else None,
        },
        "tools": ["tool_use", "end_turn", RESULT],
        "parallel": ["tool_use", "end_turn", RESULTS],
        "parallel_streamed": ["tool_use", "end_turn", RESULTS],
        "parsed": [ADA, ADA],
        "runner": [RESULTS, "end_turn"],
        "errors": {str(status): error(status if native or status != 422 else 400) for status in STATUSES}
        | {"missing": error(404), "broken": error(400), "stranger": error(401), "stranger_stream": error(401)},
    }


ANTHROPIC_ONCE: Seen = {
    "models": [["fast", "wise"], "fast"],
    "raw": [True, True, "application/json"],
    "timeout": ["APITimeoutError"],
    "bearer": HELLO,
    "patience": {"waited": True, "spent": ["RateLimitError", 429, "rate_limit_error", True]},
}
