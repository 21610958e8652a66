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
    """Bounded, for each key as well, so that one that opens many displaces its own: the longest unused go first.

    Unused for `idle` seconds they go as well.
    """

    def __init__(self, limit: int = 20_000, idle: float = 3600.0, *, each: int = 5000) -> None:
        self._limit = limit
        self._each = each
        self._idle = idle
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._of_key: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, caller: Caller, door: str, version: str) -> Session:
        self._expire()
        session = Session(secrets.token_urlsafe(24), version, door, caller.key_id, time.monotonic(), {})
        self._sessions[session.id] = session
        own = self._of_key.setdefault(caller.key_id, {})
        own[session.id] = None
        if len(own) > self._each:
            self._drop(next(iter(own)))
        return session

    def get(self, session_id: str, door: str, key_id: str) -> Session:
        """Raises `SessionNotFound`, alike for one that never was, is over, or is another's."""
        session = self.peek(session_id)
        if session is None or session.key_id != key_id or session.door != door:
            raise SessionNotFound("no such session: initialize again")
        session.used = time.monotonic()
        self._sessions.move_to_end(session_id)
        own = self._of_key[key_id]
        own[session_id] = own.pop(session_id)
        return session

    def peek(self, session_id: str) -> Session | None:
        """The session whoever asks, for what has to be known before the caller is (its protocol version)."""
        session = self._sessions.get(session_id)
        if session is not None and time.monotonic() - session.used > self._idle:
            self._drop(session_id)
            return None
        return session

    def close(self, session: Session) -> None:
        self._drop(session.id)

    def forget_key(self, key_id: str) -> None:
        """Drop every session of a revoked key."""
        for session_id in list(self._of_key.get(key_id, ())):
            self._drop(session_id)

    def _drop(self, session_id: str) -> None:
        session = self._sessions.pop(session_id, None)
        if session is None:
            return
        own = self._of_key[session.key_id]
        del own[session_id]
        if not own:
            del self._of_key[session.key_id]

    def _expire(self) -> None:
        horizon = time.monotonic() - self._idle
        while self._sessions:
            oldest = next(iter(self._sessions.values()))
            if len(self._sessions) < self._limit and oldest.used > horizon:
                return
            self._drop(oldest.id)
