"""A chat completions request, written for one provider's quirks. Source: platform.openai.com/docs/api-reference/chat/create. Pure."""

from typing import Any

from hub.llm.canonical import Document, Image, Part, Reasoning, Refused, Request, Text, Tool, ToolCall, ToolResult, Turn, Written
from hub.llm.chat.thoughts import details
from hub.llm.fields import named
from hub.llm.media import join
from hub.llm.names import nine, user_id
from hub.llm.quirks import OPENAI, Quirks
from hub.llm.shared import effort, file_members, titled
from hub.refusal import InvalidRequest

_MAX_STOPS = 4


def write_request(request: Request, model: str, quirks: Quirks = OPENAI) -> Written:
    """Raises `InvalidRequest` for what this provider cannot be told. A stream always asks for usage where the provider can give it."""
    dropped: list[str] = [*request.dropped]
    body: dict[str, Any] = {"model": model, "messages": _messages(request, quirks, dropped)}
    if request.tools:
        body["tools"] = [_tool(tool, quirks, dropped) for tool in request.tools]
    _choice(request, quirks, body, dropped)
    _output(request, quirks, body)
    _bounds(request, quirks, body, dropped)
    _hints(request, quirks, body, dropped)
    if request.stream:
        body["stream"] = True
        if quirks.stream_options:
            body["stream_options"] = {"include_usage": True}
    return Written(body, named(*dropped))


def _messages(request: Request, quirks: Quirks, dropped: list[str]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for turn in _joined(request.turns):
        if turn.role == "assistant":
            messages.append(_assistant(turn, quirks, dropped))
        elif turn.role == "user":
            messages += _user(turn, quirks, dropped)
        else:
            role = "developer" if turn.role == "developer" and quirks.developer else "system"
            messages.append({"role": role, "content": "\n\n".join(_text(part, turn.role) for part in turn.parts)})
    if request.turns and request.turns[-1].role == "assistant":
        dropped.append("prefill")
    return messages


def _joined(turns: tuple[Turn, ...]) -> list[Turn]:
    """Turns of the assistant that follow each other as one: its text and its tool calls are one message here."""
    found: list[Turn] = []
    for turn in turns:
        if found and turn.role == "assistant" == found[-1].role:
            found[-1] = Turn("assistant", found[-1].parts + turn.parts)
        else:
            found.append(turn)
    return found


def _text(part: Part, role: str) -> str:
    if isinstance(part, Text):
        return part.text
    raise InvalidRequest(f"a {role} message must be text for this model", data={"param": "messages"})


def _assistant(turn: Turn, quirks: Quirks, dropped: list[str]) -> dict[str, Any]:
    spoken = [part.text for part in turn.parts if isinstance(part, Text | Refused)]
    calls = [part for part in turn.parts if isinstance(part, ToolCall)]
    thoughts = [part for part in turn.parts if isinstance(part, Reasoning)]
    if any(isinstance(part, Image | Document | ToolResult) for part in turn.parts):
        raise InvalidRequest("an assistant message must be text and tool calls for this model", data={"param": "messages"})
    message: dict[str, Any] = {"role": "assistant", "content": "".join(spoken) if spoken or not calls else None}
    if calls:
        message["tool_calls"] = [
            {"id": _id(call.id, quirks), "type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}}
            for call in calls
        ]
    text = "".join(one.text for one in thoughts)
    if text and quirks.reasoning_out:
        message[quirks.reasoning_out] = text
    elif thoughts:
        dropped.append("reasoning")
    if quirks.reasoning_out == "reasoning" and (sealed := details([one for one in thoughts if not one.origin])):
        message["reasoning_details"] = sealed
    return message


def _user(turn: Turn, quirks: Quirks, dropped: list[str]) -> list[dict[str, Any]]:
    """Results of tools each in a message of its own; images in them follow in the user's, since a result can only be text here."""
    messages: list[dict[str, Any]] = []
    rest: list[Part] = []
    for part in turn.parts:
        if isinstance(part, ToolResult):
            spoken = [one.text for one in part.parts if isinstance(one, Text)]
            moved = [one for one in part.parts if not isinstance(one, Text)]
            rest += moved
            if moved:
                dropped.append("the place of an image in a tool result")
            messages.append({"role": "tool", "tool_call_id": _id(part.id, quirks), "content": "\n".join(spoken)})
            if part.is_error:
                dropped.append("is_error")
    rest += [part for part in turn.parts if not isinstance(part, ToolResult)]
    if rest or not turn.parts:
        messages.append({"role": "user", "content": _content(rest)})
    return messages


def _content(parts: list[Part]) -> str | list[dict[str, Any]]:
    if not parts:
        return ""
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return [_part(part) for part in parts]


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        where = {"url": part.url or join(part.media_type, part.data)}
        return {"type": "image_url", "image_url": where | ({"detail": part.detail} if part.detail else {})}
    if isinstance(part, Document):
        if part.text:
            return {"type": "text", "text": titled(part)}
        if part.url:
            raise InvalidRequest("a document by URL cannot be carried to this model", data={"param": "messages"})
        return {"type": "file", "file": file_members(part)}
    raise InvalidRequest("a user message must be text, images and documents for this model", data={"param": "messages"})


def _id(identity: str, quirks: Quirks) -> str:
    return nine(identity) if quirks.nine_digit_ids else identity


def _tool(tool: Tool, quirks: Quirks, dropped: list[str]) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.schema is not None:
        function["parameters"] = tool.schema
    if tool.strict is not None and quirks.strict:
        function["strict"] = tool.strict
    elif tool.strict:
        dropped.append("tools[].strict")
    return {"type": "function", "function": function}


def _choice(request: Request, quirks: Quirks, body: dict[str, Any], dropped: list[str]) -> None:
    choice = request.choice
    if choice is not None:
        if choice.kind == "named":
            body["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
        elif choice.kind == "required" and not quirks.required:
            raise InvalidRequest("this model cannot be made to call a tool", data={"param": "tool_choice"})
        else:
            body["tool_choice"] = quirks.required if choice.kind == "required" else choice.kind
    if request.parallel is not None and request.tools:
        if quirks.parallel_tool_calls:
            body["parallel_tool_calls"] = request.parallel
        elif not request.parallel:
            dropped.append("parallel_tool_calls")


def _output(request: Request, quirks: Quirks, body: dict[str, Any]) -> None:
    wanted = request.output
    if wanted.kind == "object":
        body["response_format"] = {"type": "json_object"}
    elif wanted.kind == "schema":
        if not quirks.json_schema:
            raise InvalidRequest("this model cannot be held to a JSON schema", data={"param": "response_format"})
        form: dict[str, Any] = {"name": wanted.name or "output", "schema": wanted.schema or {}}
        if wanted.description:
            form["description"] = wanted.description
        if wanted.strict is not None:
            form["strict"] = wanted.strict
        body["response_format"] = {"type": "json_schema", "json_schema": form}


def _bounds(request: Request, quirks: Quirks, body: dict[str, Any], dropped: list[str]) -> None:
    if request.max_output is not None:
        body[quirks.max_tokens] = request.max_output
    if len(request.stop) > _MAX_STOPS:
        raise InvalidRequest(f"at most {_MAX_STOPS} stop sequences can be carried to this model", data={"param": "stop"})
    if request.stop:
        body["stop"] = list(request.stop)
    sampling = request.sampling
    for name, member, known in (
        ("temperature", "temperature", True),
        ("top_p", "top_p", True),
        ("seed", quirks.seed, bool(quirks.seed)),
        ("frequency_penalty", "frequency_penalty", quirks.penalties),
        ("presence_penalty", "presence_penalty", quirks.penalties),
        ("top_k", "", False),
    ):
        value = getattr(sampling, name)
        if value is not None and known:
            body[member] = value
        elif value is not None:
            dropped.append(name)


def _hints(request: Request, quirks: Quirks, body: dict[str, Any], dropped: list[str]) -> None:
    wanted = effort(request.thinking)
    if wanted and quirks.reasoning_effort:
        body["reasoning_effort"] = wanted
    elif wanted:
        dropped.append("reasoning_effort")
    elif request.thinking.enabled is False:
        dropped.append("thinking")
    if request.user and quirks.user:
        body["user"] = user_id(request.user, 64)
    elif request.user:
        dropped.append("user")
    if request.metadata and quirks.metadata and request.shared.get("store"):
        body["metadata"] = request.metadata
    elif request.metadata:
        dropped.append("metadata")
    if quirks.shared:
        body.update(request.shared)
    else:
        dropped += request.shared
