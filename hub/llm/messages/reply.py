"""A whole Messages answer, read and written. Source: docs.anthropic.com/en/api/messages. Pure."""

from typing import Any

import msgspec

from hub.call import Tokens
from hub.llm.body import arguments, arguments_text
from hub.llm.canonical import Part, Reasoning, Refused, Reply, Stop, Text, ToolCall
from hub.llm.fields import Members
from hub.llm.names import answer_id
from hub.llm.seals import marked, seal, unseal
from hub.llm.usage import Anthropic, from_anthropic, to_messages
from hub.refusal import UpstreamFault

_STOPS: dict[str, Stop] = {
    "end_turn": "end",
    "max_tokens": "length",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool",
    "pause_turn": "pause",
    "refusal": "filter",
    "model_context_window_exceeded": "context",
}
REASONS: dict[Stop, str] = {stop: reason for reason, stop in _STOPS.items()}


def read_reply(body: dict[str, Any]) -> Reply:
    """Raises `UpstreamFault` for what is not one."""
    source = Members(body, fails=UpstreamFault)
    parts: list[Part] = [read_block(block) for block in source.each("content")]
    if explanation := explained(source.members("stop_details")):
        parts.append(Refused(explanation))
    usage = read_usage(source.any("usage"))
    return Reply(
        id=source.text("id", ""),
        model=source.text("model", ""),
        parts=tuple(parts),
        stop=stop_of(source.text("stop_reason", "")),
        stop_sequence=source.text("stop_sequence", ""),
        usage=from_anthropic(usage) if usage else None,
    )


def stop_of(reason: str) -> Stop:
    return _STOPS.get(reason, "end")


def explained(details: Members | None) -> str:
    """Why the model was kept from answering, in words, where the provider says so."""
    return details.text("explanation", "") if details else ""


def read_usage(value: Any) -> Anthropic | None:
    if not isinstance(value, dict):
        return None
    try:
        return msgspec.convert(value, Anthropic)
    except msgspec.ValidationError:
        return None


def read_block(block: Members) -> Text | ToolCall | Reasoning:
    """One block of an answer. The provider's own tools were not asked for, so theirs are a fault."""
    kind = block.text("type")
    if kind == "text":
        return Text(block.text("text", ""))
    if kind == "tool_use":
        return ToolCall(block.text("id"), block.text("name"), arguments_text(block.plain("input") or {}))
    if kind == "thinking":
        return unseal(block.text("signature", ""), "anthropic", text=block.text("thinking", ""))
    if kind == "redacted_thinking":
        return unseal(block.text("data"), "anthropic", hidden=True)
    return block.refuse(f"is {kind[:40]!r}", "type")


def write_reply(reply: Reply, *, model: str = "") -> dict[str, Any]:
    """`model` stands for the reply's own where it is given."""
    return {
        "id": answer_id(reply.id, "msg_"),
        "type": "message",
        "role": "assistant",
        "model": model or reply.model,
        "content": [write_block(part) for part in reply.parts if isinstance(part, Text | ToolCall | Reasoning | Refused)],
        "stop_reason": reason(reply.stop, refused=any(isinstance(part, Refused) for part in reply.parts)),
        "stop_sequence": reply.stop_sequence if reply.stop == "stop_sequence" and reply.stop_sequence else None,
        "usage": to_messages(reply.usage or Tokens()),
    }


def reason(stop: Stop, *, refused: bool) -> str:
    """A model that declined in its own words stopped by itself elsewhere; here that is a refusal."""
    return "refusal" if refused and stop == "end" else REASONS[stop]


def write_block(part: Text | ToolCall | Reasoning | Refused) -> dict[str, Any]:
    match part:
        case Text() | Refused():
            return {"type": "text", "text": part.text}
        case ToolCall():
            return {"type": "tool_use", "id": part.id, "name": part.name, "input": arguments(part.arguments)}
        case Reasoning():
            if part.hidden:
                return {"type": "redacted_thinking", "data": seal(part, "anthropic")}
            return {"type": "thinking", "thinking": part.text, "signature": marked(part, "anthropic")}
