"""The small parts: header values, the breaker, the gate, the catalogue's bounds."""

import asyncio
import base64
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.config.mcp import Breaker as BreakerSpec
from hub.refusal import UpstreamTimeout
from hub.routing.breaker import Breaker
from hub.routing.bulkhead import Bulkhead
from virtual_servers import catalog, headers, mirror, rpc
from virtual_servers.breakers import Breakers
from virtual_servers.handshake import Hello


@given(st.text(st.characters(exclude_categories=["Cs"])))
@settings(max_examples=60)
def test_a_header_value_is_safe_and_can_be_read_back(value):
    sent = mirror.encode(value)
    assert sent.isascii()
    assert sent == sent.strip()
    assert not any(sign in sent for sign in "\r\n\0")
    wrapped = sent.startswith("=?base64?") and sent.endswith("?=")
    assert (base64.b64decode(sent[9:-2]).decode() if wrapped else sent) == value


def test_the_examples_of_the_specification_are_encoded_as_it_says():
    assert mirror.encode("us-west1") == "us-west1"
    assert mirror.encode("Hello, 世界") == "=?base64?SGVsbG8sIOS4lueVjA==?="
    assert mirror.encode(" padded ") == "=?base64?IHBhZGRlZCA=?="
    assert mirror.encode("line1\nline2") == "=?base64?bGluZTEKbGluZTI=?="
    assert mirror.encode("=?base64?literal?=") == "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="


def test_a_mark_below_composition_or_a_reference_makes_the_tool_invalid():
    mark = {"type": "string", "x-mcp-header": "A"}
    for schema in ({"anyOf": [{"properties": {"a": mark}}]}, {"$defs": {"d": mark}}, {**mark}, {"if": {"properties": {"a": mark}}}):
        with pytest.raises(headers.Misplaced):
            headers.table({"type": "object", **schema})
    assert headers.table({"properties": {"x-mcp-header": {"type": "string", "default": {"x-mcp-header": 5}}}}) == {}


def test_values_out_of_range_or_of_another_type_have_no_header():
    table = headers.table({"properties": {"n": {"type": "integer", "x-mcp-header": "N"}}})
    assert mirror.params({"n": 2**53}, table) == []
    assert mirror.params({"n": [1]}, table) == []
    assert mirror.params([], table) == []
    assert mirror.params({"n": 42.0}, table) == [("mcp-param-n", "42")]


def test_a_server_that_cannot_be_reached_is_left_alone_by_all_and_one_that_fails_one_organisation_by_that_one():
    breakers = Breakers(BreakerSpec(failures=2, open_for=10))
    for org in ("a", "b"):
        breakers.fail(org, 0, reached=False)
    assert [breakers.admit(org, 1) for org in ("a", "b", "c")] == [9, 9, 9]
    assert breakers.admit("c", 10) == 0  # the one that tries
    assert breakers.admit("a", 10) > 0
    breakers.fail("c", 11, reached=True)  # it was reached; the next tries
    assert breakers.admit("a", 11) == 0
    breakers.succeed("a")
    assert breakers.state(11) == "closed"
    breakers.fail("c", 12, reached=True)
    assert (breakers.state(12), breakers.admit("c", 12)) == ("open", 10)
    assert [breakers.admit(org, 12) for org in ("a", "b")] == [0, 0]
    breakers.succeed("a")
    assert breakers.admit("c", 22) == 0
    assert breakers.admit("c", 22) > 0
    breakers.abandon("c")
    assert breakers.admit("c", 22) == 0
    breakers.succeed("c")
    assert (breakers.state(22), breakers.admit("c", 22)) == ("closed", 0)


def test_who_is_refused_for_itself_does_not_take_the_one_try_of_all():
    breakers = Breakers(BreakerSpec(failures=1, open_for=10))
    breakers.fail("a", 5, reached=True)
    breakers.fail("b", 0, reached=False)
    assert breakers.admit("a", 12) == 3
    assert breakers.admit("b", 12) == 0


def test_an_organisation_that_failed_and_does_not_come_back_is_not_shown_for_ever():
    breakers = Breakers(BreakerSpec(failures=1, open_for=10))
    breakers.fail("a", 0, reached=True)
    assert [breakers.state(now) for now in (9, 10, 1000)] == ["open", "half-open", "half-open"]
    assert breakers.admit("b", 1) == 0
    breakers.succeed("b")
    assert [breakers.state(now) for now in (9, 10, 1000)] == ["open", "closed", "closed"]
    assert breakers.admit("a", 1000) == 0
    assert breakers.admit("a", 1000) > 0, "it is let in by one call at a time all the same"


def test_the_breaker_opens_after_failures_in_a_row_and_tries_once():
    breaker = Breaker(BreakerSpec(failures=2, open_for=10))
    breaker.fail(0)
    breaker.succeed()
    breaker.fail(1)
    assert breaker.admit(1) == 0
    breaker.fail(2)
    assert breaker.state(2) == "open"
    assert breaker.admit(5) == 7
    assert breaker.state(12) == "half-open"
    assert breaker.admit(12) == 0
    assert breaker.admit(12) > 0
    breaker.abandon()
    assert breaker.admit(12) == 0
    breaker.fail(13)
    assert breaker.admit(14) == 9
    assert breaker.admit(23) == 0
    breaker.succeed()
    assert breaker.state(23) == "closed"


async def test_the_gate_serves_in_order_and_forgets_who_left():
    gate = Bulkhead(0)
    order = []

    async def enter(name):
        await gate.wait(time.monotonic() + 5)
        order.append(name)

    waiting = [asyncio.create_task(enter(name)) for name in "abc"]
    await asyncio.sleep(0)
    waiting[1].cancel()
    for _ in range(3):
        gate.leave()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert order == ["a", "c"]
    assert gate.room == 1


async def test_who_is_let_in_and_cancelled_at_once_gives_the_place_back():
    gate = Bulkhead(0)
    waiting = asyncio.create_task(gate.wait(time.monotonic() + 5))
    await asyncio.sleep(0)
    gate.leave()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert gate.room == 1
    with pytest.raises(UpstreamTimeout):
        await Bulkhead(0).wait(time.monotonic() + 0.01)


def answers(pages):
    """A server with these raw pages per method; further pages are the last one again."""

    async def query(method, params):
        cursor = json.loads(params)["cursor"] if params else "0"
        listed = pages.get(method)
        if listed is None:
            return rpc.Message(1, error=b'{"code":-32601,"message":"no"}')
        return rpc.Message(1, result=listed[min(int(cursor), len(listed) - 1)])

    return query


async def fetch(pages, **capabilities):
    hello = Hello("2025-11-25", json.dumps(capabilities or {"tools": {}}).encode())
    return (await catalog.fetch("u", hello, answers(pages), mirrored=False))[0]


async def test_items_keep_their_bytes_over_all_pages_and_bad_ones_are_named():
    first = b'{ "name" : "a", "x":1.0 }'
    pages = [b'{"tools":[' + first + b', {"no":"name"}, 5],"nextCursor":"1"}', b'{"tools":[{"name":"b"},{"name":"a"}]}']
    found = await fetch({"tools/list": pages})
    assert [(item.name, item.raw) for item in found.items] == [("a", first), ("b", b'{"name":"b"}')]
    assert len(found.problems) == 3


async def test_only_declared_lists_are_asked_and_a_refused_one_takes_nothing_with_it():
    pages = {"tools/list": [b'{"tools":[{"name":"a"}]}'], "resources/list": [b'{"resources":[{"uri":"x:y"}]}']}
    found = await fetch(pages, tools={}, prompts={}, resources={})
    assert [(item.kind, item.name) for item in found.items] == [("tool", "a"), ("resource", "x:y")]
    assert found.problems == ("prompts/list was refused by the server",)
    assert [item.kind for item in (await fetch(pages)).items] == ["tool"]


async def test_a_cursor_that_goes_round_ends_the_list():
    found = await fetch({"tools/list": [b'{"tools":[{"name":"a"}],"nextCursor":"1"}', b'{"tools":[{"name":"b"}],"nextCursor":"1"}']})
    assert [item.name for item in found.items] == ["a", "b"]
    assert "does not come to an end" in found.problems[-1]


async def test_a_list_without_bounds_is_cut():
    many = json.dumps({"tools": [{"name": f"t{n}"} for n in range(catalog.ITEMS + 10)]}).encode()
    found = await fetch({"tools/list": [many]})
    assert len(found.items) == catalog.ITEMS
    assert "more than the hub takes" in found.problems[-1]
