"""What the hub decides on is what the next reader sees: nothing rides along that another parser would take for something else."""

from typing import Any

import pytest

from tests.support.hub import Hub
from tests.support.mcp import Client, dumps, message, modern_headers, modern_params
from tests.support.wire import Connection, request_bytes


@pytest.mark.parametrize("name", ["Name", "NAME", "Arguments", "argument\u017f", "_Meta", "name\0x", "Uri"])
async def test_a_member_of_another_spelling_is_refused(ann: Client, name: str) -> None:
    answer = await ann.modern("tools/call", {"name": "echo", "arguments": {"text": "fine"}, name: "forget"})
    assert (answer.status, answer.why) == (200, "invalid_params")
    assert "hub-receipt" in answer.headers


async def test_a_progress_token_of_another_spelling_is_refused(ann: Client) -> None:
    answer = await ann.modern("tools/call", {"name": "echo", "arguments": {}}, ProgressToken=7)
    assert answer.why == "invalid_params"


@pytest.mark.parametrize("arguments", [{"TEXT": "secret"}, {"text": "fine", "Text": "secret"}, {"text\0": "secret"}])
async def test_an_argument_that_a_policy_reads_has_one_spelling(ann: Client, arguments: dict[str, Any]) -> None:
    answer = await ann.call("echo", arguments)
    assert answer.why == "denied"
    assert answer.error["data"]["reasons"] == ["policy-error"]


async def test_arguments_that_no_policy_reads_are_free(ann: Client) -> None:
    assert "result" in (await ann.call("echo", {"text": "fine", "other": 1, "Other": 2})).json


def request_of(ann: Client, *headers: tuple[str, str], authorized: bool = True) -> tuple[bytes, bytes]:
    params = modern_params({"name": "echo", "arguments": {}})
    body = dumps(message("tools/call", params))
    own = ann.headers(*modern_headers("tools/call", params), *headers, *(() if authorized else (("authorization", ""),)))
    return request_bytes("POST", ann.path, [*own, ("transfer-encoding", "chunked")], None), body


async def test_trailers_are_not_headers(hub: Hub, ann: Client) -> None:
    head, body = request_of(ann, authorized=False)
    trailers = f"authorization: Bearer {ann.secret}\r\n".encode()
    async with await Connection.open(hub.address) as connection:
        await connection.send(head + b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, trailers))
        assert (await connection.response()).status == 401

    head, body = request_of(ann)
    async with await Connection.open(hub.address) as connection:
        await connection.send(head + b"%x\r\n%b\r\n0\r\nhost: elsewhere.example\r\n\r\n" % (len(body), body))
        assert (await connection.response()).status == 200


async def test_a_body_is_never_read_as_the_next_request(hub: Hub, ann: Client) -> None:
    inner = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
    upgrade = [("connection", "upgrade"), ("upgrade", "anything"), ("content-length", str(len(inner)))]
    async with await Connection.open(hub.address) as connection:
        await connection.send(request_bytes("POST", ann.path, [*ann.headers(), *upgrade], None))
        answer = await connection.response()
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        connection.writer.write(inner)
        assert b"HTTP/1.1 200" not in await connection.reader.read()


@pytest.mark.parametrize("ident", [10**30, {"a": 1}, None, True, 1.5])
async def test_a_cancellation_of_anything_is_taken(ann: Client, ident: Any) -> None:
    session = await ann.session()
    assert (await session.notify("notifications/cancelled", {"requestId": ident})).status == 202
    assert (await session.notify("notifications/cancelled")).status == 202
