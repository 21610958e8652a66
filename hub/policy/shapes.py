"""What a tool's JSON input schema says that Cedar can hold: the type of `context.args`. It knows nothing of values or policies.

Cedar has strings, 64-bit integers, booleans, sets of one type and records. What a schema says beyond that (fractions, unions, free-form
objects, arrays of mixed types) has no attribute at all, so that a policy which names it fails when it is loaded, not when it judges.
"""

from typing import Any, Literal, cast

import orjson
from msgspec import Struct

DEPTH = 8
"""Levels of nesting taken into the type; deeper parts have no attribute."""
NODES = 2000
"""Attributes of one tool at most; what comes after has none."""
RESERVED = frozenset({"__entity", "__extn", "__expr"})
"""Keys Cedar's JSON form reads as something other than a record: never an attribute, at any depth."""

_SCALARS: dict[str, Literal["string", "long", "bool"]] = {"string": "string", "integer": "long", "number": "long", "boolean": "bool"}


class Shape(Struct, frozen=True, omit_defaults=True):
    """The Cedar type of one argument. `element` belongs to sets, `fields` to records.

    `required`: the schema demands it. `nullable`: the schema allows `null`, which is then the same as absent. A JSON `number` is a
    `long`: whole numbers are judged, and a call with a fraction is refused where a policy reads it (`hub.policy.context`).
    """

    kind: Literal["string", "long", "bool", "set", "record"]
    required: bool = False
    nullable: bool = False
    element: "Shape | None" = None
    fields: dict[str, "Shape"] = {}

    @property
    def optional(self) -> bool:
        """Whether a policy has to ask with `has` before it reads."""
        return self.nullable or not self.required


EMPTY = Shape("record", required=True)


def of_schema(schema: bytes | None) -> Shape:
    """The record of a tool's arguments, or of a prompt's (`schema` is then MCP's array of prompt arguments). Never raises."""
    if not schema:
        return EMPTY
    try:
        root: Any = orjson.loads(schema)
    except orjson.JSONDecodeError:
        return EMPTY
    if isinstance(root, list):
        return _of_prompt(cast("list[Any]", root))
    shape = _Reader(root).shape(root, 0, required=True)
    return shape if shape is not None and shape.kind == "record" else EMPTY


def _of_prompt(arguments: list[Any]) -> Shape:
    """MCP prompt arguments are strings, each with a name and whether it is required."""
    fields: dict[str, Shape] = {}
    for argument in arguments[:NODES]:
        if isinstance(argument, dict) and isinstance(name := cast("dict[str, Any]", argument).get("name"), str) and name not in RESERVED:
            fields[name] = Shape("string", required=cast("dict[str, Any]", argument).get("required") is True)
    return Shape("record", required=True, fields=fields)


class _Reader:
    """One walk over a schema document, bounded in depth and in the number of attributes."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = NODES

    def shape(self, node: Any, depth: int, *, required: bool) -> Shape | None:
        """The type of one subschema, or None where Cedar has none for it."""
        self._left -= 1
        resolved = self._resolve(node)
        if self._left < 0 or depth > DEPTH or resolved is None:
            return None
        schema, nullable = resolved
        kind, null = _kind(schema)
        nullable = nullable or null
        if kind in _SCALARS:
            return Shape(_SCALARS[kind], required, nullable)
        if kind == "array":
            element = None if "prefixItems" in schema else self.shape(schema.get("items"), depth + 1, required=True)
            return None if element is None else Shape("set", required, nullable, element=element)
        if kind == "object":
            return Shape("record", required, nullable, fields=self._fields(schema, depth))
        return None

    def _fields(self, schema: dict[str, Any], depth: int) -> dict[str, Shape]:
        properties: Any = schema.get("properties")
        wanted: Any = schema.get("required")
        required = cast("list[Any]", wanted) if isinstance(wanted, list) else []
        fields: dict[str, Shape] = {}
        if isinstance(properties, dict):
            for name, node in cast("dict[str, Any]", properties).items():
                shape = None if name in RESERVED else self.shape(node, depth + 1, required=name in required)
                if shape is not None:
                    fields[name] = shape
        return fields

    def _resolve(self, node: Any) -> tuple[dict[str, Any], bool] | None:
        """Follow local references and unions of one type with null. (schema, nullable), or None where it says more than one type."""
        nullable = False
        for _ in range(DEPTH):
            if not isinstance(node, dict):
                return None
            schema = cast("dict[str, Any]", node)
            if _kind(schema)[0]:  # what stands beside a type can only narrow it
                return schema, nullable
            if "$ref" in schema:
                node = self._follow(schema["$ref"])
                continue
            union: Any = schema.get("anyOf", schema.get("oneOf", schema.get("allOf")))
            if not isinstance(union, list):
                return None
            branches = cast("list[Any]", union)
            others = [branch for branch in branches if not _is_null(branch)]
            if len(others) != 1 or ("allOf" in schema and len(branches) != 1):
                return None
            nullable = nullable or len(others) < len(branches)
            node = others[0]
        return None

    def _follow(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        node: Any = self._root
        for step in reference[1:].split("/")[1:]:
            if not isinstance(node, dict):
                return None
            node = cast("dict[str, Any]", node).get(step.replace("~1", "/").replace("~0", "~"))
        return node


def _is_null(branch: Any) -> bool:
    return isinstance(branch, dict) and cast("dict[str, Any]", branch).get("type") == "null"


def _kind(schema: dict[str, Any]) -> tuple[str, bool]:
    """(JSON type, nullable) of a subschema; the type is empty where it is none or several."""
    said: Any = schema.get("type")
    if isinstance(said, str):
        return said, False
    if isinstance(said, list):
        kinds = [kind for kind in cast("list[Any]", said) if kind != "null"]
        return (kinds[0], len(kinds) < len(cast("list[Any]", said))) if len(kinds) == 1 and isinstance(kinds[0], str) else ("", False)
    listed: Any = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(listed, list) and listed:
        kinds = {_kind_of_value(value) for value in cast("list[Any]", listed)}
        nullable = "null" in kinds
        kinds.discard("null")
        return (kinds.pop(), nullable) if len(kinds) == 1 else ("", False)
    return ("object" if "properties" in schema else ""), False


def _kind_of_value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return "integer" if isinstance(value, int) else "string" if isinstance(value, str) else ""
