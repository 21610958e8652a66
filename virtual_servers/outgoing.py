"""The parameters of a call as one server gets them: the `_meta` of its era, our trace, our progress token. It sends nothing.

Clients say the same in `_meta` with every call, so what becomes of it is remembered by its bytes; only the trace is new each time.
"""

from msgspec import Raw
from msgspec.json import Encoder

from hub.call import Trace
from virtual_servers import rpc
from virtual_servers.rpc import Members

_REMEMBERED, _LONGEST = 256, 2048
_NEVER = ("baggage",)
"""`_meta` keys that end at the hub: what callers tell each other is not for third parties."""

_NOT_OURS = (*_NEVER, *rpc.OWNED, f"{rpc.RESERVED}logLevel")
"""`_meta` keys of the newer era that must not reach a server of the older one."""

_encode = Encoder().encode


class Outgoing:
    """For one server, in the era it speaks."""

    def __init__(self, *, modern: bool) -> None:
        self._own: Members = rpc.modern_members() if modern else {}
        self._drop = _NEVER if modern else _NOT_OURS
        self._heads: dict[bytes, bytes] = {}

    def params(self, raw: bytes, trace: Trace | None, token: bytes) -> tuple[bytes, bytes]:
        """`raw` as it is to be sent, and the client's own progress token, which `token` replaces where there is one.

        Raises `rpc.Garbage` where `raw` or its `_meta` is no object.
        """
        if trace is not None and not trace.state and b'"_meta"' in raw:
            whole = rpc.members(raw)
            inner = whole.get("_meta")
            head = self._head(bytes(inner)) if inner is not None else b""
            if head:
                whole["_meta"] = Raw(b'%b"traceparent":"%b"}' % (head, trace.traceparent.encode("ascii")))
                return _encode(whole), b""
        return rpc.meta(raw, {**self._own, **rpc.trace_members(trace)}, drop=self._drop, token=token)

    def _head(self, inner: bytes) -> bytes:
        """What a client's `_meta` becomes, up to where the trace is added; empty where it has a progress token, which is new each time."""
        known = self._heads.get(inner)
        if known is not None:
            return known
        kept = rpc.members(inner)
        if "progressToken" in kept:
            return b""
        for key in (*self._drop, "traceparent", "tracestate"):
            kept.pop(key, None)
        kept.update(self._own)
        head = _encode(kept)[:-1] + b"," if kept else b"{"
        if len(inner) <= _LONGEST:
            if len(self._heads) >= _REMEMBERED:
                self._heads.clear()
            self._heads[inner] = head
        return head
