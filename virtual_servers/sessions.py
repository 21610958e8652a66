"""Sessions of the older era: what `initialize` agreed on, bound to the key that asked. Kept in memory; a lost one is opened again.

Source: MCP 2025-11-25 basic/transports, "Session Management". A session is found only under the key and door it was opened with, so
that a stolen id is worth nothing.
"""

import secrets
import time
from collections import OrderedDict

from msgspec import Struct

from hub.call import Caller
from hub.refusal import SessionNotFound


class Session(Struct):
    """`running` maps the raw id of a request in flight to the function that cancels it."""

    id: str
    version: str
    door: str
    key_id: str
    used: float
    running: dict[bytes, object]


class Sessions:
    """Bounded: the longest unused go first; unused for `idle` seconds they go as well."""

    def __init__(self, limit: int = 20_000, idle: float = 3600.0) -> None:
        self._limit = limit
        self._idle = idle
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, caller: Caller, door: str, version: str) -> Session:
        self._expire()
        session = Session(secrets.token_urlsafe(24), version, door, caller.key_id, time.monotonic(), {})
        self._sessions[session.id] = session
        return session

    def get(self, session_id: str, door: str, key_id: str) -> Session:
        """Raises `SessionNotFound`, alike for one that never was, is over, or is another's."""
        session = self.peek(session_id)
        if session is None or session.key_id != key_id or session.door != door:
            raise SessionNotFound("no such session: initialize again")
        session.used = time.monotonic()
        self._sessions.move_to_end(session_id)
        return session

    def peek(self, session_id: str) -> Session | None:
        """The session whoever asks, for what has to be known before the caller is (its protocol version)."""
        session = self._sessions.get(session_id)
        if session is not None and time.monotonic() - session.used > self._idle:
            del self._sessions[session_id]
            return None
        return session

    def close(self, session: Session) -> None:
        self._sessions.pop(session.id, None)

    def forget_key(self, key_id: str) -> None:
        """Drop every session of a revoked key."""
        for session_id in [s.id for s in self._sessions.values() if s.key_id == key_id]:
            del self._sessions[session_id]

    def _expire(self) -> None:
        horizon = time.monotonic() - self._idle
        while self._sessions:
            oldest = next(iter(self._sessions.values()))
            if len(self._sessions) < self._limit and oldest.used > horizon:
                return
            del self._sessions[oldest.id]
