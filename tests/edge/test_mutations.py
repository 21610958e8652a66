"""Ten thousand damaged requests of both eras: no fault of the hub's own, no hang, nothing leaked, and a journal that verifies."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Generator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.edge.conftest import config_for
from tests.support.hub import Hub, eventually, running
from tests.support.journal import verified
from tests.support.mcp import Client, dumps, message, modern_headers, modern_params
from tests.support.servers import HttpServer
from tests.support.wire import Connection, request_bytes

REQUESTS = 10_000
WORKERS = 8
BOUND = 30.0
"""Seconds after which one request counts as a hang. Calls that reach the server downstream end at once."""

Request = tuple[str, str, list[tuple[str, str]], bytes]
"""Method, path, headers, body."""

PARAMS: list[tuple[str, dict[str, Any]]] = [
    ("tools/call", {"name": "echo", "arguments": {"text": "hello \u00fc", "deep": [{"a": [1, 2.5, None, True]}]}}),
    ("tools/call", {"name": "add", "arguments": {"a": 1, "b": -2.5}}),
    ("tools/call", {"name": "routed", "arguments": {"region": "eu", "size": 3}}),
    ("prompts/get", {"name": "greet", "arguments": {"who": "you"}}),
    ("resources/read", {"uri": "note://one"}),
    ("resources/read", {"uri": "page://1"}),
    ("tools/list", {}),
    ("prompts/list", {"cursor": "AAAAAAAAAAAAAAAA"}),
    ("server/discover", {}),
    ("ping", {}),
    ("notifications/cancelled", {"requestId": 1}),
    ("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}),
]
STRANGE = [
    None,
    True,
    0,
    -1,
    1e308,
    2**64,
    "",
    "x" * 300,
    "\u0000",
    "\U0001f600",
    [],
    {},
    [[[[[]]]]],
    {"": {"": {}}},
    "__proto__",
    "../..",
    "*",
]
HEADER_VALUES = [
    "",
    "x",
    "2026-07-28",
    "2025-11-25",
    "tools/call",
    "echo",
    "=?base64?ZWNobw==?=",
    "=?base64?!!?=",
    "\xff\xfe",
    "0",
    "a" * 4000,
    "*/*",
]
HEADER_NAMES = [
    "mcp-name",
    "mcp-method",
    "mcp-protocol-version",
    "mcp-session-id",
    "accept",
    "content-type",
    "traceparent",
    "x-odd",
    "origin",
]


@pytest.fixture
def own(tmp_path: Path, downstream: HttpServer) -> Generator[Hub]:
    config = config_for(downstream.url)
    config["limits"] = []
    with running(tmp_path, config) as hub:
        yield hub.settled("good")


def valid(dice: random.Random, client: Client, session: str, batches: str) -> Request:
    method, params = dice.choice(PARAMS)
    era = dice.random()
    if era < 0.5:
        params = modern_params(params)
        routed = [("mcp-param-region", "eu"), ("mcp-param-size", "3")] if params.get("name") == "routed" else []
        return (
            "POST",
            client.path,
            client.headers(*modern_headers(method, params), *routed),
            dumps(message(method, params, dice.choice([1, "a"]))),
        )
    if era < 0.9:
        return "POST", client.path, client.headers(("mcp-session-id", session)), dumps(message(method, params, dice.randrange(10**6)))
    many = [message(*dice.choice(PARAMS), dice.randrange(10**6)) for _ in range(dice.randrange(1, 6))]
    return "POST", client.path, client.headers(("mcp-session-id", batches)), dumps(many)


def flipped(dice: random.Random, body: bytes) -> bytes:
    changed = bytearray(body)
    for _ in range(dice.randrange(1, 5)):
        changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def truncated(dice: random.Random, body: bytes) -> bytes:
    return body[: dice.randrange(len(body))]


def spliced(dice: random.Random, body: bytes) -> bytes:
    a, b, at = dice.randrange(len(body)), dice.randrange(len(body)), dice.randrange(len(body))
    return body[:at] + body[min(a, b) : max(a, b)] * dice.randrange(1, 4) + body[at:]


def places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        found.append((value, key))
        if isinstance(inner, dict | list):
            found += places(inner)
    return found


def restructured(dice: random.Random, body: bytes) -> bytes:
    value = json.loads(body)
    for _ in range(dice.randrange(1, 4)):
        where = places(value)
        if not where:
            break
        holder, key = dice.choice(where)
        match dice.randrange(4):
            case 0:
                del holder[key]
            case 1:
                holder[key] = deepcopy(dice.choice(STRANGE))
            case 2:
                holder[key] = {"inner": holder[key]}
            case _ if isinstance(holder, dict):
                holder[str(dice.choice(STRANGE))] = deepcopy(holder[key])
            case _:
                holder.append(deepcopy(holder[key]))
    return dumps(value)


def doubled(dice: random.Random, body: bytes) -> bytes:
    return body.replace(
        b'{"', b'{"' + dice.choice([b'jsonrpc":"2.0","', b'id":2,"', b'name":"add","', b'params":{},"']), dice.randrange(1, 3)
    )


def noise(dice: random.Random, body: bytes) -> bytes:
    return dice.randbytes(dice.randrange(0, 200))


BODIES: list[Callable[[random.Random, bytes], bytes]] = [flipped, truncated, spliced, restructured, restructured, doubled, noise]


def reheaded(dice: random.Random, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    headers = list(headers)
    for _ in range(dice.randrange(1, 4)):
        at = dice.randrange(len(headers))
        match dice.randrange(4):
            case 0 if headers[at][0] not in ("host", "authorization"):
                del headers[at]
            case 1:
                headers.append(headers[at])
            case 2 if headers[at][0] != "authorization" or dice.random() < 0.2:
                headers[at] = (headers[at][0], dice.choice(HEADER_VALUES))
            case _:
                headers.append((dice.choice(HEADER_NAMES), dice.choice(HEADER_VALUES)))
    return headers


def mutated(dice: random.Random, request: Request) -> bytes:
    method, path, headers, body = request
    choice = dice.random()
    if choice < 0.65:
        body = dice.choice(BODIES)(dice, body)
    elif choice < 0.9:
        headers = reheaded(dice, headers)
    elif choice < 0.95:
        method = dice.choice(["GET", "DELETE", "PUT", "HEAD", "post", "X" * 40])
        unopened = {"accept": "application/json", "mcp-session-id": "none"}  # no stream is to open, and the sessions are to last
        headers = [(name, unopened.get(name, value)) for name, value in headers]
    else:
        path = dice.choice(
            ["/mcp/", "/mcp/none", "/mcp/main/x", "/mcp/%00", "/mcp/renamed", "/", "/health", "/metrics", "/admin/v1/keys", "*"]
        )
    whole = request_bytes(method, path, headers, body)
    if choice > 0.985:  # the frame itself
        whole = flipped(dice, whole)
    return whole


async def knock(hub: Hub, dice: random.Random, session: str, batches: str, count: int, seen: "Counter[int]") -> None:
    """Send `count` requests over connections that are kept for as long as the hub keeps them."""
    client = Client(hub, "ann")
    connection = await Connection.open(hub.address)
    for number in range(count):  # fresh connections now and then, so that both kinds are met
        data = mutated(dice, valid(dice, client, session, batches))
        try:
            await connection.send(data)
            head = data.startswith(b"HEAD ")
            status, headers = await connection.head(BOUND)
            async with asyncio.timeout(BOUND):
                if headers.get("transfer-encoding") == "chunked":
                    assert b"".join([part async for part in connection.chunks()])
                elif not head:
                    await connection.reader.readexactly(int(headers.get("content-length", "0")))
            assert status < 500, (status, data)
            seen[status] += 1
            gone = headers.get("connection") == "close"
        except (asyncio.IncompleteReadError, ConnectionError):  # the hub has closed what it could not read
            seen[0] += 1
            gone = True
        except TimeoutError:
            raise AssertionError(f"no answer within {BOUND} s to {data!r}") from None
        if gone or number % 100 == 99:
            await connection.close()
            connection = await Connection.open(hub.address)
    await connection.close()


@pytest.mark.timeout(180)
async def test_ten_thousand_damaged_requests_do_no_harm(own: Hub) -> None:
    ann = Client(own, "ann")
    sessions = [(await ann.session()).id, (await ann.session("2025-03-26")).id]
    assert (await ann.call("echo", {"text": "before"})).status == 200
    before = own.descriptors()
    seen: Counter[int] = Counter()
    await asyncio.gather(*(knock(own, random.Random(seed), *sessions, REQUESTS // WORKERS, seen) for seed in range(WORKERS)))
    assert sum(seen.values()) == REQUESTS
    assert seen[200] > 500  # some are still good
    assert seen[400] > 3000
    assert seen[0] < REQUESTS / 20  # nearly everything got an answer
    assert own.process is not None
    assert own.process.poll() is None
    assert (await ann.call("echo", {"text": "after"})).result["content"][0]["text"] == "after"
    await eventually(lambda: own.descriptors() <= before + 4)
    assert own.stop() == 0
    assert verified(own.database)["default"] > REQUESTS / 2
