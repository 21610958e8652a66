"""FastMCP's own proxy of an MCP server, with JSON answers and no sessions. `python -m tests.bench.proxy_fastmcp PORT UPSTREAM_URL`."""

import sys

from fastmcp.server import create_proxy

if __name__ == "__main__":
    create_proxy(sys.argv[2], name="proxy").run(
        transport="http",
        host="127.0.0.1",
        port=int(sys.argv[1]),
        show_banner=False,
        log_level="ERROR",
        stateless_http=True,
        json_response=True,
        uvicorn_config={"loop": "uvloop", "http": "httptools", "access_log": False},
    )
