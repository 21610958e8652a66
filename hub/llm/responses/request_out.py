"""A Responses request, written. Source: platform.openai.com/docs/api-reference/responses/create. Pure."""

from typing import Any

from hub.llm.canonical import (
    Choice,
    Document,
    Image,
    Output,
    Part,
    Reasoning,
    Refused,
    Request,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    Written,
)
from hub.llm.fields import named
from hub.llm.media import join
from hub.llm.names import user_id
from hub.llm.quirks import OPENAI, Quirks
from hub.llm.shared import effort, file_members, titled
from hub.refusal import InvalidRequest


def write_request(request: Request, model: str, quirks: Quirks = OPENAI) -> Written:
    """Raises `InvalidRequest` for what has no counterpart. Nothing is stored at the provider unless the request said so."""
    dropped: list[str] = [*request.dropped]
    if request.stop:
        raise InvalidRequest("stop sequences cannot be carried to this model", data={"param": "stop"})
    body: dict[str, Any] = {"model": model, "input": [item for turn in request.turns for item in _items(turn, dropped)]}
    if request.tools:
        body["tools"] = [tool_member(tool) for tool in request.tools]
    if request.choice is not None:
        body["tool_choice"] = choice_member(request.choice)
    if request.parallel is not None and request.tools:
        body["parallel_tool_calls"] = request.parallel
    text: dict[str, Any] = {}
    if request.output.kind != "text":
        text["format"] = form_member(request.output)
    if "verbosity" in request.shared:
        text["verbosity"] = request.shared["verbosity"]
    if text:
        body["text"] = text
    _bounds(request, body, dropped)
    _reasoning(request, body, dropped)
    if request.user:
        body["user"] = user_id(request.user, 64)
    if request.metadata:
        body["metadata"] = request.metadata
    body["store"] = False
    if quirks.shared:
        body.update({name: value for name, value in request.shared.items() if name != "verbosity"})
    else:
        dropped += request.shared
    if request.stream:
        body["stream"] = True
    return Written(body, named(*dropped))


def _bounds(request: Request, body: dict[str, Any], dropped: list[str]) -> None:
    if request.max_output is not None:
        body["max_output_tokens"] = request.max_output
    for name in ("temperature", "top_p"):
        if getattr(request.sampling, name) is not None:
            body[name] = getattr(request.sampling, name)
    dropped += [name for name in ("top_k", "seed", "frequency_penalty", "presence_penalty") if getattr(request.sampling, name) is not None]


def _reasoning(request: Request, body: dict[str, Any], dropped: list[str]) -> None:
    """What was thought is asked back encrypted where a model is known to think: others refuse the wish."""
    found: dict[str, Any] = {}
    if wanted := effort(request.thinking):
        found["effort"] = wanted
    if request.thinking.summary in ("auto", "concise", "detailed"):
        found["summary"] = request.thinking.summary
    if request.thinking.enabled is False and not found:
        dropped.append("thinking")
    if found:
        body["reasoning"] = found
    if (found and found.get("effort") != "none") or any(item.get("type") == "reasoning" for item in body["input"]):
        body["include"] = ["reasoning.encrypted_content"]


def _items(turn: Turn, dropped: list[str]) -> list[dict[str, Any]]:
    """Tool results first, then what the turn says in one message; of the assistant each part in its place."""
    if turn.role == "assistant":
        return [item for part in turn.parts if (item := _said(part, dropped)) is not None]
    items: list[dict[str, Any]] = []
    rest: list[Part] = []
    for part in turn.parts:
        if isinstance(part, ToolResult):
            items.append({"type": "function_call_output", "call_id": part.id, "output": _output(part)})
            if part.is_error:
                dropped.append("is_error")
        else:
            rest.append(part)
    if rest or not turn.parts:
        items.append({"type": "message", "role": turn.role, "content": [_part(part) for part in rest]})
    return items


def _said(part: Part, dropped: list[str]) -> dict[str, Any] | None:
    match part:
        case Text() | Refused():
            return {"type": "message", "role": "assistant", "content": part.text} if part.text else None
        case ToolCall():
            return {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": part.arguments or "{}"}
        case Reasoning():
            if part.origin != "openai" or not part.seal or not part.id:
                dropped.append("reasoning")
                return None
            summary = [{"type": "summary_text", "text": part.text}] if part.text else []
            return {"type": "reasoning", "id": part.id, "summary": summary, "encrypted_content": part.seal}
        case _:
            raise InvalidRequest("an assistant message must be text and tool calls for this model", data={"param": "messages"})


def _output(result: ToolResult) -> str | list[dict[str, Any]]:
    if all(isinstance(part, Text) for part in result.parts):
        return "\n".join(part.text for part in result.parts if isinstance(part, Text))
    return [_part(part) for part in result.parts]


def _part(part: Part) -> dict[str, Any]:
    match part:
        case Text():
            return {"type": "input_text", "text": part.text}
        case Image():
            return {"type": "input_image", "image_url": part.url or join(part.media_type, part.data), "detail": part.detail or "auto"}
        case Document() if part.text:
            return {"type": "input_text", "text": titled(part)}
        case Document() if part.url:
            return {"type": "input_file", "file_url": part.url}
        case Document():
            return {"type": "input_file", **file_members(part)}
        case _:
            raise InvalidRequest("a message must be text, images and documents for this model", data={"param": "messages"})


def tool_member(tool: Tool) -> dict[str, Any]:
    """A function as Responses declares it. Strictness is said in any case: what is absent counts as strict here alone."""
    found: dict[str, Any] = {"type": "function", "name": tool.name}
    if tool.description:
        found["description"] = tool.description
    return found | {"parameters": tool.schema or {"type": "object", "properties": {}}, "strict": bool(tool.strict)}


def choice_member(choice: Choice) -> str | dict[str, str]:
    return {"type": "function", "name": choice.name} if choice.kind == "named" else choice.kind


def form_member(wanted: Output) -> dict[str, Any]:
    if wanted.kind != "schema":
        return {"type": "text" if wanted.kind == "text" else "json_object"}
    found: dict[str, Any] = {"type": "json_schema", "name": wanted.name or "output", "schema": wanted.schema or {}}
    if wanted.description:
        found["description"] = wanted.description
    if wanted.strict is not None:
        found["strict"] = wanted.strict
    return found
