"""Which rules a call is held against, and for whom each counts it. Pure; the answer is kept by whoever asks."""

from collections.abc import Iterable

from hub.call import Caller
from hub.config.callers import LimitSpec
from hub.grants import glob

Count = tuple[LimitSpec, str]
"""A rule, and for whom it counts: `key:…`, `subject:<org> …`, `org:…` or `tool:<org> …`."""


def of_caller(specs: Iterable[LimitSpec], caller: Caller) -> list[Count]:
    """What the calls of this key count against: the rules of the scopes key, subject and org."""
    found: list[Count] = []
    for spec in specs:
        if spec.scope == "tool" or spec.org not in ("*", caller.org):
            continue
        match = glob(spec.match)
        if spec.scope == "key" and (match(caller.key_id) or (caller.key_name != "" and match(caller.key_name))):
            found.append((spec, f"key:{caller.key_id}"))
        elif spec.scope == "subject" and match(caller.subject):
            found.append((spec, f"subject:{caller.org} {caller.subject}"))
        elif spec.scope == "org" and match(caller.org):
            found.append((spec, f"org:{caller.org}"))
    return found


def of_target(specs: Iterable[LimitSpec], org: str, target: str) -> list[Count]:
    """What the calls of one organisation to this tool (`upstream/tool`) count against."""
    who = f"tool:{org} {target}"
    return [(spec, who) for spec in specs if spec.scope == "tool" and spec.org in ("*", org) and glob(spec.match)(target)]
