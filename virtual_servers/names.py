"""Under which name each tool or prompt is shown: a pure function of the naming rules and the stable identities. Knows no catalogue.

- A rename is taken as written. Otherwise the name is the upstream's own, with the upstream's name and the separator before it where
  the prefix rule says so (`auto`: where two upstreams have the same name).
- Characters beyond `A-Z a-z 0-9 _ - .` (MCP 2026-07-28, server/tools, Tool Names) become `_`. A name that had such characters, or is
  longer than the budget, ends in `_` and eight hex digits of the hash of its identity, cut to fit: the same on every start and machine.
- A name that two would bear is given to neither: which of them a caller meant cannot be known.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Literal

from msgspec import Struct

from hub.call import Target
from hub.config.mcp import Naming

_OTHER = re.compile(r"[^A-Za-z0-9_.-]")
_HASH = 8


class Problem(Struct, frozen=True):
    """Something an operator should know of a view. An `error` fails `hub check`; both are reported while serving."""

    severity: Literal["error", "warning"]
    text: str

    def __str__(self) -> str:
        return self.text


class Names(Struct, frozen=True):
    """`advertised` holds those that have a name of their own; the others are named in `problems`."""

    advertised: dict[Target, str]
    problems: tuple[Problem, ...] = ()


def assign(naming: Naming, targets: Iterable[Target], renames: Mapping[str, str]) -> Names:
    """Name all targets of one kind. `renames` maps `upstream/name` to the name the operator chose."""
    distinct = dict.fromkeys(targets)
    chosen = {target: renames[str(target)] for target in distinct if renames.get(str(target))}
    upstreams = Counter(target.name for target in distinct if target not in chosen)
    names: dict[Target, str] = {}
    problems: list[Problem] = []
    for target in distinct:
        wish = chosen.get(target) or _natural(naming, target, upstreams[target.name] > 1)
        names[target] = fit(wish, target, naming.max_length)
        if target in chosen and names[target] != wish:
            problems.append(Problem("warning", f"{_say(target)}: the name `{wish}` does not fit and is shown as `{names[target]}`"))
    clashes = _clashes(names)
    problems += [_clash(name, bearers) for name, bearers in clashes.items()]
    return Names({target: name for target, name in names.items() if name not in clashes}, tuple(problems))


def fit(name: str, target: Target, length: int) -> str:
    """`name` within the allowed characters and at most `length` (8 or more) long; the hash is of the target, not of the name."""
    plain = _OTHER.sub("_", name)
    if plain and plain == name and len(name) <= length:
        return name
    digest = sha256(f"{target.upstream}\0{target.kind}\0{target.name}".encode(errors="surrogatepass")).hexdigest()[:_HASH]
    kept = plain[: max(0, length - _HASH - 1)]
    return f"{kept}_{digest}" if kept else digest


def _natural(naming: Naming, target: Target, shared: bool) -> str:
    if naming.prefix == "always" or (naming.prefix == "auto" and shared):
        return f"{target.upstream}{naming.separator}{target.name}"
    return target.name


def _clashes(names: Mapping[Target, str]) -> dict[str, list[Target]]:
    bearers: defaultdict[str, list[Target]] = defaultdict(list)
    for target, name in names.items():
        bearers[name].append(target)
    return {name: targets for name, targets in bearers.items() if len(targets) > 1}


def _clash(name: str, bearers: list[Target]) -> Problem:
    who = " and ".join(f"`{target}`" for target in bearers)
    return Problem("error", f"{bearers[0].kind}s {who} would share the name `{name}`: rename one, or set naming.prefix; neither is shown")


def _say(target: Target) -> str:
    return f"{target.kind} `{target}`"
