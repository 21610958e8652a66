"""Sessions of the older era: what `initialize` agreed on, bound to the key that asked. Here they are kept in memory, by one process.

Source: MCP 2025-11-25 basic/transports, "Session Management". A session is found only under the key and door it was opened with, so
that a stolen id is worth nothing. `virtual_servers/sessions_redis.py` keeps them where several processes find them.
"""

import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol, cast

from msgspec import Struct

from hub.call import Caller
from hub.refusal import SessionNotFound

IDLE = 3600.0
"""Seconds without use after which a session is over."""

EACH = 5000
"""Sessions of one key: one that opens more displaces its own."""

_DECLARED = ("elicitation", "experimental", "roots", "sampling", "tasks")


class Session(Struct):
    """`capabilities` are the names of those the client declared, `created` is in Unix seconds.

    `used`: monotonic seconds of the last use that its store was told of by this process.
    """

    id: str
    version: str
    door: str
    key_id: str
    capabilities: tuple[str, ...]
    created: int
    used: float


class SessionStore(Protocol):
    """Bounded for each key, the longest unused going first; what is unused for `IDLE` seconds goes as well."""

    def __len__(self) -> int:
        """Sessions this process knows of at the moment."""
        ...

    async def open(self, caller: Caller, door: str, version: str, capabilities: tuple[str, ...] = ()) -> Session:
        """A new session. Raises `StoreDown`."""
        ...

    def find(self, session_id: str, door: str, key_id: str) -> Session | Awaitable[Session]:
        """The session, whose time without use begins anew; at once where nothing has to be asked.

        Raises `SessionNotFound`, alike for one that never was, is over, or is another's; `StoreDown` where nobody can say.
        """
        ...

    async def close(self, session: Session) -> None:
        """End it everywhere. Raises `StoreDown`."""
        ...

    def forget_key(self, key_id: str) -> None:
        """End every session of a key that counts no more."""
        ...


class Sessions:
    """The `SessionStore` of a single process. Bounded in all by `limit`, too; unused for `idle` seconds they go."""

    def __init__(self, limit: int = 20_000, idle: float = IDLE, *, each: int = EACH) -> None:
        self._limit = limit
        self._each = each
        self._idle = idle
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._of_key: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    async def open(self, caller: Caller, door: str, version: str, capabilities: tuple[str, ...] = ()) -> Session:
        self._expire()
        session = new(caller, door, version, capabilities)
        self._sessions[session.id] = session
        own = self._of_key.setdefault(caller.key_id, {})
        own[session.id] = None
        if len(own) > self._each:
            self._drop(next(iter(own)))
        return session

    def find(self, session_id: str, door: str, key_id: str) -> Session:
        session = self._sessions.get(session_id)
        if session is None or session.key_id != key_id or session.door != door:
            raise unknown()
        now = time.monotonic()
        if now - session.used > self._idle:
            self._drop(session_id)
            raise unknown()
        session.used = now
        self._sessions.move_to_end(session_id)
        own = self._of_key[key_id]
        own[session_id] = own.pop(session_id)
        return session

    async def close(self, session: Session) -> None:
        self._drop(session.id)

    def forget_key(self, key_id: str) -> None:
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


def new(caller: Caller, door: str, version: str, capabilities: tuple[str, ...]) -> Session:
    """A session under an id nobody can guess (192 random bits)."""
    return Session(secrets.token_urlsafe(24), version, door, caller.key_id, capabilities, int(time.time()), time.monotonic())


def unknown() -> SessionNotFound:
    """What everybody is told who has no such session."""
    return SessionNotFound("no such session: initialize again")


def declared(params: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the capabilities a client declares in its `initialize`; what the protocol does not know is left out."""
    given = params.get("capabilities")
    return tuple(name for name in _DECLARED if name in cast("dict[str, Any]", given)) if isinstance(given, dict) else ()
