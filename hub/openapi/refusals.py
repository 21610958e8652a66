"""The hub's refusals as the document tells them: every code with its numbers and its meaning, from `hub.refusal` itself. Pure."""

import re
from collections.abc import Iterable
from typing import Any

from hub import refusal as family
from hub.refusal import Refusal

_ROW = re.compile(r"^ +(?P<kind>\w+) +(?P<code>[a-z_]+) +(?P<http>\d{3})\*? +(?P<rpc>-\d+) *(?P<says>.*)$", re.MULTILINE)
_NOTE = re.compile(r"\(\* [^)]*\) *")


def kinds() -> list[type[Refusal]]:
    """Every refusal that is ever sent: the leaves of the family, in the order they stand in."""

    def leaves(kind: type[Refusal]) -> list[type[Refusal]]:
        children = [child for child in kind.__subclasses__() if child.__module__ == family.__name__]
        return [leaf for child in children for leaf in leaves(child)] or [kind]

    return leaves(Refusal)


def example(kind: type[Refusal]) -> Refusal:
    """A refusal of this kind with nothing but its code for a message."""
    made = kind.__new__(kind)
    Refusal.__init__(made, kind.code.replace("_", " "))
    return made


def table() -> list[dict[str, Any]]:
    """Code, HTTP status, JSON-RPC code and meaning of each, from the tree in `hub.refusal`. Raises `LookupError` for one it lacks."""
    said = {row["code"]: _NOTE.sub("", row["says"]).strip() for row in _ROW.finditer(family.__doc__ or "")}
    missing = [kind.code for kind in kinds() if not said.get(kind.code)]
    if missing:
        raise LookupError(f"the tree of refusals does not say what these mean: {', '.join(missing)}")
    return [{"code": kind.code, "http": kind.status, "jsonrpc": kind.rpc, "meaning": said[kind.code]} for kind in kinds()]


def grouped(pairs: Iterable[tuple[int, str]]) -> dict[str, tuple[str, ...]]:
    """(status, code) as the codes of each status of an error, in order."""
    found: dict[str, dict[str, None]] = {}
    for status, code in sorted(pairs):
        if status >= 400:
            found.setdefault(str(status), {})[code] = None
    return {status: tuple(codes) for status, codes in found.items()}
