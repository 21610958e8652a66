"""Turns the arguments of one call into the part of Cedar's context that the policies read. It knows no policy and no engine.

Only attributes the tool's schema declares get through, so nothing a caller writes can become an entity or an extension value. A value
that Cedar cannot hold is left out and named: whoever reads it must refuse, because Cedar would skip the policy or find `has` false.
"""

from typing import Any, cast

from msgspec import Struct

from hub.policy.shapes import Shape

LARGEST = 2**53
"""Integers beyond ± this are not the same number in every JSON reader (RFC 8259, section 6)."""
VALUES = 10_000
"""Values one call's context holds at most."""
CHARACTERS = 1 << 20
"""Characters of text one call's context holds at most."""


class Wanted(Struct):
    """A tree of what is read. `whole`: the value itself, and not only its presence or its `fields`."""

    whole: bool = False
    fields: dict[str, "Wanted"] = {}

    def add(self, path: tuple[str, ...], whole: bool) -> None:
        node = self
        for step in path:
            node = node.fields.setdefault(step, Wanted())
        node.whole = node.whole or whole


class Reading:
    """The conversion of one call's arguments. `problems` are sentences that name attributes of the schema, never values."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._values = VALUES
        self._characters = CHARACTERS

    def arguments(self, arguments: Any, shape: Shape, wanted: Wanted) -> dict[str, Any]:
        """What `wanted` names of `arguments`, fit for Cedar. `arguments` is parsed JSON; None means there were none."""
        taken = self._take({} if arguments is None else arguments, shape, wanted, "args")
        return cast("dict[str, Any]", taken) if isinstance(taken, dict) else {}

    def _take(self, value: Any, shape: Shape, wanted: Wanted, path: str) -> Any:
        """`value` as Cedar holds it, or None (with a problem noted, unless null stands for absent)."""
        self._values -= 1
        if self._values < 0:
            return self._problem(path, "more values than can be judged")
        if value is None:
            return None if shape.nullable else self._problem(path, "null")
        if shape.kind == "string":
            return self._text(value, path)
        if shape.kind == "long":
            return self._whole_number(value, path)
        if shape.kind == "bool":
            return value if isinstance(value, bool) else self._problem(path, "not a boolean")
        if shape.kind == "set":
            return self._set(value, shape, path)
        return self._record(value, shape, wanted, path)

    def _text(self, value: Any, path: str) -> str | None:
        if not isinstance(value, str):
            return self._problem(path, "not a string")
        self._characters -= len(value)
        if self._characters < 0:
            return self._problem(path, "more text than can be judged")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                return self._problem(path, "not valid Unicode")
        return value

    def _whole_number(self, value: Any, path: str) -> int | None:
        if isinstance(value, float):
            return self._problem(path, "a number with a fraction or exponent")
        if isinstance(value, bool) or not isinstance(value, int):
            return self._problem(path, "not an integer")
        return value if -LARGEST <= value <= LARGEST else self._problem(path, "an integer beyond 2^53")

    def _set(self, value: Any, shape: Shape, path: str) -> list[Any] | None:
        if not isinstance(value, list) or shape.element is None:
            return self._problem(path, "not an array")
        before = len(self.problems)
        taken = [self._take(element, shape.element, _WHOLE, f"{path}[]") for element in cast("list[Any]", value)[: VALUES + 1]]
        if any(element is None for element in taken) and len(self.problems) == before:
            return self._problem(f"{path}[]", "null")  # a null has no place in a set, even where the schema allows it
        return taken if len(self.problems) == before else None

    def _record(self, value: Any, shape: Shape, wanted: Wanted, path: str) -> dict[str, Any] | None:
        if not isinstance(value, dict):
            return self._problem(path, "not an object")
        given = cast("dict[Any, Any]", value)
        if wanted.whole and any(key not in shape.fields for key in given):
            return self._problem(path, "more than its schema declares")
        if _misspells(given, shape, wanted):
            return self._problem(path, "given in a spelling of its own: some readers ignore case")
        taken: dict[str, Any] = {}
        for name, field in shape.fields.items():
            if not wanted.whole and name not in wanted.fields:
                continue
            if name not in given:
                if field.required:
                    self._problem(f"{path}.{name}", "missing, though its schema requires it")
                continue
            inner = self._take(given[name], field, _WHOLE if wanted.whole else wanted.fields[name], f"{path}.{name}")
            if inner is not None:
                taken[name] = inner
        return taken

    def _problem(self, path: str, what: str) -> None:
        if len(self.problems) < 8:
            self.problems.append(f"{path} is {what}")


def _misspells(given: dict[Any, Any], shape: Shape, wanted: Wanted) -> bool:
    """Whether an undeclared key could be read as one that is judged: many JSON libraries ignore case, some end at a NUL."""
    strange = given.keys() - shape.fields.keys()
    if not strange:
        return False
    judged = {name.casefold() for name in wanted.fields}
    return any(str(key).partition("\0")[0].casefold() in judged for key in strange)


_WHOLE = Wanted(whole=True)
