"""Ready-to-paste configuration for MCP clients. Pure: it knows the clients' formats and nothing of the hub."""

import json
import shlex
from typing import Any

CLIENTS = ("claude-code", "vscode", "cursor", "inspector")


def endpoint(url: str, server: str) -> str:
    """The address of a virtual server."""
    return f"{url.rstrip('/')}/mcp/{server}"


def settings(client: str, server: str, url: str, key: str | None) -> dict[str, Any]:
    """What the client needs: `file` and its `content`, or the `command` as a list of arguments."""
    address = endpoint(url, server)
    if client == "vscode":
        return {"file": ".vscode/mcp.json", "content": _vscode(server, address, key)}
    if client == "cursor":
        headers = {"Authorization": f"Bearer {key or '${env:HUB_KEY}'}"}
        return {"file": "~/.cursor/mcp.json", "content": {"mcpServers": {server: {"url": address, "headers": headers}}}}
    header = f"Authorization: Bearer {key or '$HUB_KEY'}"
    if client == "claude-code":
        return {"command": ["claude", "mcp", "add", "--transport", "http", server, address, "--header", header]}
    cli = ["npx", "@modelcontextprotocol/inspector", "--cli", address, "--transport", "http"]
    return {"command": [*cli, "--header", header, "--method", "tools/list"]}


def snippet(client: str, server: str, url: str, key: str | None = None) -> str:
    """The text to paste. Without a key it refers to HUB_KEY (VS Code asks for it)."""
    made = settings(client, server, url, key)
    if "command" in made:
        return " ".join(_quoted(word) for word in made["command"])
    return f"{json.dumps(made['content'], indent=2)}"


def _quoted(word: str) -> str:
    return f'"{word}"' if "$HUB_KEY" in word else shlex.quote(word)


def _vscode(server: str, address: str, key: str | None) -> dict[str, Any]:
    entry = {"type": "http", "url": address, "headers": {"Authorization": f"Bearer {key or '${input:hub-key}'}"}}
    if key:
        return {"servers": {server: entry}}
    ask = {"type": "promptString", "id": "hub-key", "description": "Key of the hub", "password": True}
    return {"inputs": [ask], "servers": {server: entry}}
