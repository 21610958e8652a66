"""A Messages request, read. Source: docs.anthropic.com/en/api/messages. Pure.

What another dialect cannot say is refused with its place; what only hints, such as where to cache, is named in `dropped`.
"""

from typing import Any, cast

from hub.llm.body import arguments_text
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
from hub.llm.fields import Members, named, texts
from hub.llm.schemas import strictable
from hub.llm.seals import unseal

_REFUSED = ("container", "mcp_servers", "inference_geo", "thread")
"""State that lives at the provider, and where it does. A `thread` that was left out would lose the conversation without a word."""
_NOWHERE_ELSE = "cannot be carried to this model"


def read_request(body: dict[str, Any]) -> Request:
    """Raises `InvalidRequest` with `data={"param": …}`."""
    source = Members(body)
    for name in _REFUSED:
        if source.any(name):
            source.refuse(_NOWHERE_ELSE, name)
    dropped: list[str] = []
    turns = [Turn("system", tuple(_system(source, "system", dropped)))] if source.any("system") else []
    turns += [_turn(message, dropped) for message in source.each("messages")]
    if all(turn.role == "system" for turn in turns):
        source.refuse("must hold at least one message", "messages")
    choice, parallel = _choice(source.members("tool_choice"))
    config = source.members("output_config") or Members({}, "output_config")
    metadata = source.members("metadata") or Members({}, "metadata")
    user = metadata.text("user_id", "")
    request = Request(
        model=source.text("model"),
        turns=tuple(turns),
        tools=tuple(_tool(item, dropped) for item in source.each("tools")),
        choice=choice,
        parallel=parallel,
        output=_output(config.members("format") or source.members("output_format")),
        sampling=Sampling(source.number("temperature"), source.number("top_p"), source.whole("top_k")),
        stop=texts(source, "stop_sequences"),
        max_output=source.whole("max_tokens"),
        thinking=_thinking(source.members("thinking"), config.text("effort", "")),
        user=user,
        stream=source.flag("stream") or False,
        include_usage=True,
        dropped=named(*dropped, *config.unread(), *metadata.unread(), *source.unread()),
    )
    if request.max_output is None:
        source.refuse("is missing", "max_tokens")
    return request


def _system(source: Members, name: str, dropped: list[str]) -> list[Text]:
    value = source.any(name)
    if isinstance(value, str):
        return [Text(value)] if value else []
    found: list[Text] = []
    for block in source.each(name):
        if block.text("type") != "text":
            block.refuse("must be text", "type")
        found.append(Text(block.text("text")))
        dropped += block.unread()
    return found


def _turn(message: Members, dropped: list[str]) -> Turn:
    role = message.text("role")
    if role == "system":
        return Turn("system", tuple(_system(message, "content", dropped)))
    if role not in ("user", "assistant"):
        message.refuse("must be user or assistant", "role")
    parts = tuple(_content(message, dropped, inside=False))
    dropped += message.unread()
    return Turn(cast("Role", role), parts)


def _content(holder: Members, dropped: list[str], *, inside: bool) -> list[Part]:
    """The blocks of a message, or (`inside`) of a tool's result."""
    value = holder.any("content")
    if isinstance(value, str):
        return [Text(value)]
    if value is None and not inside:
        holder.refuse("is missing", "content")
    found: list[Part] = []
    for block in holder.each("content"):
        found += _block(block, dropped, inside=inside)
        dropped += block.unread()
    return found


def _block(block: Members, dropped: list[str], *, inside: bool) -> list[Part]:
    kind = block.text("type")
    if kind == "text":
        return [Text(block.text("text"))]
    if kind == "image":
        return [_image(block)]
    if kind == "document":
        return _document(block, dropped)
    if not inside:
        if kind == "tool_use":
            return [ToolCall(block.text("id"), block.text("name"), _input(block))]
        if kind == "tool_result":
            return [_result(block, dropped)]
        if kind == "thinking":
            return [unseal(block.text("signature", ""), "anthropic", text=block.text("thinking", ""))]
        if kind == "redacted_thinking":
            return [unseal(block.text("data"), "anthropic", hidden=True)]
    return block.refuse(f"is {kind[:40]!r}, which {_NOWHERE_ELSE}", "type")


def _input(block: Members) -> str:
    block.skip("caller")
    return arguments_text(block.plain("input") or {})


def _result(block: Members, dropped: list[str]) -> ToolResult:
    parts = _content(block, dropped, inside=True)
    return ToolResult(block.text("tool_use_id"), cast("tuple[Text | Image | Document, ...]", tuple(parts)), block.flag("is_error") or False)


def _image(block: Members) -> Image:
    source = block.members("source") or Members({}, block.place("source"))
    kind = source.text("type")
    if kind == "base64":
        return Image(media_type=source.text("media_type"), data=source.text("data"))
    if kind == "url":
        return Image(url=source.text("url"))
    return source.refuse("is known to its own provider alone", "type")


def _document(block: Members, dropped: list[str]) -> list[Part]:
    source = block.members("source") or Members({}, block.place("source"))
    kind, name = source.text("type"), block.text("title", "")
    if block.any("context"):
        block.refuse(_NOWHERE_ELSE, "context")
    if kind == "base64":
        return [Document(media_type=source.text("media_type"), data=source.text("data"), name=name)]
    if kind == "text":
        return [Document(media_type="text/plain", text=source.text("data"), name=name)]
    if kind == "url":
        return [Document(url=source.text("url"), name=name)]
    if kind == "content":
        return _content(source, dropped, inside=True)
    return source.refuse("is known to its own provider alone", "type")


def _tool(item: Members, dropped: list[str]) -> Tool:
    if (item.any("type") or "custom") != "custom":
        item.refuse(_NOWHERE_ELSE, "type")
    tool = Tool(item.text("name"), item.text("description", ""), item.plain("input_schema") or {}, item.flag("strict"))
    dropped += item.unread()
    return tool


def _choice(given: Members | None) -> tuple[Choice | None, bool | None]:
    """The choice, and whether tools may be called in parallel."""
    if given is None:
        return None, None
    kind = given.text("type")
    parallel = False if given.flag("disable_parallel_tool_use") else None
    if kind == "tool":
        return Choice("named", given.text("name")), parallel
    if kind not in ("auto", "any", "none"):
        given.refuse("must be auto, any, tool or none", "type")
    return Choice("required" if kind == "any" else "none" if kind == "none" else "auto"), parallel


def _output(form: Members | None) -> Output:
    """Anthropic always holds the model to the schema; OpenAI can only where the schema is closed throughout."""
    if form is None:
        return Output()
    if form.text("type") != "json_schema":
        form.refuse("must be json_schema", "type")
    schema = form.plain("schema") or {}
    return Output("schema", "output", "", schema, True if strictable(schema) else None)


def _thinking(given: Members | None, effort: str) -> Thinking:
    if given is None:
        return Thinking(effort=effort)
    kind, display = given.text("type"), given.text("display", "")
    summary = {"summarized": "auto", "omitted": "omitted"}.get(display, "")
    if kind == "disabled":
        return Thinking(False, effort)
    return Thinking(True, effort, given.whole("budget_tokens"), summary)
