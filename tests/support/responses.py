"""A provider that stores responses, as OpenAI's Responses API does: put `Shelf().answer` into `Provider.always`.

Source of its forms: platform.openai.com/docs/api-reference/responses (create, retrieve, delete, cancel, list input items).
"""

import json
import secrets
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.provider import Asked, Reply, named, stream, whole

USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 3,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 12,
}


class Shelf:
    """What one provider keeps. A background response is done when `finish` is called for it."""

    def __init__(self, name: str = "resp") -> None:
        self.name = name
        self.kept: dict[str, dict[str, Any]] = {}
        self.inputs: dict[str, list[dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def answer(self, asked: Asked) -> Reply:
        parts = urlsplit(asked.path)
        query = {name.removesuffix("[]"): values for name, values in parse_qs(parts.query).items()}
        _, _, rest = parts.path.partition("/v1/responses")
        with self._lock:
            if asked.method == "POST" and not rest:
                return self._create(asked.json)
            response, _, what = rest.removeprefix("/").partition("/")
            if response not in self.kept:
                return missing(response)
            match asked.method, what:
                case "GET", "":
                    return self._get(response, query)
                case "DELETE", "":
                    del self.kept[response]
                    return whole({"id": response, "object": "response", "deleted": True})
                case "POST", "cancel":
                    return self._cancel(response)
                case "GET", "input_items":
                    return self._items(response, query)
                case _:
                    return refused("no such path", "", 404)

    def finish(self, response: str, usage: dict[str, Any] | None = USAGE) -> None:
        """A background response comes to its end."""
        with self._lock:
            self.kept[response] |= {"status": "completed", "output": [_message(response, "Done.")], "usage": usage}

    def _create(self, body: dict[str, Any]) -> Reply:
        before = body.get("previous_response_id")
        if before is not None and before not in self.kept:
            return refused(f"Previous response with id '{before}' not found.", "previous_response_not_found", 400, "previous_response_id")
        given = body["input"] if isinstance(body["input"], list) else [{"type": "message", "role": "user", "content": body["input"]}]
        for at, item in enumerate(given):
            if item.get("type") == "item_reference" and not any(item["id"] in json.dumps(one) for one in self.kept.values()):
                return refused(f"Item with id '{item['id']}' not found.", "", 404, f"input[{at}]")
        identity = f"{self.name}_{secrets.token_hex(16)}"
        earlier = self.inputs.get(before, []) if before else []
        turn = len([item for item in (*earlier, *given) if item.get("role") == "user"])
        made = response(identity, body, f"Turn {turn}.")
        if body.get("background"):
            made |= {"status": "queued", "output": [], "usage": None, "background": True}
        if made["store"] or made["background"]:
            self.kept[identity] = made
            items = [{"id": f"msg_{secrets.token_hex(8)}", **item, "content": _content(item)} for item in given]
            self.inputs[identity] = [*earlier, *items]
        return stream(events(made)) if body.get("stream") else whole(made)

    def _get(self, response: str, query: dict[str, list[str]]) -> Reply:
        made = self.kept[response]
        if query.get("stream", [""])[0] in ("true", "True"):
            after = int(query.get("starting_after", ["-1"])[0])
            return stream(events(made)[after + 1 :])
        return whole(made)

    def _cancel(self, response: str) -> Reply:
        made = self.kept[response]
        if not made["background"]:
            return refused("Cannot cancel a synchronous response.", "", 400)
        if made["status"] in ("queued", "in_progress"):
            made |= {"status": "cancelled"}
        return whole(made)

    def _items(self, response: str, query: dict[str, list[str]]) -> Reply:
        items = list(self.inputs[response])
        if query.get("order", ["desc"])[0] == "desc":
            items.reverse()
        if after := query.get("after", [""])[0]:
            items = items[[item["id"] for item in items].index(after) + 1 :]
        limit = int(query.get("limit", ["20"])[0])
        page = items[:limit]
        ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
        return whole({"object": "list", "data": page, "has_more": len(items) > limit, **ends})


def response(identity: str, body: dict[str, Any], text: str) -> dict[str, Any]:
    return {
        "id": identity,
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": body["model"],
        "output": [_message(identity, text)],
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None},
        "store": body.get("store") is not False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": USAGE,
        "user": None,
        "metadata": body.get("metadata") or {},
    }


def events(made: dict[str, Any]) -> list[bytes | Callable[[], None]]:
    """The stream of a response; of one that is under way, as far as it has come."""
    begun = {**made, "status": "queued" if made["background"] else "in_progress", "output": [], "usage": None}
    found: list[dict[str, Any]] = [{"type": "response.created", "response": begun}]
    if made["status"] == "completed":
        [item] = made["output"]
        at = {"item_id": item["id"], "output_index": 0, "content_index": 0}
        text = item["content"][0]["text"]
        empty = {"type": "output_text", "text": "", "annotations": []}
        found += [
            {"type": "response.output_item.added", "output_index": 0, "item": {**item, "status": "in_progress", "content": []}},
            {"type": "response.content_part.added", **at, "part": empty},
            *({"type": "response.output_text.delta", **at, "delta": letter, "logprobs": []} for letter in text),
            {"type": "response.output_text.done", **at, "text": text, "logprobs": []},
            {"type": "response.content_part.done", **at, "part": item["content"][0]},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": made},
        ]
    return [named({**event, "sequence_number": number}) for number, event in enumerate(found)]


def refused(message: str, code: str, status: int, param: str | None = None) -> Reply:
    return whole({"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code or None}}, status)


def missing(response: str) -> Reply:
    return refused(f"Response with id '{response}' not found.", "", 404)


def _message(identity: str, text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "message", "id": f"msg_{identity}", "status": "completed", "role": "assistant", "content": [part]}


def _content(item: dict[str, Any]) -> Any:
    content = item.get("content")
    return [{"type": "input_text", "text": content}] if isinstance(content, str) else content
