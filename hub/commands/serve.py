"""`hub serve`, as it is explained and checked. A well-formed call of it does not come here: `hub.cli` runs it at once."""

from pathlib import Path
from typing import Annotated

import typer


def serve(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="hub.yaml; default: HUB_CONFIG, ./hub.yaml, or the embedded defaults.", show_default=False),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on, in place of server.host.", show_default=False)] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port, in place of server.port; 0 takes a free one.", show_default=False)
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Processes, in place of server.workers.", show_default=False)
    ] = None,
) -> None:
    """Start the hub and serve until it is told to stop.

    With no configuration it starts on embedded defaults: 127.0.0.1:8080, SQLite in ./.hub/. On its first start it makes an admin
    key and an API key and shows each once.

    Example: hub serve --config hub.yaml --port 8080
    """
    from hub.cli import ServeOptions
    from hub.cli import serve as run

    raise typer.Exit(run(ServeOptions(config, host, port, workers)))
