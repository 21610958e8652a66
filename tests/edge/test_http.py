"""The HTTP side of the edge: media types, sizes, times, hosts, credentials, doors."""

import asyncio
import contextlib
import re

import pytest

from tests.support.hub import Hub
from tests.support.mcp import Client, dumps, message, modern_headers, modern_params
from tests.support.wire import Connection, Response, request_bytes, send

LIST = dumps(message("tools/list", modern_params(), 1))
MODERN = modern_headers("tools/list", {})


async def listed(client: Client, *more: tuple[str, str], path: str = "") -> Response:
    return await client.raw(LIST, *MODERN, *more, path=path)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "", "application/jsonl", "multipart/form-data; boundary=application/json"]
)
async def test_a_body_that_is_not_declared_json_is_415(ann: Client, kind: str) -> None:
    answer = await listed(ann, ("content-type", kind))
    assert (answer.status, answer.code, answer.why) == (415, -31415, "wrong_media_type")


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/json ;x=y"])
async def test_json_is_recognised_however_it_is_spelled(ann: Client, kind: str) -> None:
    assert (await listed(ann, ("content-type", kind))).status == 200


@pytest.mark.parametrize("accept", ["text/html", "text/event-stream", "image/*"])
async def test_a_client_that_takes_no_json_gets_406(ann: Client, accept: str) -> None:
    answer = await listed(ann, ("accept", accept))
    assert (answer.status, answer.code, answer.why) == (406, -31406, "not_acceptable")


@pytest.mark.parametrize("accept", ["", "*/*", "application/*", "application/json", "text/event-stream, application/json;q=0.1"])
async def test_a_client_that_takes_json_is_served(ann: Client, accept: str) -> None:
    assert (await listed(ann, ("accept", accept))).status == 200


async def test_a_body_declared_larger_than_allowed_is_413_before_it_is_sent(ann: Client) -> None:
    head = request_bytes("POST", ann.path, ann.headers(*MODERN, ("content-length", "70000")), b"")
    answer = await send(ann.hub.address, head)
    assert (answer.status, answer.code, answer.why) == (413, -31413, "too_large")


async def test_a_body_that_grows_larger_than_allowed_is_413(ann: Client) -> None:
    async with await Connection.open(ann.hub.address) as connection:
        await connection.send(request_bytes("POST", ann.path, ann.headers(*MODERN, ("transfer-encoding", "chunked")), b""))
        for _ in range(9):
            await connection.send(b"2000\r\n" + b" " * 0x2000 + b"\r\n")
        answer = await connection.response()
        assert (answer.status, answer.why) == (413, "too_large")


async def test_a_body_of_exactly_the_limit_is_read(ann: Client) -> None:
    assert (await ann.raw(LIST + b" " * (65536 - len(LIST)), *MODERN)).status == 200
    assert (await ann.raw(LIST + b" " * (65537 - len(LIST)), *MODERN)).status == 413


async def trickle(connection: Connection) -> None:
    """Each byte comes in time; the head never ends."""
    with contextlib.suppress(ConnectionError):
        while True:
            await connection.send(b"x-slow: 1\r\n")
            await asyncio.sleep(0.05)


async def test_headers_that_come_too_slowly_end_the_connection(ann: Client) -> None:
    async with await Connection.open(ann.hub.address) as connection:
        await connection.send(b"POST /mcp/main HTTP/1.1\r\nhost: 127.0.0.1\r\n")
        trickling = asyncio.create_task(trickle(connection))
        answer = await connection.response()
        assert (answer.status, answer.code, answer.why) == (408, -31408, "request_timeout")
        await asyncio.wait_for(trickling, 30)  # it ends when the hub has closed


async def test_a_connection_on_which_nothing_comes_is_closed(ann: Client) -> None:
    async with await Connection.open(ann.hub.address) as connection:
        assert await asyncio.wait_for(connection.reader.read(), 30) == b""


async def test_slow_headers_on_a_connection_used_before_end_it_too(ann: Client) -> None:
    async with await Connection.open(ann.hub.address) as connection:
        await connection.send(ann.wire(LIST, *MODERN))
        assert (await connection.response()).status == 200
        await connection.send(b"POST /mcp/main HTT")
        assert (await connection.response()).status == 408


async def test_a_body_that_comes_too_slowly_is_408(ann: Client) -> None:
    async with await Connection.open(ann.hub.address) as connection:
        await connection.send(request_bytes("POST", ann.path, ann.headers(*MODERN, ("content-length", "100")), b'{"json'))
        answer = await connection.response()
        assert (answer.status, answer.code, answer.why) == (408, -31408, "request_timeout")


async def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_no_trace(hub: Hub, ann: Client) -> None:
    for _ in range(5):
        connection = await Connection.open(hub.address)
        await connection.send(request_bytes("POST", ann.path, ann.headers(*MODERN, ("content-length", "100")), b'{"json'))
        await connection.close()
    assert (await listed(ann)).status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40,
        b"GET\r\n\r\n",
        b"POST /mcp/main HTTP/9.9\r\n\r\n",
        b"POST /mcp/main HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: x\r\n\r\n",
        b"POST /mcp/main HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST /mcp/main HTTP/1.1\r\nhost: 127.0.0.1\r\nbad header\r\n\r\n",
        b"POST /mcp/main HTTP/1.1\r\nhost: 127.0.0.1\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",
        b"POST /mcp/" + b"m" * 70_000 + b" HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    ],
)
async def test_what_is_not_http_gets_a_400_of_the_hubs_own_shape(hub: Hub, data: bytes) -> None:
    answer = await send(hub.address, data)
    assert answer.status in (400, 401)  # a body that breaks only after a good head meets the missing key first
    assert answer.code in (-32600, -31401)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "OPTIONS", "TRACE"])
async def test_other_methods_are_405_and_say_what_is_allowed(ann: Client, method: str) -> None:
    connection, status, headers = await ann.stream(b"", method=method)
    assert (status, headers["allow"]) == (405, "POST, GET, DELETE")
    await connection.close()


HOSTS = {
    "127.0.0.1": 200,
    "127.0.0.1:9": 200,
    "localhost": 200,
    "LOCALHOST:80": 200,
    "[::1]:8080": 200,
    "hub.example": 200,
    "hub.example:443": 200,
    "evil.example": 403,
    "127.0.0.1.evil.example": 403,
    "localhost.evil.example:80": 403,
    "": 403,
    "hub.example, evil.example": 403,
    "evil.example#localhost": 403,
    "user@localhost": 403,
}


@pytest.mark.parametrize("host", HOSTS)
async def test_only_the_hubs_own_hosts_are_served(ann: Client, host: str) -> None:
    headers = [("host", host), *(pair for pair in ann.headers(*MODERN) if pair[0] != "host")]
    answer = await send(ann.hub.address, request_bytes("POST", ann.path, headers, LIST))
    assert answer.status == HOSTS[host]
    if answer.status == 403:
        assert (answer.code, answer.why) == (-31403, "host_refused")


async def test_a_request_without_or_with_two_hosts_is_refused(ann: Client) -> None:
    for hosts in ([], [("host", "localhost"), ("host", "127.0.0.1")]):
        headers = [*hosts, *(pair for pair in ann.headers(*MODERN) if pair[0] != "host")]
        assert (await send(ann.hub.address, request_bytes("POST", ann.path, headers, LIST))).status in (400, 403)


ORIGINS = {
    "http://localhost": 200,
    "http://localhost:6274": 200,
    "http://127.0.0.1:3000": 200,
    "https://hub.example": 200,
    "http://evil.example": 403,
    "https://localhost.evil.example": 403,
    "null": 403,
    "file://": 403,
    "chrome-extension://localhost": 403,
    "http://[": 403,
}


@pytest.mark.parametrize("origin", ORIGINS)
async def test_only_pages_of_the_hubs_own_hosts_reach_it(ann: Client, origin: str) -> None:
    assert (await listed(ann, ("origin", origin))).status == ORIGINS[origin]


def shape(answer: Response) -> tuple[int, bytes, dict[str, str]]:
    """What a client sees, but for what names the request itself."""
    return answer.status, answer.body, {k: v for k, v in answer.headers.items() if k not in ("date", "x-request-id", "hub-receipt")}


async def test_absent_unknown_expired_and_mangled_keys_look_the_same(hub: Hub) -> None:
    good = hub.keys["ann"]
    mangled = good[:-1] + ("0" if good[-1] != "0" else "1")
    wrong = ["", "nonsense", mangled, good[:30], hub.keys["old"], "hub_" + "0" * 12 + "_" + "0" * 49, "ü", good + " " + good]
    answers = [await listed(Client(hub, key), *([] if key else [("authorization", "")])) for key in wrong]
    assert {answer.status for answer in answers} == {401}
    assert len({repr(shape(answer)) for answer in answers}) == 1
    assert answers[0].headers["www-authenticate"] == 'Bearer realm="hub"'
    assert (answers[0].code, answers[0].why) == (-31401, "unauthenticated")
    assert all("hub-receipt" not in answer.headers for answer in answers)


async def test_a_key_is_checked_before_the_body_is_read(hub: Hub) -> None:
    stranger = Client(hub, "nobody")
    head = request_bytes("POST", stranger.path, stranger.headers(("content-length", "1000000")), b"")
    assert (await send(hub.address, head)).status == 401


@pytest.mark.parametrize("name", ["x-api-key", "hub-key"])
async def test_a_key_may_come_in_other_headers(ann: Client, name: str) -> None:
    assert (await listed(ann, ("authorization", ""), (name, ann.secret))).status == 200
    assert (await listed(ann, (name, ann.secret))).status == 200  # the same one twice is no guess


@pytest.mark.parametrize("name", ["x-api-key", "hub-key"])
async def test_two_different_credentials_are_refused_even_if_one_is_good(hub: Hub, ann: Client, name: str) -> None:
    for other in (hub.keys["ben"], "nonsense"):
        answer = await listed(ann, (name, other))
        assert (answer.status, answer.code, answer.why) == (400, -32600, "invalid_request")
        assert other not in answer.body.decode()


async def test_a_header_that_must_be_single_is_refused_when_it_comes_twice(ann: Client) -> None:
    for name, value in (("authorization", f"Bearer {ann.secret}"), ("mcp-method", "tools/list"), ("content-type", "application/json")):
        headers = [*ann.headers(*MODERN), (name, value)]
        answer = await send(ann.hub.address, request_bytes("POST", ann.path, headers, LIST))
        assert (answer.status, answer.why) == (400, "invalid_request")


async def test_a_door_of_another_organisation_looks_like_none(hub: Hub, ann: Client) -> None:
    eve = Client(hub, "eve")
    closed = await listed(eve)
    none = await listed(eve, path="/mcp/nothing")
    assert closed.status == 404
    assert shape(closed) == shape(none)
    assert (closed.code, closed.why) == (-31404, "not_found")
    assert (await listed(ann)).status == 200


async def test_a_door_without_a_grant_looks_like_none(hub: Hub) -> None:
    dan = Client(hub, "dan", "other")
    assert (await listed(dan)).status == 200
    assert shape(await listed(dan, path="/mcp/main")) == shape(await listed(dan, path="/mcp/nothing"))


async def test_the_older_era_hides_doors_alike(hub: Hub) -> None:
    eve = Client(hub, "eve")
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    body = dumps(message("initialize", params, 1))
    assert shape(await eve.raw(body)) == shape(await eve.raw(body, path="/mcp/nothing"))


@pytest.mark.parametrize("path", ["/mcp/", "/mcp/main/extra", "/mcp/%2e%2e", "/mcp/MAIN", "/mcp/" + "a" * 5000, "/mcp/ma%00in", "/mcp/%ff"])
async def test_an_odd_path_is_404(ann: Client, path: str) -> None:
    assert (await listed(ann, path=path)).status == 404


async def test_a_slash_at_the_end_and_a_query_do_no_harm(ann: Client) -> None:
    assert (await listed(ann, path="/mcp/main/")).status == 200
    assert (await listed(ann, path="/mcp/main?x=1")).status == 200


async def test_every_answer_names_its_request_and_no_server(ann: Client) -> None:
    answers = [await listed(ann), await ann.raw(b"{"), await listed(Client(ann.hub, "nobody")), await listed(ann, ("host", "evil.example"))]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 4
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", ident) for ident in ids)
    assert all("server" not in answer.headers for answer in answers)


async def test_requests_pipelined_on_one_connection_are_answered_in_order(ann: Client) -> None:
    async with await Connection.open(ann.hub.address) as connection:
        wanted = [f"r{i}" for i in range(20)]
        await connection.send(b"".join(ann.wire(dumps(message("tools/list", modern_params(), ident)), *MODERN) for ident in wanted))
        assert [(await connection.response()).json["id"] for _ in wanted] == wanted


async def test_operators_routes_need_the_role(hub: Hub) -> None:
    for path in ("/metrics", "/admin/v1/status", "/admin/v1/keys"):
        for key, status in (("ann", 403), ("nobody", 401), ("root", 200)):
            client = Client(hub, key)
            answer = await client.raw(b"", method="GET", path=path)
            assert (path, key, answer.status) == (path, key, status)
    assert (await Client(hub, "nobody").raw(b"", method="GET", path="/health")).status == 200
