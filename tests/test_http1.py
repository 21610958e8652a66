"""One connection: any cut of a valid answer reads the same as with another implementation, and what is not valid is refused."""

import asyncio
import itertools
import socket
import tracemalloc

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub import http1
from hub.http1 import Connection
from hub.http1_head import Fields, Unsendable, parse
from hub.incoming import Broken, Gone

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport in memory: what is written is kept, and closing tells the protocol as a loop would."""

    def __init__(self, connection):
        super().__init__()
        self.connection, self.written, self.ended, self.paused = connection, b"", False, False
        self.sockets = socket.socketpair()
        connection.connection_made(self)

    def get_extra_info(self, name, default=None):
        return self.sockets[0]

    def write(self, data):
        self.written += data

    def get_write_buffer_size(self):
        return 0

    def is_closing(self):
        return self.ended

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False

    def close(self, exc=None):
        if not self.ended:
            self.ended = True
            for one in self.sockets:
                one.close()
            self.connection.connection_lost(exc)

    abort = close


class Talk:
    """A connection on a wire, with an owner that counts."""

    def __init__(self, loop, *, no_body=False):
        self.connection = Connection(loop)
        self.connection.owner = self
        self.wire = Wire(self.connection)
        self.freed = self.gone = 0
        self.incoming = self.connection.begin(REQUEST, b"", no_body=no_body)
        self.body = b""

    def idle(self, connection):
        self.freed += 1

    def lost(self, connection):
        self.gone += 1

    def feed(self, data, cuts=()):
        edges = [0, *sorted(cuts), len(data)]
        for start, end in itertools.pairwise(edges):
            if start < end and not self.wire.ended:
                self.connection.data_received(data[start:end])
                self.body += b"".join(self.incoming.take())
        return self

    def end(self, exc=None):
        self.wire.close(exc)
        self.body += b"".join(self.incoming.take())
        return self


@pytest.fixture
def loop():
    one = asyncio.new_event_loop()
    yield one
    one.close()


LOOP = asyncio.new_event_loop()


def teardown_module():
    LOOP.close()


def talked(data, cuts=(), *, no_body=False, end=True):
    talk = Talk(LOOP, no_body=no_body).feed(data, cuts)
    return talk.end() if end else talk


names = st.sampled_from([b"X-One", b"content-type", b"Set-Cookie", b"x-empty", b"Date", b"keep-alive"])
values = st.from_regex(rb"([!-~]([!-~ \t]{0,20}[!-~])?)?", fullmatch=True)
interim = st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 2])


@st.composite
def answers(draw):
    """(bytes, whether the connection can be used again)."""
    status = draw(st.sampled_from([200, 201, 404, 503, 204, 304]))
    head = draw(interim) + b"HTTP/1.1 %d Some Reason\r\n" % status
    for name, value in draw(st.lists(st.tuples(names, values), max_size=4)):
        head += name + b": " + value + b"\r\n"
    close = draw(st.booleans())
    if close:
        head += b"Connection: close\r\n"
    if status in (204, 304):
        return head + b"\r\n", not close
    parts = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=4))
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    if framing == "length":
        body = b"".join(parts)
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body, not close
    if framing == "close":
        return head + b"\r\n" + b"".join(parts), False
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(part), draw(st.sampled_from([b"", b";a=b"])), part) for part in parts)
    trailer = draw(st.sampled_from([b"", b"X-Trailer: yes\r\n"]))
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + trailer + b"\r\n", not close


def oracle(data):
    """What h11 reads: status, fields, body."""
    peer = h11.Connection(h11.CLIENT)
    peer.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    peer.send(h11.EndOfMessage())
    peer.receive_data(data)
    peer.receive_data(b"")
    status, fields, body = 0, [], b""
    while True:
        event = peer.next_event()
        if isinstance(event, h11.Response):
            status, fields = event.status_code, list(event.headers)
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return status, fields, body


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_cut_of_an_answer_reads_as_another_implementation_reads_it(data):
    text, again = data.draw(answers())
    cuts = range(len(text)) if data.draw(st.booleans()) else data.draw(st.lists(st.integers(0, len(text)), max_size=8))
    talk = talked(text, cuts, end=False)
    assert (talk.freed, talk.incoming.ended) == ((1, True) if again else (0, talk.wire.ended))
    talk.end()
    status, fields, body = oracle(text)
    assert (talk.incoming.status, talk.body, talk.incoming.error) == (status, body, None)
    assert talk.incoming.ended
    for name, value in fields:
        assert value in talk.incoming.fields[name]
    assert talk.gone == 1


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_an_answer_cut_short_is_never_complete(data):
    text, _ = data.draw(answers())
    _, fields, body = oracle(text)
    if any(name in (b"content-length", b"transfer-encoding") for name, _ in fields):
        short = text[: data.draw(st.integers(0, len(text) - 1))]
        talk = talked(short)
        assert not talk.incoming.ended
        assert isinstance(talk.incoming.error, Broken if short else Gone)
        assert talk.freed == 0
        assert body.startswith(talk.body)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
@settings(max_examples=300, deadline=None)
def test_garbage_never_escapes_as_another_error(data, cuts):
    talk = talked(data, [cut for cut in cuts if cut < len(data)])
    assert talk.incoming.ended or isinstance(talk.incoming.error, (Broken, Gone))


BAD = {
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "the same length twice": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "chunks and length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "signed length": b"HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc",
    "huge length": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    "another transfer coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "a transfer coding alone": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    "chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk that is no number": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "a chunk without its end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
    "space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\nabc",
    "a folded field": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "NUL in a field": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
    "bare CR in a field": b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
    "switching": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "an interim answer with a length": b"HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "not HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a request": b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_unclear_framing_is_refused_however_it_arrives(bad, step):
    talk = talked(BAD[bad], range(0, len(BAD[bad]), step))
    assert isinstance(talk.incoming.error, Broken)
    assert not talk.incoming.ended
    assert (talk.freed, talk.gone) == (0, 1)


@pytest.mark.parametrize("status", [b"200 OK", b"404 Not Found"])
@pytest.mark.parametrize("framing", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""])
def test_the_answer_to_head_has_no_body_whatever_its_fields_say(status, framing):
    talk = talked(b"HTTP/1.1 " + status + b"\r\n" + framing + b"\r\n", no_body=True, end=False)
    assert talk.incoming.ended
    assert talk.incoming.status == int(status[:3])
    assert (talk.body, talk.freed, talk.gone) == (b"", 0, 1)


def test_a_304_with_a_length_has_no_body():
    talk = talked(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", end=False)
    assert talk.incoming.ended
    assert talk.body == b""
    assert talk.freed == 0


EXTRA = [b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison", b"HT", b"garbage", b"\x00"]


@pytest.mark.parametrize("extra", EXTRA)
@pytest.mark.parametrize("first", [b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"])
def test_more_than_the_answer_closes_the_connection_and_is_nobodys(extra, first):
    talk = talked(b"HTTP/1.1 200 OK\r\n" + first + extra, end=False)
    assert (talk.body, talk.incoming.ended, talk.incoming.error) == (b"abc", True, None)
    assert (talk.freed, talk.gone) == (0, 1)


def test_what_arrives_while_nothing_is_asked_closes_the_connection(loop):
    talk = Talk(loop).feed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert talk.freed == 1
    talk.connection.data_received(b"\r\n")
    assert talk.wire.ended
    with pytest.raises(Gone):
        talk.connection.begin(REQUEST, b"")


def test_a_slow_reader_keeps_his_own_answer_while_the_connection_carries_the_next(loop):
    talk = Talk(loop)
    talk.connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")
    second = talk.connection.begin(REQUEST, b"")
    talk.connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsec")
    assert talk.incoming.take() == [b"first"]
    talk.incoming.drop()
    talk.incoming.spare(0)
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    assert not talk.wire.ended
    talk.connection.data_received(b"ond")
    assert b"".join(second.take()) == b"second"
    talk.end()


@pytest.mark.parametrize("step", [1, 1000, 200_000])
def test_an_endless_head_is_refused_early(step):
    talk = Talk(LOOP)
    sent = 0
    data = b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 200_000
    while not talk.wire.ended and sent < len(data):
        talk.connection.data_received(data[sent : sent + step])
        sent += step
    talk.end()
    assert isinstance(talk.incoming.error, Broken)
    assert sent <= http1.MAX_HEAD + step


ENDLESS = {
    "fields": (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n"),
    "one trailer": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na: ", b"bbbbbbbb"),
    "a chunk's extension": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"bbbbbbbb"),
}


@pytest.mark.parametrize("endless", ENDLESS)
def test_what_never_becomes_content_is_refused_and_takes_little_memory(endless):
    first, then = ENDLESS[endless]
    talk = Talk(LOOP).feed(first)
    tracemalloc.start()
    for _ in range(100_000 // len(then)):
        if not talk.wire.ended:
            talk.connection.data_received(then)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(talk.incoming.error, Broken)
    assert peak < 1_000_000
    talk.end()


def test_reading_stops_while_the_reader_is_behind_and_goes_on_when_he_has_taken(loop):
    talk = Talk(loop)
    talk.connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (http1.HIGH * 2))
    talk.connection.data_received(b"x" * (http1.HIGH + 1))
    assert talk.wire.paused
    assert sum(map(len, talk.incoming.take())) == http1.HIGH + 1
    assert not talk.wire.paused
    talk.connection.data_received(b"x" * (http1.HIGH - 1))
    assert talk.incoming.ended
    assert talk.freed == 1
    talk.end()


def test_an_unwanted_rest_that_is_too_long_closes_the_connection(loop):
    talk = Talk(loop).feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    talk.incoming.spare(60)
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    for _ in range(5):
        if not talk.wire.ended:
            talk.connection.data_received(chunk)
    assert talk.wire.ended
    assert talk.incoming.take() == []
    talk.end()


def test_a_body_that_ends_with_the_connection_is_broken_by_an_error():
    talk = Talk(LOOP).feed(b"HTTP/1.1 200 OK\r\n\r\nhalf").end(ConnectionResetError())
    assert isinstance(talk.incoming.error, Broken)
    assert not talk.incoming.ended


# What is sent

BAD_FIELDS = [
    ("x", "a\r\nb: c"), ("x", "a\nb"), ("x", "a\rb"), ("x", "a\0b"), ("x", "\x7f"), ("x\r\ny", "a"), ("x y", "a"), ("", "a"), ("x:", "a"),
    ("ü", "a"), ("x", "\ud800"), ("Content-Length", "5"), ("transfer-encoding", "chunked"), ("Connection", "close"), ("Upgrade", "h2c"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD_FIELDS)
def test_fields_that_would_change_the_message_are_refused(name, value):
    for fields in (Fields({name: value}), Fields().plus([(name, value)]), Fields([(name, value)]).plus({"a": "b"})):
        with pytest.raises(Unsendable) as caught:
            fields.head("POST", parse("http://x/"), 0)
        assert "a\r" not in caught.value.detail


@given(st.text(max_size=30), st.text(max_size=30))
@settings(max_examples=300, deadline=None)
def test_no_field_makes_more_than_one_line(name, value):
    try:
        head = Fields().plus([(name, value)]).head("GET", parse("http://x/"), 0)
    except Unsendable:
        return
    replaced = name.lower() in ("host", "user-agent", "accept-encoding")
    assert head.count(b"\r\n") == head.count(b"\n") == head.count(b"\r") == 6 - replaced
    assert b"\0" not in head


def test_later_fields_take_the_place_of_earlier_and_of_the_hubs_own():
    fields = Fields({"Accept": "a", "X": "1"}).plus({"accept": "b", "User-Agent": "me", "Host": "other"})
    head = fields.head("GET", parse("http://x/"), 0).lower()
    assert b"accept: b\r\n" in head
    assert head.count(b"\r\naccept: ") == head.count(b"user-agent") == head.count(b"host:") == 1
    assert b"x: 1\r\n" in head


def test_a_head_is_made_anew_for_another_method_target_or_length():
    fields, one, two = Fields(), parse("http://one/a"), parse("http://two/b")
    assert fields.head("POST", one, 5).startswith(b"POST /a HTTP/1.1\r\nhost: one\r\n")
    assert fields.head("POST", two, 6).startswith(b"POST /b HTTP/1.1\r\nhost: two\r\n")
    assert fields.head("POST", one, 7).endswith(b"content-length: 7\r\n\r\n")
    assert b"content-length" not in fields.head("GET", one, 0)
    assert fields.head("POST", one, 0).endswith(b"content-length: 0\r\n\r\n")
    with pytest.raises(Unsendable):
        fields.head("GET / HTTP/1.1\r\nx: y\r\n\r\nGET", one, 0)


URLS = {
    "http://h": ("h", 80, b" / HTTP/1.1", b"h"),
    "https://h": ("h", 443, b" / HTTP/1.1", b"h"),
    "http://H.Example:80/a": ("h.example", 80, b" /a HTTP/1.1", b"h.example"),
    "https://h:80/": ("h", 80, b" / HTTP/1.1", b"h:80"),
    "http://h:8080?q=1": ("h", 8080, b" /?q=1 HTTP/1.1", b"h:8080"),
    "http://[::1]:81/x": ("::1", 81, b" /x HTTP/1.1", b"[::1]:81"),
    "http://[fe80::1%eth0]/": ("fe80::1%eth0", 80, b" / HTTP/1.1", b"[fe80::1]"),
    "http://u:p@h/x?y=a%20b&z=%zz#frag": ("h", 80, b" /x?y=a%20b&z=%zz HTTP/1.1", b"h"),
    "http://h/ä b": ("h", 80, b" /%C3%A4%20b HTTP/1.1", b"h"),
    "http://bücher.example/": ("xn--bcher-kva.example", 80, b" / HTTP/1.1", b"xn--bcher-kva.example"),
    "http://h/a\x01\x7f": ("h", 80, b" /a%01%7F HTTP/1.1", b"h"),
}


@pytest.mark.parametrize("url", URLS)
def test_a_url_gives_host_port_and_line(url):
    host, port, line, shown = URLS[url]
    target = parse(url)
    assert (target.host, target.port) == (host, port)
    assert target.line == line + b"\r\n"
    assert target.authority == b"host: " + shown + b"\r\n"
    assert target.credentials == ("@" in url)


BAD_URLS = ["", "h", "//h/", "ftp://h/", "file:///etc/passwd", "http://", "http:///x", "http://h:0/", "http://h:99999/", "http://h:x/",
            "http://a b/", "http://[::1/", "http://[v1.a]/", "http://h\\x/", "http://h%20/", "http://" + "a" * 300 + "/", "http://ü\ud800/"]  # fmt: skip


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_url_that_cannot_be_used_is_refused(url):
    with pytest.raises(Unsendable):
        parse(url)


@given(st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_nothing_of_a_url_can_add_a_line(text):
    for url in (f"http://h/{text}", f"http://{text}/", f"http://h/?{text}", text):
        try:
            target = parse(url)
        except Unsendable:
            continue
        head = Fields().head("GET", target, 0)
        assert head.count(b"\n") == head.count(b"\r\n") == 5
        assert head.split(b"\r\n")[0].count(b" ") == 2
        assert head.isascii()
