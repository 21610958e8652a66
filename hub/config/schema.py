"""The JSON Schema of `hub.yaml` for editors, made from the classes in `model`. It describes the file before interpolation."""

from typing import Any

from msgspec import NODEFAULT, Struct, json
from msgspec import inspect as types

from hub.config.callers import PolicySpec
from hub.config.convert import is_address, is_dollars, is_secret, shape, unwrapped
from hub.config.mcp import UpstreamSpec
from hub.config.model import Config
from hub.config.money import BudgetSpec
from hub.config.values import Address, KeptSecret

_REFERENCE = r"\$\{"
_OWN_RULES: dict[type[Any], dict[str, Any]] = {
    UpstreamSpec: {"oneOf": [{"required": ["stdio"]}, {"required": ["url"]}]},
    BudgetSpec: {"oneOf": [{"required": [unit]} for unit in ("usd", "tokens", "tokens_in", "tokens_out", "requests")]},
    PolicySpec: {"oneOf": [{"required": ["cedar"]}, {"required": ["file"]}]},
}
"""What the types cannot say; `rules` checks the same when the file is read."""


def json_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of the file as it is written, before interpolation."""
    definitions: dict[str, Any] = {}
    _schema(shape(Config), definitions)
    root = definitions.pop("Config")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "hub.yaml"}
    return {**head, **root, "$defs": dict(sorted(definitions.items()))}


def secret_fields() -> list[str]:
    """Dotted paths of all secret-typed fields; `*` stands for a name or a position."""
    return sorted(_secrets(shape(Config), ""))


def described(kind: types.Type) -> str:
    """The outermost description of a type; of a section without one, what its class says of itself."""
    while isinstance(kind, types.Metadata):
        extra: Any = getattr(kind, "extra_json_schema", None)  # msgspec does not say what it holds
        if extra and "description" in extra:
            return str(extra["description"])
        kind = kind.type
    if isinstance(kind, types.UnionType):
        return next((text for text in map(described, kind.types) if text), "")
    return first_line(kind.cls) if isinstance(kind, types.StructType) and not is_scalar(kind) else ""


def is_scalar(kind: types.Type) -> bool:
    """Whether a value of this class is written as one scalar, and no section."""
    return is_secret(kind) or is_address(kind) or is_dollars(kind)


def first_line(cls: type[Any]) -> str:
    """What a class says of itself in one sentence."""
    return (cls.__doc__ or "").strip().partition("\n")[0]


def _schema(kind: types.Type, definitions: dict[str, Any]) -> dict[str, Any]:
    match unwrapped(kind):
        case types.StructType() as struct if is_secret(struct):
            pattern = f"{_REFERENCE}|^vault:" if struct.cls is KeptSecret else _REFERENCE
            return {"type": "string", "pattern": pattern, "writeOnly": True}
        case types.StructType() as struct if is_address(struct):
            return {"type": "string"}
        case types.StructType() as struct if is_dollars(struct):
            number = {"type": "string", "pattern": r"^[0-9][0-9_]*(\.[0-9]{1,9})?$"}
            return {"anyOf": [{"type": "number", "minimum": 0}, number, {"type": "string", "pattern": _REFERENCE}]}
        case types.StructType() as struct:
            return _struct(struct, definitions)
        case types.DictType() as mapping:
            key = unwrapped(mapping.key_type)
            names = {"propertyNames": {"pattern": key.pattern}} if isinstance(key, types.StrType) and key.pattern else {}
            return {"type": "object", **names, "additionalProperties": _schema(mapping.value_type, definitions)}
        case types.VarTupleType() as items:
            return {"type": "array", "items": _schema(items.item_type, definitions)}
        case types.UnionType() as union:
            return _union(union, definitions)
        case types.AnyType():
            return {}
        case other:
            return _scalar(other)


def _struct(kind: types.StructType, definitions: dict[str, Any]) -> dict[str, Any]:
    name = kind.cls.__name__
    if name not in definitions:
        definitions[name] = {}
        properties = {field.encode_name: _property(field, definitions) for field in kind.fields}
        required = [field.encode_name for field in kind.fields if field.required]
        definitions[name] = {
            "type": "object",
            "description": first_line(kind.cls),
            "properties": properties,
            **({"required": required} if required else {}),
            "additionalProperties": False,
            **_OWN_RULES.get(kind.cls, {}),
        }
    return {"$ref": f"#/$defs/{name}"}


def _property(field: types.Field, definitions: dict[str, Any]) -> dict[str, Any]:
    schema = _schema(field.type, definitions)
    kind = unwrapped(field.type)
    section = isinstance(kind, types.StructType | types.DictType | types.VarTupleType) and not is_scalar(kind)
    if section and not field.required:  # a section with nothing under it is the section left out
        schema = {"anyOf": [schema, {"type": "null"}]}
    default = default_of(field)
    text = described(field.type)
    return {**({"description": text} if text else {}), **({} if default is None else {"default": default}), **schema}


def default_of(field: types.Field) -> Any:
    """A field's default as JSON; None where there is none to tell."""
    value = field.default_factory() if field.default_factory is not NODEFAULT else field.default
    if isinstance(value, Address):
        return str(value)
    return None if value is NODEFAULT or isinstance(value, Struct) else json.decode(json.encode(value))


def _union(kind: types.UnionType, definitions: dict[str, Any]) -> dict[str, Any]:
    options = [unwrapped(option) for option in kind.types]
    if any(map(is_secret, options)) and any(isinstance(option, types.StrType) for option in options):
        return {"type": "string"}
    made = [{"type": "null"} if isinstance(option, types.NoneType) else _schema(option, definitions) for option in options]
    return made[0] if len(made) == 1 else {"anyOf": made}


def _scalar(kind: types.Type) -> dict[str, Any]:
    """A scalar's own schema, or a text that holds a reference."""
    match kind:
        case types.StrType():
            if not kind.pattern:
                return {"type": "string"}
            own: dict[str, Any] = {"type": "string", "pattern": kind.pattern}
        case types.LiteralType():
            own = {"enum": list(kind.values)}
        case types.BoolType():
            own = {"type": "boolean"}
        case types.IntType() | types.FloatType():
            bounds = {"minimum": kind.ge, "exclusiveMinimum": kind.gt, "maximum": kind.le}
            own = {"type": "integer" if isinstance(kind, types.IntType) else "number"}
            own |= {name: bound for name, bound in bounds.items() if bound is not None}
        case _:
            raise TypeError(f"no schema for {kind!r}")
    return {"anyOf": [own, {"type": "string", "pattern": _REFERENCE}]}


def _secrets(kind: types.Type, path: str) -> list[str]:
    match unwrapped(kind):
        case types.StructType() as struct if is_secret(struct):
            return [path]
        case types.StructType() as struct if is_scalar(struct):
            return []
        case types.StructType() as struct:
            return [found for field in struct.fields for found in _secrets(field.type, f"{path}.{field.encode_name}".lstrip("."))]
        case types.DictType() as mapping:
            return _secrets(mapping.value_type, f"{path}.*")
        case types.VarTupleType() as items:
            return _secrets(items.item_type, f"{path}[*]")
        case types.UnionType() as union:
            return [found for option in union.types for found in _secrets(option, path)]
        case _:
            return []
