"""The pool of one destination: bounded, fair, and never handing out what is closed."""

import asyncio
import gc

import pytest

from hub.http1 import Connection
from hub.incoming import Gone
from hub.pool import Pool


class Echo(asyncio.Protocol):
    """Answers each request with its path; `hold` leaves requests unanswered until `answer`."""

    def __init__(self, house):
        self.house = house

    def connection_made(self, transport):
        self.transport = transport
        self.house.open.append(self)
        self.house.made += 1

    def data_received(self, data):
        self.path = data.split(b" ")[1]
        self.house.asked.append(self.path)
        if not self.house.hold:
            self.answer()

    def answer(self):
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(self.path), self.path))

    def connection_lost(self, exc):
        self.house.open.remove(self)


class House:
    def __init__(self):
        self.open, self.asked, self.made, self.hold, self.dials, self.refuse = [], [], 0, False, 0, False

    async def dial(self):
        self.dials += 1
        if self.refuse:
            raise ConnectionRefusedError("no")
        connection = Connection(asyncio.get_running_loop())
        await asyncio.get_running_loop().create_connection(lambda: connection, "127.0.0.1", self.port)
        return connection


@pytest.fixture
async def house():
    one = House()
    server = await asyncio.get_running_loop().create_server(lambda: Echo(one), "127.0.0.1", 0)
    one.port = server.sockets[0].getsockname()[1]
    yield one
    server.close()
    for protocol in one.open:
        protocol.transport.abort()
    await until(lambda: not one.open)


@pytest.fixture
def pool_of(house):
    return lambda limit: Pool(limit, house.dial)


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def use(pool, path):
    connection = await pool.get()
    incoming = connection.begin(b"GET %b HTTP/1.1\r\nhost: x\r\n\r\n" % path, b"")
    try:
        while not incoming.ended:
            assert incoming.error is None
            await incoming.wait()
    except asyncio.CancelledError:
        incoming.drop()
        raise
    return b"".join(incoming.take())


async def test_a_connection_is_used_again_and_the_latest_first(pool_of, house):
    pool = pool_of(4)
    for number in range(5):
        assert await use(pool, b"/%d" % number) == b"/%d" % number
    assert house.made == 1
    await pool.close()


async def test_never_more_connections_than_the_limit_and_everybody_gets_his_own_answer(pool_of, house):
    pool = pool_of(3)
    answers = await asyncio.gather(*(use(pool, b"/%d" % number) for number in range(60)))
    assert answers == [b"/%d" % number for number in range(60)]
    assert house.made <= 3
    await pool.close()


async def test_who_waits_longest_is_served_first(pool_of, house):
    pool = pool_of(1)
    house.hold = True
    calls = [asyncio.create_task(use(pool, b"/%d" % number)) for number in range(5)]
    for number in range(5):
        await until(lambda number=number: len(house.asked) == number + 1)
        house.open[0].answer()
    await asyncio.gather(*calls)
    assert house.asked == [b"/%d" % number for number in range(5)]
    await pool.close()


async def test_a_latecomer_does_not_overtake_a_waiter_who_was_just_given_a_connection(pool_of, house):
    pool = pool_of(1)
    first = await pool.get()
    waiter = asyncio.create_task(pool.get())
    await asyncio.sleep(0)
    pool.idle(first)
    assert pool.take() is None
    assert await waiter is first
    first.abort()
    await until(lambda: pool.empty)


async def test_a_waiter_who_leaves_does_not_keep_his_place(pool_of, house):
    pool = pool_of(1)
    held = await pool.get()
    leaving, staying = asyncio.create_task(pool.get()), asyncio.create_task(pool.get())
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    pool.idle(held)
    assert await staying is held
    held.abort()
    await until(lambda: pool.empty)


async def test_what_was_given_to_a_waiter_cancelled_in_the_same_moment_goes_to_the_next(pool_of, house):
    pool = pool_of(1)
    held = await pool.get()
    leaving, staying = asyncio.create_task(pool.get()), asyncio.create_task(pool.get())
    await asyncio.sleep(0)
    pool.idle(held)
    leaving.cancel()
    assert isinstance((await asyncio.gather(leaving, return_exceptions=True))[0], asyncio.CancelledError)
    assert await asyncio.wait_for(staying, 30) is held
    held.abort()
    await until(lambda: pool.empty)


async def test_who_is_given_a_connection_that_ends_in_that_moment_keeps_his_turn(pool_of, house):
    pool = pool_of(1)
    held = await pool.get()
    order = []

    async def wait(name):
        connection = await pool.get()
        order.append(name)
        connection.abort()

    waiting = [asyncio.create_task(wait(name)) for name in ("first", "second")]
    await asyncio.sleep(0)
    pool.idle(held)
    held.abort()
    await asyncio.wait_for(asyncio.gather(*waiting), 30)
    assert order == ["first", "second"]
    await until(lambda: pool.empty)


async def test_a_free_place_given_to_a_cancelled_waiter_goes_to_the_next(pool_of, house):
    pool = pool_of(1)
    held = await pool.get()
    leaving, staying = asyncio.create_task(pool.get()), asyncio.create_task(pool.get())
    await asyncio.sleep(0)
    held.abort()
    leaving.add_done_callback(lambda _: None)
    await until(lambda: held.closed)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    (await asyncio.wait_for(staying, 30)).abort()
    await until(lambda: pool.empty)


async def test_a_connection_that_cannot_be_made_gives_its_place_back(pool_of, house):
    pool = pool_of(1)
    house.refuse = True
    results = await asyncio.gather(*(pool.get() for _ in range(5)), return_exceptions=True)
    assert all(isinstance(result, ConnectionRefusedError) for result in results)
    assert house.dials == 5
    house.refuse = False
    assert await use(pool, b"/again") == b"/again"
    await pool.close()


async def test_a_cancelled_call_closes_its_connection_and_frees_its_place(pool_of, house):
    pool = pool_of(1)
    house.hold = True
    call = asyncio.create_task(use(pool, b"/never"))
    await until(lambda: house.asked)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await until(lambda: not house.open)
    house.hold = False
    assert await use(pool, b"/next") == b"/next"
    await pool.close()


async def test_a_connection_closed_while_idle_is_noticed_and_not_used(pool_of, house):
    pool = pool_of(1)
    await use(pool, b"/one")
    house.open[0].transport.close()
    await until(lambda: pool.empty)
    assert await use(pool, b"/two") == b"/two"
    assert house.made == 2
    await pool.close()


async def test_an_end_that_the_loop_has_not_yet_seen_is_noticed_too(pool_of, house):
    pool = pool_of(1)
    connection = await pool.get()
    pool.idle(connection)
    connection.since -= 1
    connection._transport.pause_reading()
    house.open[0].transport.abort()
    await until(lambda: not connection.usable(connection.since + 1))
    assert not connection.closed
    assert pool.take() is None
    await pool.close()


async def test_bytes_that_arrive_on_an_idle_connection_close_it(pool_of, house):
    pool = pool_of(1)
    await use(pool, b"/one")
    house.open[0].transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")
    await until(lambda: pool.empty)
    assert await use(pool, b"/two") == b"/two"
    await pool.close()


async def test_idle_connections_are_closed_after_a_while(pool_of, house, monkeypatch):
    monkeypatch.setattr("hub.pool.KEEP_ALIVE", 0.1)
    pool = pool_of(8)
    await asyncio.gather(*(use(pool, b"/%d" % number) for number in range(8)))
    await until(lambda: pool.empty and not house.open)
    assert await use(pool, b"/more") == b"/more"
    await pool.close()


async def test_a_fresh_connection_is_one_that_carried_nothing(pool_of, house):
    pool = pool_of(2)
    await asyncio.gather(use(pool, b"/1"), use(pool, b"/2"))
    connection = await pool.get(fresh=True)
    assert connection.answered == 0
    connection.abort()
    await pool.close()


async def test_closing_ends_calls_waiters_and_connections(pool_of, house):
    pool = pool_of(1)
    house.hold = True
    connection = await pool.get()
    incoming = connection.begin(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"")
    waiting = asyncio.create_task(pool.get())
    await asyncio.sleep(0)
    await pool.close()
    assert isinstance(incoming.error, Gone)
    with pytest.raises(Gone):
        await waiting
    with pytest.raises(Gone):
        await pool.get()
    assert pool.empty


async def test_a_connection_that_has_ended_leaves_nothing_for_the_collector(house, pool_of):
    pool = pool_of(3)
    gc.collect()
    gc.disable()
    try:
        await asyncio.gather(*(use(pool, b"/%d" % number) for number in range(3)))
        await pool.close()
        await until(lambda: not [one for one in gc.get_objects() if isinstance(one, Connection)])
    finally:
        gc.enable()
