"""A model behind the scripted provider that plays by what it is asked, and is strict: what it should not have been sent is a problem.

The first words of a conversation choose the scene; the answers are those of the translation matrix (tests/llm/answers.py). A scene with
tools goes on when their results are there, and its last answer repeats them. `problems` must be empty at the end.
"""

import base64
import json
import re
import struct
import threading
from typing import Any

from tests.llm.answers import STREAMS, WHOLE, sse
from tests.llm.cases import PERSON, PIXEL, WEATHER
from tests.support.provider import MODERATION, Asked, Reply, stream, whole

DIALECTS = {"/v1/chat/completions": "chat", "/v1/responses": "responses", "/v1/messages": "messages"}
MODELS = {"chat": "gpt-5-mini", "responses": "gpt-5-mini", "messages": "claude-opus-4-5"}
SCENES = {
    "Say hello.": "text",
    "Weather in Bern?": "tools",
    "Weather in Bern and Rome?": "parallel",
    "Is 91 prime?": "reasoning",
    "Ada, 36.": "schema",
    "What is it?": "images",
    "Do harm.": "refusal",
    "1, 2,": "length",
}
VERSIONS = ("2023-06-01", "2026-10-21")
VECTOR = (0.5, -0.25, 1.0)
ERRORS = {
    "openai": lambda status: {"error": {"message": f"As told: {status}.", "type": "told", "param": None, "code": "told"}},
    "anthropic": lambda status: {"type": "error", "error": {"type": _TYPES[status], "message": f"As told: {status}."}},
}
_TYPES = {
    400: "invalid_request_error",
    404: "not_found_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


class Actor:
    """`key` is the provider's; `strangers` are texts that no provider may ever see, the hub's own keys among them."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.strangers: set[str] = set()
        self.problems: list[str] = []
        self.betas = 0
        """How often it was asked by `?beta=true`."""
        self.over = threading.Event()
        """Until it is set, who says "Wait." is not answered."""
        self._threads: dict[str, Any] = {}

    def __call__(self, asked: Asked) -> Reply:
        path, _, query = asked.path.partition("?")
        try:
            assert query in ("", "beta=true"), query
            self.betas += query == "beta=true"
            self._envelope(asked, path)
            if path in DIALECTS:
                body = asked.json
                return self._threaded(body) if "thread" in body else self._talk(body, DIALECTS[path])
            return self._other(asked.json, path)
        except Exception as problem:
            self.problems.append(f"{path}: {problem!r} in {asked.raw[:2000]!r}")
            return whole({"error": {"message": f"the actor is not pleased: {problem!r}", "type": "invalid_request_error"}}, 400)

    def _envelope(self, asked: Asked, path: str) -> None:
        headers = asked.headers
        shown = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        assert shown == self.key, f"shown the key {shown[:9]}"
        assert headers["content-type"].startswith("application/json")
        if path.startswith("/v1/messages"):
            assert headers["anthropic-version"] in VERSIONS, headers
        else:
            assert "anthropic-version" not in headers
        everything = str(headers) + asked.raw.decode()
        assert not any(stranger in everything for stranger in self.strangers), "a caller's key came through"

    def _threaded(self, body: dict[str, Any]) -> Reply:
        """A conversation Anthropic keeps: each turn brings only what is new, and names the answer it goes on from."""
        told = body.pop("thread")
        held = {"messages": []} if told["type"] == "create" else self._threads[told["previous_message_id"]]
        body = {**held, **body, "messages": [*held["messages"], *body["messages"]]}
        name = f"msg_thread{len(self._threads)}"
        self._threads[name] = body
        reply = self._talk(body, "messages")
        return reply._replace(parts=tuple(part.replace(b"msg_01M1", name.encode()) for part in reply.parts if isinstance(part, bytes)))

    def _talk(self, body: dict[str, Any], dialect: str) -> Reply:
        assert body["model"] == MODELS[dialect], body["model"]
        texts, results, images = _read(body, dialect)
        if told := re.match(r"Fail (\d+)\.", texts[0]):
            return self._fail(int(told[1]), dialect)
        if texts[0] == "Wait.":
            self.over.wait(60)
            return _answer(body, dialect, "text")
        scene = SCENES[texts[0]]
        if scene in ("tools", "parallel"):
            _check_tool(body, dialect)
            if results:
                assert len(results) == (2 if scene == "parallel" else 1), results
                return _answer(body, dialect, "text", "; ".join(f"{name}: {text}" for name, text in sorted(results.items())))
        if scene == "schema":
            assert _schema(body, dialect) == PERSON, _schema(body, dialect)
        if scene == "images":
            assert images == [PIXEL], images
            scene = "text"
        return _answer(body, dialect, scene)

    def _fail(self, status: int, dialect: str) -> Reply:
        family = "anthropic" if dialect == "messages" else "openai"
        return whole(ERRORS[family](status), status, x_should_retry="false")

    def _other(self, body: dict[str, Any], path: str) -> Reply:
        if path == "/v1/messages/count_tokens":
            assert body["model"] == MODELS["messages"]
            return whole({"input_tokens": 9})
        assert body["model"] == MODELS["chat"], body["model"]
        match path:
            case "/v1/embeddings":
                coded = base64.b64encode(struct.pack(f"<{len(VECTOR)}f", *VECTOR)).decode()
                vector = coded if body.get("encoding_format") == "base64" else list(VECTOR)
                given = body["input"] if isinstance(body["input"], list) else [body["input"]]
                data = [{"object": "embedding", "index": index, "embedding": vector} for index, _ in enumerate(given)]
                return whole({"object": "list", "data": data, "model": body["model"], "usage": {"prompt_tokens": 3, "total_tokens": 3}})
            case "/v1/moderations":
                return whole({"id": "modr-1", "model": body["model"], "results": [MODERATION]})
            case "/v1/completions":
                choice = {"index": 0, "text": "Hello, wörld.", "finish_reason": "stop", "logprobs": None}
                usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
                head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": body["model"]}
                return whole({**head, "choices": [choice], "usage": usage})
            case _:
                raise AssertionError("there is no such path")


def _answer(body: dict[str, Any], dialect: str, case: str, text: str = "") -> Reply:
    """`text` takes the place of the last word of the answer, whole or streamed."""

    def changed(value: Any) -> Any:
        said = json.dumps(value, ensure_ascii=False)
        return json.loads(said.replace("wörld.", json.dumps(text, ensure_ascii=False)[1:-1])) if text else value

    if not body.get("stream"):
        return whole(changed(WHOLE[dialect][case]))
    events = changed(STREAMS[dialect][case])
    if dialect == "chat" and not (body.get("stream_options") or {}).get("include_usage"):
        events = [event for event in events if event == "[DONE]" or event["choices"]]
    return stream([event + b"\n\n" for event in sse(dialect, events).split(b"\n\n") if event])


def _read(body: dict[str, Any], dialect: str) -> tuple[list[str], dict[str, str], list[str]]:
    """What the user said, the results of tools by the call's last letter and digit (`a1`), the images as base64."""
    texts: list[str] = []
    results: dict[str, str] = {}
    images: list[str] = []
    turns = body["input"] if dialect == "responses" else body["messages"]
    if isinstance(turns, str):
        return [turns], results, images
    for turn in turns:
        if dialect == "chat" and turn["role"] == "tool":
            results[turn["tool_call_id"][-2:]] = _plain(turn["content"])
        elif turn.get("type") == "function_call_output":
            results[turn["call_id"][-2:]] = _plain(turn["output"])
        elif turn.get("role") == "user":
            parts = [{"type": "text", "text": turn["content"]}] if isinstance(turn["content"], str) else turn["content"]
            for part in parts:
                match part["type"]:
                    case "text" | "input_text":
                        texts.append(part["text"])
                    case "tool_result":
                        results[part["tool_use_id"][-2:]] = _plain(part["content"])
                    case "image_url":
                        images.append(part["image_url"]["url"].removeprefix("data:image/png;base64,"))
                    case "input_image":
                        images.append(part["image_url"].removeprefix("data:image/png;base64,"))
                    case "image":
                        assert part["source"]["type"] == "base64"
                        images.append(part["source"]["data"])
                    case kind:
                        raise AssertionError(f"a part of type {kind}")
    return texts, results, images


def _plain(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _check_tool(body: dict[str, Any], dialect: str) -> None:
    """The tool must have come with its name and its schema as they were given, as far as a family knows the members."""
    (tool,) = body["tools"]
    tool = tool["function"] if dialect == "chat" else tool
    schema = tool["input_schema" if dialect == "messages" else "parameters"]
    assert (tool["name"], tool["description"]) == ("get_weather", "The weather"), tool
    types = {name: member["type"] for name, member in schema["properties"].items()}
    assert types == {name: member["type"] for name, member in WEATHER["properties"].items()}, schema
    assert sorted(schema["required"]) == sorted(WEATHER["required"]), schema


def _schema(body: dict[str, Any], dialect: str) -> Any:
    """The JSON Schema of the answer asked for, without the titles some clients add."""
    match dialect:
        case "chat":
            found = body["response_format"]["json_schema"]["schema"]
        case "responses":
            found = body["text"]["format"]["schema"]
        case _:
            found = body["output_config"]["format"]["schema"]
    bare = {name: value for name, value in found.items() if name not in ("title", "$schema")}
    bare["properties"] = {name: {key: value for key, value in one.items() if key == "type"} for name, one in bare["properties"].items()}
    return {name: bare[name] for name in PERSON if name in bare}
