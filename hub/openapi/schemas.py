"""JSON Schemas of the bodies: of msgspec's types as msgspec writes them, of those that are schemas already as they are. Pure."""

from collections.abc import Iterator, Sequence
from inspect import cleandoc
from typing import Any, cast

import msgspec

from hub.openapi.operation import Operation
from hub.openapi.shapes import BARE, SCHEMAS

_AT = "#/components/schemas/{name}"


class Schemas:
    """Those of all operations of a document."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        kinds = list(dict.fromkeys(kind for one in operations for kind in _kinds(one)))
        made, self._named = msgspec.json.schema_components(kinds, ref_template=_AT)
        self._made = dict(zip(kinds, made, strict=True))

    def of(self, schema: Any) -> dict[str, Any]:
        """The schema of a body, or a reference to it."""
        if isinstance(schema, tuple):
            return {"anyOf": [self.of(one) for one in cast("tuple[Any, ...]", schema)]}
        return cast("dict[str, Any]", schema) if isinstance(schema, dict) else _told(self._made[schema])

    def components(self) -> dict[str, Any]:
        """What the others refer to, by name. Raises `ValueError` where two have one name."""
        twice = set(SCHEMAS) & set(self._named)
        if twice:
            raise ValueError(f"two schemas are called {min(twice)}")
        return dict(sorted({**SCHEMAS, **{name: _told(schema) for name, schema in self._named.items()}}.items()))


def _kinds(one: Operation) -> Iterator[Any]:
    """The types among the schemas of an operation."""
    found = [parameter.schema for parameter in one.parameters]
    found += [schema for answer in one.answers for schema in answer.media.values()]
    found += [one.errors.shape, BARE.shape, *([one.body.schema] if one.body is not None else [])]
    each = (one for schema in found for one in (cast("tuple[Any, ...]", schema) if isinstance(schema, tuple) else (schema,)))
    return (one for one in each if not isinstance(one, dict))


def _told(schema: Any) -> dict[str, Any]:
    """As msgspec wrote it: titles that repeat a name go, indents of docstrings go, and objects that may hold more say so."""
    found = dict(schema)
    found.pop("title", None)
    if "description" in found:
        found["description"] = cleandoc(found["description"])
    if "properties" in found:
        found["properties"] = {name: _told(one) for name, one in found["properties"].items()}
        found.setdefault("additionalProperties", True)
    for name in ("items", "additionalProperties"):
        if isinstance(found.get(name), dict):
            found[name] = _told(found[name])
    if "anyOf" in found:
        found["anyOf"] = [_told(one) for one in found["anyOf"]]
    return found
