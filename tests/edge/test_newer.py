"""The newer era at the edge: what every request must carry, and that headers and body agree."""

from typing import Any

import pytest

from tests.support.mcp import CAPABILITIES, MODERN, VERSION, Client, dumps, header_value, message, modern_headers, modern_params

CALL = {"name": "echo", "arguments": {"text": "x"}}
META = {VERSION: MODERN, CAPABILITIES: {}}
HEADERS = {"mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": "echo"}


async def sent(client: Client, meta: Any, headers: dict[str, str], method: str = "tools/call", params: dict[str, Any] | None = None) -> Any:
    params = CALL if params is None else params
    return await client.raw(dumps(message(method, {**params, "_meta": meta} if meta is not None else params)), *headers.items())


async def test_a_complete_request_is_served_without_any_session(ann: Client) -> None:
    answer = await sent(ann, META, HEADERS)
    assert answer.status == 200
    assert answer.result["resultType"] == "complete"
    assert "mcp-session-id" not in answer.headers


@pytest.mark.parametrize("meta", [None, {}, {VERSION: MODERN}, {CAPABILITIES: {}}])
async def test_missing_fields_are_400_and_named(ann: Client, meta: Any) -> None:
    answer = await sent(ann, meta, HEADERS)
    assert (answer.status, answer.code) == (400, -32602)
    assert all(key in answer.error["message"] for key in (VERSION, CAPABILITIES) if key not in (meta or {}))


@pytest.mark.parametrize("capabilities", [None, [], "x", 1])
async def test_capabilities_that_are_no_object_are_400(ann: Client, capabilities: Any) -> None:
    answer = await sent(ann, {VERSION: MODERN, CAPABILITIES: capabilities}, HEADERS)
    assert (answer.status, answer.code) == (400, -32602)


@pytest.mark.parametrize("version", ["2030-01-01", "", "DRAFT", "2026-07-29"])
async def test_an_unsupported_version_is_400_with_the_versions_there_are(ann: Client, version: str) -> None:
    answer = await sent(ann, {VERSION: version, CAPABILITIES: {}}, {**HEADERS, "mcp-protocol-version": version or " "})
    if version:
        assert (answer.status, answer.code, answer.why) == (400, -32022, "unsupported_version")
        assert answer.error["data"]["requested"] == version
        assert MODERN in answer.error["data"]["supported"]
    else:
        assert answer.status == 400


@pytest.mark.parametrize(
    "change",
    [
        {"mcp-protocol-version": "2030-01-01"},
        {"mcp-protocol-version": ""},
        {"mcp-method": "tools/list"},
        {"mcp-method": "TOOLS/CALL"},
        {"mcp-method": ""},
        {"mcp-name": "add"},
        {"mcp-name": ""},
        {"mcp-name": "=?base64?YWRk?="},
        {"mcp-name": "=?base64?ZWNobw?="},
        {"mcp-name": "=?base64?ZWNob!==?="},
        {"mcp-name": "=?base64?ZWNobx==?="},
        {"mcp-name": "=?BASE64?ZWNobw==?="},
        {"mcp-name": "=?base64?/////w==?="},
    ],
)
async def test_headers_and_body_that_disagree_are_400(ann: Client, change: dict[str, str]) -> None:
    answer = await sent(ann, META, {**HEADERS, **change})
    assert (answer.status, answer.code, answer.why) == (400, -32020, "header_mismatch")


async def test_a_name_may_come_in_its_base64_form(ann: Client) -> None:
    assert (await sent(ann, META, {**HEADERS, "mcp-name": "=?base64?ZWNobw==?="})).status == 200


async def test_a_name_that_no_header_can_hold_is_compared_in_its_base64_form(ann: Client) -> None:
    params = {"uri": "page://ünï €"}
    headers = {"mcp-protocol-version": MODERN, "mcp-method": "resources/read", "mcp-name": header_value(params["uri"])}
    assert headers["mcp-name"].startswith("=?base64?")
    answer = await sent(ann, META, headers, "resources/read", params)
    assert answer.code == -32602 if "error" in answer.json else answer.status == 200
    assert answer.json.get("error", {}).get("code") != -32020


@pytest.mark.parametrize("method", ["nonsense", "ping", "initialize", "logging/setLevel", "resources/subscribe", "completion/complete"])
async def test_an_unknown_method_is_404(ann: Client, method: str) -> None:
    answer = await ann.modern(method)
    assert (answer.status, answer.code, answer.why) == (404, -32601, "method_not_found")


async def test_discover_says_what_the_virtual_server_offers(ann: Client) -> None:
    result = (await ann.modern("server/discover")).result
    assert result["supportedVersions"] == [MODERN]
    assert result["capabilities"]["tools"] == {"listChanged": True}
    assert (result["resultType"], result["cacheScope"]) == ("complete", "private")
    assert result["ttlMs"] > 0
    assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "countersign"


@pytest.mark.parametrize("method", ["tools/list", "prompts/list", "resources/list", "resources/templates/list"])
async def test_lists_bear_caching_hints_and_stay_private(ann: Client, method: str) -> None:
    result = (await ann.modern(method)).result
    assert (result["resultType"], result["cacheScope"]) == ("complete", "private")
    assert isinstance(result["ttlMs"], int)


async def test_a_read_bears_caching_hints(ann: Client) -> None:
    result = (await ann.modern("resources/read", {"uri": "note://one"})).result
    assert result["cacheScope"] in ("private", "public")
    assert isinstance(result["ttlMs"], int)


async def test_a_notification_is_taken_and_not_answered(ann: Client) -> None:
    body = dumps({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": modern_params({"requestId": 1})})
    answer = await ann.raw(body, *modern_headers("notifications/cancelled", {}))
    assert (answer.status, answer.body) == (202, b"")


async def test_the_era_is_told_by_the_body_where_the_header_is_missing(ann: Client) -> None:
    headers = {name: value for name, value in HEADERS.items() if name != "mcp-protocol-version"}
    assert (await sent(ann, META, headers)).code == -32020


ROUTED = {"name": "routed", "arguments": {"region": "eu ü", "size": 42}}


@pytest.mark.parametrize(
    ("headers", "good"),
    [
        ({"mcp-param-region": header_value("eu ü"), "mcp-param-size": "42"}, True),
        ({"mcp-param-region": header_value("eu ü"), "mcp-param-size": "42.0"}, True),
        ({"mcp-param-region": header_value("eu ü"), "mcp-param-size": "43"}, False),
        ({"mcp-param-region": header_value("eu ü"), "mcp-param-size": "4.2e1"}, False),
        ({"mcp-param-region": "us", "mcp-param-size": "42"}, False),
        ({"mcp-param-size": "42"}, False),
        ({}, False),
    ],
)
async def test_arguments_mirrored_in_headers_must_agree(ann: Client, headers: dict[str, str], good: bool) -> None:
    answer = await ann.modern("tools/call", ROUTED, *headers.items())
    if good:
        assert answer.result["content"][0]["text"] == "eu ü 42"
    else:
        assert (answer.status, answer.code) == (400, -32020)


async def test_a_mirrored_header_without_its_argument_is_refused(ann: Client) -> None:
    answer = await ann.modern("tools/call", {"name": "routed", "arguments": {}}, ("mcp-param-region", "eu"))
    assert answer.code == -32020
    assert (await ann.modern("tools/call", {"name": "routed", "arguments": {}})).status == 200


async def test_the_older_era_needs_no_mirrored_headers(ann: Client) -> None:
    answer = await (await ann.session()).call("routed", {"region": "eu", "size": 1})
    assert answer.result["content"][0]["text"] == "eu 1"


@pytest.mark.parametrize("asked", [None, [], "all"])
async def test_a_subscription_must_say_to_what(ann: Client, asked: Any) -> None:
    params = {} if asked is None else {"notifications": asked}
    assert (await ann.modern("subscriptions/listen", params)).code == -32602
