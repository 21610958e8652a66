"""Requests made up from the document: values that fit a schema, and some that do not. Knows JSON Schema as far as the document uses it."""

from typing import Any

from hypothesis import strategies as st

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
MODELS = st.sampled_from(["fast", "embed", "guard", "openai:gpt-5-mini", "claude/claude-haiku-4-5", "nobody"])


def fitting(schema: dict[str, Any], document: dict[str, Any], name: str = "") -> st.SearchStrategy[Any]:
    """Values of a schema. `name` is that of the member: models are such as there are."""
    if "$ref" in schema:
        return fitting(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    if name == "model":
        return MODELS
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return st.one_of([fitting(one, document, name) for one in schema[word]])
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kinds = schema.get("type", "any")
    return st.one_of([_of(kind, schema, document) for kind in ([kinds] if isinstance(kinds, str) else kinds)])


def _of(kind: str, schema: dict[str, Any], document: dict[str, Any]) -> st.SearchStrategy[Any]:
    match kind:
        case "object":
            return _object(schema, document)
        case "array":
            items = fitting(schema["items"], document) if schema.get("items") else ANYTHING
            return st.lists(items, min_size=schema.get("minItems", 0), max_size=min(schema.get("maxItems", 3), 3))
        case "string":
            pattern = schema.get("pattern")
            return st.from_regex(pattern, fullmatch=True) if pattern else st.text(min_size=schema.get("minLength", 0), max_size=12)
        case "integer":
            return st.integers(schema.get("minimum", -1000), min(schema.get("maximum", 1000), 1000))
        case "number":
            return st.floats(schema.get("minimum", -1e6), schema.get("maximum", 1e6), allow_nan=False)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "any":
            return ANYTHING
        case other:
            raise LookupError(f"no values are made of {other}")


def _object(schema: dict[str, Any], document: dict[str, Any]) -> st.SearchStrategy[Any]:
    members = {name: fitting(one, document, name) for name, one in schema.get("properties", {}).items()}
    needed = set(schema.get("required", ()))
    known = st.fixed_dictionaries(
        {name: one for name, one in members.items() if name in needed},
        optional={name: one for name, one in members.items() if name not in needed},
    )
    more = schema.get("additionalProperties", True)
    if more is False:
        return known
    values = fitting(more, document) if isinstance(more, dict) else ANYTHING
    return st.builds(lambda rest, own: {**rest, **own}, st.dictionaries(st.text(max_size=6), values, max_size=2), known)
