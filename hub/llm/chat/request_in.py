"""A chat completions request, read. Source: platform.openai.com/docs/api-reference/chat/create. Pure.

What another dialect cannot say is refused with its place; what only hints is named in `dropped`.
"""

from typing import Any, cast

from hub.llm.canonical import (
    Choice,
    Document,
    Image,
    Output,
    Part,
    Request,
    Role,
    Sampling,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from hub.llm.chat.thoughts import read_thoughts
from hub.llm.fields import Members, named, pairs, texts
from hub.llm.media import split
from hub.llm.shared import SHARED, document

_REFUSED = {
    "functions": "is not supported: use tools",
    "function_call": "is not supported: use tool_choice",
    "audio": "cannot be carried to this model",
    "web_search_options": "cannot be carried to this model",
    "moderation": "cannot be carried to this model",
}


def read_request(body: dict[str, Any]) -> Request:
    """Raises `InvalidRequest` with `data={"param": …}`."""
    source = Members(body)
    _refuse_what_cannot_be_carried(source)
    dropped: list[str] = []
    turns = [_turn(message, dropped) for message in source.each("messages")]
    if not turns:
        source.refuse("must hold at least one message", "messages")
    options = source.members("stream_options")
    effort = source.text("reasoning_effort", "")
    shared = {name: source.any(name) for name in SHARED if source.any(name) is not None}
    bound = source.whole("max_tokens")
    return Request(
        model=source.text("model"),
        turns=tuple(turns),
        tools=tuple(_tool(item, dropped) for item in source.each("tools")),
        choice=_choice(source),
        parallel=source.flag("parallel_tool_calls"),
        output=_output(source.members("response_format")),
        sampling=_sampling(source),
        stop=texts(source, "stop"),
        max_output=next((value for value in (source.whole("max_completion_tokens"), bound) if value is not None), None),
        thinking=Thinking(effort != "none" if effort else None, effort),
        user=source.text("user", ""),
        metadata=pairs(source, "metadata"),
        shared=shared,
        stream=source.flag("stream") or False,
        include_usage=bool(options and options.flag("include_usage")),
        dropped=named(*dropped, *source.unread()),
    )


def _refuse_what_cannot_be_carried(source: Members) -> None:
    for name, why in _REFUSED.items():
        if source.any(name) is not None:
            source.refuse(why, name)
    if (source.whole("n") or 1) != 1:
        source.refuse("must be 1 for this model", "n")
    if source.flag("logprobs") or source.whole("top_logprobs"):
        source.refuse("cannot be carried to this model", "logprobs")
    if (source.items("modalities") or ["text"]) != ["text"]:
        source.refuse("must be text for this model", "modalities")


def _sampling(source: Members) -> Sampling:
    return Sampling(
        temperature=source.number("temperature"),
        top_p=source.number("top_p"),
        top_k=source.whole("top_k"),
        seed=source.whole("seed"),
        frequency_penalty=source.number("frequency_penalty"),
        presence_penalty=source.number("presence_penalty"),
    )


def _turn(message: Members, dropped: list[str]) -> Turn:
    role = message.text("role")
    if role == "tool":
        parts: tuple[Part, ...] = (ToolResult(message.text("tool_call_id"), tuple(_content(message, dropped))),)
        turn = Turn("user", parts)
    elif role == "assistant":
        turn = Turn("assistant", _assistant(message, dropped))
    elif role in ("system", "developer", "user"):
        turn = Turn(cast("Role", role), tuple(_content(message, dropped)))
    else:
        message.refuse("must be one of system, developer, user, assistant, tool", "role")
    dropped += message.unread()
    return turn


def _assistant(message: Members, dropped: list[str]) -> tuple[Part, ...]:
    for name in ("function_call", "audio"):
        if message.any(name) is not None:
            message.refuse("cannot be carried to this model", name)
    parts: list[Part] = [*read_thoughts(message)]
    if message.any("content") is not None:
        parts += [part for part in _content(message, dropped) if part != Text("")]
    if refusal := message.text("refusal", ""):
        parts.append(Text(refusal))
    for call in message.each("tool_calls"):
        if call.text("type", "function") != "function":
            call.refuse("must be function", "type")
        function = call.members("function") or Members({}, call.place("function"))
        parts.append(ToolCall(call.text("id"), function.text("name"), function.text("arguments", "")))
        dropped += call.unread() + function.unread()
    return tuple(parts)


def _content(message: Members, dropped: list[str]) -> list[Text | Image | Document]:
    value = message.any("content")
    if isinstance(value, str):
        return [Text(value)]
    if value is None:
        message.refuse("is missing", "content")
    found: list[Text | Image | Document] = []
    for part in message.each("content"):
        found.append(_part(part))
        dropped += part.unread()
    return found


def _part(part: Members) -> Text | Image | Document:
    kind = part.text("type")
    if kind == "text":
        return Text(part.text("text"))
    if kind == "refusal":
        return Text(part.text("refusal"))
    if kind == "image_url":
        holder = part.members("image_url") or Members({}, part.place("image_url"))
        return image(holder, "url", holder.text("detail", ""))
    if kind == "file":
        return document(part.members("file") or Members({}, part.place("file")))
    return part.refuse(f"is {kind[:40]!r}, which cannot be carried to this model", "type")


def image(holder: Members, name: str, detail: str) -> Image:
    """An image given by URL, also one that holds the image itself."""
    url = holder.text(name)
    try:
        inline = split(url)
    except ValueError as error:
        holder.refuse(f"cannot be read: {error}", name)
    return Image(media_type=inline[0], data=inline[1], detail=detail) if inline else Image(url=url, detail=detail)


def _tool(item: Members, dropped: list[str]) -> Tool:
    if item.text("type") != "function":
        item.refuse("must be function for this model", "type")
    function = item.members("function") or Members({}, item.place("function"))
    tool = Tool(function.text("name"), function.text("description", ""), function.plain("parameters"), function.flag("strict"))
    dropped += item.unread() + function.unread()
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
    function = given.members("function") or Members({}, given.place("function"))
    return Choice("named", function.text("name"))


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
    wanted = form.members("json_schema") or Members({}, form.place("json_schema"))
    schema = wanted.plain("schema")
    return Output("schema", wanted.text("name"), wanted.text("description", ""), schema or {}, wanted.flag("strict"))
