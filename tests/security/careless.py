"""Canaries, and the ways in which a careless provider repeats what it was shown. Tests only."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from tests.support import provider as scripted

KEPT, GIVEN, HEADER = "sk-canary-kept/4b1d7e90", "sk-canary-given+77c2ab31", "canary-header-0d9e8f7a"
SECRETS = (KEPT, GIVEN, HEADER)
LANGFUSE, HOOK = ("pk-lf-1234", "sk-lf-canary-5678"), "canary-of-the-webhook-88c1"
PROMPT, SAID = "canary-of-what-was-asked-51f2", "canary-of-what-was-answered-9c30"
ARGUMENT, RESULT, CLIENT = "canary-of-an-argument-e1d4", "canary-of-a-result-70ab", "canary-of-a-clients-header-42d7"
_ARGUMENTS = json.dumps({"city": ARGUMENT})
FRONTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "messages": [
            {"role": "user", "content": PROMPT},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "call_a1", "type": "function", "function": {"name": "f", "arguments": _ARGUMENTS}}],
            },
            {"role": "tool", "tool_call_id": "call_a1", "content": RESULT},
        ]
    },
    "/v1/responses": {
        "input": [
            {"role": "user", "content": PROMPT},
            {"type": "function_call", "call_id": "call_a1", "name": "f", "arguments": _ARGUMENTS},
            {"type": "function_call_output", "call_id": "call_a1", "output": RESULT},
        ]
    },
    "/v1/messages": {
        "system": PROMPT,
        "max_tokens": 64,
        "messages": [
            {"role": "user", "content": PROMPT},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_a1", "name": "f", "input": {"city": ARGUMENT}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_a1", "content": RESULT}]},
        ],
    },
}


def _echo(asked: scripted.Asked) -> str:
    """What a careless provider says: the credentials it was shown."""
    return " ".join(asked.headers.get(name, "") for name in ("authorization", "x-api-key", "x-gateway-token"))


def _whole(asked: scripted.Asked) -> Any:
    body = scripted.messages_whole("m") if asked.path == "/v1/messages" else scripted.responses_whole("m")
    return scripted.chat_whole("m") if asked.path == "/v1/chat/completions" else body


def _events(asked: scripted.Asked) -> list[bytes]:
    match asked.path:
        case "/v1/messages":
            return scripted.messages_stream("m")
        case "/v1/responses":
            return scripted.responses_stream("m")
        case _:
            return scripted.chat_stream(asked.json)


def _split(data: bytes) -> Iterable[bytes]:
    return (data[at : at + 1] for at in range(len(data)))


def _streamed(asked: scripted.Asked, *, cut: bool = False, failing: bool = False) -> scripted.Reply:
    first, *rest = _events(asked)
    echo = first.replace(b'"m"', json.dumps("m " + _echo(asked)).encode())
    if failing:
        return scripted.stream(
            [
                first,
                *_split(
                    b'event: error\ndata: {"type": "error", "error": {"type": "x", "message": '
                    + json.dumps(_echo(asked)).encode()
                    + b"}}\n\n"
                ),
            ]
        )
    said = [*_split(b": " + _echo(asked).encode() + b"\n\n"), *_split(echo)]
    if cut:
        return scripted.stream([*said, b"data: " + _echo(asked).encode()[:-3], scripted.cut])
    return scripted.stream([*said, *rest])


def _error(status: int) -> Callable[[scripted.Asked], scripted.Reply]:
    return lambda asked: scripted.whole(
        {"error": {"message": f"bad: {_echo(asked)} {PROMPT} {ARGUMENT} {RESULT}", "type": _echo(asked), "code": _echo(asked)}}, status
    )


def _headers(asked: scripted.Asked) -> scripted.Reply:
    echo = _echo(asked)
    names = ("openai-version", "openai-processing-ms", "x-should-retry", "retry-after", "x-request-id", "set-cookie", "www-authenticate")
    return scripted.whole(_whole(asked), 200, **{name.replace("-", "_"): echo for name in names})


WAYS: dict[str, Callable[[scripted.Asked], scripted.Reply]] = {
    "whole": lambda asked: scripted.whole({**_whole(asked), "model": _echo(asked), "echo": [_echo(asked)]}),
    "headers": _headers,
    "not json": lambda asked: scripted.Reply((b"{" + _echo(asked).encode(),)),
    "cut whole": lambda asked: scripted.Reply((_echo(asked).encode(), scripted.cut)),
    "redirect": lambda asked: scripted.whole({"to": _echo(asked)}, 302, location=f"http://127.0.0.1:9/{_echo(asked)}"),
    **{f"status {status}": _error(status) for status in (400, 401, 403, 404, 413, 422, 429, 500, 503, 529)},
    "stream": _streamed,
    "stream cut": lambda asked: _streamed(asked, cut=True),
    "stream fails": lambda asked: _streamed(asked, failing=True),
    "empty stream": lambda asked: scripted.stream([]),
    "type": lambda asked: scripted.Reply((_echo(asked).encode(),), 200, (("content-type", "text/plain; x=" + _echo(asked)),)),
}


def saying(reply: scripted.Reply) -> scripted.Reply:
    """The same, but that the model says the canary."""
    parts = tuple(part.replace(b"Hello", SAID.encode()) if isinstance(part, bytes) else part for part in reply.parts)
    return reply._replace(parts=parts)
