"""`hub init`: a first configuration to edit."""

from pathlib import Path
from typing import Annotated

import typer

from hub.commands.options import Json
from hub.commands.output import Failed, emit

TEMPLATE = """\
# Configuration of the hub. Every key, its type and its default: docs/configuration.md, or `hub schema`.
# Check it with `hub check hub.yaml`; the running hub picks up edits, and keeps what it has when one is at fault.

server: {host: 127.0.0.1, port: 8080}

# Downstream MCP servers. A program the hub starts, or a URL. Secrets come from outside: ${NAME} or ${file:/path}.
upstreams:
  time:
    stdio: {command: uvx, args: [mcp-server-time, --local-timezone, UTC]}
  # crm:
  #   url: https://crm.internal/mcp
  #   headers: {Authorization: "Bearer ${CRM_TOKEN}"}

# What clients connect to, at /mcp/<name>: a curated view over upstreams.
virtual_servers:
  main:
    include:
      - {from: time}
      # - {from: crm, tools: ["find_*"]}

# Limits count for each key, subject, organisation or tool separately.
limits:
  - {name: each-key, scope: key, per_minute: 600, concurrency: 32}

# What the grants of a key allow is allowed, unless a Cedar policy forbids it.
# policies:
#   sets:
#     house-rules:
#       file: policies.cedar

# Keys made by `hub keys create` live in the database. Keys can also be declared, with `hub keys mint` for the secret:
# keys:
#   - {name: ci, secret: "${HUB_CI_KEY}", grants: [{virtual_server: main}]}
"""


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Folder to put hub.yaml into.", show_default=False)] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace a hub.yaml that is already there.")] = False,
    as_json: Json = False,
) -> None:
    """Write a commented hub.yaml to start from.

    Example: hub init my-hub && hub check my-hub/hub.yaml
    """
    path = folder / "hub.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError:
        raise Failed(f"{path} is already there; --force replaces it") from None
    emit({"written": str(path)}, f"Wrote {path}. Next: hub check {path}, then hub serve --config {path}", as_json)
