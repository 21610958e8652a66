"""How commands speak: results on stdout as text or JSON, faults as one sentence on stderr. It knows no command."""

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import typer

Json = bool


class Failed(Exception):
    """A command that could not do what was asked. `code` is the exit code; `data` joins the error under `--json`."""

    def __init__(self, message: str, *, code: int = 1, data: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.data = data or {}


def emit(data: Any, text: str, as_json: bool) -> None:
    """Print a result: `data` as JSON, or `text` as it stands."""
    typer.echo(encoded(data) if as_json else text)


def encoded(data: Any) -> str:
    import json

    return json.dumps(data, indent=2, ensure_ascii=False)


def line(data: Any) -> None:
    """Print one JSON value on one line, for results that come one by one."""
    import json

    typer.echo(json.dumps(data, ensure_ascii=False, separators=(",", ":")))


def note(text: str) -> None:
    """Say something that is not the result."""
    typer.echo(text, err=True)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns under a head, as wide as their widest cell."""
    widths = [max(len(row[index]) for row in (head, *rows)) for index in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)]
    return "\n".join(lines)


class Advance(Protocol):
    def __call__(self, done: int, of: int | None = None) -> None: ...


@contextmanager
def progress(title: str) -> Generator[Advance]:
    """A bar on stderr, where that is a terminal; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda done, of=None: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, of=None: bar.update(task, completed=done, total=of)
