"""The hub's own HTTP connections: requests over raw sockets to small applications, on both event loops; one protocol on a wire in memory."""

import asyncio
import contextlib
import contextvars
import functools
import gc
import hashlib
import inspect
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvicorn
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from hub import http_server
from hub.http_requests import MAX_FIELDS, MAX_FRAMING, MAX_HEAD
from hub.listen import bind
from hub.server import Server, configure
from tests.support.hub import eventually
from tests.support.wire import Connection, Response, request_bytes

App = Callable[[Any, Any, Any], Awaitable[None]]
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Any:
    """Run it on the loop the hub runs on, and on the one of the standard library, whose transports differ in detail."""

    @functools.wraps(test)
    def run(new_loop: Callable[[], asyncio.AbstractEventLoop], **given: Any) -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(test(**given))

    first = inspect.Parameter("new_loop", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    run.__dict__["__signature__"] = inspect.Signature([first, *inspect.signature(test).parameters.values()])
    return pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])(run)


class Served:
    """An application on an address. `connections` are those of its clients."""

    def __init__(self, address: tuple[str, int], state: ServerState) -> None:
        self.address, self.state = address, state

    @property
    def connections(self) -> set[Any]:
        return self.state.connections

    async def open(self) -> Connection:
        return await Connection.open(self.address)

    async def ask(self, data: bytes) -> Response:
        async with await self.open() as connection:
            await connection.send(data)
            return await connection.response()

    async def all(self, data: bytes) -> bytes:
        """Everything that comes back until the server closes."""
        async with await self.open() as connection, asyncio.timeout(30):
            await connection.send(data)
            return await connection.reader.read()


def settings_for(app: App, header_timeout: float, keep_alive: float) -> uvicorn.Config:
    config = configure(app, header_timeout=header_timeout, trusted_proxies=())
    config.timeout_keep_alive = keep_alive  # type: ignore[assignment]  # seconds, and a test has less than one
    return config


@contextlib.asynccontextmanager
async def serving(app: App, *, header_timeout: float = 10.0, keep_alive: float = 75) -> AsyncIterator[Served]:
    config = settings_for(app, header_timeout, keep_alive)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    make: Any = config.http_protocol_class
    server = await loop.create_server(lambda: make(config=config, server_state=state, app_state={}), "127.0.0.1", 0)
    try:
        yield Served(server.sockets[0].getsockname(), state)
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        for task in list(state.tasks):
            task.cancel()
        await eventually(lambda: not state.connections and not state.tasks)


async def body_of(receive: Any) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        parts.append(message["body"])
        if not message["more_body"]:
            return b"".join(parts)


async def answer(send: Any, body: bytes = b"", status: int = 200, *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def echo(scope: Any, receive: Any, send: Any) -> None:
    body = await body_of(receive)
    await answer(send, b"%b %b %b" % (scope["method"].encode(), scope["raw_path"], body))


# Framing and order


@on_both_loops
async def test_what_an_application_is_told_of_a_request() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        await answer(send)

    async with serving(app) as served, await served.open() as connection:
        for line in (
            b"GET /a%20b/%C3%BC?x=%20&y HTTP/1.1",
            b"OPTIONS * HTTP/1.1",
            b"GET http://other/p?q HTTP/1.1",
            b"GET /x?y#z HTTP/1.1",
        ):
            await connection.send(line + b"\r\nHost: h\r\nX-Mixed: A\r\n\r\n")
            await connection.response()
        own = connection.writer.get_extra_info("sockname")[:2]
        address = served.address
    assert [(s["path"], s["raw_path"], s["query_string"]) for s in seen] == [
        ("/a b/ü", b"/a%20b/%C3%BC", b"x=%20&y"),
        ("*", b"*", b""),
        ("/p", b"/p", b"q"),
        ("/x", b"/x", b"y"),
    ]
    scope = seen[0]
    assert (scope["type"], scope["asgi"], scope["http_version"], scope["method"]) == (
        "http",
        {"version": "3.0", "spec_version": "2.3"},
        "1.1",
        "GET",
    )
    assert (scope["scheme"], scope["root_path"], scope["client"], scope["server"]) == ("http", "", tuple(own), tuple(address))
    assert scope["headers"] == [(b"host", b"h"), (b"x-mixed", b"A")]


@pytest.mark.parametrize("line", [b"CONNECT a:443 HTTP/1.1", b"GET http://a HTTP/1.1", b"GET \xff HTTP/1.1", b"GET /\xff HTTP/1.1"])
@on_both_loops
async def test_a_target_without_a_path_is_unreadable(line: bytes) -> None:
    async with serving(echo) as served:
        assert (await served.ask(line + b"\r\nhost: x\r\n\r\n")).why == "invalid_request"


@on_both_loops
async def test_pipelined_requests_are_answered_in_order_and_one_at_a_time() -> None:
    under_way: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        under_way.append(1)
        assert len(under_way) == 1
        body = await body_of(receive)
        await asyncio.sleep(0.3 if scope["path"] == "/0" else 0)
        under_way.clear()
        await answer(send, scope["raw_path"] + body)

    async with serving(app) as served, await served.open() as connection:
        await connection.send(b"".join(request_bytes("POST", f"/{i}", [], b"x" * i) for i in range(5)))
        await asyncio.sleep(0.05)
        await connection.send(b"".join(request_bytes("POST", f"/{i}", [], b"x" * i) for i in range(5, 9)))
        assert [(await connection.response()).body for _ in range(9)] == [b"/%d" % i + b"x" * i for i in range(9)]


@pytest.mark.parametrize("request_", [GET, b"SOURCE / ICE/1.1\r\n\r\n", b"DESCRIBE / RTSP/1.1\r\n\r\n"], ids=["http", "ice", "rtsp"])
@on_both_loops
async def test_a_flood_of_pipelined_requests_waits_unread(request_: bytes) -> None:
    """Whatever the parser takes for the line of a request."""
    release = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        await answer(send, b"ok")

    async with serving(app) as served, await served.open() as connection:
        connection.writer.write(request_ * 20_000)
        await eventually(lambda: served.connections and next(iter(served.connections))._paused)
        (server_side,) = served.connections
        await asyncio.sleep(0.1)
        assert len(served.state.tasks) == 1
        assert len(server_side._queue) < 2 * http_server.PIECE // len(request_)
        assert len(server_side._held) < 400_000
        release.set()
        for _ in range(20_000):
            assert (await connection.response()).body == b"ok"


@on_both_loops
async def test_what_one_request_leaves_in_its_context_the_next_does_not_find() -> None:
    variable = contextvars.ContextVar("left behind", default=0)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found = variable.get()
        variable.set(found + 1)
        await answer(send, b"%d" % found)

    async with serving(app) as served, await served.open() as connection:
        await connection.send(GET * 3)
        await asyncio.sleep(0.05)
        await connection.send(GET)
        assert [(await connection.response()).body for _ in range(4)] == [b"0"] * 4


@on_both_loops
async def test_a_stream_is_chunked_and_its_head_is_seen_before_its_first_part() -> None:
    go = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await go.wait()
        for part in (b"one", b"", b"three"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})

    async with serving(app) as served, await served.open() as connection:
        await connection.send(GET * 2)
        status, headers = await connection.head()
        assert (status, headers["transfer-encoding"], headers["content-type"]) == (200, "chunked", "text/event-stream")
        go.set()
        assert [part async for part in connection.chunks()] == [b"one", b"three"]
        assert (await connection.response()).body == b"onethree"


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"5")]])
@on_both_loops
async def test_the_answer_to_head_has_no_body(headers: list[tuple[bytes, bytes]]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["method"] = "GET"  # an application may do this, and it must not move where the answer ends
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello"})

    async with serving(app) as served:
        both = await served.all(b"HEAD / HTTP/1.1\r\n\r\n" * 2 + b"HEAD / HTTP/1.1\r\nconnection: close\r\n\r\n")
    assert both.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert both.count(b"\r\n\r\n") == 3
    assert both.endswith(b"\r\n\r\n")
    assert both.count(b"content-length: 5") == 3 * len(headers)
    assert b"hello" not in both
    assert b"transfer-encoding" not in both


@pytest.mark.parametrize("status", [204, 304])
@on_both_loops
async def test_a_status_without_a_body_ends_with_its_head(status: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"etag", b'"x"')]})
        await send({"type": "http.response.body"})

    async with serving(app) as served, await served.open() as connection:
        for _ in range(2):
            await connection.send(GET)
            got = await connection.head()
            assert got[0] == status
            assert not {"content-length", "transfer-encoding"} & set(got[1])


@pytest.mark.parametrize("more", [b"", b"connection: keep-alive\r\n"])
@on_both_loops
async def test_to_http_1_0_an_answer_ends_with_the_connection(more: bytes) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        await send({"type": "http.response.body", "body": scope["http_version"].encode()})

    async with serving(app) as served:
        head, _, body = (await served.all(b"GET / HTTP/1.0\r\n" + more + b"\r\n" + GET)).partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [b"HTTP/1.1 200 OK", b"connection: close"]
    assert body == b"one 1.0"


@on_both_loops
async def test_nothing_is_taken_after_a_request_that_ends_the_connection() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])
        await body_of(receive)
        await asyncio.sleep(0.1)
        await answer(send, b"last")

    async with serving(app) as served:
        got = await served.all(b"POST /1 HTTP/1.1\r\nconnection: close\r\ncontent-length: 2\r\n\r\nab" + GET + b"\0\0")
    assert got.count(b"HTTP/1.1") == 1
    assert b"connection: close" in got
    assert seen == ["/1"]


@on_both_loops
async def test_an_application_may_end_the_connection() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"last", 503, (b"Connection", b"x, Close"))

    async with serving(app) as served:
        got = await served.all(GET * 3)
    assert got.count(b"HTTP/1.1 503 Service Unavailable\r\n") == got.count(b"connection: close\r\n") == 1


@on_both_loops
async def test_how_an_answer_is_framed_is_not_the_applications_to_say() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"Transfer-Encoding", b"gzip"), (b"connection", b"keep-alive"), (b"X-Kept", b"Yes")]
        await send({"type": "http.response.start", "status": 299, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello"})

    async with serving(app) as served:
        got = await served.ask(GET)
    assert (got.status, got.body) == (299, b"hello")
    assert got.headers == {"transfer-encoding": "chunked", "x-kept": "Yes"}


@on_both_loops
async def test_an_upgrade_is_not_offered_and_what_follows_is_the_next_request() -> None:
    upgrade = b"GET /1 HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    async with serving(echo) as served, await served.open() as connection:
        await connection.send(upgrade * 3 + GET)
        assert [(await connection.response()).body for _ in range(4)] == [b"GET /1 "] * 3 + [b"GET / "]
        await connection.send(GET)
        assert (await connection.response()).body == b"GET / "


# The body of a request


@on_both_loops
async def test_a_client_that_waits_is_told_to_go_on_when_its_body_is_wanted() -> None:
    head = b"POST / HTTP/1.1\r\ncontent-length: 4\r\nExpect: 100-Continue\r\n\r\n"
    async with serving(echo) as served, await served.open() as connection:
        await connection.send(head)
        assert await connection.head() == (100, {})
        await connection.send(b"body")
        assert (await connection.response()).body == b"POST / body"
        await connection.send(head + b"body")  # this one does not wait, and needs not be told
        assert (await connection.response()).body == b"POST / body"
        await connection.send(head.replace(b"1.1", b"1.0"))
        await asyncio.sleep(0.05)
        await connection.send(b"body")
        assert (await connection.response()).body == b"POST / body"


@on_both_loops
async def test_a_client_that_is_not_told_to_go_on_has_its_connection_closed() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"", 401)

    async with serving(app) as served:
        got = await served.all(b"POST / HTTP/1.1\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in got


@on_both_loops
async def test_a_body_that_nobody_reads_is_not_taken_for_a_request() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, scope["raw_path"])

    body = GET * 10_000
    async with serving(app) as served, await served.open() as connection:
        await connection.send(request_bytes("POST", "/1", [("content-length", str(len(body)))], None))
        assert (await connection.response()).body == b"/1"
        await connection.send(body + request_bytes("GET", "/2", [], None))
        assert (await connection.response()).body == b"/2"


@on_both_loops
async def test_a_body_that_waits_is_let_go_by_an_answer_that_did_not_need_it() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            await eventually(lambda: next(iter(served.connections))._paused)
        await answer(send, scope["raw_path"])

    async with serving(app) as served, await served.open() as connection:
        sending = asyncio.create_task(
            connection.send(request_bytes("POST", "/1", [], b"x" * 9_000_000) + request_bytes("GET", "/2", [], None))
        )
        assert [(await connection.response()).body for _ in range(2)] == [b"/1", b"/2"]
        await sending


@on_both_loops
async def test_receiving_says_when_the_client_has_left_to_all_who_wait() -> None:
    ends: list[Any] = []
    waiting = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert await body_of(receive) == b"all of it"
        third = asyncio.create_task(receive())
        both = asyncio.gather(receive(), receive())
        await asyncio.sleep(0)
        third.cancel()
        waiting.set()
        ends.extend(await both)
        ends.append(await receive())
        await answer(send, b"to nobody")

    async with serving(app) as served:
        connection = await served.open()
        await connection.send(request_bytes("POST", "/", [], b"all of it"))
        await asyncio.wait_for(waiting.wait(), 30)
        await connection.close()
        await eventually(lambda: not served.state.tasks)
    assert ends == [{"type": "http.disconnect"}] * 3


@on_both_loops
async def test_receiving_after_the_answer_says_that_it_is_over() -> None:
    ends: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await body_of(receive)
        waiting = asyncio.create_task(receive())
        await asyncio.sleep(0)
        await answer(send)
        ends.extend([await waiting, await receive()])

    async with serving(app) as served:
        assert (await served.ask(GET)).status == 200
        await eventually(lambda: not served.state.tasks)
    assert ends == [{"type": "http.disconnect"}] * 2


@on_both_loops
async def test_a_client_that_leaves_within_its_body_is_gone() -> None:
    ends: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        ends.append((await receive())["body"])
        ends.append((await receive())["type"])

    async with serving(app) as served:
        connection = await served.open()
        await connection.send(b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nhalf")
        await eventually(lambda: ends == [b"half"])
        await connection.close()
        await eventually(lambda: not served.state.tasks)
    assert ends == [b"half", "http.disconnect"]


@pytest.mark.parametrize("behind", [False, True])
@on_both_loops
async def test_a_body_waits_in_the_socket_until_it_is_received(behind: bool) -> None:
    """`behind`: the request waits its turn as well."""
    go = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/":
            await answer(send)
            return
        await go.wait()
        digest = hashlib.sha256()
        while True:
            message = await receive()
            assert len(message["body"]) < 1024 * 1024
            digest.update(message["body"])
            if not message["more_body"]:
                break
        await answer(send, digest.hexdigest().encode())

    body = bytes(range(256)) * 256 * 1024
    async with serving(app) as served, await served.open() as connection:
        first = (GET if behind else b"") + b"POST /big HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body)
        sending = asyncio.create_task(connection.send(first + body))
        await eventually(lambda: served.connections and next(iter(served.connections))._paused)
        await asyncio.sleep(0.1)
        assert not sending.done()
        go.set()
        if behind:
            assert (await connection.response()).body == b""
        assert (await connection.response()).body == hashlib.sha256(body).hexdigest().encode()
        await sending


# Writing


@on_both_loops
async def test_an_answer_waits_for_a_client_that_does_not_read() -> None:
    sent: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        for number in range(1000):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            sent.append(number)
        await send({"type": "http.response.body"})

    async with serving(app) as served:
        reader, writer = await asyncio.open_connection(*served.address, limit=1024)
        writer.write(GET)
        await eventually(lambda: sent and next(iter(served.connections)).full)
        await asyncio.sleep(0.2)
        count = len(sent)
        assert count < 500
        await asyncio.sleep(0.1)
        assert len(sent) == count
        received = 0
        while not (part := await asyncio.wait_for(reader.read(1 << 20), 30)).endswith(b"\r\n0\r\n\r\n"):
            received += len(part)
        assert received + len(part) > 65_536_000
        writer.close()
        await writer.wait_closed()


@on_both_loops
async def test_an_answer_that_nobody_takes_ends_with_its_client() -> None:
    ended: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for kind in ("start", *["body"] * 200):
            await send({"type": f"http.response.{kind}", "status": 200, "body": b"x" * 1_000_000, "more_body": True})
        ended.append(True)

    async with serving(app) as served:
        connection = await served.open()
        await connection.send(GET)
        await eventually(lambda: served.connections and next(iter(served.connections)).full)
        connection.writer.transport.abort()
        await eventually(lambda: ended)


@on_both_loops
async def test_an_application_may_cut_a_client_that_does_not_read() -> None:
    ended: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await body_of(receive)
        await send({"type": "http.response.start", "status": 200})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                while True:
                    await send({"type": "http.response.body", "body": b"x" * 9_000_000, "more_body": True})
        scope["hub.abort"]()
        assert (await receive())["type"] == "http.disconnect"
        ended.append(True)

    async with serving(app) as served:
        _, writer = await asyncio.open_connection(*served.address, limit=1024)
        writer.write(GET)
        await eventually(lambda: ended)
        assert not served.connections
        writer.close()


# Applications that fail


async def fails_at_once(scope: Any, receive: Any, send: Any) -> None:
    raise OSError("on purpose")


async def does_nothing(scope: Any, receive: Any, send: Any) -> None:
    pass


async def fails_before_anything_is_written(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200})
    raise OSError("on purpose")


async def is_cancelled(scope: Any, receive: Any, send: Any) -> None:
    raise asyncio.CancelledError


def starting(*headers: tuple[Any, Any], status: int = 200, body: bytes = b"12345") -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


async def starts_twice(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.start", "status": 200})


async def begins_with_a_body(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.body", "body": b"x"})


FAILING: dict[str, App] = {
    "at once": fails_at_once,
    "nothing": does_nothing,
    "after its start": fails_before_anything_is_written,
    "cancelled": is_cancelled,
    "start twice": starts_twice,
    "body first": begins_with_a_body,
    "too long": starting((b"content-length", b"4")),
    "too short": starting((b"content-length", b"6")),
    "a body where there is none": starting(status=204),
    "two lengths": starting((b"content-length", b"5"), (b"Content-Length", b"5")),
    "no length": starting((b"content-length", b"-5")),
    "status 101": starting(status=101),
    "status 1000": starting(status=1000),
    "text for a name": starting(("x", b"y")),
    "text for a value": starting((b"x", "y")),
    "text for a body": starting(body="12345"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("app", FAILING.values(), ids=FAILING)
@on_both_loops
async def test_an_application_that_fails_before_anything_is_written_becomes_a_500(app: App, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(app) as served:
        got = await served.ask(GET * 2)
        assert (got.status, got.code, got.why, got.headers["connection"]) == (500, -32603, "internal", "close")
        head, end, body = (await served.all(b"HEAD / HTTP/1.1\r\nconnection: close\r\n\r\n")).partition(b"\r\n\r\n")
        if b" 500 " in head:  # what is too long or too short for others is not for this one
            assert (head.startswith(b"HTTP/1.1 500 "), end, body) == (True, b"\r\n\r\n", b"")
    assert app is is_cancelled or [record.name for record in caplog.records if record.levelno == logging.ERROR][:1] == ["hub.http"]


async def fails_within(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"some", "more_body": True})
    raise OSError("on purpose")


async def ends_within(scope: Any, receive: Any, send: Any) -> None:
    with contextlib.suppress(OSError):
        await fails_within(scope, receive, send)


async def is_longer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
    for _ in range(2):
        await send({"type": "http.response.body", "body": b"some", "more_body": True})


@pytest.mark.parametrize("app", [fails_within, ends_within, is_longer])
@on_both_loops
async def test_an_answer_that_cannot_be_ended_is_cut_off(app: App) -> None:
    async with serving(app) as served:
        got = await served.all(GET * 2)
    assert got.count(b"HTTP/1.1") == 1
    assert got.endswith((b"\r\n4\r\nsome\r\n", b"\r\n\r\nsome"))


@on_both_loops
async def test_an_application_that_fails_after_its_answer_costs_nobody_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"fine")
        await send({"type": "http.response.body", "body": b"and more"})

    async with serving(app) as served, await served.open() as connection:
        await connection.send(GET * 2)
        assert [(await connection.response()).body for _ in range(2)] == [b"fine"] * 2
    assert "RuntimeError" in caplog.text


@pytest.mark.parametrize(
    "header",
    [
        *(
            (b"x", b"a%by" % bad)
            for bad in (b"\r\nset-cookie: z", b"\n", b"\r", b"\0", b"\x0b", b"\x7f", b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
        ),
        *((b"x%by" % bad, b"a") for bad in (b"\r\n", b"\n", b"\0", b":", b" ", b"\xff", b"\t")),
        (b"", b"a"),
        (b"x\r\ny: z", b"\r\n"),
    ],
)
@on_both_loops
async def test_a_header_cannot_become_two(header: tuple[bytes, bytes]) -> None:
    before = starting((b"content-length", b"5"), (b"x", b"fine\tand \xe4"))
    async with serving(before) as served:
        assert (await served.ask(GET)).headers["x"] == "fine\tand ä"
    async with serving(starting((b"content-length", b"5"), header)) as served:
        assert (await served.ask(GET)).why == "internal"


# What cannot be read


async def slow(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(0.1)
    await echo(scope, receive, send)


@pytest.mark.parametrize("pause", [0, 0.03, 0.3])
@on_both_loops
async def test_what_is_unreadable_is_said_in_its_turn(pause: float) -> None:
    async with serving(slow) as served, await served.open() as connection:
        await connection.send(GET)
        await asyncio.sleep(pause)
        await connection.send(GET + b"\0" + GET)
        assert [(await connection.response()).body for _ in range(2)] == [b"GET / "] * 2
        assert (await connection.response()).why == "invalid_request"
        assert await connection.reader.read() == b""


BROKEN = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\nzz\r\n"


@on_both_loops
async def test_a_body_that_breaks_is_a_400() -> None:
    ends: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            while (message := await receive())["type"] == "http.request":
                pass
            ends.append(message["type"])
        await answer(send)

    async with serving(app) as served:
        assert (await served.all(BROKEN)).startswith(b"HTTP/1.1 400 ")
        both = await served.all(GET + BROKEN)
        assert (both.count(b"HTTP/1.1 200 "), both.count(b"HTTP/1.1 400 ")) == (1, 1)
        async with await served.open() as connection:
            await connection.send(BROKEN[:-4])
            await eventually(lambda: len(served.state.tasks) == 1)
            await connection.send(BROKEN[-4:])
            assert (await connection.response()).why == "invalid_request"
        await eventually(lambda: not served.state.tasks)
    assert set(ends) == {"http.disconnect"}


@on_both_loops
async def test_a_body_that_breaks_under_an_answer_ends_it_and_one_after_it_gets_no_second() -> None:
    async def under_way(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"some", "more_body": True})
        await asyncio.sleep(60)

    async def early(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"some")

    for app in (under_way, early):
        async with serving(app) as served, await served.open() as connection:
            await connection.send(BROKEN[:-4])
            await connection.reader.readuntil(b"some")
            await connection.send(BROKEN[-4:])
            assert b"HTTP" not in await asyncio.wait_for(connection.reader.read(), 30)


@pytest.mark.parametrize(
    "start",
    [b"GET / HTTP/1.1\r\nx: ", b"GET /", b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: "],
    ids=["header", "target", "trailer"],
)
@on_both_loops
async def test_what_never_ends_is_not_kept(start: bytes) -> None:
    async with serving(echo) as served, await served.open() as connection:
        connection.writer.write(start + b"y" * (MAX_FRAMING + 300_000))
        assert (await connection.response()).why == "invalid_request"


@on_both_loops
async def test_a_head_of_many_small_fields_ends_early() -> None:
    async with serving(echo) as served, await served.open() as connection:
        await connection.send(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * (MAX_FIELDS + 2))
        assert (await connection.response()).why == "invalid_request"


@on_both_loops
async def test_a_body_of_many_small_parts_waits_like_a_large_one() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    async with serving(app) as served, await served.open() as connection:
        connection.writer.write(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 5000)
        await eventually(lambda: served.connections and next(iter(served.connections))._paused)


@pytest.mark.parametrize("size", [MAX_HEAD, MAX_HEAD + 1])
@pytest.mark.parametrize("split", [False, True])
@on_both_loops
async def test_a_head_is_as_large_as_it_may_be(size: int, split: bool) -> None:
    start, end = b"GET / HTTP/1.1\r\n", b"\r\n\r\n"
    head = start + b"".join(b"a%d: b\r\n" % i for i in range(100))
    counted = 1 + sum(len(b"a%d: b\r\n" % i) for i in range(100))
    head += b"x: " + b"y" * (size - counted - 5) + end
    async with serving(echo) as served, await served.open() as connection:
        await connection.send(head[:5000] if split else head)
        await asyncio.sleep(0.05)
        await connection.send(head[5000:] if split else b"")
        assert (await connection.response()).status == (200 if size == MAX_HEAD else 400)


# Time


@on_both_loops
async def test_a_head_on_a_kept_connection_has_its_time() -> None:
    loop = asyncio.get_running_loop()
    async with serving(echo, header_timeout=0.8) as served, await served.open() as connection:
        await connection.send(GET)
        assert (await connection.response()).status == 200
        await asyncio.sleep(1.0)  # an idle connection has more
        await connection.send(b"GET / HT")
        started = loop.time()
        assert (await connection.response()).why == "request_timeout"
        assert loop.time() - started > 0.5
        assert await connection.reader.read() == b""


@on_both_loops
async def test_the_time_of_a_head_that_came_early_runs_from_the_answer() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(pauses.pop(0))
        await answer(send, b"slow")

    pauses = [0.6, 1.3, 0.0]
    async with serving(app, header_timeout=0.3) as served, await served.open() as connection:
        await connection.send(GET + b"GET / HT")
        assert (await connection.response()).body == b"slow"
        assert (await connection.response()).why == "request_timeout"
    async with serving(app, header_timeout=1.0) as served, await served.open() as connection:
        await connection.send(GET + b"GET / HT")
        assert (await connection.response()).body == b"slow"
        await connection.send(GET[8:])
        assert (await connection.response()).body == b"slow"


@on_both_loops
async def test_an_idle_connection_is_closed() -> None:
    loop = asyncio.get_running_loop()
    async with serving(echo, header_timeout=0.5, keep_alive=1.5) as served, await served.open() as connection:
        for _ in range(3):
            await connection.send(GET)
            assert (await connection.response()).status == 200
            await asyncio.sleep(0.6)
        await connection.send(GET + b"\r\n")
        assert (await connection.response()).status == 200
        started = loop.time()
        assert await asyncio.wait_for(connection.reader.read(), 30) == b""
        assert loop.time() - started > 1.0


@on_both_loops
async def test_a_body_that_nobody_wants_has_no_more_time_than_an_idle_connection() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send)

    async with serving(app, keep_alive=0.3) as served, await served.open() as connection:
        await connection.send(b"POST / HTTP/1.1\r\ncontent-length: 1000000\r\n\r\n")
        await connection.response()
        with contextlib.suppress(ConnectionError):
            for _ in range(50):
                await connection.send(b"x")
                await asyncio.sleep(0.05)
        assert not served.connections


# Stopping


@on_both_loops
async def test_a_stop_closes_the_idle_and_lets_the_others_end() -> None:
    begun, rest = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"some ", "more_body": True})
            begun.set()
            await rest.wait()
            await send({"type": "http.response.body", "body": b"and the rest"})
        await answer(send, scope["raw_path"])

    drained: list[int] = []

    async def drain() -> None:
        drained.append(len(server.server_state.connections))

    listener = bind("127.0.0.1", 0)
    server = Server(settings_for(app, 10, 75), drain, lambda: None)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    served = Served(listener.getsockname()[:2], server.server_state)
    await eventually(lambda: server.started)
    idle, slow, fresh = [await served.open() for _ in range(3)]
    await idle.send(GET)
    assert "date" in (await idle.response()).headers
    await slow.send(request_bytes("GET", "/slow", [], None) + request_bytes("GET", "/2", [], None) + b"GET / HT")
    await begun.wait()
    server.should_exit = True
    assert await asyncio.wait_for(idle.reader.read(), 30) == b""
    assert await asyncio.wait_for(fresh.reader.read(), 30) == b""
    await slow.send(b"TP/1.1\r\n\r\n" + GET)
    rest.set()
    assert (await slow.response()).body == b"some and the rest"
    last = await slow.response()
    assert (last.body, last.headers["connection"]) == (b"/2", "close")
    assert await asyncio.wait_for(slow.reader.read(), 30) == b""
    await asyncio.wait_for(running, 30)
    assert drained == [3]
    assert server.server_state.total_requests == 3
    for connection in (idle, slow, fresh):
        await connection.close()


@on_both_loops
async def test_a_closed_connection_leaves_nothing_for_the_collector() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await answer(send)

    async with serving(app) as served:
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                await served.ask(GET)
                async with await served.open() as connection:
                    await connection.send(b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nhalf")
                    await eventually(lambda: served.state.tasks)
            await eventually(lambda: not served.connections and not served.state.tasks)
            await eventually(lambda: not [one for one in gc.get_objects() if isinstance(one, http_server.Connection)], 2)
        finally:
            gc.enable()


# On a wire in memory


class Wire(asyncio.Transport):
    """Keeps what is written, write by write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: Any) -> None:
        if not self.closed and data:
            self.writes.append(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    abort = close


class Talk:
    """One connection on a wire. `feed` and let the application work; what it wrote is in `wire.writes`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, app: App) -> None:
        self.loop, self.wire, self.state = loop, Wire(), ServerState()
        config = settings_for(app, 10, 75)
        config.load()
        self.connection = http_server.Connection(config, self.state, {}, loop)
        self.connection.connection_made(self.wire)

    def feed(self, *pieces: bytes) -> "Talk":
        for piece in pieces:
            if piece and not self.wire.closed:
                self.connection.data_received(piece)
                self.settle(3)
        return self.settle(200)

    def settle(self, steps: int) -> "Talk":
        async def step() -> None:
            for _ in range(steps):
                await asyncio.sleep(0)

        self.loop.run_until_complete(step())
        return self

    def end(self) -> bytes:
        self.wire.closed = True
        self.connection.connection_lost(None)
        self.settle(3)
        assert not self.state.tasks
        return b"".join(self.wire.writes)


LOOP = asyncio.new_event_loop()


def teardown_module() -> None:
    LOOP.close()


def test_head_and_body_are_one_write_and_a_body_is_handed_over_as_it_came() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(await receive())
        await answer(send, b"hello")

    talk = Talk(LOOP, app).feed(request_bytes("POST", "/", [], b"the body"))
    assert talk.wire.writes == [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"]
    assert seen == [{"type": "http.request", "body": b"the body", "more_body": False}]
    talk.feed(GET)
    assert len(talk.wire.writes) == 2
    talk.state.default_headers = [(b"date", b"now")]
    talk.feed(GET)
    assert talk.wire.writes[2] == b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 5\r\n\r\nhello"
    talk.end()


@pytest.mark.parametrize("size", [5, 200_000])
def test_a_stream_joins_its_head_and_first_part_when_they_come_together(size: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        for more in (True, False):
            await send({"type": "http.response.body", "body": b"x" * size, "more_body": more})

    talk = Talk(LOOP, app).feed(GET)
    assert len(talk.wire.writes) == 2
    assert b"\r\n\r\n%x\r\nxxxxx" % size in talk.wire.writes[0]
    talk.end()


def test_many_requests_leave_one_timer() -> None:
    made: list[float] = []

    class Counting(asyncio.SelectorEventLoop):
        def call_at(self, when: float, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
            made.append(when)
            return super().call_at(when, *args, **kwargs)

    loop = Counting()
    try:
        talk = Talk(loop, echo)
        for _ in range(50):
            talk.feed(GET)
        assert len(talk.wire.writes) == 50
        assert len(made) == 1
        talk.end()
    finally:
        loop.close()


async def odd(scope: Any, receive: Any, send: Any) -> None:
    """Answers in several ways, now or later, with or without having read."""
    path = scope["path"]
    if path.startswith("/early"):
        await answer(send, b"early")
        return
    body = await body_of(receive)
    if path.startswith("/slow"):
        for _ in range(5):
            await asyncio.sleep(0)
    if path.startswith("/stream"):
        await send({"type": "http.response.start", "status": 200})
        for part in (path.encode(), body):
            await send({"type": "http.response.body", "body": part, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body"})
        return
    headers = b",".join(b"%b=%b" % pair for pair in scope["headers"])
    await answer(send, b"%b %b %b %b" % (scope["method"].encode(), path.encode(), headers, body))


def encoded(method: str, path: str, body: bytes, form: str) -> bytes:
    if form == "length":
        return request_bytes(method, path, [("x-one", "a b")], body)
    if form == "upgrade":
        return request_bytes("GET", path, [("connection", "upgrade"), ("upgrade", "x")], None)
    chunks = b"".join(b"%x;e=1\r\n%b\r\n" % (len(part), part) for part in (body[:3], body[3:]) if part)
    return request_bytes(method, path, [("transfer-encoding", "chunked")], None) + chunks + b"0\r\nauthorization: trailer\r\n\r\n"


requests = st.builds(
    encoded,
    st.sampled_from(["GET", "POST", "HEAD"]),
    st.sampled_from(["/", "/slow", "/stream", "/early", "/%41?q"]),
    st.sampled_from([b"", b"x", b"hello world", GET, GET * 20, b"y" * 5000]),
    st.sampled_from(["length", "chunked", "upgrade"]),
)
lasts = st.sampled_from([b"", b"GET / HTTP/1.1\r\nconnection: close\r\n\r\nGET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n", b"\0" + GET])


@settings(max_examples=150, deadline=None)
@given(st.lists(requests, min_size=1, max_size=12), lasts, st.data())
def test_however_requests_are_cut_they_are_answered_the_same(asked: list[bytes], last: bytes, data: st.DataObject) -> None:
    wire = b"".join(asked) + last
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=12))
    whole = Talk(LOOP, odd).feed(wire)
    parts = Talk(LOOP, odd).feed(*(wire[a:b] for a, b in itertools.pairwise([0, *sorted(cuts), len(wire)])))
    assert whole.wire.closed == parts.wire.closed == bool(last)
    one, other = whole.end(), parts.end()
    assert one == other
    assert one.count(b"HTTP/1.1 200 OK\r\n") == len(asked) + (last[:1] == b"G")
    assert b"trailer" not in one
