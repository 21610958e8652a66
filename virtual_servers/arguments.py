"""Checks tool arguments against the advertised inputSchema, compiled once. Knows no tool and opens no file or connection.

JSON Schema 2020-12 unless `$schema` names 2019-09, 7, 6 or 4; `format` is an annotation. Schemas come from upstreams and are bounded:
size, depth, what their references multiply to, and regular expressions (a linear engine; one that looks around gets a backtracking
engine with a step limit, and a value that exceeds it does not fit).
"""

from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import unquote

import jsonschema_rs

from hub import jsonscan
from hub.refusal import InvalidParams, InvalidRequest, ParseFailed

MAX_SCHEMA = 256 * 1024
MAX_WORK = 20_000
MAX_STEPS = 50_000_000
_LIGHT = 64
"""Schemas of no more objects than this are run on whatever fits into a request."""
_BACKTRACKING = 16 * 1024
"""Room for values where a pattern backtracks: its step limit bounds the steps, but a step costs more on a longer text."""
_MESSAGE = 300
_PATH = 100
_PATTERNS = jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 20)
_LOOKAROUNDS = jsonschema_rs.FancyRegexOptions(backtrack_limit=1000, size_limit=1 << 20, dfa_size_limit=1 << 20)
_MASK = "the value"
"""Stands for values in messages: the library would quote them, and they may be secrets or megabytes."""


class SchemaRefused(ValueError):
    """Not a schema this hub will run; the sentence says why."""


class Validator:
    """One compiled schema. Immutable; calling it raises the refusal that `check` returns."""

    __slots__ = ("_explain", "_fits", "_room", "_validate")

    def __init__(self, schema: bytes) -> None:
        """Raises `SchemaRefused`. `schema` is the raw JSON of an inputSchema."""
        parsed = _read(schema)
        work, recursive = _weigh(parsed)
        compiled, backtracks = _compile(parsed)
        self._fits = compiled.is_valid
        self._validate = compiled.validate
        self._explain = not recursive
        self._room = _BACKTRACKING if backtracks else MAX_STEPS // work if work > _LIGHT else 0

    def __call__(self, arguments: Any) -> None:
        """Raises `InvalidParams` when the arguments do not fit."""
        refusal = self.check(arguments)
        if refusal is not None:
            raise refusal

    def check(self, arguments: Any) -> InvalidParams | None:
        """None when they fit; else the refusal, naming the first failing place and rule and no value. None counts as `{}`."""
        value: Any = {} if arguments is None else arguments
        if self._room and _outgrows(value, self._room):
            return InvalidParams("the arguments are too large for the schema of this tool")
        try:
            if self._fits(value):
                return None
            return InvalidParams(self._sentence(value))
        except (ValueError, RecursionError, OverflowError):
            return InvalidParams("the arguments hold a value that cannot be checked")

    def _sentence(self, value: Any) -> str:
        if not self._explain:  # naming the place in a recursive schema can take time exponential in the depth of the arguments
            return "the arguments do not fit the input schema of this tool"
        try:
            self._validate(value)
        except jsonschema_rs.ValidationError as error:
            return _say(error)
        return "the arguments do not fit the input schema of this tool"


def _say(error: jsonschema_rs.ValidationError) -> str:
    where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)
    rule = " ".join(error.message.split())
    sentence = f"arguments{_cut(where, _PATH)}: {rule}"
    return f"{_cut(sentence, _MESSAGE)} ({error.kind.name})"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _read(schema: bytes) -> dict[str, Any]:
    if len(schema) > MAX_SCHEMA:
        raise SchemaRefused(f"the schema is larger than {MAX_SCHEMA} bytes")
    try:
        parsed = jsonscan.scan(schema)
    except (ParseFailed, InvalidRequest) as refusal:
        raise SchemaRefused(f"the schema cannot be read: {refusal.message}") from None
    if not isinstance(parsed, dict):
        raise SchemaRefused("the schema is not an object")
    members = cast("dict[str, Any]", parsed)
    if members.get("type") != "object":
        raise SchemaRefused('the schema does not say `"type": "object"`')
    return members


def _compile(schema: dict[str, Any]) -> tuple[jsonschema_rs.Validator, bool]:
    """The validator, and whether its patterns need the engine that backtracks."""
    try:
        return _build(schema, _PATTERNS), False
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError):
        pass
    try:
        return _build(schema, _LOOKAROUNDS), True
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        text = error.message if isinstance(error, jsonschema_rs.ValidationError | jsonschema_rs.ReferencingError) else str(error)
        raise SchemaRefused(f"the schema is not valid: {_cut(' '.join(text.split()), 200)}") from None


def _build(schema: dict[str, Any], patterns: jsonschema_rs.RegexOptions | jsonschema_rs.FancyRegexOptions) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(
        schema, validate_formats=False, ignore_unknown_formats=True, mask=_MASK, offline=True, pattern_options=patterns
    )


class _Weighing:
    """What the references of one schema multiply to.

    The work of a place is the number of objects in it and in those its local references lead to, counted once for each way there: a
    chain of definitions that each use the next one twice is short to write and takes for ever to check.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        self._anchors: dict[str, Any] = {}
        self._known: dict[int, int] = {}
        self._open: set[int] = set()
        self.recursive = False
        for place in _objects(schema):
            self._anchors |= {f"#{place[word]}": place for word in ("$anchor", "$dynamicAnchor") if isinstance(place.get(word), str)}
            self.recursive |= "$dynamicRef" in place or "$recursiveRef" in place

    def weigh(self, place: Any) -> int:
        """Raises `SchemaRefused` beyond `MAX_WORK`. A reference back to a place being weighed counts nothing and sets `recursive`."""
        if id(place) in self._open:
            self.recursive = True
            return 0
        if id(place) not in self._known:
            self._open.add(id(place))
            work = 1 + sum(self.weigh(inner) for inner in _containers(place)) + sum(self.weigh(goal) for goal in self._goals(place))
            self._open.discard(id(place))
            if work > MAX_WORK:
                raise SchemaRefused("the references in the schema multiply to too much work")
            self._known[id(place)] = work
        return self._known[id(place)]

    def _goals(self, place: Any) -> Iterator[Any]:
        for word in ("$ref", "$dynamicRef"):
            reference: Any = cast("dict[str, Any]", place).get(word) if isinstance(place, dict) else None
            if isinstance(reference, str) and (goal := self._goal(reference)) is not None:
                yield goal

    def _goal(self, reference: str) -> Any:
        """Where a reference leads in this document, as an object or array; None for elsewhere, which the compiler refuses."""
        base, _, fragment = reference.partition("#")
        if base and base != self._schema.get("$id"):
            return next((place for place in _objects(self._schema) if place.get("$id") == base), None)
        if f"#{fragment}" in self._anchors:
            return self._anchors[f"#{fragment}"]
        here: Any = self._schema
        for step in unquote(fragment).split("/")[1:]:
            here = _child(here, step.replace("~1", "/").replace("~0", "~"))
        return cast("Any", here) if isinstance(here, dict | list) else None


def _weigh(schema: dict[str, Any]) -> tuple[int, bool]:
    """(work for one value, whether the schema refers to itself). Raises `SchemaRefused` where its references multiply."""
    weighing = _Weighing(schema)
    try:
        work = weighing.weigh(schema)
    except RecursionError:
        raise SchemaRefused("the references in the schema lead too deep") from None
    return work, weighing.recursive


def _outgrows(value: Any, room: int) -> bool:
    """Whether the values in it, and its text by sixteen characters, are more than `room`: every schema may look at each of them."""
    pending: list[Any] = [value]
    while pending and room >= 0:
        here = pending.pop()
        room -= 1
        if isinstance(here, dict):
            pending += cast("dict[str, Any]", here).values()
        elif isinstance(here, list):
            pending += cast("list[Any]", here)
        elif isinstance(here, str):
            room -= len(here) >> 4
    return room < 0


def _containers(place: Any) -> list[Any]:
    values = cast("dict[str, Any]", place).values() if isinstance(place, dict) else cast("list[Any]", place)
    return [value for value in values if isinstance(value, dict | list)]


def _objects(place: Any) -> Iterator[dict[str, Any]]:
    pending = [place]
    while pending:
        here = pending.pop()
        if isinstance(here, dict):
            yield cast("dict[str, Any]", here)
        pending += _containers(here)


def _child(place: Any, step: str) -> Any:
    if isinstance(place, dict):
        return cast("dict[str, Any]", place).get(step)
    if isinstance(place, list) and step.isdecimal() and len(step) < 7 and int(step) < len(cast("list[Any]", place)):
        return cast("list[Any]", place)[int(step)]
    return None
