"""A streamable HTTP server as an upstream: what is sent in each era, and every way to answer badly."""

import asyncio
import json

import pytest

from hub.config.mcp import Breaker
from hub.dial import Dialer
from hub.refusal import InvalidParams, UpstreamDown, UpstreamFault, UpstreamTimeout
from hub.telemetry.trace import continued

NEWER, OLDER = "2026-07-28", "2025-11-25"
FINE = {"content": [{"type": "text", "text": "fine"}]}


@pytest.mark.parametrize("era", [OLDER, NEWER, "2025-06-18", "2025-03-26", "2024-11-05"])
async def test_each_era_gets_its_headers_and_no_others(kit, http, script, era):
    server = await script(http.server(era, lambda request: http.body(http.result(request.message["id"], FINE)), session="s-1"))
    upstream = kit.upstream(url=server.url, headers={"Authorization": "Bearer given"})
    assert await kit.text(upstream, "tool") == "fine"
    assert upstream.era == era
    last = server.seen[-1]
    assert last.headers["mcp-protocol-version"] == era
    assert last.headers["authorization"] == "Bearer given"
    assert "text/event-stream" in last.headers["accept"]
    if era == NEWER:
        assert (last.headers["mcp-method"], last.headers["mcp-name"]) == ("tools/call", "tool")
        assert last.message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] == {}
        assert "mcp-session-id" not in last.headers
    else:
        assert last.headers["mcp-session-id"] == "s-1"
        assert "mcp-method" not in last.headers
        assert "_meta" not in last.message["params"]
    await upstream.stop()
    assert (server.seen[-1].method == "DELETE") == (era != NEWER)


@pytest.mark.parametrize("era", [OLDER, NEWER])
async def test_the_trace_is_carried_on_in_headers_that_agree_with_the_body(kit, http, script, era):
    server = await script(http.server(era, lambda request: http.body(http.result(request.message["id"], FINE))))
    upstream = kit.upstream(url=server.url)
    plain = continued("")
    given = continued(f"00-{'1' * 32}-{'2' * 16}-01", "vendor=a b,other=~")
    for trace in (plain, given):
        assert await kit.text(upstream, "tool", {"text": "ö"}, trace=trace) == "fine"
        last = server.seen[-1]
        assert last.headers["traceparent"] == trace.traceparent == last.message["params"]["_meta"]["traceparent"]
        assert last.headers.get("tracestate", "") == trace.state == last.message["params"]["_meta"].get("tracestate", "")
        assert last.headers["host"] == server.url.split("/")[2]
    assert await kit.text(upstream, "tool") == "fine"
    assert "traceparent" not in server.seen[-1].headers
    assert "traceparent" not in server.seen[0].headers, "the handshake belongs to no call"


async def test_a_trace_header_the_operator_set_is_not_sent_twice(kit, http, script):
    server = await script(http.server(NEWER, lambda request: http.body(http.result(request.message["id"], FINE))))
    fixed = f"00-{'3' * 32}-{'4' * 16}-00"
    await kit.text(kit.upstream(url=server.url, headers={"Traceparent": fixed}), "tool", trace=continued(""))
    assert server.seen[-1].names.count("traceparent") == 1
    assert server.seen[-1].headers["traceparent"] == fixed


@pytest.mark.parametrize("protocol", [OLDER, NEWER])
async def test_a_pinned_version_is_not_probed(kit, http, script, protocol):
    server = await script(http.server(protocol, lambda request: http.body(http.result(request.message["id"], FINE))))
    await kit.upstream(url=server.url, protocol=protocol).start()
    assert server.seen[0].message["method"] == ("server/discover" if protocol == NEWER else "initialize")


async def test_a_server_that_speaks_something_else_is_refused(kit, http, script):
    other = lambda request: http.body(http.error(request.message["id"], -32022, data={"supported": ["2030-01-01"]}), "400 Bad Request")  # noqa: E731
    server = await script(http.server(NEWER, None, other=other))
    with pytest.raises(UpstreamFault, match="no protocol version"):
        await kit.upstream(url=server.url).start()


async def test_marked_arguments_are_mirrored_and_wrongly_marked_tools_left_out(kit, http, script):
    def schema(**properties):
        return {"type": "object", "properties": properties}

    tools = [
        {"name": "sql", "inputSchema": schema(region={"type": "string", "x-mcp-header": "Region"}, deep=schema(n={"type": "integer", "x-mcp-header": "N"}), on={"type": "boolean", "x-mcp-header": "On"})},
        {"name": "number", "inputSchema": schema(a={"type": "number", "x-mcp-header": "A"})},
        {"name": "twice", "inputSchema": schema(a={"type": "string", "x-mcp-header": "A"}, b={"type": "string", "x-mcp-header": "a"})},
        {"name": "items", "inputSchema": schema(a={"type": "array", "items": {"type": "string", "x-mcp-header": "A"}})},
        {"name": "smuggle", "inputSchema": schema(a={"type": "string", "x-mcp-header": "A\r\nB: c"})},
    ]  # fmt: skip

    def on_call(request):
        listing = request.message["method"] == "tools/list"
        return http.body(http.result(request.message["id"], {"tools": tools} if listing else FINE))

    server = await script(http.server(NEWER, on_call))
    upstream = kit.upstream(url=server.url)
    catalogue = await upstream.catalogue()
    assert [item.name for item in catalogue.items] == ["sql"]
    assert len(catalogue.problems) == 4
    await kit.call(upstream, "sql", {"region": "Köln", "deep": {"n": 42}, "on": True})
    headers = server.seen[-1].headers
    assert headers["mcp-param-region"] == "=?base64?S8O2bG4=?="
    assert (headers["mcp-param-n"], headers["mcp-param-on"]) == ("42", "true")
    await kit.call(upstream, "sql", {"region": None})
    assert not any(name.startswith("mcp-param") for name in server.seen[-1].headers)


@pytest.mark.parametrize("era", [OLDER, NEWER])
async def test_notifications_come_before_the_reply_and_connections_are_kept(kit, http, script, era):
    def on_call(request):
        token = request.message["params"]["_meta"]["progressToken"]
        note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "hello"}}
        steps = [{"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": n}} for n in (1, 2)]
        foreign = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "other", "progress": 9}}
        return http.stream(b": hi\n\nid: 1\ndata:\n\n", steps[0], foreign, note, steps[1], http.result(request.message["id"], FINE))

    server = await script(http.server(era, on_call))
    upstream = kit.upstream(url=server.url)
    for _ in range(3):
        kit.chunks.clear()
        assert await kit.text(upstream, "tool", meta={"progressToken": "mine"}) == "fine"
        assert [json.loads(chunk.params).get("progress") for chunk in kit.chunks] == [1, None, 2]
        assert {json.loads(chunk.params)["progressToken"] for chunk in kit.chunks if "progress" in chunk.method} == {"mine"}


@pytest.mark.parametrize("era", [OLDER, NEWER])
async def test_a_slow_drip_that_makes_progress_is_waited_for(kit, http, script, era):
    def on_call(request):
        token = request.message["params"]["_meta"]["progressToken"]
        step = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": 1}}
        return http.stream(*[part for _ in range(4) for part in (0.4, step)], 0.4, http.result(request.message["id"], FINE))

    server = await script(http.server(era, on_call))
    assert await kit.text(kit.upstream(url=server.url, timeout=1.2), "tool", meta={"progressToken": 1}) == "fine"


async def test_a_slow_drip_without_progress_times_out(kit, http, script):
    server = await script(http.server(NEWER, lambda request: http.stream(*[part for _ in range(50) for part in (0.05, b": x\n\n")])))
    with pytest.raises(UpstreamTimeout):
        await kit.call(kit.upstream(url=server.url, timeout=0.3), "tool")


BAD = {
    "garbage": lambda http, ident: http.body(b"<html>"),
    "not utf-8": lambda http, ident: http.body(b'{"jsonrpc":"2.0","id":%d,"result":{"a":"\xff"}}' % ident),
    "too deep": lambda http, ident: http.body(b'{"jsonrpc":"2.0","id":%d,"result":' % ident + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    "media type": lambda http, ident: http.body(b"hello", media="text/html"),
    "wrong id": lambda http, ident: http.body(http.result(ident + 1, FINE)),
    "text id": lambda http, ident: http.body(http.result(str(ident), FINE)),
    "no object": lambda http, ident: http.body(http.result(ident, "text")),
    "error without code": lambda http, ident: http.body({"jsonrpc": "2.0", "id": ident, "error": "bad"}),
    "both": lambda http, ident: http.body({"jsonrpc": "2.0", "id": ident, "error": {"code": 1, "message": "x"}, "result": {}}),
    "a batch": lambda http, ident: http.body([http.result(ident, FINE)]),
    "empty": lambda http, ident: http.body(b""),
    "accepted only": lambda http, ident: http.empty("202 Accepted"),
    "redirect": lambda http, ident: http.empty("307 Temporary Redirect", Location="http://127.0.0.1:1/"),
    "oversized": lambda http, ident: http.body(http.result(ident, {"a": "x" * 5000})),
    "oversized stream": lambda http, ident: http.stream(http.result(ident, {"a": "x" * 5000})),
    "truncated": lambda http, ident: http.stream({"jsonrpc": "2.0", "method": "notifications/x"}, end=False),
    "truncated json": lambda http, ident: http.body(http.result(ident, {"a": "x" * 500}), Connection="close")[:-50],
    "no reply": lambda http, ident: http.stream({"jsonrpc": "2.0", "method": "notifications/x"}),
    "stream garbage": lambda http, ident: http.stream(b"data: what\n\n"),
    "stream wrong id": lambda http, ident: http.stream(http.result(ident + 7, FINE)),
    "status 500": lambda http, ident: http.body(b"oops", "500 Internal Server Error", media="text/plain"),
    "status 401": lambda http, ident: http.body(http.error(ident, -1), "401 Unauthorized"),
    "status 404": lambda http, ident: http.empty("404 Not Found"),
}


@pytest.mark.parametrize("bad", BAD)
async def test_a_bad_answer_is_a_typed_fault_and_leaves_the_server_usable(kit, http, script, bad):
    answers = [lambda ident: BAD[bad](http, ident), lambda ident: http.body(http.result(ident, FINE))]
    server = await script(http.server(NEWER, lambda request: answers.pop(0)(request.message["id"])))
    upstream = kit.upstream(url=server.url, max_result=4096)
    with pytest.raises(UpstreamFault) as caught:
        await kit.call(upstream, "tool")
    assert "127.0.0.1" not in caught.value.message
    assert await kit.text(upstream, "tool") == "fine"


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "404 Not Found", "500 Internal Server Error"])
async def test_the_servers_own_error_is_passed_on_as_it_is(kit, http, script, status):
    raw = b'{"code": -32000 , "message":"n\\u00f6", "data":{"x":1.50}}'
    answer = lambda request: http.body(b'{"jsonrpc":"2.0","id":%d,"error":%b}' % (request.message["id"], raw), status)  # noqa: E731
    server = await script(http.server(NEWER, answer))
    assert (await kit.call(kit.upstream(url=server.url), "tool")).error == raw


async def test_unavailable_is_down_and_says_when_to_come_back(kit, http, script):
    server = await script(http.server(NEWER, lambda request: http.empty("503 Service Unavailable", Retry_After="7")))
    with pytest.raises(UpstreamDown) as caught:
        await kit.call(kit.upstream(url=server.url), "tool")
    assert caught.value.retry_after == 7


async def test_a_closed_connection_is_down_and_the_call_is_not_sent_again(kit, http, script):
    server = await script(http.server(NEWER, lambda request: b""))
    with pytest.raises(UpstreamDown):
        await kit.call(kit.upstream(url=server.url), "tool")
    assert [request.message["method"] for request in server.seen].count("tools/call") == 1


@pytest.mark.parametrize("era", [OLDER, NEWER])
async def test_a_hanging_server_times_out_and_is_told(kit, http, script, era, until):
    server = await script(http.server(era, lambda request: None))
    with pytest.raises(UpstreamTimeout):
        await kit.call(kit.upstream(url=server.url, timeout=0.3), "tool")
    await until(lambda: server.gone >= 1)
    if era == OLDER:
        await until(lambda: server.seen[-1].message.get("method") == "notifications/cancelled")
        asked = next(request for request in server.seen if request.message.get("method") == "tools/call")
        assert server.seen[-1].message["params"]["requestId"] == asked.message["id"]


@pytest.mark.parametrize("era", [OLDER, NEWER])
async def test_cancelling_closes_the_stream_and_in_the_older_era_says_so(kit, http, script, era, until):
    server = await script(http.server(era, lambda request: None))
    call = asyncio.create_task(kit.call(kit.upstream(url=server.url), "tool"))
    await until(lambda: server.seen and server.seen[-1].message.get("method") == "tools/call")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: server.gone >= 1)
    said = [request.message.get("method") for request in server.seen]
    if era == OLDER:
        await until(lambda: server.seen[-1].message.get("method") == "notifications/cancelled")
    else:
        assert "notifications/cancelled" not in said


async def test_a_forgotten_session_is_opened_again_and_only_then_the_call_is_repeated(kit, http, script):
    sessions = []

    def other(request):
        if request.message.get("method") == "initialize":
            sessions.append(f"s{len(sessions)}")
            result = {"protocolVersion": OLDER, "capabilities": {}, "serverInfo": {}}
            return http.body(http.result(request.message["id"], result), Mcp_Session_Id=sessions[-1])
        if request.message.get("method") == "tools/call" and request.headers["mcp-session-id"] != sessions[-1]:
            return http.empty("404 Not Found")
        return NotImplemented

    server = await script(http.server(OLDER, lambda request: http.body(http.result(request.message["id"], FINE)), other=other))
    upstream = kit.upstream(url=server.url)
    assert await kit.text(upstream, "tool") == "fine"
    sessions.append("restarted")
    answers = await asyncio.gather(*(kit.text(upstream, "tool") for _ in range(10)))
    assert answers == ["fine"] * 10
    assert len(sessions) == 3


async def test_a_session_that_is_never_known_ends_in_a_fault(kit, http, script):
    server = await script(http.server(OLDER, lambda request: http.empty("404 Not Found"), session="s"))
    with pytest.raises(UpstreamFault):
        await kit.call(kit.upstream(url=server.url), "tool")
    assert [request.message.get("method") for request in server.seen].count("tools/call") == 2


async def test_a_session_refused_by_400_is_opened_again_but_the_call_is_not_repeated(kit, http, script):
    answers = [http.body(http.error(None, -32000, "Bad Request: No valid session ID provided"), "400 Bad Request")]
    fine = lambda request: answers.pop() if answers else http.body(http.result(request.message["id"], FINE))  # noqa: E731
    server = await script(http.server(OLDER, fine, session="s"))
    upstream = kit.upstream(url=server.url)
    with pytest.raises(UpstreamFault):
        await kit.call(upstream, "tool")
    assert await kit.text(upstream, "tool") == "fine"
    assert [request.message.get("method") for request in server.seen].count("initialize") == 2


@pytest.mark.parametrize("era", [OLDER, NEWER])
async def test_changes_are_heard_and_a_broken_stream_counts_as_a_change(kit, http, script, era, until, monkeypatch):
    monkeypatch.setattr("virtual_servers.listener.FIRST_PAUSE", 0.05)
    change = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
    streams = [http.stream(change, end=False), http.stream(5)]

    def other(request):
        if request.method == "GET" or request.message.get("method") == "subscriptions/listen":
            return streams.pop(0) if streams else None
        return NotImplemented

    capabilities = {"tools": {"listChanged": True}, "prompts": {}}
    server = await script(http.server(era, lambda request: None, capabilities=capabilities, other=other))
    changes = []
    upstream = kit.upstream(url=server.url, on_changed=changes.append)
    await upstream.start()
    await until(lambda: changes == ["tools", "tools"])


async def test_requests_of_an_older_server_are_answered(kit, http, script, until):
    def on_call(request):
        ask = [{"jsonrpc": "2.0", "id": "p", "method": "ping"}, {"jsonrpc": "2.0", "id": 5, "method": "roots/list"}]
        return http.stream(*ask, http.result(request.message["id"], FINE))

    server = await script(http.server(OLDER, on_call))
    assert await kit.text(kit.upstream(url=server.url), "tool") == "fine"
    await until(lambda: sum("method" not in request.message and request.method == "POST" for request in server.seen) == 2)
    said = [request.message for request in server.seen if "method" not in request.message]
    assert {"jsonrpc": "2.0", "id": "p", "result": {}} in said
    assert any(one["id"] == 5 and one["error"]["code"] == -32601 for one in said)


async def test_the_result_is_passed_on_byte_by_byte(kit, http, script):
    raw = b'{ "z" : 1.0, "a":[1e400, 12345678901234567890],\n "t":"\\u00e9\\/\xc3\xa9", "isError" : true }'
    server = await script(http.server(OLDER, lambda request: http.body(b'{"result":%b,"id":%d}' % (raw, request.message["id"]))))
    reply = await kit.call(kit.upstream(url=server.url), "tool")
    assert reply.result == raw
    assert reply.is_error


async def test_a_server_that_comes_back_is_used_again(kit, http, script, quick_breaker, until):
    broken = [True]
    handle = http.server(NEWER, lambda request: http.body(http.result(request.message["id"], FINE)))
    server = await script(lambda request: b"" if broken else handle(request))
    upstream = kit.upstream(url=server.url, breaker=quick_breaker)
    for _ in range(4):
        with pytest.raises(UpstreamDown):
            await kit.call(upstream, "tool")
    assert upstream.status()["breaker"] == "open"
    broken.clear()
    await until(lambda: upstream.status()["breaker"] == "half-open")
    assert await kit.text(upstream, "tool") == "fine"
    assert upstream.status()["breaker"] == "closed"


async def test_parameters_that_are_no_object_are_the_callers_fault(kit, http, script):
    server = await script(http.server(NEWER, lambda request: None))
    with pytest.raises(InvalidParams):
        await kit.call(kit.upstream(url=server.url), "tool", payload=b"[1]")


async def test_a_server_that_does_not_start_is_left_alone_by_every_organisation(kit, script):
    """Nothing of theirs was asked: the next is not to wait for it as long again."""
    server = await script(lambda _: None)
    upstream = kit.upstream(url=server.url, start_timeout=0.5, breaker=Breaker(failures=2, open_for=60.0))
    for org in ("a", "b"):
        with pytest.raises(UpstreamTimeout):
            await kit.call(upstream, "x", org=org)
    with pytest.raises(UpstreamDown, match="left alone"):
        await kit.call(upstream, "x", org="c")


async def test_a_server_that_takes_no_connection_in_time_is_left_alone_by_every_organisation(kit, http, script, monkeypatch):
    def answer(request):
        return http.body(http.result(request.message["id"], {"content": []}), Connection="close")

    server = await script(http.server("2025-11-25", answer))
    upstream = kit.upstream(url=server.url, breaker=Breaker(failures=2, open_for=60.0))
    assert (await kit.call(upstream, "x", org="a")).result

    async def swallowed(*_):
        raise TimeoutError

    monkeypatch.setattr(Dialer, "_connect", swallowed)
    for org in ("a", "b"):
        with pytest.raises(UpstreamTimeout):
            await kit.call(upstream, "x", org=org)
    with pytest.raises(UpstreamDown, match="left alone"):
        await kit.call(upstream, "x", org="c")
