"""A proxy made of the official SDK's Server and one persistent Client: what one gets without writing a data path.

`python -m tests.bench.proxy_sdk PORT UPSTREAM_URL`. Knows nothing of the hub.
"""

import sys
from typing import Any

import uvicorn
import uvloop
from mcp import Client, types
from mcp.server.lowlevel import Server


async def main(port: int, url: str) -> None:
    async with Client(url) as client:
        schemas = {tool.name: tool.input_schema for tool in (await client.list_tools()).tools}

        async def on_list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
            return await client.list_tools()

        async def on_call_tool(_context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
            return await client.call_tool(params.name, params.arguments)

        server: Server[Any] = Server("proxy", get_tool_input_schema=schemas.get, on_list_tools=on_list_tools, on_call_tool=on_call_tool)
        app = server.streamable_http_app(json_response=True, stateless_http=True)
        config = uvicorn.Config(app, host="127.0.0.1", port=port, http="httptools", log_level="error", access_log=False)
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
