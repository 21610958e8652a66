"""Sessions are bounded in number, for each key and in all, and in time; a key's own go first."""

import pytest

from hub.call import Caller
from hub.refusal import SessionNotFound
from virtual_servers.sessions import Session, Sessions


def caller(key: str) -> Caller:
    return Caller(org="default", subject=f"key:{key}", key_id=key)


def there(sessions: Sessions, session: Session) -> bool:
    return sessions.peek(session.id) is not None


def test_a_key_that_opens_many_displaces_its_own_and_nobody_elses() -> None:
    sessions = Sessions(limit=100, each=10)
    other = sessions.open(caller("other"), "main", "2025-11-25")
    mine = [sessions.open(caller("mine"), "main", "2025-11-25") for _ in range(50)]
    assert len(sessions) == 11
    assert there(sessions, other)
    assert [there(sessions, session) for session in mine] == [False] * 40 + [True] * 10


def test_the_longest_unused_goes_first() -> None:
    sessions = Sessions(limit=3, each=2)
    first, second = (sessions.open(caller("a"), "main", "2025-11-25") for _ in range(2))
    sessions.get(first.id, "main", "a")
    third = sessions.open(caller("a"), "main", "2025-11-25")
    assert [there(sessions, session) for session in (first, second, third)] == [True, False, True]
    others = [sessions.open(caller(name), "main", "2025-11-25") for name in "bcd"]
    assert [there(sessions, session) for session in (first, third, *others)] == [False, False, True, True, True]


def test_a_session_unused_for_too_long_is_gone() -> None:
    sessions = Sessions(idle=-1.0)
    session = sessions.open(caller("a"), "main", "2025-11-25")
    with pytest.raises(SessionNotFound):
        sessions.get(session.id, "main", "a")
    assert len(sessions) == 0


def test_the_sessions_of_a_revoked_key_are_forgotten() -> None:
    sessions = Sessions()
    mine = [sessions.open(caller("mine"), "main", "2025-11-25") for _ in range(3)]
    other = sessions.open(caller("other"), "main", "2025-11-25")
    sessions.forget_key("mine")
    sessions.forget_key("mine")
    assert [there(sessions, session) for session in (*mine, other)] == [False, False, False, True]
    sessions.close(other)
    sessions.close(other)
    assert len(sessions) == 0
