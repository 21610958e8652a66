"""A configuration with the places of its parts, as rules look at it."""

from collections.abc import Mapping
from pathlib import Path

from hub.config.convert import Place
from hub.config.model import Config
from hub.config.problem import Keys, Problem, dotted

Fault = tuple[Keys, str]


class Checked:
    """A configuration with the places of its parts, as the rules see it."""

    def __init__(self, config: Config, places: Mapping[Keys, Place], base: Path) -> None:
        self.config = config
        self.base = base
        self._places = places
        self._declared: dict[str, list[str]] = {}
        for path in places:
            if len(path) == 2:
                self._declared.setdefault(str(path[0]), []).append(str(path[1]))

    def declared(self, section: str) -> list[str]:
        """Names written under a section, also those whose content is at fault."""
        return self._declared.get(section, [])

    def written(self, path: Keys) -> bool:
        """Whether the file has something at this path, usable or not. An empty text, as of an unset reference, is nothing."""
        place = self._places.get(path)
        return place is not None and (place.text is None or bool(place.text.value))

    def problem(self, fault: Fault) -> Problem:
        path, message = fault
        at = path
        while at and at not in self._places:
            at = at[:-1]
        place = self._places.get(at, Place(0, 0))
        return Problem(place.line, place.column, dotted(path), message)
