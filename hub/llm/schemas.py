"""JSON Schemas as the providers' strict modes want them. Pure."""

from typing import Any, cast


def strictable(schema: dict[str, Any] | None) -> bool:
    """Whether OpenAI's strict mode takes a schema: every object closed, every property required.

    Source: platform.openai.com/docs/guides/structured-outputs (supported schemas). Only this is checked; the provider checks the rest.
    """
    if schema is None or schema.get("type") != "object":
        return False
    return all(_closed(place) for place in _places(schema))


def _closed(place: dict[str, Any]) -> bool:
    kind: Any = place.get("type")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind) and "properties" not in place:
        return True
    properties: Any = place.get("properties") or {}
    required: Any = place.get("required") or []
    if place.get("additionalProperties") is not False or not isinstance(properties, dict) or not isinstance(required, list):
        return False
    names = cast("list[Any]", required)
    return all(isinstance(name, str) for name in names) and set(cast("dict[str, Any]", properties)) == set(names)


def _places(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Every object in the schema that is a schema itself; maps of schemas by name are looked through."""
    found: list[dict[str, Any]] = []
    pending: list[tuple[Any, bool]] = [(schema, True)]
    while pending:
        here, is_schema = pending.pop()
        if isinstance(here, list):
            pending += [(item, True) for item in cast("list[Any]", here)]
        elif isinstance(here, dict):
            members = cast("dict[str, Any]", here)
            if is_schema:
                found.append(members)
            for name, value in members.items():
                if is_schema and name in ("enum", "const", "default", "examples", "required"):
                    continue
                pending.append((value, not (is_schema and name in ("properties", "$defs", "definitions"))))
    return found


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with every object closed that says nothing of further properties, as Anthropic's structured outputs want it.

    Whatever fits the closed schema fits the open one.
    """
    return cast("dict[str, Any]", _close(schema, is_schema=True))


def _close(here: Any, *, is_schema: bool) -> Any:
    if isinstance(here, list):
        return [_close(item, is_schema=True) for item in cast("list[Any]", here)]
    if not isinstance(here, dict):
        return here
    members = cast("dict[str, Any]", here)
    found = {
        name: value
        if is_schema and name in ("enum", "const", "default", "examples", "required")
        else _close(value, is_schema=not (is_schema and name in ("properties", "$defs", "definitions")))
        for name, value in members.items()
    }
    if is_schema and (members.get("type") == "object" or "properties" in members) and members.get("additionalProperties", True) is True:
        found["additionalProperties"] = False
    return found
