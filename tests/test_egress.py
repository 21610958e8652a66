"""The way out: bounds, what went wrong as a type, destinations that must be public, and answers that are never another's."""

import asyncio
import datetime
import gzip
import inspect
import ipaddress
import socket
import ssl

import aiohttp
import pytest
import uvicorn
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.config.serving import Egress as EgressSpec
from hub.egress import Egress, Fields, is_public
from hub.refusal import UpstreamDown, UpstreamFault, UpstreamTimeout


class Server:
    """Answers each connection with what `reply(request bytes)` returns, and keeps the requests."""

    def __init__(self, reply):
        self.reply = reply
        self.requests = []
        self.connections = 0

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/mcp"
        self.port = port
        return self

    async def _serve(self, reader, writer):
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
                body = await reader.readexactly(length)
                self.requests.append((head, body))
                answer = self.reply(body)
                writer.write(answer)
                await writer.drain()
                if b"content-length" not in answer.lower():
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def __aexit__(self, *_):
        self._server.close()


def answer(body, status="200 OK", **headers):
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body


@pytest.fixture
async def egress():
    out = Egress(EgressSpec(connect_timeout=10.0))
    await out.open()
    yield out
    await out.close()


async def fetch(out, url, limit=1000, **options):
    async with asyncio.timeout(30), out.request("POST", url, body=b"{}", **options) as response:
        return response.status, await response.read(limit)


async def test_connections_are_used_again(egress):
    async with Server(lambda _: answer(b"yes")) as server:
        for _ in range(5):
            assert await fetch(egress, server.url) == (200, b"yes")
        assert server.connections == 1


@pytest.mark.parametrize("body", [b"", b"{}"])
async def test_lines_of_one_request_alone_are_not_those_of_the_next(egress, body):
    headers = Fields({"x-all": "1"})
    async with Server(lambda _: answer(b"yes")) as server:
        for extra in (b"x-one: a\r\n", b"", b"x-two: b\r\nx-three: c\r\n"):
            method = "POST" if body else "GET"
            async with asyncio.timeout(30), egress.request(method, server.url, headers=headers, extra=extra, body=body) as response:
                assert await response.read(10) == b"yes"
        heads = [head.split(b"\r\n") for head, _ in server.requests]
        assert [[line for line in head if line.startswith(b"x-")] for head in heads] == [
            [b"x-all: 1", b"x-one: a"],
            [b"x-all: 1"],
            [b"x-all: 1", b"x-two: b", b"x-three: c"],
        ]
        assert [sent for _, sent in server.requests] == [body] * 3


async def test_redirects_are_answers_and_cookies_are_forgotten(egress):
    async with Server(lambda _: answer(b"", "302 Found", Location="/else", Set_Cookie="a=b")) as server:
        assert (await fetch(egress, server.url))[0] == 302
        assert (await fetch(egress, server.url))[0] == 302
        assert not any(b"cookie" in head.lower() for head, _ in server.requests)


@pytest.mark.parametrize("declared", [True, False])
async def test_an_answer_beyond_the_bound_is_refused(egress, declared):
    reply = answer(b"x" * 5000) if declared else b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000
    async with Server(lambda _: reply) as server:
        with pytest.raises(UpstreamFault, match="too large"):
            await fetch(egress, server.url)


async def test_an_answer_that_breaks_off_is_a_fault(egress):
    async with Server(lambda _: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel") as server:
        with pytest.raises(UpstreamFault):
            await fetch(egress, server.url)


async def test_what_is_not_http_is_a_fault(egress):
    async with Server(lambda _: b"SSH-2.0-nonsense\r\n\r\n") as server:
        with pytest.raises(UpstreamFault):
            await fetch(egress, server.url)


async def test_a_connection_closed_without_an_answer_is_down_and_not_tried_again(egress):
    async with Server(lambda _: b"") as server:
        with pytest.raises(UpstreamDown):
            await fetch(egress, server.url)
        assert len(server.requests) == 1


async def test_nobody_listening_is_down_and_the_message_shows_no_address(egress):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UpstreamDown) as caught:
        await fetch(egress, f"http://127.0.0.1:{port}/")
    assert str(port) not in caught.value.message


async def test_the_callers_own_time_limit_ends_a_hanging_answer(egress):
    async with Server(lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf") as server:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), egress.request("GET", server.url) as response:
                await response.read(100)


async def test_a_finished_stream_gives_its_connection_back_when_it_ends(egress):
    stream = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    async with Server(lambda _: stream + b"") as server:
        server.reply = lambda _: stream.replace(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nX-Not-Content-Length: 0\r\n")
        for _ in range(3):
            async with egress.request("GET", server.url) as response:
                async for chunk in response.chunks():
                    assert chunk == b"abc"
                    response.finish()
                    break
        assert server.connections == 1


PRIVATE = [
    "127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.9.9", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1", "255.255.255.255",
    "192.0.0.8", "198.18.0.1", "240.0.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
    "::ffff:8.8.8.8", "64:ff9b::7f00:1", "2002:7f00:1::", "2001::1", "2001:db8::1", "::127.0.0.1", "not an address", "",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_private_and_embedding_addresses_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001::200e"])
def test_addresses_of_the_internet_are_public(address):
    assert is_public(address)


@given(st.ip_addresses(v=4))
@settings(max_examples=60)
def test_no_ipv4_address_is_public_in_its_mapped_form(address):
    assert not is_public(f"::ffff:{address}")


TRICKS = [
    "http://127.0.0.1/", "http://[::1]/", "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/", "http://127.1/", "http://0/",
    "http://localhost/", "http://LOCALHOST/", "http://[::ffff:127.0.0.1]/", "http://[64:ff9b::7f00:1]/", "http://169.254.169.254/latest/",
    "http://user:secret@8.8.8.8/", "http://8.8.8.8@127.0.0.1/", "file:///etc/passwd", "gopher://8.8.8.8/", "//8.8.8.8/", "http://１２７.0.0.1/",
]  # fmt: skip


@pytest.mark.parametrize("url", TRICKS)
async def test_public_only_refuses_every_way_to_write_a_private_place(egress, url):
    with pytest.raises(UpstreamFault) as caught:
        async with asyncio.timeout(30), egress.request("GET", url, public_only=True):
            pass
    assert "secret" not in caught.value.message + caught.value.detail


class Names:
    """A resolver whose answers change each time, as one that rebinds would."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def __call__(self, host, port):
        self.asked.append((host, port))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def test_one_private_address_among_public_ones_refuses_the_name():
    out = Egress(EgressSpec(), resolver=Names(["8.8.8.8", "10.0.0.1"]))
    await out.open()
    try:
        with pytest.raises(UpstreamFault, match="not a public address"):
            await fetch(out, "http://mixed.example/", public_only=True)
    finally:
        await out.close()


async def test_a_name_is_resolved_once_and_connected_to_as_checked():
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    out = Egress(EgressSpec(), resolver=names)
    await out.open()
    async with Server(lambda _: answer(b"x")) as server:
        assert (await fetch(out, f"http://some.example:{server.port}/"))[0] == 200
        assert names.asked == [("some.example", server.port)]
        assert b"host: some.example:%d\r\n" % server.port in server.requests[0][0].lower()
    await out.close()


async def test_a_kept_connection_to_a_name_that_need_not_be_public_is_not_used_for_one_that_must():
    out = Egress(EgressSpec(), resolver=Names(["127.0.0.1"]))
    await out.open()
    async with Server(lambda _: answer(b"x")) as server:
        url = f"http://some.example:{server.port}/"
        assert (await fetch(out, url))[0] == 200
        with pytest.raises(UpstreamFault, match="not a public address"):
            await fetch(out, url, public_only=True)
    await out.close()


async def test_addresses_are_tried_in_order_until_one_takes_the_connection():
    out = Egress(EgressSpec(connect_timeout=20.0), resolver=Names(["127.0.0.2", "::1", "127.0.0.1"]))
    await out.open()
    async with Server(lambda _: answer(b"x")) as server:
        assert (await fetch(out, f"http://many.example:{server.port}/"))[0] == 200
    await out.close()


@pytest.mark.parametrize("host", ["a..b", "a" * 70 + ".example", "no-such-name.invalid", "-"])
async def test_a_name_that_cannot_be_resolved_is_down(egress, host):
    with pytest.raises(UpstreamDown):
        await fetch(egress, f"http://{host}/")


async def test_operator_destinations_are_not_checked(egress):
    async with Server(lambda _: answer(b"inside")) as server:
        assert await fetch(egress, server.url.replace("127.0.0.1", "localhost")) == (200, b"inside")


async def test_a_request_before_open_is_refused():
    with pytest.raises(UpstreamDown):
        Egress(EgressSpec()).request("GET", "http://127.0.0.1/")


async def test_a_closed_way_out_refuses_and_can_be_opened_again(egress):
    async with Server(lambda _: answer(b"x")) as server:
        await fetch(egress, server.url)
        await egress.close()
        with pytest.raises(UpstreamDown):
            await fetch(egress, server.url)
        await egress.open()
        assert await fetch(egress, server.url) == (200, b"x")


# Scripted servers: each connection is a coroutine of the test


class Script:
    """Runs `serve(reader, writer, number)` for each connection; `ended` counts connections whose client has gone."""

    def __init__(self, serve, **options):
        self.serve = serve
        self.options = options
        self.connections = self.ended = 0
        self.tasks = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._run, "127.0.0.1", 0, **self.options)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        return self

    async def _run(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        self.connections += 1
        try:
            await self.serve(reader, writer, self.connections)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.ended += 1
        except asyncio.CancelledError:
            pass
        finally:
            writer.transport.abort()

    async def __aexit__(self, *_):
        self._server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def request_of(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    return head, await reader.readexactly(length)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def answered_once_then_closed(reader, writer, number):
    """The first connection answers one request and ends at the next; others answer all."""
    for turn in range(100):
        await request_of(reader)
        if number == 1 and turn == 1:
            return
        writer.write(OK)


async def ask(out, method, url, **options):
    async with asyncio.timeout(30), out.request(method, url, **options) as response:
        return response.status, await response.read(10_000_000)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
async def test_an_idempotent_request_that_met_the_end_of_a_kept_connection_is_sent_once_more(egress, method):
    async with Script(answered_once_then_closed) as server:
        assert await ask(egress, method, server.url) == (200, b"ok")
        assert await ask(egress, method, server.url) == (200, b"ok")
        assert server.connections == 2


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_request_that_may_have_acted_is_never_sent_again(egress, method):
    async with Script(answered_once_then_closed) as server:
        assert await ask(egress, method, server.url, body=b"1") == (200, b"ok")
        with pytest.raises(UpstreamDown):
            await ask(egress, method, server.url, body=b"2")
        assert server.connections == 1
        assert await ask(egress, method, server.url, body=b"3") == (200, b"ok")


async def test_one_that_does_no_harm_twice_is_sent_once_more(egress):
    async with Script(answered_once_then_closed) as server:
        assert await ask(egress, "POST", server.url, body=b"1", harmless=True) == (200, b"ok")
        assert await ask(egress, "POST", server.url, body=b"2", harmless=True) == (200, b"ok")
        assert server.connections == 2


async def test_no_request_is_sent_again_once_a_byte_of_the_answer_came(egress):
    async def serve(reader, writer, number):
        for part in (OK, b"HTTP/1.1 200"):
            await request_of(reader)
            writer.write(part)
        await writer.drain()

    async with Script(serve) as server:
        await ask(egress, "GET", server.url)
        with pytest.raises(UpstreamFault):
            await ask(egress, "GET", server.url)
        assert server.connections == 1


async def test_a_first_request_is_not_sent_again(egress):
    async def serve(reader, writer, number):
        await request_of(reader)

    async with Script(serve) as server:
        with pytest.raises(UpstreamDown):
            await ask(egress, "GET", server.url)
        assert server.connections == 1


async def test_a_server_that_closes_after_its_answer_never_costs_the_next_call(egress):
    async def serve(reader, writer, number):
        await request_of(reader)
        writer.write(OK)
        await writer.drain()

    async with Script(serve) as server:
        for _ in range(10):
            assert await ask(egress, "POST", server.url, body=b"x") == (200, b"ok")
            await until(lambda: all(task.done() for task in server.tasks))
            await asyncio.sleep(0.01)
        assert server.connections == 10


async def test_a_stream_is_delivered_as_it_arrives(egress):
    more = asyncio.Event()

    async def serve(reader, writer, number):
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in (b"1\r\na\r\n", b"1\r\nb\r\n", b"0\r\n\r\n"):
            await more.wait()
            more.clear()
            writer.write(part)
        await reader.read()

    async with Script(serve) as server, asyncio.timeout(30), egress.request("GET", server.url) as response:
        seen = []
        more.set()
        async for chunk in response.chunks():
            seen.append(chunk)
            more.set()
        assert seen == [b"a", b"b"]


async def numbered(reader, writer, number):
    """Answers `/<n>/<size>` with that many bytes of the number, in chunks that are cut at odd places."""
    while True:
        head, _ = await request_of(reader)
        _, which, size = head.split(b" ")[1].split(b"/")
        body = (which + b",") * (int(size) // (len(which) + 1))
        parts = [body[start : start + 7001] for start in range(0, len(body), 7001)]
        text = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(text), 30_011):
            writer.write(text[start : start + 30_011])
            await writer.drain()


async def test_streams_never_mix_whatever_readers_do():
    """Slow readers, readers that leave in the middle, that are cancelled, that call `finish`, on few connections."""
    out = Egress(EgressSpec(connections=4))
    await out.open()

    async def one(url, number, way):
        seen, whole = b"", number * 3000 // (len(str(number)) + 1) * (len(str(number)) + 1)
        async with out.request("GET", f"{url}{number}/{number * 3000}") as response:
            if way == "read":
                seen = await response.read(10_000_000)
            else:
                async for chunk in response.chunks():
                    seen += chunk
                    if way == "slow":
                        await asyncio.sleep(0.001)
                    elif way == "leave" and len(seen) > 20_000:
                        break
                    elif way == "finish" and len(seen) > 20_000:
                        response.finish()
                        break
                    elif way == "cancel" and len(seen) > 20_000:
                        asyncio.current_task().cancel()
        assert set(seen.split(b",")[:-1]) <= {b"%d" % number}
        if way in ("read", "slow"):
            assert len(seen) == whole
        return way

    ways = ["read", "slow", "leave", "finish", "cancel"]
    async with Script(numbered) as server, asyncio.timeout(60):
        calls = [asyncio.create_task(one(server.url, number, ways[number % 5])) for number in range(1, 150)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        for number, result in enumerate(results, 1):
            way = ways[number % 5]
            assert result == way or (way == "cancel" and isinstance(result, asyncio.CancelledError)), result
        (pool,) = out._pools.values()
        await until(lambda: pool._free + len(pool._idle) == 4)
    await out.close()


async def test_a_slow_reader_stops_the_server_and_memory_stays_bounded(egress):
    sent = 0

    async def serve(reader, writer, number):
        nonlocal sent
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(1000):
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000

    async with Script(serve) as server, asyncio.timeout(30), egress.request("GET", server.url) as response:
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 50_000_000
        assert response._incoming.held < 2_000_000
        size = 0
        async for chunk in response.chunks():
            size += len(chunk)
        assert size == 100_000_000


@pytest.mark.parametrize("when", ["before the head", "in the body"])
async def test_cancelling_the_caller_closes_the_connection(egress, when):
    asked = asyncio.Event()

    async def serve(reader, writer, number):
        await request_of(reader)
        if when == "in the body":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        asked.set()
        await reader.readexactly(1)

    async with Script(serve) as server:
        call = asyncio.create_task(ask(egress, "POST", server.url, body=b"x"))
        await asked.wait()
        await asyncio.sleep(0.02)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: server.ended == 1)


async def test_a_limit_of_connections_makes_calls_wait_no_longer_than_their_own_limit():
    out = Egress(EgressSpec(connections=1))
    await out.open()
    free, asked = asyncio.Event(), asyncio.Event()

    async def serve(reader, writer, number):
        while True:
            await request_of(reader)
            asked.set()
            await free.wait()
            writer.write(OK)

    async with Script(serve) as server:
        first = asyncio.create_task(ask(out, "GET", server.url))
        await asked.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), out.request("GET", server.url):
                pass
        free.set()
        assert await first == (200, b"ok")
        assert await ask(out, "GET", server.url) == (200, b"ok")
        assert server.connections == 1
    await out.close()


async def test_a_large_request_arrives_whole_and_its_connection_is_kept(egress):
    body = bytes(range(256)) * 40_000

    async def serve(reader, writer, number):
        while True:
            _, got = await request_of(reader)
            writer.write(OK if got == body else b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")

    async with Script(serve) as server:
        for _ in range(3):
            assert (await ask(egress, "POST", server.url, body=body))[0] == 200
        assert server.connections == 1


async def test_a_server_that_takes_nothing_of_a_large_request_is_given_up(egress, monkeypatch):
    monkeypatch.setattr("hub.http1.WRITE_TIMEOUT", 0.2)

    async def serve(reader, writer, number):
        reader._transport.pause_reading()
        await asyncio.sleep(60)

    async with Script(serve) as server:
        with pytest.raises(UpstreamTimeout, match="does not take"):
            await ask(egress, "POST", server.url, body=b"x" * 50_000_000)


async def test_a_refusal_in_the_middle_of_a_large_request_is_heard_and_the_connection_closed(egress):
    async def serve(reader, writer, number):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        reader._transport.pause_reading()
        await asyncio.sleep(60)

    async with Script(serve) as server:
        for _ in range(2):
            assert await ask(egress, "POST", server.url, body=b"x" * 50_000_000) == (413, b"no")
        assert server.connections == 2


async def test_a_refusal_is_heard_at_once_even_while_its_body_and_the_request_hang(egress):
    async def serve(reader, writer, number):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nn")
        reader._transport.pause_reading()
        await asyncio.sleep(60)

    async with Script(serve) as server, asyncio.timeout(30), egress.request("POST", server.url, body=b"x" * 50_000_000) as response:
        assert response.status == 413


async def test_an_answer_that_begins_before_the_request_has_ended_is_not_cut_off(egress):
    async def serve(reader, writer, number):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        await reader.readexactly(9_000_000)
        writer.write(b"all of it"[:8])

    async with Script(serve) as server:
        assert await ask(egress, "POST", server.url, body=b"x" * 9_000_000) == (200, b"all of i")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity, gzip"])
async def test_a_coded_answer_is_a_fault_as_none_was_asked_for(egress, coding):
    async with Server(lambda _: answer(gzip.compress(b"x"), Content_Encoding=coding)) as server:
        with pytest.raises(UpstreamFault, match="coding"):
            await fetch(egress, server.url)
        assert b"accept-encoding: identity\r\n" in server.requests[0][0].lower()


@pytest.mark.parametrize("secret", ["a\r\nx: y", "a\0"])
async def test_headers_that_cannot_be_sent_are_a_fault_that_does_not_show_them(egress, secret):
    for headers in ({"authorization": secret}, [("authorization", secret)], Fields({"authorization": secret})):
        with pytest.raises(UpstreamFault) as caught:
            await fetch(egress, "http://127.0.0.1:1/", headers=headers)
        assert secret not in caught.value.message + caught.value.detail


async def test_user_password_and_fragment_never_reach_the_wire(egress):
    async with Server(lambda _: answer(b"")) as server:
        await fetch(egress, f"http://user:secret@127.0.0.1:{server.port}/a?b#frag")
        head = server.requests[0][0]
        assert head.startswith(b"POST /a?b HTTP/1.1\r\n")
        assert not any(word in head.lower() for word in (b"user:", b"secret", b"frag", b"authorization"))
        assert b"host: 127.0.0.1:%d\r\n" % server.port in head.lower()


async def test_the_proxy_of_the_environment_is_not_used(egress, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1/")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    async with Server(lambda _: answer(b"direct")) as server:
        assert await fetch(egress, server.url) == (200, b"direct")


async def test_names_of_headers_compare_without_case(egress):
    async with Server(lambda _: answer(b"", X_ONE="1")) as server, egress.request("GET", server.url) as response:
        assert response.headers["x-One"] == response.headers.get("X-ONE") == "1"
        assert "x-one" in response.headers
        assert response.headers.get("x-two", "") == ""
        assert dict(response.headers) == {"content-length": "0", "x-one": "1"}


# TLS with an authority of our own


class Authority:
    """Issues certificates for tests."""

    def __init__(self, folder):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.certificate = self._sign(self.name, self.key, x509.BasicConstraints(ca=True, path_length=None), 1)
        self.file = folder / "ca.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, subject, key, extension, days, names=None):
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=10))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(extension, critical=True)
        )
        return (builder.add_extension(names, critical=False) if names is not None else builder).sign(self.key, hashes.SHA256())

    def context(self, *names, days=1):
        key = ec.generate_private_key(ec.SECP256R1())
        san = [x509.IPAddress(ipaddress.ip_address(one)) if one[0].isdigit() else x509.DNSName(one) for one in names]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        leaf = self._sign(subject, key, x509.BasicConstraints(ca=False, path_length=None), days, x509.SubjectAlternativeName(san))
        file = self.folder / f"{leaf.serial_number}.pem"
        secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file.write_bytes(leaf.public_bytes(serialization.Encoding.PEM) + secret)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(file)
        self.seen = []
        context.sni_callback = lambda _socket, name, _context: self.seen.append(name)
        return context


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
async def secure(authority):
    out = Egress(EgressSpec(connect_timeout=20.0, ca_file=str(authority.file)), resolver=Names(["127.0.0.1"]))
    await out.open()
    yield out
    await out.close()


async def echo(reader, writer, number):
    while True:
        _, body = await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def test_a_secure_connection_is_checked_named_and_used_again(secure, authority):
    async with Script(echo, ssl=authority.context("good.example")) as server:
        url = f"https://good.example:{server.port}/"
        for body in (b"a", b"b" * 3_000_000, b"c"):
            assert await ask(secure, "POST", url, body=body) == (200, body)
        assert server.connections == 1
        assert authority.seen == ["good.example"]


async def test_a_certificate_for_an_address_is_accepted_for_that_address(secure, authority):
    async with Script(echo, ssl=authority.context("127.0.0.1")) as server:
        assert await ask(secure, "POST", f"https://127.0.0.1:{server.port}/", body=b"a") == (200, b"a")


@pytest.mark.parametrize(("names", "days"), [(["other.example"], 1), (["good.example"], -1), (["127.0.0.1"], 1)])
async def test_a_certificate_for_another_name_or_out_of_date_is_refused(secure, authority, names, days):
    async with Script(echo, ssl=authority.context(*names, days=days)) as server:
        with pytest.raises(UpstreamDown, match="certificate"):
            await ask(secure, "POST", f"https://good.example:{server.port}/", body=b"secret")


async def test_an_authority_that_is_not_trusted_is_refused(egress, authority):
    async with Script(echo, ssl=authority.context("localhost")) as server:
        with pytest.raises(UpstreamDown, match="certificate"):
            await ask(egress, "GET", f"https://localhost:{server.port}/")


async def test_a_server_without_tls_is_down(secure):
    async def serve(reader, writer, number):
        await reader.readexactly(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()

    async with Script(serve) as server:
        with pytest.raises(UpstreamDown, match="secure"):
            await ask(secure, "GET", f"https://good.example:{server.port}/")


async def test_a_server_that_never_finishes_the_handshake_is_given_up_in_time(authority):
    out = Egress(EgressSpec(connect_timeout=0.3, ca_file=str(authority.file)), resolver=Names(["127.0.0.1"]))
    await out.open()

    async def serve(reader, writer, number):
        await reader.readexactly(100_000)

    async with Script(serve) as server:
        with pytest.raises(UpstreamTimeout):
            await ask(out, "GET", f"https://good.example:{server.port}/")
        await until(lambda: server.ended == 1)
    await out.close()


async def test_a_ca_file_that_cannot_be_used_fails_the_opening(tmp_path):
    with pytest.raises(OSError):
        await Egress(EgressSpec(ca_file=str(tmp_path / "none.pem"))).open()


# Beside another client


@pytest.mark.parametrize(
    "reply",
    [
        OK,
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: Chunked\r\n\r\n002;x=y\r\nok\r\n0\r\nA: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length:2  \r\n\r\nok",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 500 Oh\r\nContent-Type: Text/Plain; charset=x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ],
)
async def test_an_answer_is_read_as_another_client_reads_it(egress, reply):
    async def serve(reader, writer, number):
        await request_of(reader)
        for byte in reply:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async with Script(serve) as server, aiohttp.ClientSession() as session:
        async with session.get(server.url) as other:
            expected = other.status, await other.read(), other.headers.get("content-type")
        async with asyncio.timeout(30), egress.request("GET", server.url) as response:
            assert (response.status, await response.read(1000), response.headers.get("content-type")) == expected


async def test_a_real_server_is_spoken_to_in_every_way(egress):
    async def app(scope, receive, send):
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        length = [(b"content-length", b"%d" % len(body))] if scope["path"] == "/length" else []
        status = 204 if scope["path"] == "/none" else 200
        await send({"type": "http.response.start", "status": status, "headers": length})
        await send({"type": "http.response.body", "body": b"" if status == 204 else body})

    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", ws="none"))
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve([listening]))
    await until(lambda: server.started)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    for size in (0, 1, 70_000, 3_000_000):
        body = b"x" * size
        for path in ("/length", "/chunked"):
            assert await ask(egress, "POST", url + path, body=body) == (200, body)
    assert await ask(egress, "POST", url + "/none", body=b"x") == (204, b"")
    assert await ask(egress, "HEAD", url + "/length") == (200, b"")
    assert await asyncio.gather(*(ask(egress, "POST", url + "/length", body=b"%d" % n) for n in range(100))) == [
        (200, b"%d" % n) for n in range(100)
    ]
    await egress.close()
    server.should_exit = True
    await serving
    listening.close()


ALONE = [
    check
    for name, check in list(globals().items())
    if name.startswith("test_") and inspect.iscoroutinefunction(check) and set(inspect.signature(check).parameters) <= {"egress"}
]


@pytest.mark.parametrize("check", ALONE, ids=lambda check: check.__name__)
def test_the_same_holds_in_the_loop_of_the_hub(check):
    """The transports of the two loops differ in what they do at the edges."""

    async def run():
        out = Egress(EgressSpec(connect_timeout=10.0))
        await out.open()
        await check(**({"egress": out} if inspect.signature(check).parameters else {}))
        await out.close()

    uvloop.run(run())
