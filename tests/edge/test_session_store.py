"""Sessions are bounded in number for each key and in time, a key's own go first, and nobody finds another's: in memory and in Redis alike."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from hub.call import Caller
from hub.refusal import SessionNotFound
from hub.store.redis import Redis
from hub.store.signals import Signals
from virtual_servers.sessions import Session, Sessions, SessionStore, declared
from virtual_servers.sessions_redis import RedisSessions

VERSION = "2025-11-25"
Make = Callable[..., SessionStore]


def caller(key: str) -> Caller:
    return Caller(org="default", subject=f"key:{key}", key_id=key)


async def find(store: SessionStore, session_id: str, door: str, key: str) -> Session:
    found = store.find(session_id, door, key)
    return found if isinstance(found, Session) else await found


async def there(store: SessionStore, session: Session) -> bool:
    try:
        return await find(store, session.id, session.door, session.key_id) is not None
    except SessionNotFound:
        return False


@pytest.fixture(params=["memory", "redis"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    """Builds a store with the bounds it is given."""
    if request.param == "memory":
        yield Sessions
        return
    redis = Redis(request.getfixturevalue("redis_url"))
    await redis.open()
    signals = Signals(redis)
    signals.open()
    yield lambda **bounds: RedisSessions(redis, signals, **bounds)
    await signals.close()
    await redis.close()


async def test_a_session_is_what_was_agreed_on_and_found_only_under_its_key_and_door(make: Make) -> None:
    store = make()
    session = await store.open(caller("mine"), "main", VERSION, ("roots",))
    found = await find(store, session.id, "main", "mine")
    assert (found.version, found.door, found.key_id, found.capabilities) == (VERSION, "main", "mine", ("roots",))
    assert found.created == session.created > 1_700_000_000
    said: list[str] = []
    for session_id, door, key in (
        (session.id, "main", "theirs"),
        (session.id, "other", "mine"),
        (session.id[:-1] + "!", "main", "mine"),
        ("x" * 32, "main", "mine"),
        ("x" * 100_000, "main", "mine"),
        ("", "main", "mine"),
        ("}:" + session.id, "main", "mine"),
    ):
        with pytest.raises(SessionNotFound) as refused:
            await find(store, session_id, door, key)
        said.append(refused.value.message)
    assert len(set(said)) == 1
    assert await there(store, session)


async def test_ids_are_long_and_never_the_same(make: Make) -> None:
    store = make()
    ids = {(await store.open(caller("mine"), "main", VERSION)).id for _ in range(100)}
    assert len(ids) == 100
    assert {len(session_id) for session_id in ids} == {32}


async def test_a_key_that_opens_many_displaces_its_own_and_nobody_elses(make: Make) -> None:
    store = make(each=10)
    other = await store.open(caller("other"), "main", VERSION)
    mine = [await store.open(caller("mine"), "main", VERSION) for _ in range(50)]
    assert len(store) == 11
    assert await there(store, other)
    assert [await there(store, session) for session in mine] == [False] * 40 + [True] * 10


async def test_the_longest_unused_goes_first(make: Make) -> None:
    store = make(each=2, **({"fresh": 0.0} if make is not Sessions else {}))
    first, second = [await store.open(caller("a"), "main", VERSION) for _ in range(2)]
    assert await there(store, first)
    third = await store.open(caller("a"), "main", VERSION)
    assert [await there(store, session) for session in (first, second, third)] == [True, False, True]


async def test_a_session_that_is_closed_is_gone_and_may_be_closed_again(make: Make) -> None:
    store = make()
    session, other = [await store.open(caller("mine"), "main", VERSION) for _ in range(2)]
    for _ in range(2):
        await store.close(session)
        assert not await there(store, session)
    assert await there(store, other)


async def test_the_sessions_of_a_revoked_key_are_forgotten(make: Make) -> None:
    store = make()
    mine = [await store.open(caller("mine"), "main", VERSION) for _ in range(3)]
    other = await store.open(caller("other"), "main", VERSION)
    store.forget_key("mine")
    store.forget_key("mine")
    assert [await there(store, session) for session in (*mine, other)] == [False, False, False, True]
    again = await store.open(caller("mine"), "main", VERSION)
    assert await there(store, again)
    await store.close(other)
    assert not await there(store, other)


# In memory


async def test_all_of_them_are_bounded_the_longest_unused_of_any_key_goes_first() -> None:
    store = Sessions(limit=3, each=2)
    first, third = [await store.open(caller("a"), "main", VERSION) for _ in range(2)]
    others = [await store.open(caller(name), "main", VERSION) for name in "bcd"]
    assert [await there(store, session) for session in (first, third, *others)] == [False, False, True, True, True]


async def test_a_session_unused_for_too_long_is_gone() -> None:
    store = Sessions(idle=-1.0)
    session = await store.open(caller("a"), "main", VERSION)
    assert not await there(store, session)
    assert len(store) == 0


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({"capabilities": {"sampling": {}, "roots": {"listChanged": True}}}, ("roots", "sampling")),
        ({"capabilities": {"x" * 1_000_000: {}, "roots": None}}, ("roots",)),
        ({"capabilities": ["roots"]}, ()),
        ({"capabilities": "roots"}, ()),
        ({}, ()),
    ],
)
def test_of_what_a_client_declares_the_names_the_protocol_knows_are_kept(params: dict[str, Any], names: tuple[str, ...]) -> None:
    assert declared(params) == names
