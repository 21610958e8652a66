"""A Responses request, read. Source: platform.openai.com/docs/api-reference/responses/create. Pure.

What another dialect cannot say is refused with its place; what only hints is named in `dropped`. What an earlier answer left at the
provider (`previous_response_id`, `conversation`, item references) is there alone, and refused.
"""

from typing import Any

from hub.llm.canonical import (
    Choice,
    Document,
    Image,
    Output,
    Reasoning,
    Request,
    Sampling,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from hub.llm.chat.request_in import image
from hub.llm.fields import Members, named, pairs
from hub.llm.schemas import strictable
from hub.llm.seals import unseal
from hub.llm.shared import SHARED, document

_REFUSED = {
    "previous_response_id": "is known to its own provider alone: send the conversation in input",
    "conversation": "is known to its own provider alone: send the conversation in input",
    "prompt": "is known to its own provider alone",
    "background": "cannot be carried to this model",
    "moderation": "cannot be carried to this model",
}


def read_request(body: dict[str, Any]) -> Request:
    """Raises `InvalidRequest` with `data={"param": …}`."""
    source = Members(body)
    for name, why in _REFUSED.items():
        if source.any(name):
            source.refuse(why, name)
    if source.whole("top_logprobs"):
        source.refuse("cannot be carried to this model", "top_logprobs")
    dropped: list[str] = []
    instructions = source.text("instructions", "")
    turns = [Turn("system", (Text(instructions),))] if instructions else []
    turns += _input(source, dropped)
    text = source.members("text") or Members({}, "text")
    reasoning = source.members("reasoning") or Members({}, "reasoning")
    shared = {name: source.any(name) for name in SHARED if source.any(name) is not None}
    if verbosity := text.text("verbosity", ""):
        shared["verbosity"] = verbosity
    return Request(
        model=source.text("model"),
        turns=tuple(turns),
        tools=tuple(_tool(item, dropped) for item in source.each("tools")),
        choice=_choice(source),
        parallel=source.flag("parallel_tool_calls"),
        output=_output(text.members("format")),
        sampling=Sampling(source.number("temperature"), source.number("top_p")),
        max_output=source.whole("max_output_tokens"),
        thinking=_thinking(reasoning),
        user=source.text("user", ""),
        metadata=pairs(source, "metadata") or None,
        shared=shared,
        stream=source.flag("stream") or False,
        include_usage=True,
        dropped=named(*dropped, *_included(source), *_truncation(source), *text.unread(), *reasoning.unread(), *_rest(source)),
    )


def _included(source: Members) -> list[str]:
    wanted = [item for item in source.items("include") or [] if item != "reasoning.encrypted_content"]
    return [f"include {item}" for item in wanted if isinstance(item, str)]


def _truncation(source: Members) -> list[str]:
    return ["truncation"] if source.text("truncation", "disabled") != "disabled" else []


def _rest(source: Members) -> tuple[str, ...]:
    source.skip("stream_options")  # only obfuscation, which another provider has no use for
    return source.unread()


def _thinking(reasoning: Members) -> Thinking:
    effort = reasoning.text("effort", "")
    summary = reasoning.text("summary", "") or reasoning.text("generate_summary", "")
    return Thinking(effort != "none" if effort else None, effort, None, summary)


def _input(source: Members, dropped: list[str]) -> list[Turn]:
    """What the assistant said, thought and called in a row is one turn."""
    given = source.any("input")
    if isinstance(given, str):
        return [Turn("user", (Text(given),))]
    if not given:
        source.refuse("is missing", "input")
    turns: list[Turn] = []
    for item in source.each("input"):
        turn = _item(item, dropped)
        dropped += item.unread()
        if turns and turn.role == "assistant" == turns[-1].role:
            turns[-1] = Turn("assistant", turns[-1].parts + turn.parts)
        else:
            turns.append(turn)
    return turns


def _item(item: Members, dropped: list[str]) -> Turn:
    kind = item.text("type", "message")
    item.skip("status", "id", "caller")
    if kind == "message":
        item.skip("phase")
        role = item.text("role")
        if role not in ("user", "assistant", "system", "developer"):
            item.refuse("must be one of user, assistant, system, developer", "role")
        return Turn(role, tuple(_content(item, "content", dropped)))
    if kind == "function_call":
        return Turn("assistant", (ToolCall(item.text("call_id"), item.text("name"), item.text("arguments", "")),))
    if kind == "function_call_output":
        item.skip("name")
        parts = tuple(_content(item, "output", dropped))
        return Turn("user", (ToolResult(item.text("call_id"), parts),))
    if kind == "reasoning":
        return Turn("assistant", (thought(item),))
    return item.refuse(f"is {kind[:40]!r}, which cannot be carried to this model", "type")


def thought(item: Members) -> Reasoning:
    """A reasoning item: its summary, or where there is none the thought itself, and what only its maker can read."""
    item.skip("content")
    name = "summary" if item.items("summary") else "content"
    text = "\n\n".join(part.text("text", "") for part in item.each(name))
    return unseal(item.text("encrypted_content", ""), "openai", text=text, identity=item.text("id", ""))


def _content(holder: Members, name: str, dropped: list[str]) -> list[Text | Image | Document]:
    value = holder.any(name)
    if isinstance(value, str):
        return [Text(value)]
    if value is None:
        holder.refuse("is missing", name)
    found: list[Text | Image | Document] = []
    for part in holder.each(name):
        found.append(_part(part))
        dropped += part.unread()
    return found


def _part(part: Members) -> Text | Image | Document:
    kind = part.text("type")
    if kind in ("input_text", "output_text", "text"):
        part.skip("annotations", "logprobs")
        return Text(part.text("text"))
    if kind == "refusal":
        return Text(part.text("refusal"))
    if kind == "input_image":
        if part.any("file_id") is not None:
            part.refuse("is known to its own provider alone", "file_id")
        return image(part, "image_url", part.text("detail", ""))
    if kind == "input_file":
        part.any("detail")
        return document(part)
    return part.refuse(f"is {kind[:40]!r}, which cannot be carried to this model", "type")


def _tool(item: Members, dropped: list[str]) -> Tool:
    """Strict where nobody said otherwise, which here is the rule, and the schema allows it."""
    kind = item.text("type")
    if kind != "function":
        item.refuse(f"is {kind[:40]!r}, which cannot be carried to this model", "type")
    schema, strict = item.plain("parameters"), item.flag("strict")
    if strict is None and strictable(schema):
        strict = True
    tool = Tool(item.text("name"), item.text("description", ""), schema, strict)
    dropped += item.unread()
    return tool


def _choice(source: Members) -> Choice | None:
    value = source.any("tool_choice")
    if value is None:
        return None
    if isinstance(value, str):
        if value in ("none", "auto", "required"):
            return Choice(value)
        source.refuse("must be none, auto, required or a function", "tool_choice")
    given = Members(value, "tool_choice")
    if given.text("type") != "function":
        given.refuse("must be function for this model", "type")
    return Choice("named", given.text("name"))


def _output(form: Members | None) -> Output:
    if form is None:
        return Output()
    kind = form.text("type")
    if kind == "text":
        return Output()
    if kind == "json_object":
        return Output("object")
    if kind != "json_schema":
        form.refuse("must be text, json_object or json_schema", "type")
    return Output("schema", form.text("name"), form.text("description", ""), form.plain("schema") or {}, form.flag("strict"))
