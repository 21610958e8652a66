"""YAML text as a tree of nodes that know their place. It knows nothing of the shape of `hub.yaml`.

PyYAML's C parser gives events; the tree is built here because PyYAML's own composer recurses in C without a bound (a file of
100,000 brackets ends the process) and keeps the last of two equal keys. Plain scalars follow the YAML 1.2 core schema, as editors
do: `on`, `no` and `012` are not booleans or octal numbers.
"""

import re
from collections.abc import Iterator
from typing import Any, Literal

import yaml
from msgspec import Struct

from hub.config.problem import Keys, Problem, dotted

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 100_000
"""Nodes of the whole file with its aliases followed."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = {"", "~", "null", "Null", "NULL"}
_TRUE, _FALSE = {"true", "True", "TRUE"}, {"false", "False", "FALSE"}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_TAGS = "tag:yaml.org,2002:"

Plain = str | int | float | bool | None


class Node(Struct):
    """A scalar (`text`, `value`), a list (`items`) or a mapping (`entries`: key and value). `size` counts nodes, itself included."""

    kind: Literal["scalar", "list", "map"]
    line: int
    column: int
    text: str = ""
    value: Plain = None
    items: list["Node"] = []
    entries: list[tuple["Node", "Node"]] = []
    size: int = 1

    def describe(self) -> str:
        if self.kind != "scalar":
            return "a list" if self.kind == "list" else "a mapping"
        if self.value is None:
            return "nothing"
        if isinstance(self.value, bool):
            return f"`{self.text}`"
        return "a number" if isinstance(self.value, int | float) else "a text"


class Unreadable(Exception):
    """The text is no YAML, or more than the bounds allow."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.problem = Problem(line, column, "", message)


def plain(text: str) -> Plain:
    """The value of an unquoted scalar (YAML 1.2.2, section 10.3.2; infinities and NaN stay text)."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INT.fullmatch(text):
        return int(text, 0 if text[:2] in {"0o", "0x"} else 10) if len(text) <= 20 else text
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def parse(text: str, problems: list[Problem]) -> Node | None:
    """The root of the file, None where it is empty. Duplicate keys join `problems`. Raises `Unreadable`."""
    try:
        return _Builder(problems).build(_events(text))
    except yaml.YAMLError as error:
        mark: Any = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        reason = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be parsed")
        raise Unreadable(f"not YAML: {reason}", mark.line + 1 if mark else 0, mark.column + 1 if mark else 0) from None


def _events(text: str) -> Iterator[Any]:
    loader = _LOADER(text)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


class _Builder:
    def __init__(self, problems: list[Problem]) -> None:
        self._problems = problems
        self._anchors: dict[str, Node] = {}
        self._open: list[tuple[Node, str | None]] = []
        self._keys: list[Node | None] = []
        self._seen: list[dict[str, Node]] = []
        self._root: Node | None = None
        self._documents = 0

    def build(self, events: Iterator[Any]) -> Node | None:
        for event in events:
            match type(event).__name__:
                case "ScalarEvent":
                    self._add(self._scalar(event), event.anchor)
                case "SequenceStartEvent" | "MappingStartEvent":
                    self._start(event)
                case "SequenceEndEvent" | "MappingEndEvent":
                    self._end()
                case "AliasEvent":
                    self._add(self._alias(event), None)
                case "DocumentStartEvent":
                    self._document(event)
                case _:
                    pass
        return self._root

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            raise Unreadable("one document to a file, here is a second", event.start_mark.line + 1, 1)

    def _scalar(self, event: Any) -> Node:
        line, column = _place(event)
        value: Plain = event.value
        if event.tag and event.tag not in {_TAGS + "str", "!"}:
            if event.tag not in {_TAGS + "int", _TAGS + "float", _TAGS + "bool", _TAGS + "null"}:
                raise Unreadable(f"the tag `{event.tag}` is not supported", line, column)
            value = plain(event.value)
        elif not event.tag and event.implicit[0] and event.style in {None, ""}:
            value = plain(event.value)
        return Node("scalar", line, column, event.value, value)

    def _start(self, event: Any) -> None:
        line, column = _place(event)
        if len(self._open) >= MAX_DEPTH:
            raise Unreadable(f"nested deeper than {MAX_DEPTH} levels", line, column)
        kind = "list" if type(event).__name__ == "SequenceStartEvent" else "map"
        if event.tag and event.tag not in {_TAGS + "seq", _TAGS + "map", "!"}:
            raise Unreadable(f"the tag `{event.tag}` is not supported", line, column)
        self._open.append((Node(kind, line, column, items=[], entries=[]), event.anchor))
        self._keys.append(None)
        self._seen.append({})

    def _end(self) -> None:
        node, anchor = self._open.pop()
        self._keys.pop()
        self._seen.pop()
        if node.kind == "map":
            node.entries = self._merged(node)
        self._add(node, anchor)

    def _alias(self, event: Any) -> Node:
        target = self._anchors.get(event.anchor)
        if target is None:
            line, column = _place(event)
            inside = any(anchor == event.anchor for _, anchor in self._open)
            raise Unreadable(f"the alias `*{event.anchor}` " + ("contains itself" if inside else "has no anchor before it"), line, column)
        return target

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor:
            self._anchors[anchor] = node
        if not self._open:
            self._root = node
            return
        parent, _ = self._open[-1]
        parent.size += node.size
        if parent.size > MAX_NODES:
            raise Unreadable(f"more than {MAX_NODES} values with the aliases followed", node.line, node.column)
        if parent.kind == "list":
            parent.items.append(node)
        elif (key := self._keys[-1]) is None:
            self._keys[-1] = self._checked_key(node)
        else:
            if self._seen[-1][key.text] is key:  # of two equal keys the first stands
                parent.entries.append((key, node))
            self._keys[-1] = None

    def _checked_key(self, node: Node) -> Node:
        if node.kind != "scalar":
            raise Unreadable("a key must be a text", node.line, node.column)
        first = self._seen[-1].setdefault(node.text, node)
        if first is not node:
            message = f"the key `{node.text}` stands here a second time, first on line {first.line}"
            self._problems.append(Problem(node.line, node.column, dotted((*self._path(), node.text)), message))
        return node

    def _path(self) -> Keys:
        """Where the innermost open mapping stands."""
        steps = zip(self._open[:-1], self._keys[:-1], strict=True)
        return tuple(len(parent.items) if key is None else key.text for (parent, _), key in steps)

    def _merged(self, node: Node) -> list[tuple[Node, Node]]:
        """Follow `<<: *base`: entries written out win over merged ones."""
        own = [(key, value) for key, value in node.entries if key.text != "<<"]
        seen = {key.text for key, _ in own}
        for _, source in (entry for entry in node.entries if entry[0].text == "<<"):
            for base in source.items if source.kind == "list" else [source]:
                if base.kind != "map":
                    raise Unreadable("`<<` takes a mapping or a list of mappings", source.line, source.column)
                own += [(key, value) for key, value in base.entries if key.text not in seen]
                seen |= {key.text for key, _ in base.entries}
        return own


def _place(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1
