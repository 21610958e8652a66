"""A server written with the MCP SDK: `sdk_server.py stdio` or `sdk_server.py http [json]`; the latter prints its port.

It serves both eras. `events`: what it was told is read back with the tool `noted`.
"""

import asyncio
import logging
import socket
import sys

import uvicorn
from mcp.server.mcpserver import Context, MCPServer

logging.disable(logging.CRITICAL)
mcp = MCPServer("sdk", instructions="be kind")
noted: list[str] = []


@mcp.tool()
def echo(text: str) -> str:
    """Say it back."""
    return text


@mcp.tool()
async def slow(steps: int, pause: float, ctx: Context) -> str:
    """Take a while, and report on it."""
    try:
        for step in range(steps):
            await asyncio.sleep(pause)
            await ctx.report_progress(step, steps, f"step {step}")
    except asyncio.CancelledError:
        noted.append("cancelled")
        raise
    return "done"


@mcp.tool()
def read_notes() -> str:
    """What happened so far."""
    return ",".join(noted)


@mcp.tool()
def broken() -> str:
    """Never works."""
    raise RuntimeError("it is broken")


@mcp.tool()
async def grow(ctx: Context) -> str:
    """Add a tool, and say so."""
    mcp.add_tool(lambda: "new", name=f"grown{len(noted)}", description="new")
    noted.append("grown")
    await ctx.notify_tools_changed()
    await ctx.session.send_tool_list_changed()
    return "grown"


@mcp.resource("memo://one")
def memo() -> str:
    return "a memo"


@mcp.resource("memo://{name}/page")
def page(name: str) -> str:
    return f"page of {name}"


@mcp.prompt()
def greet(name: str) -> str:
    """Greet somebody."""
    return f"Hello {name}"


def serve() -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    app = mcp.streamable_http_app(json_response="json" in sys.argv)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    print(listener.getsockname()[1], flush=True)
    asyncio.run(server.serve(sockets=[listener]))


if __name__ == "__main__":
    mcp.run("stdio") if sys.argv[1] == "stdio" else serve()
