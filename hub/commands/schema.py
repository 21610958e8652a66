"""`hub schema`: what a configuration may hold, and what the hub answers over HTTP, for editors, generators and readers."""

from typing import Annotated

import typer

from hub.commands.options import Json
from hub.commands.output import emit, encoded


def schema(
    reference: Annotated[bool, typer.Option("--reference", help="Print the Markdown reference instead.")] = False,
    openapi: Annotated[bool, typer.Option("--openapi", help="Print the OpenAPI document of the HTTP surface instead.")] = False,
    as_json: Json = False,
) -> None:
    """Print the JSON Schema of hub.yaml, or the OpenAPI document of all that is served.

    Example: hub schema --openapi > openapi.json
    """
    if openapi:
        from hub.surface import written

        typer.echo(written(), nl=False)
        return
    if reference:
        from hub.config.reference import reference as pages

        text = pages()
        emit({"markdown": text}, text.rstrip("\n"), as_json)
        return
    from hub.config.schema import json_schema

    typer.echo(encoded(json_schema()))
