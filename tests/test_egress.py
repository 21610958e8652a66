"""The way out: bounds, what went wrong as a type, and destinations that must be public."""

import asyncio
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.config.model import Egress as EgressSpec
from hub.egress import Egress, is_public
from hub.refusal import UpstreamDown, UpstreamFault


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
    out = Egress(EgressSpec(connect_timeout=2.0))
    await out.open()
    yield out
    await out.close()


async def fetch(out, url, limit=1000, **options):
    async with asyncio.timeout(5), out.request("POST", url, body=b"{}", **options) as response:
        return response.status, await response.read(limit)


async def test_connections_are_used_again(egress):
    async with Server(lambda _: answer(b"yes")) as server:
        for _ in range(5):
            assert await fetch(egress, server.url) == (200, b"yes")
        assert server.connections == 1


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
        async with asyncio.timeout(5), egress.request("GET", url, public_only=True):
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


async def test_operator_destinations_are_not_checked(egress):
    async with Server(lambda _: answer(b"inside")) as server:
        assert await fetch(egress, server.url.replace("127.0.0.1", "localhost")) == (200, b"inside")


async def test_a_request_before_open_is_refused():
    with pytest.raises(UpstreamDown):
        Egress(EgressSpec()).request("GET", "http://127.0.0.1/")
