"""`${ENV}`, `${ENV:-default}`, `${file:/path}` and `$$` in one parsed scalar. It never sees the text of the file around it."""

import re
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

MAX_FILE = 64 * 1024
"""Bytes a `${file:…}` may have."""

OUTSIDE = "\x00"
"""Stands in `Expanded.static` for what came from outside the file."""

_TOKEN = re.compile(
    r"\$\$|\$\{(?:file:(?P<file>[^{}]+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<fallback>:-(?P<default>[^{}]*))?)\}|(?P<bad>\$\{)"
)


class Expanded(Struct, frozen=True):
    """A scalar after interpolation.

    `static` is the text with every part that came from outside replaced by `OUTSIDE`; a default written in the file is not from
    outside. `sources` names the variables and files, never their values.
    """

    value: str
    static: str
    source: str
    sources: tuple[str, ...] = ()

    @property
    def outside(self) -> bool:
        """Whether any part came from the environment or a file."""
        return OUTSIDE in self.static

    def __repr__(self) -> str:
        return f"Expanded({self.source!r})"


def expand(text: str, environ: Mapping[str, str], base: Path) -> tuple[Expanded, list[str]]:
    """Interpolate `text`; relative files are read from `base`. Returns the result and one sentence for each fault."""
    if "$" not in text:
        return Expanded(text, text, text), []
    value: list[str] = []
    static: list[str] = []
    sources: list[str] = []
    faults: list[str] = []
    end = 0
    for match in _TOKEN.finditer(text):
        before = text[end : match.start()]
        end = match.end()
        if match.group() == "$$":
            piece = shown = "$"
        elif match["bad"]:
            faults.append("`${` begins a reference: write `${NAME}`, `${NAME:-default}` or `${file:/path}`, and `$${` for the text itself")
            break
        elif match["file"]:
            piece, shown = _read(match["file"], base, faults), OUTSIDE
            sources.append(f"file:{match['file']}")
        else:
            piece, shown = _variable(match, environ, faults)
            sources.append(match["name"])
        value += (before, piece)
        static += (before, shown)
    value.append(text[end:])
    static.append(text[end:])
    return Expanded("".join(value), "".join(static), text, tuple(sources)), faults


def _variable(match: re.Match[str], environ: Mapping[str, str], faults: list[str]) -> tuple[str, str]:
    """As in a shell, `:-` also replaces a variable that is set but empty. A default that is not empty is a literal of the file."""
    name, default = match["name"], match["default"]
    found = environ.get(name, "")
    if not match["fallback"]:
        if name not in environ:
            faults.append(f"the environment variable {name} is not set; set it, or write `${{{name}:-default}}`")
        return found, OUTSIDE
    return found or default, default or OUTSIDE


def _read(name: str, base: Path, faults: list[str]) -> str:
    path = base / name
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
        if len(content) <= MAX_FILE:
            return content.decode().rstrip("\r\n")
        faults.append(f"the file {name} is larger than {MAX_FILE} bytes")
    except UnicodeDecodeError:
        faults.append(f"the file {name} is not UTF-8 text")
    except OSError as error:
        faults.append(f"the file {name} cannot be read: {error.strerror}")
    return ""
