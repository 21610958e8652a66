"""`hub connect`: how a client is pointed at a virtual server."""

from enum import StrEnum
from typing import Annotated

import typer

from hub.commands.options import Config, Json, Url
from hub.commands.output import emit, note


class Client(StrEnum):
    """The clients whose formats are known."""

    claude_code = "claude-code"
    vscode = "vscode"
    cursor = "cursor"
    inspector = "inspector"


def connect(
    client: Annotated[Client, typer.Argument(help="The client to set up.")],
    server: Annotated[str, typer.Option("--server", "-s", help="Name of the virtual server.")],
    url: Url = None,
    key: Annotated[
        str | None,
        typer.Option("--key", envvar="HUB_KEY", help="Key to put in; left out: the snippet refers to HUB_KEY.", show_default=False),
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Print what to paste to connect an MCP client to a virtual server.

    Example: hub connect claude-code --server demo
    """
    from hub.commands.place import hub_url
    from hub.commands.snippets import settings, snippet

    address = url or hub_url(config)
    made = settings(client.value, server, address, key)
    if not as_json and "file" in made:
        note(f"Put this into {made['file']}:")
    emit({"client": client.value, **made}, snippet(client.value, server, address, key), as_json)
