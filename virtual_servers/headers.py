"""Which arguments of a tool are mirrored into HTTP headers: `x-mcp-header` (MCP 2026-07-28, basic/transports/streamable-http).

It reads the schema only; what headers hold and how they are compared is the edges' affair.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

KEYWORD = "x-mcp-header"
Table = dict[str, tuple[tuple[str, ...], str]]
"""Lower-case header name without `mcp-param-` → (path of the property, its JSON type)."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", re.ASCII)
_PRIMITIVE = frozenset({"integer", "string", "boolean"})

_MAPS = frozenset({"patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"})
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems", "items"})
_SINGLE = frozenset(
    {
        *("items", "additionalItems", "unevaluatedItems", "contains", "additionalProperties", "unevaluatedProperties"),
        *("propertyNames", "not", "if", "then", "else", "contentSchema"),
    }
)


class Misplaced(ValueError):
    """An annotation the specification forbids; the sentence says which and why."""


def table(schema: Mapping[str, Any]) -> Table:
    """The headers of one inputSchema. Raises `Misplaced` where any annotation breaks a rule: the tool must then not be shown."""
    found: Table = {}
    for path, place in _places((), schema):
        if KEYWORD in place:
            name = _name(place, path).lower()
            if name in found:
                raise Misplaced(f"`{KEYWORD}` names the header `{name}` twice")
            found[name] = (path or (), place["type"])
    return found


def _places(path: tuple[str, ...] | None, schema: Any) -> Iterator[tuple[tuple[str, ...] | None, dict[str, Any]]]:
    """Every schema in a schema, with its chain of `properties` keys, or None where the way led through another keyword."""
    pending: list[tuple[tuple[str, ...] | None, Any]] = [(path, schema)]
    while pending:
        here, value = pending.pop()
        if not isinstance(value, dict):
            continue
        place = cast("dict[str, Any]", value)
        yield here, place
        for keyword, inner in reversed(place.items()):
            if keyword == "properties" and isinstance(inner, dict):
                members = cast("dict[str, Any]", inner)
                pending += [(None if here is None else (*here, key), sub) for key, sub in reversed(members.items())]
            elif keyword in _MAPS and isinstance(inner, dict):
                pending += [(None, sub) for sub in cast("dict[str, Any]", inner).values()]
            elif keyword in _LISTS and isinstance(inner, list):
                pending += [(None, sub) for sub in cast("list[Any]", inner)]
            elif keyword in _SINGLE:
                pending.append((None, inner))


def _name(place: dict[str, Any], path: tuple[str, ...] | None) -> str:
    if not path:
        raise Misplaced(f"`{KEYWORD}` stands where no chain of `properties` leads")
    where = ".".join(path)[:100]
    name = place[KEYWORD]
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise Misplaced(f"`{KEYWORD}` of `{where}` is not a header name")
    kind = place.get("type")
    if not isinstance(kind, str) or kind not in _PRIMITIVE:
        raise Misplaced(f"`{KEYWORD}` of `{where}` needs the type integer, string or boolean")
    return name
