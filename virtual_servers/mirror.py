"""Headers that mirror the body of a request, as 2026-07-28 asks (streamable HTTP, "Request Metadata"). It sends nothing.

`Mcp-Name` repeats the name or URI; `Mcp-Param-*` repeat the arguments that a tool's input schema marks with `x-mcp-header`.
"""

import base64
import re
from typing import Any, cast

from virtual_servers import rpc

NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Methods that carry `Mcp-Name`, and the member it repeats."""

SAFE = 2**53 - 1

Mirror = tuple[str, tuple[str, ...], str]
"""One mirrored argument: header name, path of property names, JSON type."""

_plain = re.compile(r"[!-~]([ -~\t]*[!-~])?", re.ASCII)
_token = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)


class Invalid(ValueError):
    """A tool's `x-mcp-header` marks break the rules: the tool must be left out."""


def encode(text: str) -> str:
    """`text` as a header value: as it is where it is plain ASCII, else `=?base64?…?=`."""
    if _plain.fullmatch(text) and not (text.startswith("=?base64?") and text.endswith("?=")):
        return text
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def mirrors(schema: Any) -> tuple[Mirror, ...]:
    """What an input schema asks to mirror. Raises `Invalid`."""
    found: list[Mirror] = []
    _walk(schema, (), reachable=True, found=found, depth=0)
    names = [header.lower() for header, _, _ in found]
    if len(set(names)) != len(names):
        raise Invalid("two properties share one x-mcp-header")
    return tuple(found)


def _walk(node: Any, path: tuple[str, ...], *, reachable: bool, found: list[Mirror], depth: int) -> None:
    if depth > 64:
        raise Invalid("the input schema is nested too deeply")
    if isinstance(node, list):
        for part in cast("list[Any]", node):
            _walk(part, path, reachable=False, found=found, depth=depth + 1)
    if not isinstance(node, dict):
        return
    schema = cast("dict[str, Any]", node)
    if "x-mcp-header" in schema:
        found.append(_mark(schema, path, reachable=reachable))
    for key, part in schema.items():
        if key == "properties" and isinstance(part, dict):
            for name, inner in cast("dict[str, Any]", part).items():
                _walk(inner, (*path, name), reachable=reachable, found=found, depth=depth + 1)
        elif key not in ("default", "examples", "enum", "const"):
            _walk(part, path, reachable=False, found=found, depth=depth + 1)


def _mark(schema: dict[str, Any], path: tuple[str, ...], *, reachable: bool) -> Mirror:
    header, kind = schema["x-mcp-header"], schema.get("type")
    if not isinstance(header, str) or not _token.fullmatch(header):
        raise Invalid("an x-mcp-header is not a header name")
    if not path or not reachable:
        raise Invalid("an x-mcp-header stands where it is not statically reachable")
    if kind not in ("string", "integer", "boolean"):
        raise Invalid("an x-mcp-header stands on a property that is not a string, an integer or a boolean")
    return f"Mcp-Param-{header}", path, kind


def params(arguments: Any, table: tuple[Mirror, ...]) -> list[tuple[str, str]]:
    """The `Mcp-Param-*` headers of a call. Values that are absent, null or of another type have none: the server judges the body."""
    headers: list[tuple[str, str]] = []
    for header, path, _ in table:
        node = arguments
        for step in path:
            node = cast("dict[str, Any]", node).get(step) if isinstance(node, dict) else None
        text = _as_text(node)
        if text is not None:
            headers.append((header, encode(text)))
    return headers


def _as_text(node: Any) -> str | None:
    if isinstance(node, bool):
        return "true" if node else "false"
    if isinstance(node, int):
        return str(node) if -SAFE <= node <= SAFE else None
    if isinstance(node, float) and node.is_integer() and -SAFE <= node <= SAFE:
        return str(int(node))
    return node if isinstance(node, str) else None


def name_of(method: str, raw: bytes) -> str | None:
    """The value of `Mcp-Name` for these parameters, not yet encoded, or None where the method has none."""
    member = NAMED.get(method)
    if member is None or not raw:
        return None
    found = rpc.members(raw).get(member)
    text = rpc.value(found) if found is not None else None
    return text if isinstance(text, str) else None
