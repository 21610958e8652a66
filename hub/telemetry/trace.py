"""W3C trace context: what arrives is checked, never trusted; what goes out is ours. Baggage is not carried across the hub.

Sources: W3C Trace Context level 1; MCP 2026-07-28 basic/index (`_meta.traceparent`, `_meta.tracestate`).
"""

import re

from hub.call import Trace
from hub.entropy import take

_PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_STATE = re.compile(r"[\x20-\x7e]{1,512}")


def continued(traceparent: str, tracestate: str = "") -> Trace:
    """The trace a call belongs to: the caller's when its header is well formed, else a new one. The span id is always new."""
    match = _PARENT.fullmatch(traceparent) if traceparent else None
    if match is None or set(match[1]) == {"0"} or set(match[2]) == {"0"}:
        new = take(24).hex()
        return Trace(trace_id=new[:32], span_id=new[32:])
    span = take(8).hex()
    state = tracestate if tracestate and _STATE.fullmatch(tracestate) else ""
    return Trace(trace_id=match[1], span_id=span, parent_id=match[2], sampled=bool(int(match[3], 16) & 1), state=state)
