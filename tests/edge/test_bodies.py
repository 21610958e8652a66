"""What is no request gets a typed refusal, in both eras alike, and one record each."""

from typing import Any

import pytest

from tests.support.hub import Hub
from tests.support.journal import of_call, receipt_stands
from tests.support.mcp import Client, Session, dumps, message, modern_headers, modern_params

PARSE, REQUEST = -32700, -32600


def nested(depth: int) -> bytes:
    inner = b"[" * (depth - 3) + b"]" * (depth - 3)  # the request, its params and their arguments are three levels themselves
    return b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"meta","arguments":{"text":' + inner + b"}}}"


UNREADABLE: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", PARSE),
    "blank": (b" \r\n ", PARSE),
    "cut off": (b'{"jsonrpc":"2.0","id":1,"meth', PARSE),
    "two texts": (b'{"jsonrpc":"2.0","id":1,"method":"ping"}{}', PARSE),
    "single quotes": (b"{'jsonrpc':'2.0'}", PARSE),
    "trailing comma": (b'{"jsonrpc":"2.0","id":1,"method":"ping",}', PARSE),
    "not a number": (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":NaN}}', PARSE),
    "infinity": (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":-Infinity}}', PARSE),
    "invalid utf-8": (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"\xff\xfe"}}', PARSE),
    "overlong utf-8": (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"\xc0\xaf"}}', PARSE),
    "utf-16": ('{"jsonrpc":"2.0","id":1,"method":"ping"}'.encode("utf-16"), PARSE),
    "control character": (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"\x01"}}', PARSE),
    "byte order mark": (b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"ping"}', PARSE),
    "a number": (b"1", REQUEST),
    "a string": (b'"ping"', REQUEST),
    "null": (b"null", REQUEST),
    "empty object": (b"{}", REQUEST),
    "no version": (b'{"id":1,"method":"ping"}', REQUEST),
    "old version": (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', REQUEST),
    "version as number": (b'{"jsonrpc":2.0,"id":1,"method":"ping"}', REQUEST),
    "no method": (b'{"jsonrpc":"2.0","id":1}', REQUEST),
    "method as number": (b'{"jsonrpc":"2.0","id":1,"method":7}', REQUEST),
    "method null": (b'{"jsonrpc":"2.0","id":1,"method":null}', REQUEST),
    "params as list": (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}', REQUEST),
    "params as string": (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}', REQUEST),
    "params null": (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":null}', REQUEST),
    "id null": (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', REQUEST),
    "id true": (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', REQUEST),
    "id with fraction": (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', REQUEST),
    "id as list": (b'{"jsonrpc":"2.0","id":[1],"method":"ping"}', REQUEST),
    "id too long": (dumps(message("ping", None, "x" * 300)), REQUEST),
    "request and response": (b'{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}', REQUEST),
    "a response": (b'{"jsonrpc":"2.0","id":1,"result":{}}', REQUEST),
    "key twice": (b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}', REQUEST),
    "key twice, escaped": (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"name":1,"n\\u0061me":2}}', REQUEST),
    "key twice, deep": (
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"a":[{"b":1,"b":2}]}}}',
        REQUEST,
    ),
    "half a pair": (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"\\ud800"}}', REQUEST),
    "number too large": (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":1e999}}', REQUEST),
    "too many digits": (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":' + b"9" * 5000 + b"}}", REQUEST),
    "too deep": (nested(65), REQUEST),
    "far too deep": (nested(20_000), REQUEST),
    "objects too deep": (b'{"a":' * 5000 + b"1" + b"}" * 5000, REQUEST),
}


@pytest.mark.parametrize("name", UNREADABLE)
async def test_what_cannot_be_read_is_refused_in_the_newer_era_and_recorded_once(hub: Hub, ann: Client, name: str) -> None:
    body, code = UNREADABLE[name]
    answer = await ann.raw(body, *modern_headers("ping", {}))
    assert (answer.status, answer.code, answer.json["id"]) == (400, code, None)
    (record,) = of_call(hub.database, answer)
    assert record["outcome"]["status"] == "refused"
    assert receipt_stands(hub.database, answer.headers["hub-receipt"]) == record


@pytest.fixture
async def session(ann: Client) -> Session:
    return await ann.session()


async def test_what_cannot_be_read_is_refused_in_the_older_era(session: Session) -> None:
    for name, (body, code) in UNREADABLE.items():
        answer = await session.raw(body)
        assert (name, answer.status, answer.code) == (name, 400, code)


async def test_a_body_at_the_limits_is_read(session: Session) -> None:
    assert (await session.raw(nested(64))).result["content"][0]["text"] == "with _meta"
    assert (await session.request("ping", None, ident="x" * 254)).result == {}
    assert (await session.request("ping", {"big": 2**80})).result == {}


@pytest.mark.parametrize("ident", [0, -1, 2**53, 2**70, "", "a b", 'q"\\', "ünï", "\u2028", "7"])
async def test_an_id_comes_back_as_it_was_sent(session: Session, ann: Client, ident: Any) -> None:
    older = await session.call("echo", {"text": "x"}, ident=ident)
    newer = await ann.modern("tools/call", {"name": "echo", "arguments": {"text": "x"}}, ident=ident)
    listed = await ann.modern("tools/list", ident=ident)
    for answer in (older, newer, listed):
        assert answer.json["id"] == ident
        assert type(answer.json["id"]) is type(ident)


async def test_text_that_json_can_hold_goes_through_unharmed(ann: Client) -> None:
    text = 'tab\t quote" back\\ nul\u0000 line\u2028 \U0001f600 \x7f </script>'
    answer = await ann.call("echo", {"text": text})
    assert answer.result["content"][0]["text"] == text


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({}, "name"),
        ({"name": 7}, "name"),
        ({"name": None}, "name"),
        ({"name": "echo", "arguments": []}, "arguments"),
        ({"name": "echo", "arguments": "x"}, "arguments"),
        ({"name": "echo", "arguments": None}, "arguments"),
        ({"name": "add", "arguments": {}}, "a"),
        ({"name": "add", "arguments": {"a": 1, "b": "2"}}, "b"),
        ({"name": "count", "arguments": {"steps": 1.5}}, "steps"),
        ({"name": "nothing"}, "nothing"),
        ({"name": "", "arguments": {}}, "unknown"),
    ],
)
async def test_arguments_that_do_not_fit_are_refused_before_anything_is_sent(session: Session, params: dict[str, Any], says: str) -> None:
    answer = await session.request("tools/call", params)
    assert (answer.status, answer.code) == (200, -32602)
    assert says in answer.error["message"]
    (record,) = of_call(session.client.hub.database, answer)
    assert record["outcome"] == {"status": "refused", "code": "invalid_params", "us": record["outcome"]["us"]}


@pytest.mark.parametrize("arguments", [{}, {"text": 7}, {"text": ["secret"]}])
async def test_arguments_a_policy_cannot_judge_are_denied(session: Session, arguments: dict[str, Any]) -> None:
    answer = await session.call("echo", arguments)
    assert (answer.status, answer.code, answer.why) == (200, -31403, "denied")


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("prompts/get", {"name": "nobody"}),
        ("prompts/get", {"name": "greet", "arguments": {"who": 7}}),
        ("prompts/get", {"name": "greet", "arguments": ["x"]}),
        ("prompts/get", {}),
        ("resources/read", {"uri": "note://none"}),
        ("resources/read", {"uri": 7}),
        ("resources/read", {}),
        ("tools/list", {"cursor": 7}),
        ("tools/list", {"cursor": "of somebody else"}),
        ("prompts/list", {"cursor": ""}),
        ("tools/list", {"_meta": []}),
    ],
)
async def test_parameters_of_other_methods_are_checked_alike(session: Session, method: str, params: dict[str, Any]) -> None:
    answer = await session.request(method, params)
    assert (answer.status, answer.code) == (200, -32602)


async def test_meta_that_is_no_object_is_refused_in_the_newer_era(ann: Client) -> None:
    body = dumps(message("tools/list", {"_meta": "x"}))
    answer = await ann.raw(body, *modern_headers("tools/list", {}))
    assert (answer.status, answer.code) == (400, -32602)


async def test_a_cursor_of_one_list_is_refused_by_another(ann: Client) -> None:
    answer = await ann.modern("prompts/list", modern_params({"cursor": "AAAA"}))
    assert answer.code == -32602
