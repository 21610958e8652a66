"""A provider of models as a scripted server over HTTP: it speaks OpenAI's and Anthropic's wires, and remembers what it was asked.

What it answers next is put in `script`; without a script it says "Hello there." in the words of the path it was asked on.
"""

import contextlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

WORDS = ("Hello", " there", ".")


class Asked(NamedTuple):
    path: str
    headers: dict[str, str]
    raw: bytes
    method: str = "POST"

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


class Reply(NamedTuple):
    """`parts` are written one by one; a callable among them is called in its turn (to wait, or to break off)."""

    parts: tuple[bytes | Callable[[], None], ...]
    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)
    streams: bool = False


class Cut(Exception):
    """Raised by a part: the connection is closed in the middle."""


class Provider:
    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.script: deque[Reply | Callable[[Asked], Reply]] = deque()
        self.always: Reply | Callable[[Asked], Reply] | None = None
        """What it answers without a script, in place of the usual."""
        self.left = threading.Event()
        """Set when a client was gone while it was being answered."""
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                self.do_POST()

            def do_DELETE(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("content-length", 0)))
                asked = Asked(self.path, {name.lower(): value for name, value in self.headers.items()}, raw, self.command)
                provider.asked.append(asked)
                found = provider.script.popleft() if provider.script else provider.always or usual
                try:
                    self.answer(found(asked) if callable(found) else found)
                except Cut:
                    self.close_connection = True
                except (BrokenPipeError, ConnectionResetError):
                    provider.left.set()
                    self.close_connection = True

            def answer(self, reply: Reply) -> None:
                self.send_response(reply.status)
                for name, value in reply.headers:
                    self.send_header(name, value)
                if reply.streams:
                    self.send_header("transfer-encoding", "chunked")
                else:
                    self.send_header("content-length", str(sum(len(part) for part in reply.parts if isinstance(part, bytes))))
                self.end_headers()
                for part in reply.parts:
                    if not isinstance(part, bytes):
                        part()
                    else:
                        self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part) if reply.streams else part)
                        self.wfile.flush()
                if reply.streams:
                    self.wfile.write(b"0\r\n\r\n")

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextlib.contextmanager
def provider() -> Generator[Provider]:
    made = Provider()
    try:
        yield made
    finally:
        made.close()


def whole(value: Any, status: int = 200, **headers: str) -> Reply:
    named = tuple((name.replace("_", "-"), text) for name, text in headers.items())
    return Reply((json.dumps(value).encode(),), status, (("content-type", "application/json"), *named))


def stream(parts: Iterable[bytes | Callable[[], None]]) -> Reply:
    return Reply(tuple(parts), headers=(("content-type", "text/event-stream"),), streams=True)


def wait(event: threading.Event) -> Callable[[], None]:
    """A part that waits for `event`."""

    def part() -> None:
        assert event.wait(30)

    return part


def hang(event: threading.Event) -> Callable[[Asked], Reply]:
    """Answers nothing at all until `event`."""

    def reply(asked: Asked) -> Reply:
        event.wait(60)
        return usual(asked)

    return reply


def vanish(_: Asked) -> Reply:
    """Closes the connection without a byte."""
    raise Cut


def cut() -> None:
    raise Cut


def until_gone(last: bytes = b": still here\n\n") -> Iterable[bytes | Callable[[], None]]:
    """Comments until the client leaves, or half a minute has passed."""
    for _ in range(600):
        yield last
        yield lambda: time.sleep(0.05)


def usual(asked: Asked) -> Reply:
    body = asked.json
    match asked.path.partition("?")[0]:
        case "/v1/chat/completions":
            return stream(chat_stream(body)) if body.get("stream") else whole(chat_whole(body["model"]))
        case "/v1/responses":
            return stream(responses_stream(body["model"])) if body.get("stream") else whole(responses_whole(body["model"]))
        case "/v1/messages":
            return stream(messages_stream(body["model"])) if body.get("stream") else whole(messages_whole(body["model"]))
        case "/v1/messages/count_tokens":
            return whole({"input_tokens": 9})
        case "/v1/embeddings":
            entry = {"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}
            return whole({"object": "list", "data": [entry], "model": body["model"], "usage": {"prompt_tokens": 3, "total_tokens": 3}})
        case "/v1/moderations":
            return whole({"id": "modr-1", "model": body["model"], "results": [MODERATION]})
        case "/v1/completions":
            choice = {"index": 0, "text": "".join(WORDS), "finish_reason": "stop", "logprobs": None}
            return whole(
                {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": body["model"], "choices": [choice], "usage": USAGE}
            )
        case _:
            return whole({"error": {"message": "no such path", "type": "invalid_request_error", "param": None, "code": None}}, 404)


USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
MODERATION = {"flagged": False, "categories": {"violence": False}, "category_scores": {"violence": 0.1}, "category_applied_input_types": {}}


def chat_whole(model: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "".join(WORDS)}, "finish_reason": "stop"}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": USAGE}


def chat_stream(body: dict[str, Any]) -> list[bytes]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
    deltas: list[Any] = [{"role": "assistant", "content": ""}, *({"content": word} for word in WORDS)]
    chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks.append({**head, "choices": [], "usage": USAGE})
    return [*(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks), b"data: [DONE]\n\n"]


def messages_whole(model: str) -> dict[str, Any]:
    content = [{"type": "text", "text": "".join(WORDS)}]
    usage = {"input_tokens": 9, "output_tokens": 3, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": model}
    return {**head, "content": content, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}


def messages_stream(model: str) -> list[bytes]:
    head = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**head, "usage": {"input_tokens": 9, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}} for word in WORDS),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 3}},
        {"type": "message_stop"},
    ]
    return [named(event) for event in events]


def responses_whole(model: str, status: str = "completed") -> dict[str, Any]:
    part = {"type": "output_text", "text": "".join(WORDS), "annotations": []}
    message = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [part]}
    usage = {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12, "input_tokens_details": {"cached_tokens": 0}}
    usage["output_tokens_details"] = {"reasoning_tokens": 0}
    head = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "model": model,
        "error": None,
        "incomplete_details": None,
    }
    rest = {
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "temperature": 1.0,
        "top_p": 1.0,
        "metadata": {},
        "instructions": None,
    }
    done = status == "completed"
    return {**head, "output": [message] if done else [], "usage": usage if done else None, **rest}


def responses_stream(model: str) -> list[bytes]:
    part = {"type": "output_text", "text": "", "annotations": []}
    item = {"type": "message", "id": "msg_1", "status": "in_progress", "role": "assistant", "content": []}
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    finished = responses_whole(model)
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": responses_whole(model, "in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **at, "part": part},
        *({"type": "response.output_text.delta", **at, "delta": word, "logprobs": []} for word in WORDS),
        {"type": "response.output_text.done", **at, "text": "".join(WORDS), "logprobs": []},
        {"type": "response.content_part.done", **at, "part": {**part, "text": "".join(WORDS)}},
        {"type": "response.output_item.done", "output_index": 0, "item": finished["output"][0]},
        {"type": "response.completed", "response": finished},
    ]
    return [named({**event, "sequence_number": number}) for number, event in enumerate(events)]


def named(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
