"""A tree of nodes as the typed values of a schema class: every fault is collected with its place, none stops the walk.

It reads the types by `msgspec.inspect`; it does not know which classes there are, nor what values mean together.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec import inspect as types

from hub.config.interpolate import Expanded, expand
from hub.config.problem import Keys, Problem, dotted, suggestion
from hub.config.sensitive import literal, looks_secret, url_with_literal_secret
from hub.config.tree import Node, plain
from hub.config.values import NAME, Address, Dollars, KeptSecret, Secret

_DOLLARS = re.compile(r"([0-9](?:[0-9_]{0,13}[0-9])?)(?:\.([0-9]{1,9}))?")

INVALID: Any = object()
"""Stands for a value that could not be made; whoever holds it leaves it out."""


_IN_VAULT = "vault:"
"""Begins the text that names a secret of the vault."""


class Place(Struct, frozen=True):
    """Where a value stands, and for a scalar what it was before and after interpolation."""

    line: int
    column: int
    text: Expanded | None = None


class Converted(Struct):
    """What `convert` made. `value` leaves out what is invalid; `places` holds every path of the file, valid or not."""

    value: Any
    places: dict[Keys, Place]
    problems: list[Problem]


def convert(root: Node | None, cls: type[Any], environ: Mapping[str, str], base: Path) -> Converted:
    """`root` as a value of `cls` (all of whose fields have defaults)."""
    walker = _Walker(environ, base)
    value = cls() if root is None or _empty(root) else walker.walk(root, shape(cls), ())
    return Converted(cls() if value is INVALID else value, walker.places, walker.problems)


@lru_cache
def shape(cls: type[Any]) -> types.Type:
    """The type tree of a class."""
    return types.type_info(cls)


def unwrapped(kind: types.Type) -> types.Type:
    """Without the descriptions around it."""
    while isinstance(kind, types.Metadata):
        kind = kind.type
    return kind


def is_secret(kind: types.Type) -> bool:
    """Whether a value of this type must come from outside the file."""
    return isinstance(kind, types.StructType) and issubclass(kind.cls, Secret)


def is_address(kind: types.Type) -> bool:
    """Whether a value of this type is a URL, written as one text."""
    return isinstance(kind, types.StructType) and kind.cls is Address


def is_dollars(kind: types.Type) -> bool:
    """Whether a value of this type is an amount of money, written as one number or text."""
    return isinstance(kind, types.StructType) and kind.cls is Dollars


def dollars(text: str) -> Dollars | None:
    """The amount, or None where the text is none. No floating point is involved."""
    found = _DOLLARS.fullmatch(text)
    return Dollars(int(found[1].replace("_", "")) * 10**9 + int((found[2] or "").ljust(9, "0"))) if found else None


class _Walker:
    def __init__(self, environ: Mapping[str, str], base: Path) -> None:
        self._environ = environ
        self._base = base
        self.places: dict[Keys, Place] = {}
        self.problems: list[Problem] = []

    def walk(self, node: Node, kind: types.Type, path: Keys) -> Any:
        kind = unwrapped(kind)
        self.places.setdefault(path, Place(node.line, node.column))
        match kind:
            case types.UnionType():
                return self._union(node, kind, path)
            case types.StructType() as struct if is_secret(struct):
                return self._kept(node, path) if struct.cls is KeptSecret else self._secret(node, path)
            case types.StructType() if is_address(kind):
                text = self._text(node, path)
                return INVALID if text is None else Address(text.value)
            case types.StructType() if is_dollars(kind):
                return self._dollars(node, path)
            case types.StructType():
                return self._struct(node, kind, path)
            case types.DictType():
                return self._dict(node, kind, path)
            case types.VarTupleType():
                return self._tuple(node, kind, path)
            case types.AnyType():
                return self._any(node, path)
            case _:
                return self._scalar(node, kind, path)

    def _fault(self, node: Node, path: Keys, message: str) -> Any:
        self.problems.append(Problem(node.line, node.column, dotted(path), message))
        return INVALID

    def _dollars(self, node: Node, path: Keys) -> Any:
        if node.kind != "scalar" or isinstance(node.value, bool):
            return self._fault(node, path, f"expected an amount of US dollars, found {node.describe()}")
        text = self._expanded(node, path)
        if text is None:
            return INVALID
        made = dollars(text.value)
        return made or self._fault(node, path, "not an amount of US dollars: digits, and at most nine more after a point")

    def _struct(self, node: Node, kind: types.StructType, path: Keys) -> Any:
        if node.kind != "map":
            return self._fault(node, path, f"expected a mapping, found {node.describe()}")
        fields = {field.encode_name: field for field in kind.fields}
        values: dict[str, Any] = {}
        broken = False
        for key, value in node.entries:
            field = fields.get(key.text)
            at = (*path, key.text)
            self.places[at] = Place(key.line, key.column)
            if field is None:
                self._fault(key, at, f"unknown key{suggestion(key.text, list(fields)) or '; known here: ' + ', '.join(fields)}")
            elif not (_empty(value) and _section(field)):
                made = self.walk(value, field.type, at)
                broken |= made is INVALID and field.required
                if made is not INVALID:
                    values[field.name] = made
        for field in fields.values():
            if field.required and (*path, field.encode_name) not in self.places:
                self._fault(node, path, f"`{field.encode_name}` is missing")
                broken = True
        return INVALID if broken else kind.cls(**values)

    def _dict(self, node: Node, kind: types.DictType, path: Keys) -> Any:
        if node.kind != "map":
            return self._fault(node, path, f"expected a mapping, found {node.describe()}")
        made: dict[str, Any] = {}
        for key, value in node.entries:
            at = (*path, key.text)
            self.places[at] = Place(key.line, key.column)
            if message := _unfit(key.text, unwrapped(kind.key_type)):
                self._fault(key, at, f"as a name, {message}")
            result = self.walk(value, kind.value_type, at)
            if result is not INVALID:
                made[key.text] = result
        return made

    def _tuple(self, node: Node, kind: types.VarTupleType, path: Keys) -> Any:
        if node.kind != "list":
            return self._fault(node, path, f"expected a list, found {node.describe()}")
        made = [self.walk(item, kind.item_type, (*path, index)) for index, item in enumerate(node.items)]
        return tuple(item for item in made if item is not INVALID)

    def _union(self, node: Node, kind: types.UnionType, path: Keys) -> Any:
        options = [unwrapped(option) for option in kind.types]
        if _empty(node) and any(isinstance(option, types.NoneType) for option in options):
            return None
        if any(isinstance(option, types.StrType) for option in options) and any(map(is_secret, options)):
            return self._maybe_secret(node, path)
        chosen = next(option for option in options if not isinstance(option, types.NoneType))
        return self.walk(node, chosen, path)

    def _secret(self, node: Node, path: Keys, otherwise: str = "") -> Secret:
        text = self._text(node, path)
        if text is None:
            return Secret("")  # said already; what else stands beside it is still looked at
        if literal(text):
            self._fault(node, path, f"a secret may not stand in the file; write `${{NAME}}` or `${{file:/path}}`{otherwise}")
        elif not text.value:
            self._fault(node, path, "the secret is empty")
        return Secret("" if literal(text) else text.value)

    def _kept(self, node: Node, path: Keys) -> KeptSecret:
        if node.kind == "scalar" and isinstance(node.value, str) and node.text.startswith(_IN_VAULT):
            self.places[path] = Place(*_start(self.places, path, node), Expanded(node.text, node.text, node.text))
            name = node.text.removeprefix(_IN_VAULT)
            if not re.fullmatch(NAME, name):
                self._fault(node, path, f"after `{_IN_VAULT}` the name of a secret follows: it must match `{NAME}`")
            return KeptSecret("", vault=name)
        return KeptSecret(self._secret(node, path, f", or `{_IN_VAULT}NAME`").value)

    def _maybe_secret(self, node: Node, path: Keys) -> Any:
        """Of environment and headers: secret by name, or because the value came from outside."""
        text = self._text(node, path)
        if text is None:
            return INVALID
        name = str(path[-1])
        if looks_secret(name) and literal(text):
            return self._fault(
                node, path, f"`{name}` looks like a secret, which may not stand in the file; write `${{NAME}}` or `${{file:/path}}`"
            )
        return Secret(text.value) if text.sources else text.value

    def _any(self, node: Node, path: Keys) -> Any:
        if node.kind == "list":
            made = [self._any(item, (*path, index)) for index, item in enumerate(node.items)]
            return [item for item in made if item is not INVALID]
        if node.kind == "map":
            pairs = {key.text: self._any(value, (*path, key.text)) for key, value in node.entries}
            return {key: value for key, value in pairs.items() if value is not INVALID}
        if not isinstance(node.value, str):
            return node.value
        text = self._text(node, path)
        return INVALID if text is None else text.value

    def _text(self, node: Node, path: Keys) -> Expanded | None:
        """The interpolated scalar, None where it is none or cannot be interpolated."""
        if node.kind != "scalar" or not isinstance(node.value, str):
            hint = "; write it in quotes" if node.kind == "scalar" and node.value is not None else ""
            self._fault(node, path, f"expected a text, found {node.describe()}{hint}")
            return None
        return self._expanded(node, path)

    def _expanded(self, node: Node, path: Keys) -> Expanded | None:
        text, faults = expand(node.text, self._environ, self._base)
        for message in faults:
            self._fault(node, path, message)
        if faults:
            return None
        key = self.places[path] if path in self.places else Place(node.line, node.column)
        self.places[path] = Place(key.line, key.column, text)
        if " " not in node.text and (found := url_with_literal_secret(text)):  # prose may speak of such URLs
            self._fault(node, path, f"{found} in this URL may not stand in the file; write `${{NAME}}` in its place")
        return text

    def _scalar(self, node: Node, kind: types.Type, path: Keys) -> Any:
        if isinstance(kind, types.StrType) or (isinstance(kind, types.LiteralType) and isinstance(node.value, str)):
            text = self._text(node, path)
            if text is None:
                return INVALID
            value: Any = text.value
        else:
            value = node.value
            if isinstance(value, str) and "$" in value:
                text = self._expanded(node, path)
                if text is None:
                    return INVALID
                value = plain(text.value)
        if message := _unfit(value, kind):
            self._fault(node, path, message)
            return value if isinstance(value, str) and isinstance(kind, types.StrType | types.LiteralType) else INVALID
        return float(value) if isinstance(kind, types.FloatType) else value


def _start(places: Mapping[Keys, Place], path: Keys, node: Node) -> tuple[int, int]:
    at = places.get(path, node)
    return at.line, at.column


def _empty(node: Node) -> bool:
    return node.kind == "scalar" and node.value is None


def _section(field: types.Field) -> bool:
    """A section with nothing under it is the section left out."""
    kind = unwrapped(field.type)
    if is_address(kind):
        return False
    return not field.required and isinstance(kind, types.StructType | types.DictType | types.VarTupleType) and field.default is not None


def _unfit(value: Any, kind: types.Type) -> str:
    """Why a scalar is no value of this type; empty where it is one. Never repeats a value that may have come from outside."""
    match kind:
        case types.StrType():
            if kind.pattern and not re.fullmatch(kind.pattern, value):
                return f"it must match `{kind.pattern}`"
            return ""
        case types.BoolType():
            return "" if isinstance(value, bool) else "expected true or false"
        case types.LiteralType():
            if value in kind.values:
                return ""
            return f"expected one of {', '.join(map(str, kind.values))}{suggestion(str(value), [str(v) for v in kind.values])}"
        case types.IntType():
            if isinstance(value, bool) or not isinstance(value, int):
                return "expected a whole number"
            return _out_of_bounds(value, kind)
        case types.FloatType():
            if isinstance(value, bool) or not isinstance(value, int | float):
                return "expected a number"
            return _out_of_bounds(value, kind)
        case _:
            raise TypeError(f"no rule for {kind!r}")


def _out_of_bounds(value: float, kind: types.IntType | types.FloatType) -> str:
    if kind.ge is not None and value < kind.ge:
        return f"it must be at least {kind.ge}"
    if kind.gt is not None and value <= kind.gt:
        return f"it must be greater than {kind.gt}"
    if kind.le is not None and value > kind.le:
        return f"it must be at most {kind.le}"
    return ""
