"""What a caller's grants say of a door and a target. Pure; it knows no policy, no store and no organisation's objects.

Reasons are ids for records, not sentences: `grant:<i>` allowed by the caller's i-th grant, `grant:<i>:deny` denied by it,
`grant:no-door` no grant opens this door, `grant:no-endpoint` none opens it to calls of this kind, `grant:no-target` grants open the
door, but none covers this target.
"""

import fnmatch
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

from msgspec import Struct

from hub.call import Caller, Grant, Target

_CUT = re.compile("[?#]")

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

    `endpoint` is the kind of a model call. A deny in any grant wins over every allow, whichever door that grant is about. The answer
    depends on `caller.grants` and what is given only, so it may be kept by (`grants_version`, door kind, door, target, endpoint).
    `may_enter` is a question of its own.
    """
    if target is not None:
        for index, grant in enumerate(caller.grants):
            if _denies(grant.deny, target):
                return Verdict(False, f"grant:{index}:deny")
    reason = "grant:no-door"
    for index, grant in enumerate(caller.grants):
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
    if not set("*?[") & set(pattern):
        return pattern.__eq__
    if pattern == "*":
        return _anything
    match = re.compile(fnmatch.translate(pattern)).match
    return lambda text: match(text) is not None


def _anything(_: str) -> bool:
    return True
