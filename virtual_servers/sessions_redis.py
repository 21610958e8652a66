"""Sessions of the older era in Redis: opened by one process of the hub, found by every other. Imported only where Redis is configured.

::

    hub:session:{<key id>}:<session id>   one session, as `_Record`; Redis drops it when it was not used for long
    hub:sessions:{<key id>}               the ids of one key's sessions by last use (a sorted set), for bounds and revocation

A session is looked for among those of the caller's own key, so that nobody finds another's. The keys of one hub key share a hash tag: a
cluster has them in one place, and spreads hub keys over its servers. Sessions used a moment ago are remembered for `FRESH` seconds; what
is ended elsewhere is honoured for that long at most, and usually for a millisecond, since the others are told. Whether the caller's key
still counts is no matter of this file: it was asked before.
"""

import re
import time
from collections.abc import Awaitable
from itertools import islice

import msgspec
from msgspec import Struct

from hub.call import Caller
from hub.store.redis import Redis, Script
from hub.store.resp import strings
from hub.store.signals import Signals
from virtual_servers.sessions import EACH, IDLE, Session, new, unknown

FRESH = 0.5
"""Seconds for which a session is taken to be there without asking Redis again. A revocation must hold within 1."""

REMEMBERED = 20_000
"""Sessions so remembered, at most."""

ENDED = "session-ended"
"""The topic of ended sessions; the message is the id."""

OWED = 10_000

_ID = re.compile(r"[0-9A-Za-z_-]{32}")
"""The ids that `new` makes: Redis is not asked for anything else."""

_OPEN = Script("""
-- A new session. KEYS: its record, its key's ids. ARGV: record, id, milliseconds without use, most sessions, how records' keys begin.
-- Those beyond the most go, the longest unused first. Returns their ids.
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[3] * 1000)
call('ZADD', KEYS[2], now, ARGV[2])
call('PEXPIRE', KEYS[2], ARGV[3])
local over, ids = call('ZCARD', KEYS[2]) - ARGV[4], {}
if over > 0 then
  ids = call('ZRANGE', KEYS[2], 0, over - 1)
  call('ZREMRANGEBYRANK', KEYS[2], 0, over - 1)
  for _, id in ipairs(ids) do call('UNLINK', ARGV[5] .. id) end
end
return ids
""")

_FIND = Script("""
-- The record of a session, whose time without use begins anew. KEYS: its record, its key's ids. ARGV: id, milliseconds without use.
local call = redis.call
local record = call('GET', KEYS[1])
if record then
  local time = call('TIME')
  call('PEXPIRE', KEYS[1], ARGV[2])
  call('ZADD', KEYS[2], time[1] * 1000000 + time[2], ARGV[1])
  call('PEXPIRE', KEYS[2], ARGV[2])
end
return record
""")

_END = Script("""
-- The end of a session. KEYS: its record, its key's ids. ARGV: id.
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('UNLINK', KEYS[1])
""")

_FORGET = Script("""
-- The end of every session of a key. KEYS: its ids. ARGV: how records' keys begin.
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do redis.call('UNLINK', ARGV[1] .. id) end
return redis.call('UNLINK', KEYS[1])
""")


class _Record(Struct, frozen=True, array_like=True):
    """What Redis keeps. The id and the key it is bound to are its name; its last use is the time it is kept for.

    A later version may add members at the end: this one reads what it knows.
    """

    version: str
    door: str
    capabilities: tuple[str, ...]
    created: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Record).decode


class RedisSessions:
    """The `SessionStore` of several processes. `idle` and `fresh` in seconds."""

    def __init__(self, redis: Redis, signals: Signals, *, idle: float = IDLE, each: int = EACH, fresh: float = FRESH) -> None:
        self._redis = redis
        self._signals = signals
        self._idle = round(idle * 1000)
        self._each = each
        self._fresh = fresh
        self._near: dict[str, Session] = {}
        """By id, the one asked for longest ago first."""
        self._ended = 0
        """Goes up with each end that is heard of, so that an answer under way meanwhile is not remembered."""
        self._owed: dict[str, None] = {}
        """Keys whose sessions could not be ended because Redis was away."""
        signals.subscribe(ENDED, self._heard)
        redis.on_return(self._returned)

    def __len__(self) -> int:
        return len(self._near)

    async def open(self, caller: Caller, door: str, version: str, capabilities: tuple[str, ...] = ()) -> Session:
        session = new(caller, door, version, capabilities)
        record = _encode(_Record(version, door, capabilities, session.created))
        prefix, index = _names(caller.key_id)
        gone = await self._redis.script(_OPEN, (prefix + session.id, index), record, session.id, self._idle, self._each, prefix)
        for session_id in gone:
            self._let_go(session_id.decode())
        self._remember(session)
        return session

    def find(self, session_id: str, door: str, key_id: str) -> Session | Awaitable[Session]:
        session = self._near.get(session_id)
        if session is None or time.monotonic() - session.used > self._fresh:
            return self._ask(session_id, door, key_id)
        return _checked(session, door, key_id)

    async def close(self, session: Session) -> None:
        self._signals.publish(ENDED, session.id.encode())  # goes out with the script: heard by the others before this is answered
        prefix, index = _names(session.key_id)
        try:
            await self._redis.script(_END, (prefix + session.id, index), session.id)
        finally:
            self._let_go(session.id)

    def forget_key(self, key_id: str) -> None:
        """Every process does this by itself, and nobody waits. Where Redis is away it is done when it is back."""
        self._near.clear()
        self._ended += 1
        prefix, index = _names(key_id)
        # whole, not by its hash: a server that started anew does not know it, and nobody waits for the answer to try again
        if not self._redis.post(index.encode(), _FORGET.whole(3, strings(1, index, prefix))) and len(self._owed) < OWED:
            self._owed[key_id] = None

    async def _ask(self, session_id: str, door: str, key_id: str) -> Session:
        if not _ID.fullmatch(session_id):
            raise unknown()
        asked, ended = time.monotonic(), self._ended
        prefix, index = _names(key_id)
        found = await self._redis.script(_FIND, (prefix + session_id, index), session_id, self._idle)
        if found is None:
            raise unknown()
        try:
            record = _decode(found)
        except msgspec.MsgspecError:  # written by a version of the hub that this one does not understand
            raise unknown() from None
        session = Session(session_id, record.version, record.door, key_id, record.capabilities, record.created, asked)
        if ended == self._ended:
            self._remember(session)
        return _checked(session, door, key_id)

    def _remember(self, session: Session) -> None:
        near = self._near
        near.pop(session.id, None)
        near[session.id] = session
        stale = session.used - self._fresh
        for oldest in tuple(islice(near.values(), 2)):  # more go than come
            if oldest.used > stale and len(near) <= REMEMBERED:
                return
            del near[oldest.id]

    def _heard(self, sender: bytes, data: bytes) -> None:
        self._let_go(data.decode())

    def _let_go(self, session_id: str) -> None:
        self._ended += 1
        self._near.pop(session_id, None)

    def _returned(self, whole: bool) -> None:
        owed, self._owed = self._owed, {}
        for key_id in owed:
            self.forget_key(key_id)


def _names(key_id: str) -> tuple[str, str]:
    """How the keys of records begin, and the key of the ids."""
    return f"hub:session:{{{key_id}}}:", f"hub:sessions:{{{key_id}}}"


def _checked(session: Session, door: str, key_id: str) -> Session:
    if session.key_id != key_id or session.door != door:
        raise unknown()
    return session
