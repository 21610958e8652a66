"""The translation matrix as text: each front with each back, asked and answered. `python -m tests.llm.matrix` writes tests/llm/golden.

A request's file holds what the client said, what the provider is told and what of it was only a hint and is not carried. A reply's file
holds both sides of a whole answer, and a `.sse` file the exact bytes of the stream the client gets.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from hub.llm import chat, errors, messages, responses
from hub.llm.canonical import Event, Request
from hub.llm.errors import Dialect, Family
from hub.refusal import InvalidRequest
from hub.sse import Parser
from tests.llm.answers import CASES, ERRORS, STREAMS, WHOLE, broken, sse
from tests.llm.cases import REQUESTS
from tests.llm.table import text as table

GOLDEN = Path(__file__).parent / "golden"
DIALECTS: tuple[Dialect, ...] = ("chat", "responses", "messages")
MODELS = {"chat": "gpt-5-mini", "responses": "gpt-5-mini", "messages": "claude-sonnet-4-5"}
ROOM = {"chat": chat, "responses": responses, "messages": messages}
NOW = 1763000001


def request_of(front: str, case: str) -> Request:
    return cast("Any", ROOM[front]).read_request(REQUESTS[front][case])


def reader(back: str) -> Any:
    return ROOM[back].Reader()


def writer(front: str, request: Request) -> Any:
    if front == "chat":
        return chat.Writer(include_usage=True, now=NOW)
    return responses.Writer(request, now=NOW) if front == "responses" else messages.Writer(input_tokens=17)


def reply(front: str, back: str, case: str) -> dict[str, Any]:
    found = cast("Any", ROOM[back]).read_reply(WHOLE[back][case])
    if front == "chat":
        return chat.write_reply(found, now=NOW)
    if front == "messages":
        return messages.write_reply(found)
    return responses.write_reply(found, request_of("responses", answered(case)), now=NOW)


def answered(case: str) -> str:
    """Which request an answer is to."""
    return case if case in ("text", "tools", "parallel", "reasoning", "schema") else "text"


def events(back: str, raw: bytes) -> list[Event]:
    source = reader(back)
    found: list[Event] = []
    for event in Parser(1 << 20).feed(raw):
        found += source.feed(event)
    return found + source.end()


def stream(front: str, back: str, case: str) -> bytes:
    """`broken`: the provider fails in the midst of it."""
    target = writer(front, request_of("responses", answered(case)))
    script = broken(back) if case == "broken" else STREAMS[back][case]
    return b"".join(target.write(event) for event in events(back, sse(back, script)))


def asked(front: str, back: str, case: str) -> dict[str, Any]:
    """The request's file."""
    said = REQUESTS[front][case]
    try:
        written = cast("Any", ROOM[back]).write_request(request_of(front, case), MODELS[back])
    except InvalidRequest as refusal:
        return {"client": said, "refused": refusal.message, **refusal.data}
    return {"client": said, "provider": written.body, "dropped": list(written.dropped)}


def files() -> Iterator[tuple[Path, str]]:
    """Every golden file with what it must hold."""
    for front in DIALECTS:
        for back in DIALECTS:
            folder = GOLDEN / f"{front}-on-{back}"
            for case in REQUESTS[front]:
                yield folder / f"{case}.request.json", _text(asked(front, back, case))
            yield folder / "broken.sse", stream(front, back, "broken").decode()
            for case in CASES:
                yield folder / f"{case}.reply.json", _text({"provider": WHOLE[back][case], "client": reply(front, back, case)})
                yield folder / f"{case}.sse", stream(front, back, case).decode()
    for source, cases in ERRORS.items():
        for case, (status, body) in cases.items():
            yield GOLDEN / "errors" / f"{source}-{case}.json", _text(_error(cast("Family", source), status, body))
    yield GOLDEN / "README.md", table()


def _error(source: Family, status: int, body: dict[str, Any]) -> dict[str, Any]:
    fault = errors.read_fault(status, json.dumps(body).encode(), source)
    found: dict[str, Any] = {"provider": {"status": status, "body": body}}
    for front in DIALECTS:
        answer = errors.translated(fault, front, {"retry-after": "7"}, "req-9")
        found[front] = {"status": answer.status, "headers": dict(answer.headers), "body": json.loads(answer.body)}
    return found


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for path, text in files():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
