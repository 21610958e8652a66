"""A downstream MCP server on the official SDK, which speaks both eras: `sdk.py http NOTES` prints its port, `sdk.py stdio NOTES` serves its pipes.

What it is told to remember goes to the file NOTES, a line each: calls that began, ended and were cancelled.
"""

import asyncio
import base64
import socket
import sys
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from mcp import types
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from mcp.shared.exceptions import MCPError

NOTES = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("/dev/null")
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n not quite a picture").decode()
ANYTHING = {"type": "object"}
extra: list[str] = []
"""Tools that came while the server ran."""
sessions: set[Any] = set()
bus = InMemorySubscriptionBus()


def note(text: str) -> None:
    with NOTES.open("a") as file:
        file.write(text + "\n")


def schema(required: tuple[str, ...] = (), **properties: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": kind} for name, kind in properties.items()}, "required": list(required)}


TOOLS = [
    types.Tool(name="echo", title="Echo", description="Says it again.", input_schema=schema(("text",), text="string")),
    types.Tool(
        name="add",
        input_schema=schema(("a", "b"), a="number", b="number"),
        output_schema=schema(("sum",), sum="number"),
        annotations=types.ToolAnnotations(read_only_hint=True, title="Sum"),
    ),
    types.Tool(name="picture", input_schema=ANYTHING),
    types.Tool(name="links", input_schema=ANYTHING),
    types.Tool(name="fail", input_schema=ANYTHING),
    types.Tool(name="error", input_schema=schema(code="integer")),
    types.Tool(
        name="count", description="Reports progress.", input_schema=schema(("steps",), steps="integer", pause="number", size="integer")
    ),
    types.Tool(
        name="wait",
        description="Waits until cancelled, or until a file exists.",
        input_schema=schema(("mark",), mark="string", seconds="number", until="string"),
    ),
    types.Tool(name="grow", description="Offers one tool more.", input_schema=schema(("name",), name="string")),
    types.Tool(
        name="routed",
        input_schema={
            "type": "object",
            "properties": {"region": {"type": "string", "x-mcp-header": "Region"}, "size": {"type": "integer", "x-mcp-header": "Size"}},
        },
    ),
    types.Tool(name="meta", input_schema=ANYTHING),
]


def text(value: str) -> types.TextContent:
    return types.TextContent(type="text", text=value)


async def list_tools(context: Any, params: Any) -> types.ListToolsResult:
    sessions.add(context.session)
    return types.ListToolsResult(tools=[*TOOLS, *(types.Tool(name=name, input_schema=ANYTHING) for name in extra)])


async def call_tool(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    arguments = params.arguments or {}
    match params.name:
        case "echo":
            return types.CallToolResult(content=[text(arguments["text"])])
        case "add":
            total = arguments["a"] + arguments["b"]
            return types.CallToolResult(content=[text(str(total))], structured_content={"sum": total})
        case "picture":
            return types.CallToolResult(
                content=[
                    types.ImageContent(type="image", data=PIXEL, mime_type="image/png"),
                    types.AudioContent(type="audio", data=PIXEL, mime_type="audio/wav"),
                ]
            )
        case "links":
            inner = types.TextResourceContents(uri="note://inner", text='inner "quoted" \u2028 \U0001f600')
            return types.CallToolResult(
                content=[
                    types.ResourceLink(type="resource_link", name="one", uri="note://one"),
                    types.EmbeddedResource(type="resource", resource=inner),
                ]
            )
        case "fail":
            return types.CallToolResult(content=[text("it did not work")], is_error=True)
        case "error":
            raise MCPError(arguments.get("code", -32000), "refused by the server", {"detail": [1, 2.5, None]})
        case "count":
            return await count(context, arguments)
        case "wait":
            return await wait(arguments)
        case "grow":
            await grow(arguments["name"])
            return types.CallToolResult(content=[text("grown")])
        case "routed":
            return types.CallToolResult(content=[text(f"{arguments.get('region')} {arguments.get('size')}")])
        case "meta":
            return types.CallToolResult(content=[text("with _meta")], _meta={"example.org/kept": {"deep": [True]}})
        case name if name in extra:
            return types.CallToolResult(content=[text(f"I am {name}")])
        case name:
            raise MCPError(types.INVALID_PARAMS, f"unknown tool {name}")


async def count(context: Any, arguments: dict[str, Any]) -> types.CallToolResult:
    steps = arguments["steps"]
    for step in range(steps):
        await context.session.report_progress(step + 1, steps, f"step {step + 1}" + "." * arguments.get("size", 0))
        await anyio.sleep(arguments.get("pause", 0))
    return types.CallToolResult(content=[text(f"counted to {steps}")])


async def wait(arguments: dict[str, Any]) -> types.CallToolResult:
    mark = arguments["mark"]
    note(f"began {mark}")
    try:
        with anyio.move_on_after(arguments.get("seconds", 60)):
            await released(arguments.get("until"))
    except BaseException:
        note(f"cancelled {mark}")
        raise
    note(f"ended {mark}")
    return types.CallToolResult(content=[text("waited")])


async def released(file: str | None) -> None:
    """Wait until the file exists; without one for ever."""
    if file is None:
        await anyio.sleep_forever()
    while not await anyio.Path(file).exists():
        await anyio.sleep(0.01)


async def grow(name: str) -> None:
    extra.append(name)
    await bus.publish(ToolsListChanged())
    for session in list(sessions):
        try:
            await session.send_tool_list_changed()
        except Exception:  # that session is of the newer era, or over
            sessions.discard(session)


PROMPTS = [
    types.Prompt(name="plain", description="No arguments."),
    types.Prompt(name="greet", title="Greeting", arguments=[types.PromptArgument(name="who", description="Whom", required=True)]),
]


async def list_prompts(context: Any, params: Any) -> types.ListPromptsResult:
    return types.ListPromptsResult(prompts=PROMPTS)


async def get_prompt(context: Any, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    who = (params.arguments or {}).get("who", "you")
    words = text(f"Greet {who}.") if params.name == "greet" else text("Be plain.")
    return types.GetPromptResult(description=params.name, messages=[types.PromptMessage(role="user", content=words)])


async def list_resources(context: Any, params: Any) -> types.ListResourcesResult:
    return types.ListResourcesResult(
        resources=[
            types.Resource(uri="note://one", name="one", title="The first", mime_type="text/plain", size=3),
            types.Resource(uri="note://blob", name="blob", mime_type="application/octet-stream"),
        ]
    )


async def list_templates(context: Any, params: Any) -> types.ListResourceTemplatesResult:
    return types.ListResourceTemplatesResult(
        resource_templates=[types.ResourceTemplate(uri_template="page://{id}", name="page", description="A page.")]
    )


async def read_resource(context: Any, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    uri = str(params.uri)
    if uri == "note://blob":
        return types.ReadResourceResult(contents=[types.BlobResourceContents(uri=uri, blob=PIXEL, mime_type="application/octet-stream")])
    return types.ReadResourceResult(contents=[types.TextResourceContents(uri=uri, text=f"what stands at {uri}", mime_type="text/plain")])


class Announcing(Server[Any]):
    """Says in the older era too that its tools may change."""

    def create_initialization_options(self, notification_options: Any = None, *rest: Any, **more: Any) -> Any:
        return super().create_initialization_options(notification_options or NotificationOptions(tools_changed=True), *rest, **more)


SCHEMAS = {tool.name: tool.input_schema for tool in TOOLS}
server = Announcing(
    "fixture",
    version="1.0",
    instructions="A server for tests.",
    get_tool_input_schema=lambda name: SCHEMAS.get(name, ANYTHING),
    on_list_tools=list_tools,
    on_call_tool=call_tool,
    on_list_prompts=list_prompts,
    on_get_prompt=get_prompt,
    on_list_resources=list_resources,
    on_list_resource_templates=list_templates,
    on_read_resource=read_resource,
    on_subscriptions_listen=ListenHandler(bus),
)


async def pipes() -> None:
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


def http() -> None:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, or asyncio leaves Nagle on
    listener.bind(("127.0.0.1", 0))
    listener.listen(256)
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(server.streamable_http_app(), log_level="error", access_log=False, timeout_graceful_shutdown=1)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    if sys.argv[1] == "http":
        http()
    else:
        asyncio.run(pipes())
