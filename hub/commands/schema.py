"""`hub schema`: what a configuration may hold, for editors and for readers."""

from typing import Annotated

import typer

from hub.commands.options import Json
from hub.commands.output import emit, encoded


def schema(
    reference: Annotated[bool, typer.Option("--reference", help="Print the Markdown reference instead.")] = False,
    as_json: Json = False,
) -> None:
    """Print the JSON Schema of hub.yaml.

    Example: hub schema > hub.schema.json
    """
    if reference:
        from hub.config.reference import reference as written

        text = written()
        emit({"markdown": text}, text.rstrip("\n"), as_json)
        return
    from hub.config.schema import json_schema

    typer.echo(encoded(json_schema()))
