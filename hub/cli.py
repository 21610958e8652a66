"""The `hub` command. It starts `serve` without loading what only the other commands need, and hands everything else to `hub.commands`."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

_OPTIONS = {"--config": "config", "-c": "config", "--host": "host", "--port": "port", "--workers": "workers"}


class ServeOptions(Struct):
    """What `hub serve` was told."""

    config: Path | None = None
    host: str | None = None
    port: int | None = None
    workers: int | None = None


def main() -> None:
    """Run the command line and end the process with its exit code: 0 done, 1 refused or failed, 2 used wrongly."""
    arguments = sys.argv[1:]
    options = plain_serve(arguments)
    if options is not None:
        sys.exit(serve(options))
    from hub.commands.app import run

    sys.exit(run(arguments))


def plain_serve(arguments: Sequence[str]) -> ServeOptions | None:
    """Read `serve` with well-formed options; None for everything else, which gets its help and its errors from `hub.commands`."""
    if not arguments or arguments[0] != "serve":
        return None
    options = ServeOptions()
    rest = list(arguments[1:])
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name not in _OPTIONS or not (equals or rest):
            return None
        value = value if equals else rest.pop(0)
        match _OPTIONS[name]:
            case "config":
                options.config = Path(value)
            case "host":
                options.host = value
            case number if value.isascii() and value.isdigit() and int(value) <= 65535:
                setattr(options, number, int(value))
            case _:
                return None
    return None if options.workers == 0 else options


def serve(options: ServeOptions) -> int:
    """Serve until told to stop."""
    from hub.serving import serve as run

    return run(options.config or default_config(), options.host, options.port, options.workers)


def default_config() -> Path | None:
    """The file meant where none is named: `HUB_CONFIG`, or `hub.yaml` here; None is the embedded defaults."""
    named = os.environ.get("HUB_CONFIG", "")
    if named:
        return Path(named)
    here = Path("hub.yaml")
    return here if here.is_file() else None


if __name__ == "__main__":
    main()
