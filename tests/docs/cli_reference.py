"""Writes docs/cli.md from the command line itself: `python -m tests.docs.cli_reference > docs/cli.md`. It knows no command by name."""

import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from hub.commands.app import app

HEAD = """\
# Command line

`hub` is one program. Every command has `--help`; every one that prints a result has `--json`. Results go to standard output, faults to
standard error as one sentence, and progress bars only where standard error is a terminal.

| exit code | |
|---|---|
| 0 | done |
| 1 | refused or failed |
| 2 | used wrongly, or a configuration that cannot be used |
| 3 | `hub audit verify` only: verified, with a reservation that is printed |

Commands on keys and on the price table ask the running hub where they have its admin key (`--admin-key`, or `HUB_ADMIN_KEY`); where its address is given
(`--url`, or `HUB_URL`) they must have it. Otherwise they open the database themselves; what writes there needs the hub to be stopped. Commands that read (`audit`, `policy explain`, `db status`, `keys list`, `prices show`, `prices status`, `prices diff`) work beside a
running hub.

| environment | stands for |
|---|---|
| `HUB_CONFIG` | `--config`, where none is given; without both: `./hub.yaml`, else the embedded defaults |
| `HUB_URL` | `--url` |
| `HUB_ADMIN_KEY` | `--admin-key` |
| `HUB_KEY` | `--key` of `hub connect` |

This page is written by `python -m tests.docs.cli_reference`; a test holds it to the commands.
"""


def commands(group: Any, path: str = "hub") -> Iterator[tuple[str, Any]]:
    """(full name, command) of every command below `group`, in the order `--help` shows them."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def every() -> list[tuple[str, Any]]:
    return list(commands(get_command(app)))


def reference() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(_section(name, command) for name, command in every())])


def _section(name: str, command: Any) -> str:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option" and parameter.name != "help"]
    paragraphs = [" ".join(paragraph.split()) for paragraph in command.help.split("\n\n")]
    said = [paragraph for paragraph in paragraphs if not paragraph.startswith("Example: ")]
    example = next(paragraph.removeprefix("Example: ") for paragraph in paragraphs if paragraph.startswith("Example: "))
    usage = " ".join([name, "[OPTIONS]", *(_shown(argument) for argument in arguments)])
    rows = [f"| {_cell(_shown(each))} | {_cell(each.help or '')} |" for each in arguments]
    rows += [f"| {_cell(', '.join(each.opts))}{_value(each)} | {_cell(each.help or '')}{_default(each)} |" for each in options]
    return "\n".join(
        [
            f"## {name}",
            "",
            "\n\n".join(textwrap.fill(one, 140) for one in said),
            "",
            "```sh",
            usage,
            f"# for example: {example}",
            "```",
            "",
            "| | |",
            "|---|---|",
            *rows,
            "",
        ]
    )


def _shown(argument: Any) -> str:
    shown = argument.metavar or argument.name.upper()
    return shown if argument.required or shown.startswith("[") else f"[{shown}]"


def _value(option: Any) -> str:
    return "" if getattr(option, "is_flag", False) else " …"


def _default(option: Any) -> str:
    value = option.default
    shown = isinstance(value, str | int) and not isinstance(value, bool) and value != "" and "default" not in (option.help or "")
    return f" Default: `{value}`." if shown else ""


def _cell(text: str) -> str:
    plain = " ".join(text.split()).replace("|", "\\|")
    return f"`{plain}`" if text.startswith("-") or text.isupper() else plain


if __name__ == "__main__":
    sys.stdout.write(reference())
