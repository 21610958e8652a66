"""Reading JSON somebody else made: each member by its type, each refusal with its place. Knows no dialect.

`null` counts as absent, as it does in both families' APIs. A reader remembers which members it was asked for, so that what nobody
asked for can be named.
"""

import re
from collections.abc import Iterator
from typing import Any, NoReturn, cast

from hub.refusal import InvalidRequest, Refusal, UpstreamFault


class Members:
    """The members of one JSON object. `path` is its place in the request, empty for the whole: `messages[0].content[1]`.

    What does not fit is raised as `fails`: `InvalidRequest` with `data={"param": place}` for a client's JSON, `UpstreamFault` for a
    provider's.
    """

    __slots__ = ("_seen", "fails", "path", "values")

    def __init__(self, value: Any, path: str = "", fails: type[Refusal] = InvalidRequest) -> None:
        self.path = path
        self.fails = fails
        if not isinstance(value, dict):
            self.refuse("must be an object")
        self.values = cast("dict[str, Any]", value)
        self._seen: set[str] = set()

    def place(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path and name else self.path or name

    def refuse(self, why: str, name: str = "") -> NoReturn:
        where = self.place(name)
        if self.fails is UpstreamFault:
            raise UpstreamFault("the provider's answer could not be read", detail=f"{where or 'the answer'} {why}")
        raise self.fails(f"{where or 'the request'} {why}", data={"param": where} if where else None)

    def any(self, name: str) -> Any:
        self._seen.add(name)
        return self.values.get(name)

    def skip(self, *names: str) -> None:
        """Members that mean nothing to another provider, and are not worth naming."""
        self._seen.update(names)

    def text(self, name: str, default: str | None = None) -> str:
        """A string; `default` where it is absent, and refused where there is none."""
        value = self.any(name)
        if isinstance(value, str):
            return value
        if value is not None or default is None:
            self.refuse("must be a string" if value is not None else "is missing", name)
        return default

    def whole(self, name: str) -> int | None:
        value = self.any(name)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            self.refuse("must be a whole number", name)
        return value

    def number(self, name: str) -> float | int | None:
        value = self.any(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            self.refuse("must be a number", name)
        return value

    def flag(self, name: str) -> bool | None:
        value = self.any(name)
        if value is not None and not isinstance(value, bool):
            self.refuse("must be true or false", name)
        return value

    def plain(self, name: str) -> dict[str, Any] | None:
        """An object that is carried on as it is."""
        value = self.any(name)
        if value is not None and not isinstance(value, dict):
            self.refuse("must be an object", name)
        return cast("dict[str, Any] | None", value)

    def members(self, name: str) -> "Members | None":
        value = self.any(name)
        return None if value is None else Members(value, self.place(name), self.fails)

    def items(self, name: str) -> list[Any] | None:
        value = self.any(name)
        if value is not None and not isinstance(value, list):
            self.refuse("must be an array", name)
        return cast("list[Any] | None", value)

    def each(self, name: str) -> "Iterator[Members]":
        """The objects of an array, each with its place; none where the array is absent."""
        for index, item in enumerate(self.items(name) or ()):
            yield Members(item, f"{self.place(name)}[{index}]", self.fails)

    def unread(self) -> tuple[str, ...]:
        """The places of members nobody asked for that say something."""
        return tuple(self.place(name) for name, value in self.values.items() if name not in self._seen and value is not None)


def texts(source: Members, name: str) -> tuple[str, ...]:
    """One string or an array of them, as in `stop`."""
    value = source.any(name)
    if isinstance(value, str):
        return (value,)
    found = source.items(name) or []
    if not all(isinstance(item, str) for item in found):
        source.refuse("must hold strings", name)
    return tuple(cast("list[str]", found))


def pairs(source: Members, name: str) -> dict[str, str] | None:
    """Metadata: strings by strings."""
    value = source.plain(name)
    if value is None:
        return None
    if not all(isinstance(item, str) for item in value.values()):
        source.refuse("must hold strings", name)
    return cast("dict[str, str]", value)


_INDEX = re.compile(r"\[\d+\]")


def named(*dropped: str) -> tuple[str, ...]:
    """Places for the log: each once, without the numbers of array items, not more than a line takes."""
    return tuple(dict.fromkeys(_INDEX.sub("[]", name[:100]) for name in dropped))[:32]
