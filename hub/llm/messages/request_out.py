"""A Messages request, written for one API version and model. Source: docs.anthropic.com/en/api/messages. Pure."""

from typing import Any

from hub.llm.body import arguments
from hub.llm.canonical import (
    Document,
    Image,
    Part,
    Reasoning,
    Refused,
    Request,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    Written,
)
from hub.llm.fields import named
from hub.llm.names import anthropic_tool_id, user_id
from hub.llm.quirks import Claude, claude
from hub.llm.schemas import closed
from hub.llm.shared import budget, effort
from hub.refusal import InvalidRequest

_LEAST_BUDGET = 1024
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}


def write_request(request: Request, model: str, how: Claude | None = None) -> Written:
    """Raises `InvalidRequest` for what has no counterpart. The caller sends `how.version` as `anthropic-version`."""
    how = how or claude(model)
    dropped: list[str] = [*request.dropped, *(name for name, value in request.shared.items() if name != "safety_identifier" and value)]
    system, messages = _turns(request, dropped)
    if not messages:
        raise InvalidRequest("at least one message of a user or an assistant is needed", data={"param": "messages"})
    body: dict[str, Any] = {"model": model, "max_tokens": how.max_output if request.max_output is None else request.max_output}
    if system:
        body["system"] = system
    body["messages"] = messages
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    _choice(request, body)
    _output(request, how, body)
    _thinking(request, how, body, dropped)
    _sampling(request, how, body, dropped)
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    user = request.user or str(request.shared.get("safety_identifier") or "")
    if user:
        body["metadata"] = {"user_id": user_id(user, 256)}
    if request.metadata:
        dropped.append("metadata")
    if request.stream:
        body["stream"] = True
    return Written(body, named(*dropped))


def _turns(request: Request, dropped: list[str]) -> tuple[str, list[dict[str, Any]]]:
    """(system, messages). Instructions between turns move to the front; turns of one role become one message, results first."""
    system: list[str] = []
    messages: list[dict[str, Any]] = []
    for turn in request.turns:
        if turn.role in ("system", "developer"):
            system += [_instruction(part) for part in turn.parts]
            if messages:
                dropped.append("the place of a later system message")
            continue
        blocks = [block for part in turn.parts if (block := _block(part, dropped)) is not None]
        if messages and messages[-1]["role"] == turn.role:
            messages[-1]["content"] += blocks
        elif blocks:
            messages.append({"role": turn.role, "content": blocks})
    for message in messages:
        message["content"].sort(key=_results_first)
    return "\n\n".join(text for text in system if text), messages


def _results_first(block: dict[str, Any]) -> bool:
    return block["type"] != "tool_result"


def _instruction(part: Part) -> str:
    if isinstance(part, Text):
        return part.text
    raise InvalidRequest("a system message must be text for this model", data={"param": "messages"})


def _block(part: Part, dropped: list[str]) -> dict[str, Any] | None:
    """None for what says nothing: the API refuses empty text, and reasoning that is not its own."""
    match part:
        case Text() | Refused():
            return {"type": "text", "text": part.text} if part.text else None
        case Image():
            if part.detail not in ("", "auto"):
                dropped.append("detail")
            return {"type": "image", "source": _source(part)}
        case Document():
            return _document(part)
        case ToolCall():
            return {"type": "tool_use", "id": anthropic_tool_id(part.id), "name": part.name, "input": arguments(part.arguments)}
        case ToolResult():
            return _result(part, dropped)
        case Reasoning():
            if part.origin != "anthropic" or not part.seal:
                dropped.append("reasoning")
                return None
            if part.hidden:
                return {"type": "redacted_thinking", "data": part.seal}
            return {"type": "thinking", "thinking": part.text, "signature": part.seal}


def _source(part: Image) -> dict[str, str]:
    if part.url:
        return {"type": "url", "url": part.url}
    return {"type": "base64", "media_type": "image/jpeg" if part.media_type == "image/jpg" else part.media_type, "data": part.data}


def _document(part: Document) -> dict[str, Any]:
    if part.url:
        source = {"type": "url", "url": part.url}
    elif part.text:
        source = {"type": "text", "media_type": "text/plain", "data": part.text}
    elif part.media_type == "application/pdf":
        source = {"type": "base64", "media_type": part.media_type, "data": part.data}
    else:
        raise InvalidRequest(f"a file of type {part.media_type[:80]} cannot be carried to this model", data={"param": "messages"})
    return {"type": "document", "source": source, **({"title": part.name} if part.name else {})}


def _result(part: ToolResult, dropped: list[str]) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": anthropic_tool_id(part.id)}
    if len(part.parts) == 1 and isinstance(part.parts[0], Text):
        block["content"] = part.parts[0].text
    elif inner := [found for one in part.parts if (found := _block(one, dropped)) is not None]:
        block["content"] = inner
    if part.is_error:
        block["is_error"] = True
    return block


def _tool(tool: Tool) -> dict[str, Any]:
    found: dict[str, Any] = {"name": tool.name}
    if tool.description:
        found["description"] = tool.description
    found["input_schema"] = {"type": "object", **(tool.schema or {"properties": {}})}
    if tool.strict:
        found["input_schema"] = closed(found["input_schema"])
        found["strict"] = True
    return found


def _choice(request: Request, body: dict[str, Any]) -> None:
    choice = request.choice
    if not request.tools:
        return
    found: dict[str, Any] = {}
    if choice is not None:
        kind = {"required": "any", "named": "tool"}.get(choice.kind, choice.kind)
        found = {"type": kind, "name": choice.name} if kind == "tool" else {"type": kind}
    if request.parallel is False and found.get("type") != "none":
        found = {"type": "auto", **found, "disable_parallel_tool_use": True}
    if found:
        body["tool_choice"] = found


def _output(request: Request, how: Claude, body: dict[str, Any]) -> None:
    wanted = request.output
    if wanted.kind == "object":
        raise InvalidRequest("any JSON object cannot be asked of this model: give a JSON schema", data={"param": "response_format"})
    if wanted.kind == "schema":
        if not how.json_schema:
            raise InvalidRequest("this model cannot be held to a JSON schema", data={"param": "response_format"})
        body["output_config"] = {"format": {"type": "json_schema", "schema": closed(wanted.schema or {})}}


def _thinking(request: Request, how: Claude, body: dict[str, Any], dropped: list[str]) -> None:
    wanted = request.thinking
    asked = wanted.enabled or bool(wanted.effort and wanted.effort != "none") or wanted.budget is not None
    if wanted.enabled is False or wanted.effort == "none":
        body["thinking"] = {"type": "disabled"}
        return
    if not asked:
        return
    if request.choice is not None and request.choice.kind in ("required", "named"):
        dropped.append("reasoning")  # the API refuses thinking where a tool must be called
        return
    if how.thinking == "adaptive":
        body["thinking"] = {"type": "adaptive", **_display(wanted)}
        if level := _EFFORTS.get(effort(wanted)):
            body.setdefault("output_config", {})["effort"] = level
        return
    tokens = min(budget(wanted), int(body["max_tokens"]) - 1)
    if tokens < _LEAST_BUDGET or _lacks_thoughts(request.turns):
        dropped.append("reasoning")
        return
    body["thinking"] = {"type": "enabled", "budget_tokens": tokens, **_display(wanted)}


def _display(wanted: Thinking) -> dict[str, str]:
    return {"display": "omitted" if wanted.summary == "omitted" else "summarized"} if wanted.summary else {}


def _lacks_thoughts(turns: tuple[Turn, ...]) -> bool:
    """Whether the model is in the middle of calling tools without its thoughts at hand: the API then refuses to let it think on."""
    for turn in reversed(turns):
        if turn.role == "assistant":
            called = any(isinstance(part, ToolCall) for part in turn.parts)
            return called and not any(isinstance(part, Reasoning) and part.origin == "anthropic" for part in turn.parts)
        if any(not isinstance(part, ToolResult) for part in turn.parts):
            return False
    return False


def _sampling(request: Request, how: Claude, body: dict[str, Any], dropped: list[str]) -> None:
    """Temperature ends at 1 here; beside it `top_p` is refused by newer models, and all of it where the model thinks."""
    given = request.sampling
    thinks = body.get("thinking", {}).get("type") in ("enabled", "adaptive")
    for name in ("temperature", "top_p", "top_k"):
        value = getattr(given, name)
        if value is None:
            continue
        if not how.sampling or thinks or (name == "top_p" and "temperature" in body):
            dropped.append(name)
        elif name == "temperature" and value > 1:
            body[name] = 1
            dropped.append("temperature above 1")
        else:
            body[name] = value
    dropped += [name for name in ("seed", "frequency_penalty", "presence_penalty") if getattr(given, name) is not None]
