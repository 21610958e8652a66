"""Redis as the hub uses it, against a real one: replies to whom they belong, quick refusals while it is away, and what comes after."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvloop

from hub.refusal import StoreDown
from hub.store import redis_link, redis_place
from hub.store.redis import PATIENCE, Redis, Script
from hub.store.resp import ReplyError, pack
from tests.services.redis import RedisServer
from tests.support.listening import listening

TWICE = Script("return {KEYS[1], ARGV[1] * 2}")


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Redis]:
    store = Redis(redis_url)
    await store.open()
    yield store
    await store.close()


async def until(condition: Callable[[], bool], patience: float = 30.0) -> None:
    async with asyncio.timeout(patience):
        while not condition():
            await asyncio.sleep(0.005)


async def refused(asked: Awaitable[object]) -> tuple[StoreDown, float]:
    """The refusal, and how long it took in seconds."""
    since = time.monotonic()
    with pytest.raises(StoreDown) as raised:
        await asked
    return raised.value, time.monotonic() - since


async def test_commands_scripts_and_errors(store: Redis):
    assert await store.command("SET", "k", b"\x00\r\n\xff") == b"OK"
    assert await store.command("GET", "k") == b"\x00\r\n\xff"
    assert await store.command("GET", "none") is None
    assert await store.command("PING") == b"PONG"
    assert await store.script(TWICE, ["{a}k"], 21) == [b"{a}k", 42]
    with pytest.raises(ReplyError) as raised:
        await store.command("INCR", "k")
    assert raised.value.code == "ERR"
    large = random.randbytes(3_000_000)
    await store.command("SET", "large", large)
    got = await asyncio.gather(*(store.command("GET", name) for name in ("k", "large", "none", "large", "k")))
    assert got == [b"\x00\r\n\xff", large, None, large, b"\x00\r\n\xff"]


async def test_what_is_asked_in_one_turn_goes_over_one_connection_in_order(store: Redis, redis: RedisServer):
    before = redis.connections
    got = await asyncio.gather(*(store.command("INCR", "n") for _ in range(5000)))
    assert got == list(range(1, 5001))
    assert redis.connections == before == 1


async def test_whoever_leaves_disturbs_nobody(store: Redis):
    chance = random.Random(7)

    async def ask(n: int) -> None:
        text = f"{n}" * chance.randrange(1, 200)
        for _ in range(5):
            assert await store.command("ECHO", text) == text.encode()

    tasks = [asyncio.create_task(ask(n)) for n in range(400)]
    left = chance.sample(tasks, 200)
    for task in left:
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(one) for one in done} <= {type(None), asyncio.CancelledError}
    assert done.count(None) >= 200
    assert await store.command("ECHO", "still in step") == b"still in step"


async def test_a_script_the_server_does_not_know_is_sent_whole(store: Redis, redis: RedisServer):
    assert await store.script(TWICE, ["{a}"], 1) == [b"{a}", 2]
    redis.ask("SCRIPT", "FLUSH")
    got = await asyncio.gather(*(store.script(TWICE, ["{a}"], n) for n in range(50)))
    assert got == [[b"{a}", 2 * n] for n in range(50)]


@pytest.mark.usefixtures("as_the_hub_waits")
async def test_a_server_that_stands_still_is_given_up_in_time_then_refused_at_once_and_used_again_by_itself(
    store: Redis, redis: RedisServer
):
    redis.stop_answering()
    asked = [asyncio.create_task(refused(store.command("GET", str(n)))) for n in range(100)]
    for down, took in await asyncio.gather(*asked):
        assert took < PATIENCE * 1.25 + 10.0  # one patience, and what a busy machine adds
        assert down.retry_after == 1.0
        assert down.detail == "Redis: no answer in time"
    assert not store.up
    since = time.monotonic()
    for _ in range(1000):
        await refused(store.command("GET", "k"))
    assert time.monotonic() - since < 1000 * PATIENCE / 10  # none of them waited for an answer
    tried, resumed = int(redis_counter(redis, resumed=True, name="total_connections_received")), time.monotonic()
    await until(lambda: store.up)
    assert await store.command("PING") == b"PONG"
    assert int(redis_counter(redis, name="total_connections_received")) - tried <= 4 + (
        time.monotonic() - resumed
    )  # the one probe, and those who look here


def redis_counter(redis: RedisServer, name: str, *, resumed: bool = False) -> object:
    if resumed:
        redis.resume()
    return redis.ask("INFO", "stats")[name]


async def test_after_a_kill_and_a_restart_scripts_work_and_what_was_stored_is_there(store: Redis, redis: RedisServer):
    backs: list[bool] = []
    store.on_return(backs.append)
    await store.command("SET", "k", "kept")
    await store.script(TWICE, ["{a}"], 1)
    redis.kill()
    await until(lambda: not store.up)
    for _ in range(20):
        await refused(store.command("GET", "k"))
    redis.restart()
    await until(lambda: store.up)
    assert await store.command("GET", "k") == b"kept"
    assert await store.script(TWICE, ["{a}"], 2) == [b"{a}", 4]
    assert backs == [False]


async def test_who_asks_while_a_closed_connection_is_made_again_waits_for_it(
    store: Redis, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(redis_place, "STEADY", 0.0)
    backs: list[bool] = []
    store.on_return(backs.append)
    for round_ in range(3):
        redis.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        while store.up:
            await asyncio.sleep(0)
        assert await asyncio.gather(*(store.command("ECHO", "here") for _ in range(50))) == [b"here"] * 50
        assert backs == [True] * (round_ + 1)


async def test_what_was_under_way_on_a_lost_connection_is_refused_and_not_sent_again(store: Redis, redis: RedisServer):
    block = asyncio.create_task(store.command("BLPOP", "never", 0))
    await until(lambda: "cmd=blpop" in redis.ask("CLIENT", "LIST"))
    redis.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await refused(block)
    await until(lambda: store.up)
    assert "cmd=blpop" not in redis.ask("CLIENT", "LIST")


@pytest.mark.usefixtures("as_the_hub_waits")
async def test_more_waiting_than_a_server_can_be_behind_is_refused(store: Redis, redis: RedisServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(redis_link, "MOST_WAITING", 100)
    redis.stop_answering()
    asked = [asyncio.create_task(refused(store.command("PING"))) for _ in range(300)]
    took = sorted(seconds for _, seconds in await asyncio.gather(*asked))
    assert took[199] < took[200] / 2  # the others waited for the answer
    redis.resume()
    await until(lambda: store.up)


async def test_a_server_that_comes_back_is_met_by_each_once(redis_url: str, redis: RedisServer):
    many = [Redis(redis_url) for _ in range(30)]
    await asyncio.gather(*(one.open() for one in many))
    redis.kill()
    await until(lambda: not any(one.up for one in many))
    redis.restart()
    callers = [asyncio.create_task(persistent(one)) for one in many for _ in range(20)]
    await asyncio.gather(*callers)
    assert (
        int(redis_counter(redis, name="total_connections_received")) < 30 + 20
    )  # restart and this question connect as well, each time they ask
    await asyncio.gather(*(one.close() for one in many))


async def persistent(store: Redis) -> None:
    while True:
        try:
            await store.command("PING")
        except StoreDown:
            await asyncio.sleep(0.01)
        else:
            return


@pytest.mark.usefixtures("as_the_hub_waits")
@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def test_a_process_that_stood_still_itself_does_not_blame_the_server(redis_url: str, loop: Callable[[], asyncio.AbstractEventLoop]):
    async def run() -> None:
        store = Redis(redis_url)
        await store.open()
        for _ in range(2):
            asked = [asyncio.create_task(store.command("ECHO", str(n))) for n in range(10)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            time.sleep(1.5 * PATIENCE)
            assert await asyncio.gather(*asked) == [b"%d" % n for n in range(10)]
        await store.close()

    with asyncio.Runner(loop_factory=loop) as runner:  # both look at their sockets before their timers, which this relies on
        runner.run(run())


async def test_a_server_that_would_forget_its_counts_is_said_to(caplog: pytest.LogCaptureFixture, redis_url: str):
    server = RedisServer("--appendonly", "no")
    server.start()
    try:
        for url, said in ((redis_url, 0), (server.url, 1)):
            store = Redis(url)
            await store.open()
            await store.close()
            assert [record.name for record in caplog.records if "append-only" in record.message] == ["hub.redis"] * said
    finally:
        server.stop()


@pytest.mark.usefixtures("as_the_hub_waits")
async def test_an_idle_process_notices_too(store: Redis, redis: RedisServer):
    redis.stop_answering()
    await until(lambda: not store.up, redis_link.IDLE + 2 * PATIENCE + 10.0)  # and what a busy machine adds
    redis.resume()
    await until(lambda: store.up)


@pytest.mark.usefixtures("as_the_hub_waits")
async def test_nothing_is_left_behind(redis_url: str, redis: RedisServer):
    before = redis.connections
    store = Redis(redis_url)
    await store.open()
    waiting = asyncio.create_task(refused(store.command("BLPOP", "never", 0)))
    await asyncio.sleep(0)
    await store.close()
    await waiting
    down, _ = await refused(store.command("PING"))
    assert down.detail == "Redis: the hub is stopping"
    await until(lambda: redis.connections == before)
    with pytest.raises(StoreDown):
        await Redis("redis://127.0.0.1:1/0").open()


async def test_a_server_that_hangs_up_at_once_each_time_is_asked_ever_less_often(redis_url: str, redis: RedisServer):
    tries: list[float] = []
    port = redis.port

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tries.append(time.monotonic())
        inner, outer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for _ in range(2):  # the greeting is two answers
                outer.write(await reader.read(65536))
                writer.write(await inner.read(65536))
        finally:
            outer.close()
            await outer.wait_closed()

    async with listening(relay) as at:
        store, began = Redis(f"redis://127.0.0.1:{at}"), time.monotonic()
        await store.open()
        await asyncio.sleep(1)
        await until(lambda: len(tries) >= 4)
        assert len(tries) <= 12 + 2 * (time.monotonic() - began - 1) / redis_place.LONGEST_PAUSE
        await store.close()


async def test_what_was_posted_before_the_end_is_done(redis_url: str, redis: RedisServer):
    store = Redis(redis_url)
    await store.open()
    for _ in range(500):
        assert store.post(b"n", pack("INCR", "n"))
    await store.close()
    assert not store.post(b"n", pack("INCR", "n"))
    assert redis.ask("GET", "n") == "500"


async def test_a_server_that_speaks_something_else_is_down():
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with listening(serve) as port:
        down, _ = await refused(Redis(f"redis://127.0.0.1:{port}").open())
    assert "cannot be read" in down.detail


async def test_a_full_or_demoted_server_is_down_and_a_mistake_of_ours_is_not(store: Redis, redis: RedisServer):
    redis.ask("CONFIG", "SET", "maxmemory", "1")
    down, _ = await refused(store.command("SET", "k", "v"))
    assert down.detail == "Redis: it answers OOM"
    redis.ask("CONFIG", "SET", "maxmemory", "0")
    await store.command("SET", "k", "v")
    redis.ask("REPLICAOF", "127.0.0.1", "1")
    down, _ = await refused(store.command("SET", "k", "v"))
    assert down.detail == "Redis: it answers READONLY"
    await until(lambda: not store.up)
    redis.ask("REPLICAOF", "NO", "ONE")
    await until(lambda: store.up)
    await store.command("SET", "k", "v")


async def test_a_login_is_used_and_never_shown(redis_url: str, redis: RedisServer):
    redis.ask("ACL", "SETUSER", "hub", "on", ">s3cret/pa:ss", "~*", "&*", "+@all")
    address = redis_url.replace("redis://", "redis://hub:s3cret%2Fpa%3Ass@")
    store = Redis(address)
    await store.open()
    assert await store.command("ACL", "WHOAMI") == b"hub"
    assert "s3cret" not in f"{store!r} {store._site!r}"
    await store.close()
    down, _ = await refused(Redis(address.replace("pa%3A", "xx%3A")).open())
    assert down.detail == "Redis: it refuses the login, the database or to serve: WRONGPASS"
    assert "s3cret" not in f"{down!r} {down.message}"
    redis.ask("ACL", "DELUSER", "hub")


async def test_databases_are_kept_apart(redis_url: str, redis: RedisServer):
    store = Redis(redis_url.replace("/0", "/5"))
    await store.open()
    await store.command("SET", "k", "v")
    assert redis.ask("GET", "k") is None
    await store.close()
    down, _ = await refused(Redis(redis_url.replace("/0", "/5000")).open())
    assert "the login, the database" in down.detail
