"""What a caller's grants say of a door and a target. Pure; it knows no policy, no store and no organisation's objects.

Reasons are ids for records, not sentences: `grant:<i>` allowed by the caller's i-th grant, `grant:<i>:deny` denied by it,
`grant:no-door` no grant opens this door, `grant:no-endpoint` none opens it to calls of this kind, `grant:no-target` grants open the
door, but none covers this target. Where not the caller's own grants say no but a ceiling, its unit stands between:
`grant:team:core:no-target`, `grant:team:core:0:deny`, `grant:team:core:undeclared`.
"""

import fnmatch
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal

from msgspec import Struct

from hub.call import Caller, Grant, Target

_CUT = re.compile("[?#]")
_WILD = frozenset("*?[")

DoorKind = Literal["virtual_server", "model", "agent"]


class Verdict(Struct, frozen=True):
    """What the grants say, and which of them said it (see the module's docstring)."""

    allowed: bool
    reason: str


def may_enter(caller: Caller, org: str, shared: bool) -> bool:
    """Whether an object of `org` is there for this caller at all: `*` in a grant never crosses organisations."""
    return shared or caller.org == org


def granted(caller: Caller, door_kind: DoorKind, door: str, target: Target | None, endpoint: str = "") -> Verdict:
    """Whether the grants allow `target` through `door`; with no target, whether any of them opens the door.

    `endpoint` is the kind of a model call. A deny in any grant wins over every allow, whichever door that grant is about. Each of the
    caller's ceilings has to allow it as well. The answer depends on `caller.grants`, `caller.ceilings` and what is given only, so it may
    be kept by (`grants_version`, door kind, door, target, endpoint). `may_enter` is a question of its own.
    """
    verdict = _granted(caller.grants, door_kind, door, target, endpoint)
    if not caller.ceilings or not verdict.allowed:
        return verdict
    for ceiling in caller.ceilings:
        if ceiling.grants is None:
            return Verdict(False, f"grant:{ceiling.unit}:undeclared")
        below = _granted(ceiling.grants, door_kind, door, target, endpoint)
        if not below.allowed:
            return Verdict(False, f"grant:{ceiling.unit}:{below.reason.removeprefix('grant:')}")
    return verdict


def _granted(grants: tuple[Grant, ...], door_kind: DoorKind, door: str, target: Target | None, endpoint: str) -> Verdict:
    if target is not None:
        for index, grant in enumerate(grants):
            if _denies(grant.deny, target):
                return Verdict(False, f"grant:{index}:deny")
    reason = "grant:no-door"
    for index, grant in enumerate(grants):
        if not _opens(grant, door_kind, door):
            continue
        if endpoint and not any(glob(pattern)(endpoint) for pattern in grant.endpoints):
            reason = "grant:no-endpoint" if reason == "grant:no-door" else reason
            continue
        if target is None or _covers(_patterns(grant, target), target):
            return Verdict(True, f"grant:{index}")
        reason = "grant:no-target"
    return Verdict(False, reason)


def _opens(grant: Grant, door_kind: DoorKind, door: str) -> bool:
    pattern = grant.virtual_server if door_kind == "virtual_server" else grant.model if door_kind == "model" else grant.agent
    return bool(pattern) and glob(pattern)(door)


def _patterns(grant: Grant, target: Target) -> tuple[str, ...]:
    match target.kind:
        case "tool":
            return grant.tools
        case "prompt":
            return grant.prompts
        case "resource":
            return grant.resources
        case "model":
            return grant.deployments


def _denies(patterns: tuple[str, ...], target: Target) -> bool:
    """A denied uri stays denied with a query, a fragment or a slash after it, which many a server does not look at."""
    if not patterns:
        return False
    if _covers(patterns, target):
        return True
    plain = _CUT.split(target.name, 1)[0].rstrip("/") if target.kind == "resource" else target.name
    return plain != target.name and _covers(patterns, Target(target.upstream, target.kind, plain))


def _covers(patterns: tuple[str, ...], target: Target) -> bool:
    return any(covers(pattern, target) for pattern in patterns)


def covers(pattern: str, target: Target) -> bool:
    """Whether one pattern is about the target: over `upstream/name` where it has a `/`, else over the name at any upstream.

    A pattern that begins with a URI scheme (`file:///etc/*`) can name no upstream, so it is held against the name as well: otherwise
    a deny written like that would look right and never match.
    """
    match = glob(pattern)
    head, slash, _ = pattern.partition("/")
    if not slash:
        return match(target.name)
    return match(f"{target.upstream}/{target.name}") or (":" in head and match(target.name))


@lru_cache(maxsize=8192)
def glob(pattern: str) -> Callable[[str], bool]:
    """A compiled shell glob (`fnmatch`, case-sensitive, over the whole text)."""
    if not _WILD & set(pattern):
        return pattern.__eq__
    if pattern == "*":
        return _anything
    match = re.compile(fnmatch.translate(pattern)).match
    return lambda text: match(text) is not None


def _anything(_: str) -> bool:
    return True


def within(inner: Sequence[Grant], outer: Sequence[Grant]) -> bool:
    """Whether everything that `inner` allows is allowed by `outer`, the denies of `outer` left aside. Where that is hard to tell: no."""
    return all(any(_door_within(part, grant) for grant in outer) for grant in inner for part in _doors(grant))


def _doors(grant: Grant) -> list[tuple[DoorKind, Grant]]:
    kinds: tuple[DoorKind, ...] = ("virtual_server", "model", "agent")
    return [(kind, grant) for kind in kinds if getattr(grant, kind)]


_MATTER: dict[DoorKind, tuple[str, ...]] = {
    "virtual_server": ("tools", "prompts", "resources"),
    "model": ("deployments",),
    "agent": ("tools", "prompts", "resources", "deployments"),
}
"""Which patterns over targets count behind a door."""


def _door_within(part: tuple[DoorKind, Grant], outer: Grant) -> bool:
    kind, inner = part
    if not getattr(outer, kind) or not _narrower(getattr(inner, kind), getattr(outer, kind)):
        return False
    if kind != "virtual_server" and not _all(inner.endpoints, outer.endpoints, _narrower):
        return False
    return all(_all(getattr(inner, name), getattr(outer, name), _target_narrower) for name in _MATTER[kind])


def _all(inner: tuple[str, ...], outer: tuple[str, ...], narrower: Callable[[str, str], bool]) -> bool:
    return all(any(narrower(one, other) for other in outer) for one in inner)


def _narrower(inner: str, outer: str) -> bool:
    """Whether every text that the glob `inner` matches is matched by `outer`. May say no where it is so, never yes where it is not."""
    if outer in ("*", inner):
        return True
    if not _WILD & set(inner):
        return glob(outer)(inner)
    start = outer.removesuffix("*")
    return outer.endswith("*") and not _WILD & set(start) and inner.startswith(start)


def _target_narrower(inner: str, outer: str) -> bool:
    """The same for patterns over targets (`covers`)."""
    if outer in ("*", inner):
        return True
    head, slash, name = inner.partition("/")
    if slash and ":" in head:
        return False  # it is held against names as well
    if slash and "/" not in outer:
        return not _WILD & set(inner) and glob(outer)(name)
    return bool(slash) == ("/" in outer) and _narrower(inner, outer)
