"""A whole Responses answer, read and written. Source: platform.openai.com/docs/api-reference/responses/object. Pure."""

from typing import Any, cast

import msgspec

from hub.call import Tokens
from hub.llm.canonical import Choice, Output, Part, Reasoning, Refused, Reply, Request, Stop, Text, ToolCall
from hub.llm.errors import fault_of
from hub.llm.fields import Members
from hub.llm.names import answer_id, item_id
from hub.llm.responses.request_in import thought
from hub.llm.responses.request_out import choice_member, form_member, tool_member
from hub.llm.seals import marked
from hub.llm.shared import effort
from hub.llm.usage import MOST_REQUESTS, OpenAI, from_openai, to_responses
from hub.refusal import UpstreamFault

_REASONS: dict[str, Stop] = {"max_output_tokens": "length", "content_filter": "filter"}
INCOMPLETE: dict[Stop, str] = {"length": "max_output_tokens", "context": "max_output_tokens", "filter": "content_filter"}


def read_reply(body: dict[str, Any]) -> Reply:
    """Raises `UpstreamFault` for what is not one, and for an answer that says it failed."""
    source = Members(body, fails=UpstreamFault)
    if source.any("status") == "failed":
        raise UpstreamFault("the provider failed to answer", detail=f"it says {fault_of(body, 0, 'openai').code[:40]!r}")
    parts = [part for item in source.each("output") for part in _parts(item)]
    return Reply(
        id=source.text("id", ""),
        model=source.text("model", ""),
        parts=tuple(parts),
        stop=stop_of(source, any(isinstance(part, ToolCall) for part in parts)),
        usage=usage_of(body),
        created=int(source.number("created_at") or 0),
    )


def stop_of(response: Members, calls: bool) -> Stop:
    details = response.members("incomplete_details")
    if response.any("status") == "incomplete":
        return _REASONS.get(details.text("reason", "") if details else "", "length")
    return "tool" if calls else "end"


def usage_of(response: dict[str, Any]) -> Tokens | None:
    """The usage of an answer, with the provider's own searches."""
    if not isinstance(response.get("usage"), dict):
        return None
    searches: Any = response.get("tool_usage")
    for name in ("web_search", "num_requests"):
        searches = cast("dict[str, Any]", searches).get(name) if isinstance(searches, dict) else None
    counted = isinstance(searches, int | float) and not isinstance(searches, bool)  # what 64 bits cannot hold is read as a float
    try:
        return from_openai(msgspec.convert(response["usage"], OpenAI), int(min(searches, MOST_REQUESTS)) if counted else 0)
    except msgspec.ValidationError:
        return None


def _parts(item: Members) -> list[Part]:
    kind = item.text("type")
    if kind == "message":
        found = [
            Refused(part.text("refusal", "")) if part.any("type") == "refusal" else Text(part.text("text", ""))
            for part in item.each("content")
        ]
        return [part for part in found if part.text]
    if kind == "function_call":
        return [ToolCall(item.text("call_id"), item.text("name"), item.text("arguments", ""))]
    if kind == "reasoning":
        one = thought(item)
        return [one] if one.text or one.seal else []
    return item.refuse(f"is {kind[:40]!r}", "type")


def write_reply(reply: Reply, request: Request, *, model: str = "", now: int = 0) -> dict[str, Any]:
    """`request` is echoed, as the dialect does. `model` stands for the reply's own where it is given; `now` in Unix seconds."""
    identity = answer_id(reply.id, "resp_")
    output = [
        item(part, identity, index)
        for index, part in enumerate(part for part in reply.parts if isinstance(part, Text | ToolCall | Reasoning | Refused))
    ]
    head = response(identity, model or reply.model, reply.created or now, request)
    return head | ended(reply.stop, output, reply.usage)


def ended(stop: Stop, output: list[dict[str, Any]], usage: Tokens | None) -> dict[str, Any]:
    """What an answer that has come to its end says beyond what it began with."""
    why = INCOMPLETE.get(stop)
    return {
        "status": "incomplete" if why else "completed",
        "incomplete_details": {"reason": why} if why else None,
        "output": output,
        "usage": to_responses(usage) if usage is not None else None,
    }


def response(identity: str, model: str, created: int, request: Request) -> dict[str, Any]:
    """An answer as it begins."""
    thinking = request.thinking
    return {
        "id": identity,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": request.max_output,
        "metadata": request.metadata or {},
        "model": model,
        "output": [],
        "parallel_tool_calls": request.parallel is not False,
        "previous_response_id": None,
        "reasoning": {"effort": effort(thinking) or None, "summary": thinking.summary or None},
        "store": False,
        "temperature": 1.0 if request.sampling.temperature is None else request.sampling.temperature,
        "text": {"format": form_member(request.output or Output())},
        "tool_choice": choice_member(request.choice or Choice("auto")),
        "tools": [tool_member(tool) for tool in request.tools],
        "top_p": 1.0 if request.sampling.top_p is None else request.sampling.top_p,
        "truncation": "disabled",
        "usage": None,
        "user": request.user or None,
    }


def item(part: Text | ToolCall | Reasoning | Refused, answer: str, index: int) -> dict[str, Any]:
    """One finished item of the output."""
    match part:
        case Text() | Refused():
            return {
                "id": item_id(answer, "msg", index),
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": [said(part)],
            }
        case ToolCall():
            return {
                "id": item_id(answer, "fc", index),
                "type": "function_call",
                "status": "completed",
                "arguments": part.arguments or "{}",
                "call_id": part.id,
                "name": part.name,
            }
        case Reasoning():
            return {
                "id": part.id if part.id.startswith("rs_") else item_id(answer, "rs", index),
                "type": "reasoning",
                "summary": [{"type": "summary_text", "text": part.text}] if part.text else [],
                "encrypted_content": marked(part, "openai"),
            }


def said(part: Text | Refused) -> dict[str, Any]:
    """The content of a message."""
    if isinstance(part, Refused):
        return {"type": "refusal", "refusal": part.text}
    return {"type": "output_text", "text": part.text, "annotations": [], "logprobs": []}
