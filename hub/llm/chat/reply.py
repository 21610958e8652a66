"""A whole chat completion, read and written. Source: platform.openai.com/docs/api-reference/chat/object. Pure."""

from typing import Any, cast

import msgspec

from hub.call import Tokens
from hub.llm.body import dump
from hub.llm.canonical import Part, Reasoning, Refused, Reply, Stop, Text, ToolCall
from hub.llm.chat.thoughts import details, read_thoughts
from hub.llm.fields import Members
from hub.llm.names import answer_id, given_id
from hub.llm.usage import OpenAI, from_openai, to_chat
from hub.refusal import UpstreamFault

_STOPS: dict[str, Stop] = {
    "stop": "end",
    "length": "length",
    "model_length": "context",
    "tool_calls": "tool",
    "function_call": "tool",
    "content_filter": "filter",
}
FINISHES: dict[Stop, str] = {
    "end": "stop",
    "length": "length",
    "stop_sequence": "stop",
    "tool": "tool_calls",
    "filter": "content_filter",
    "pause": "stop",
    "context": "length",
}


def read_reply(body: dict[str, Any]) -> Reply:
    """Raises `UpstreamFault` for what is not one."""
    source = Members(body, fails=UpstreamFault)
    choice = next(source.each("choices"), None)
    if choice is None:
        source.refuse("has no choice", "choices")
    finish = choice.text("finish_reason", "")
    if finish == "error":
        choice.refuse("says that the answer failed", "finish_reason")
    message = choice.members("message") or Members({}, choice.place("message"), UpstreamFault)
    identity = source.text("id", "")
    parts: list[Part] = [*read_thoughts(message)]
    for kind, text in spoken(message.any("content")):
        parts.append(Reasoning(text) if kind == "thinking" else Text(text))
    if refusal := message.text("refusal", ""):
        parts.append(Refused(refusal))
    calls = [_call(item, identity, index) for index, item in enumerate(message.each("tool_calls"))]
    stop_sequence = choice.any("stop_reason")
    return Reply(
        id=identity,
        model=source.text("model", ""),
        parts=(*parts, *calls),
        stop=stop_of(finish, bool(calls), isinstance(stop_sequence, str)),
        stop_sequence=stop_sequence if isinstance(stop_sequence, str) else "",
        usage=usage_of(body),
        created=source.whole("created") or 0,
    )


def stop_of(finish: str, calls: bool, sequence: bool = False) -> Stop:
    """Some providers say `stop` where they mean that tools are to be called."""
    stop = _STOPS.get(finish, "end")
    if stop == "end":
        return "tool" if calls else "stop_sequence" if sequence else "end"
    return stop


def usage_of(body: dict[str, Any]) -> Tokens | None:
    """The usage of a reply or a chunk, wherever a provider puts it; None where there is none that can be read."""
    groq: Any = body.get("x_groq")
    value: Any = body.get("usage") or (cast("dict[str, Any]", groq).get("usage") if isinstance(groq, dict) else None)
    if not isinstance(value, dict):
        return None
    try:
        return from_openai(msgspec.convert(value, OpenAI))
    except msgspec.ValidationError:
        return None


def spoken(content: Any) -> list[tuple[str, str]]:
    """What a message says, as (`text` or `thinking`, words): a string, or the array of parts Mistral's reasoning models give."""
    if isinstance(content, str):
        return [("text", content)] if content else []
    found: list[tuple[str, str]] = []
    for item in cast("list[Any]", content) if isinstance(content, list) else []:
        part = cast("dict[str, Any]", item) if isinstance(item, dict) else {}
        if part.get("type") == "thinking":
            found += [("thinking", text) for _, text in spoken(part.get("thinking"))]
        elif isinstance(part.get("text"), str) and part["text"]:
            found.append(("text", part["text"]))
    return found


def arguments_of(value: Any) -> str:
    """Arguments as text: a few providers give the object itself."""
    if isinstance(value, str):
        return value
    return "" if value is None else dump(value).decode()


def _call(item: Members, answer: str, index: int) -> ToolCall:
    function = item.members("function") or Members({}, item.place("function"), UpstreamFault)
    return ToolCall(item.text("id", "") or given_id(answer, index), function.text("name"), arguments_of(function.any("arguments")))


def write_reply(reply: Reply, *, model: str = "", now: int = 0) -> dict[str, Any]:
    """`model` stands for the reply's own where it is given; `now` in Unix seconds where the reply has no time."""
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    texts = [part.text for part in reply.parts if isinstance(part, Text)]
    refusals = [part.text for part in reply.parts if isinstance(part, Refused)]
    thoughts = [part for part in reply.parts if isinstance(part, Reasoning)]
    calls = [part for part in reply.parts if isinstance(part, ToolCall)]
    if texts or not (calls or refusals):
        message["content"] = "".join(texts)
    if refusals:
        message["refusal"] = "".join(refusals)
    if any(one.text for one in thoughts):
        message["reasoning_content"] = "".join(one.text for one in thoughts)
    if sealed := details(thoughts):
        message["reasoning_details"] = sealed
    if calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}} for call in calls
        ]
    found: dict[str, Any] = {
        "id": answer_id(reply.id, "chatcmpl-"),
        "object": "chat.completion",
        "created": reply.created or now,
        "model": model or reply.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": FINISHES[reply.stop]}],
    }
    if reply.usage is not None:
        found["usage"] = to_chat(reply.usage)
    return found
