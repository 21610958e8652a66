"""Which items of which upstreams a virtual server takes. Deny wins, wherever it is written. Knows nothing of names shown or schemas."""

import re
from collections.abc import Iterable, Mapping
from fnmatch import translate

from msgspec import Struct

from hub.config.mcp import Include, VirtualServerSpec
from virtual_servers.catalog import Catalogue, Item
from virtual_servers.names import Problem

_GLOB = re.compile(r"[*?\[]")
_LIST = {"tool": "tools", "prompt": "prompts", "resource": "resources", "template": "resources"}


class Patterns:
    """Names and globs (`fnmatch`, case-sensitive). A pattern that is a glob also matches its own text. Remembers what has matched."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._globs = [(text, re.compile(translate(text)).match) for text in patterns if _GLOB.search(text)]
        self.texts = tuple(patterns)
        self._exact = frozenset(text for text in self.texts if not _GLOB.search(text))
        self._hit: set[str] = set()

    def match(self, *names: str) -> bool:
        """Whether any of the names matches any pattern."""
        found = False
        for name in names:
            if name in self._exact:
                self._hit.add(name)
                found = True
            found = found or any(name == text or glob(name) for text, glob in self._globs)
        return found

    def idle(self) -> list[str]:
        """The exact names that nothing has matched yet, as written."""
        return [text for text in self.texts if text in self._exact and text not in self._hit]


class Selection(Struct, frozen=True):
    """`taken` in order; `uris` all concrete resources each upstream lists, shown or not; `absent` has no catalogue."""

    taken: tuple[tuple[str, Item], ...]
    upstreams: tuple[str, ...]
    absent: tuple[str, ...]
    uris: dict[str, tuple[str, ...]]
    denials: dict[str, tuple[str, ...]]
    problems: tuple[Problem, ...]

    def denied(self, upstream: str) -> tuple[str, ...]:
        """All deny patterns that bear on an upstream, as written."""
        return self.denials.get(upstream, ())

    def known(self, key: str) -> bool:
        """Whether `upstream/name` can be judged: its upstream is not among those whose catalogue is awaited."""
        return key.partition("/")[0] not in self.absent


def select(spec: VirtualServerSpec, catalogues: Mapping[str, Catalogue]) -> Selection:
    """What `spec` takes of `catalogues`."""
    upstreams = tuple(dict.fromkeys(include.from_ for include in spec.include))
    absent = tuple(name for name in upstreams if name not in catalogues)
    everywhere = Patterns(spec.exclude)
    local = {name: Patterns([text for include in spec.include if include.from_ == name for text in include.exclude]) for name in upstreams}
    problems = [Problem("warning", f"upstream `{name}` has no catalogue yet: its part is left out") for name in absent]
    taken: dict[tuple[str, int], Item] = {}
    for include in spec.include:
        if include.from_ in catalogues:
            problems += _take(include, catalogues[include.from_], local[include.from_], everywhere, taken)
    for name in upstreams:
        problems += [_idle(f"exclude of `{name}`", text) for text in local[name].idle() if name in catalogues]
    problems += [_idle("exclude", text) for text in everywhere.idle() if not absent]
    return Selection(
        taken=tuple((upstream, item) for (upstream, _), item in taken.items()),
        upstreams=upstreams,
        absent=absent,
        uris={
            name: tuple(item.name for item in catalogues[name].items if item.kind == "resource") for name in upstreams if name in catalogues
        },
        denials={name: (*spec.exclude, *patterns.texts) for name, patterns in local.items()},
        problems=tuple(problems),
    )


def _take(
    include: Include, catalogue: Catalogue, local: Patterns, everywhere: Patterns, taken: dict[tuple[str, int], Item]
) -> list[Problem]:
    """Adds to `taken`, by upstream and position in its catalogue, so that two includes take an item once."""
    wanted = {"tools": Patterns(include.tools), "prompts": Patterns(include.prompts), "resources": Patterns(include.resources)}
    for position, item in enumerate(catalogue.items):
        name = item.name
        included = wanted[_LIST[item.kind]].match(name)
        # Both are asked for every item, so that each knows which of its names exist.
        denied = [local.match(name), everywhere.match(name, f"{include.from_}/{name}")]
        if included and not any(denied):
            taken[include.from_, position] = item
    return [_idle(f"{kind} of `{include.from_}`", text) for kind, patterns in wanted.items() for text in patterns.idle()]


def _idle(where: str, text: str) -> Problem:
    return Problem("warning", f"{where}: there is no `{text}`")
