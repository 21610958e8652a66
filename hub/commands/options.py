"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="The hub's configuration; default: HUB_CONFIG, ./hub.yaml, or the embedded defaults.", show_default=False
    ),
]
Url = Annotated[
    str | None, typer.Option("--url", envvar="HUB_URL", help="Where the hub listens; default: as configured.", show_default=False)
]
AdminKey = Annotated[
    str | None,
    typer.Option(
        "--admin-key", envvar="HUB_ADMIN_KEY", help="Key with the admin role, for a running hub.", show_default=False, show_envvar=True
    ),
]
