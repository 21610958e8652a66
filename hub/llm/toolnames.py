"""Names of tools that are longer than a provider takes: shortened on the way there, whole again on the way back. Pure.

OpenAI takes 64 characters, Anthropic 128; agents that name a tool after its server and its place there use more than 64.
"""

from hashlib import sha256

from msgspec.structs import replace

from hub.llm.canonical import Event, PartStarted, Reply, Request, ToolCall, Turn

LONGEST = {"chat": 64, "responses": 64, "messages": 128}

Names = dict[str, str]
"""A name as the provider knows it, and as the client does."""


def fitted(request: Request, longest: int) -> tuple[Request, Names]:
    """The request with names that fit, and which those are. The same name is shortened alike in every turn and every call."""
    names = {short(tool.name, longest): tool.name for tool in request.tools if len(tool.name) > longest}
    if not names and not any(_long(turn, longest) for turn in request.turns):
        return request, {}
    tools = tuple(replace(tool, name=short(tool.name, longest)) for tool in request.tools)
    choice = replace(request.choice, name=short(request.choice.name, longest)) if request.choice else None
    return replace(request, tools=tools, choice=choice, turns=tuple(_turn(turn, longest) for turn in request.turns)), names


def short(name: str, longest: int) -> str:
    """A name that fits, the same each time; another name is shortened to another."""
    if len(name) <= longest:
        return name
    return f"{name[: longest - 9]}_{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def restored(reply: Reply, names: Names) -> Reply:
    if not names:
        return reply
    return replace(
        reply,
        parts=tuple(replace(part, name=names.get(part.name, part.name)) if isinstance(part, ToolCall) else part for part in reply.parts),
    )


def restored_event(event: Event, names: Names) -> Event:
    if names and isinstance(event, PartStarted) and isinstance(event.part, ToolCall) and event.part.name in names:
        return PartStarted(event.index, replace(event.part, name=names[event.part.name]))
    return event


def _long(turn: Turn, longest: int) -> bool:
    return any(isinstance(part, ToolCall) and len(part.name) > longest for part in turn.parts)


def _turn(turn: Turn, longest: int) -> Turn:
    if not _long(turn, longest):
        return turn
    return Turn(
        turn.role, tuple(replace(part, name=short(part.name, longest)) if isinstance(part, ToolCall) else part for part in turn.parts)
    )
