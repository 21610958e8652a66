"""What an attempt at a deployment came to, in few words, and what follows from each: the table of docs/routing.md. Pure.

::

    verdict        from                            asked elsewhere   its health
    ok             200                             no                well
    client_error   another 4xx                     no                nothing
    conflict       409, 425                        yes               nothing
    rate_limited   429                             yes               rests
    overloaded     408, 5xx                        yes               a failure; rests where it says for how long
    key_refused    401, 403                        yes               open at once
    unreachable    no connection, or closed early  yes               a failure
    timeout        silence                         yes               a failure, and so slow
    fault          what is no answer               yes               a failure
    busy           no room in the hub              yes               nothing
    unsaid         cannot be said in its dialect   yes               nothing
"""

import email.utils
import math
import time
from collections.abc import Mapping
from typing import Literal

from hub.refusal import Refusal, UpstreamDown, UpstreamTimeout
from hub.routing.bulkhead import Busy

Verdict = Literal[
    "ok", "client_error", "conflict", "rate_limited", "overloaded", "key_refused", "unreachable", "timeout", "fault", "busy", "unsaid"
]
ANSWERS = frozenset({"ok", "client_error"})
FAILURES = frozenset({"overloaded", "unreachable", "timeout", "fault"})
LONGEST = 3600.0
"""Seconds a `retry-after` is believed at most."""

_STATUSES: dict[int, Verdict] = {
    200: "ok",
    401: "key_refused",
    403: "key_refused",
    408: "overloaded",
    409: "conflict",
    425: "conflict",
    429: "rate_limited",
}


def of_status(status: int) -> Verdict:
    found = _STATUSES.get(status)
    if found is not None:
        return found
    return "overloaded" if status >= 500 else "client_error" if status >= 400 else "fault"


def of_refusal(refusal: Refusal) -> Verdict:
    match refusal:
        case Busy():
            return "busy"
        case UpstreamTimeout():
            return "timeout"
        case UpstreamDown():
            return "unreachable"
        case _:
            return "fault"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds a provider asks to be left alone, in any of three forms (RFC 9110, 10.2.3, and `retry-after-ms`); None where it does not."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        if not text:
            continue
        try:
            seconds = float(text) * unit
        except ValueError:
            seconds = _until(text)
        if seconds is not None and math.isfinite(seconds):
            return min(max(seconds, 0.0), LONGEST)
    return None


def _until(text: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
