"""W3C trace context: what arrives is checked, never trusted; what goes out is ours. Baggage is not carried across the hub.

Sources: W3C Trace Context level 1; MCP 2026-07-28 basic/index (`_meta.traceparent`, `_meta.tracestate`).
"""

import re

from hub.call import Trace
from hub.entropy import take

_PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SPACE = 1 << 56
"""The last seven bytes of an id are random (W3C Trace Context level 2, 3.2.2.3.1), so that all who look at them decide alike."""
_STATE = re.compile(r"[\x20-\x7e]{1,512}")


def threshold(share: float) -> int:
    """Below which the last seven bytes of a new trace's id are, if it belongs to the `share` (0 to 1) of traces that is sampled."""
    return round(share * _SPACE)


def continued(traceparent: str, tracestate: str = "", below: int = 0) -> Trace:
    """The trace a call belongs to: the caller's when its header is well formed, else a new one. The span id is always new.

    Whether it is sampled is decided here, once: by the caller where the trace is the caller's, else by the trace's id (`threshold`).
    """
    match = _PARENT.fullmatch(traceparent) if traceparent else None
    if match is None or set(match[1]) == {"0"} or set(match[2]) == {"0"}:
        new = take(24)
        digits = new.hex()
        if below and int.from_bytes(new[9:16]) < below:
            return Trace(trace_id=digits[:32], span_id=digits[32:], sampled=True)
        return Trace(trace_id=digits[:32], span_id=digits[32:])
    span = take(8).hex()
    state = tracestate if tracestate and _STATE.fullmatch(tracestate) else ""
    return Trace(trace_id=match[1], span_id=span, parent_id=match[2], sampled=bool(int(match[3], 16) & 1), state=state)
