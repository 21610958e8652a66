"""The echo tool on the official SDK's server, as cheap as it can be set up: JSON answers, no lookup of schemas by `tools/list`.

`python -m tests.bench.echo_sdk PORT`. Knows nothing of the hub.
"""

import sys
from typing import Any

import uvicorn
from mcp import types
from mcp.server.lowlevel import Server

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


async def on_list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[types.Tool(name="echo", input_schema=SCHEMA)])


async def on_call_tool(_context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=(params.arguments or {})["text"])])


if __name__ == "__main__":
    server: Server[Any] = Server("echo", get_tool_input_schema=lambda _: SCHEMA, on_list_tools=on_list_tools, on_call_tool=on_call_tool)
    app = server.streamable_http_app(json_response=True, stateless_http=True)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools", log_level="error", access_log=False)
