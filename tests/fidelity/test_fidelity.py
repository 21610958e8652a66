"""Through the hub everything equals what the server says itself: byte for byte inside one era, member for member across the two.

So it does through two replicas of two workers behind a proxy, for servers that are one whichever replica asks them.
"""

import itertools
import json
import sys
from collections.abc import Generator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer
from tests.support.cluster import Cluster, cluster
from tests.support.direct import Answer, Http, Pipes, of_response
from tests.support.hub import Hub, running
from tests.support.mcp import LEGACY, MODERN, Client, Session
from tests.support.servers import EVERYTHING, SDK, HttpServer, everything, sdk_http, stdio

Ask = tuple[str, dict[str, Any]]
ERAS = (LEGACY, MODERN)
SERVERS = {
    "everything": LEGACY,
    "http-newer": MODERN,
    "http-older": LEGACY,
    "pipe-newer": MODERN,
    "pipe-older": LEGACY,
}
SHARED = ("http-newer", "http-older")
"""Over pipes every replica has servers of its own."""

PLACES = [*(("alone", name) for name in SERVERS), *(("cluster", name) for name in SHARED)]
ALL = [{"virtual_server": "*"}]
HOP = ("resultType", "ttlMs", "cacheScope")
"""Members of a result that belong to one era's hop; with `_meta.io.modelcontextprotocol/*` all that may differ across eras."""

LISTS = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}
ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    # server-everything
    "echo": [{"message": "hello \u2028 \U0001f600"}, {"text": "hello \u2028 \U0001f600"}],
    "get-annotated-message": [{"messageType": "error"}, {"messageType": "success", "includeImage": True}, {"messageType": "debug"}],
    "get-env": [{}],
    "get-resource-links": [{"count": 3}],
    "get-resource-reference": [{"resourceType": "Text", "resourceId": 1}, {"resourceType": "Blob", "resourceId": 2}],
    "get-structured-content": [{"location": "New York"}, {"location": "Chicago"}],
    "get-sum": [{"a": 1, "b": 2.5}],
    "get-tiny-image": [{}],
    "gzip-file-as-resource": [{"name": "a.gz", "data": "data:text/plain;base64,aGVsbG8=", "outputType": "resource"}],
    "toggle-simulated-logging": [{}, {}],
    "toggle-subscriber-updates": [{}, {}],
    "trigger-long-running-operation": [{"duration": 0.1, "steps": 2}],
    "simulate-research-query": [{"topic": "nothing", "ambiguous": False}],
    # the tests' own server
    "add": [{"a": 1, "b": 2.5}, {"a": -0.0, "b": 1e-7}, {"a": 9007199254740993, "b": 1}],
    "picture": [{}],
    "links": [{}],
    "fail": [{}],
    "error": [{"code": -32000}, {"code": -32602}, {"code": 7}],
    "count": [{"steps": 3}],
    "wait": [{"mark": "f", "seconds": 0.01}],
    "grow": [],
    "routed": [{"region": "eu", "size": 3}, {}],
    "meta": [{}],
}
"""What each tool is called with. A tool that is not here fails the test: every one is to be compared."""

PROMPTS: dict[str, list[dict[str, str]]] = {
    "simple-prompt": [{}],
    "args-prompt": [{"city": "Rome"}, {"city": "Austin", "state": "Texas"}],
    "completable-prompt": [{"department": "Engineering", "name": "Alice"}],
    "resource-prompt": [{"resourceType": "Text", "resourceId": "1"}, {"resourceType": "Blob", "resourceId": "2"}],
    "plain": [{}],
    "greet": [{"who": "the world"}],
}
TEMPLATED = {
    "demo://resource/dynamic/text/{resourceId}": ["demo://resource/dynamic/text/7"],
    "demo://resource/dynamic/blob/{resourceId}": ["demo://resource/dynamic/blob/7"],
    "page://{id}": ["page://7", "page://a-b"],
}


@pytest.fixture(scope="module")
def downstream(tmp_path_factory: pytest.TempPathFactory) -> Generator[HttpServer]:
    with sdk_http(tmp_path_factory.mktemp("downstream")) as server:
        yield server


@pytest.fixture(scope="module", params=["alone", "cluster"])
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, downstream: HttpServer) -> Generator[Hub | Cluster]:
    """One upstream for each pair of server and client era, because a server may remember what it was asked before."""
    upstreams = {
        "everything": everything(),
        "http-newer": {"url": downstream.url},
        "http-older": {"url": downstream.url, "protocol": LEGACY},
        "pipe-newer": stdio(SDK, "stdio"),
        "pipe-older": stdio(SDK, "stdio", protocol=LEGACY),
    }
    names = SERVERS if request.param == "alone" else SHARED
    pairs = {f"{name}-{era}": upstreams[name] for name in names for era in ERAS}
    config = {
        "keys": [{"name": "root", "roles": ["admin"]}, {"name": "ann", "grants": ALL}],
        "upstreams": pairs,
        "virtual_servers": {name: {"include": [{"from": name}]} for name in pairs},
        "server": {"drain": 1},
    }
    folder = tmp_path_factory.mktemp("fidelity")
    if request.param == "alone":
        with running(folder, config) as hub:
            yield hub.settled(*pairs)
        return
    postgres: PostgresServer = request.getfixturevalue("postgres_server")
    redis: RedisServer = request.getfixturevalue("redis_server")
    database = postgres.create_database()
    with cluster(folder, config, postgres=postgres.url(database), redis=redis.url) as many:
        yield many.settled(*pairs)
    postgres.drop_database(database)


def direct(name: str, downstream: HttpServer, hub: Hub, era: str) -> AbstractAsyncContextManager[Any]:
    match name:
        case "everything":  # it shows its environment, so it gets that of the one behind the hub
            pid = hub.status()["upstreams"][f"{name}-{era}"]["pid"]
            shown = Path(f"/proc/{pid}/environ").read_text().strip("\0").split("\0")
            return Pipes(EVERYTHING, dict(pair.split("=", 1) for pair in shown), LEGACY, hub.folder)
        case "http-newer" | "http-older":
            return Http(downstream.url, SERVERS[name])
        case _:
            return Pipes([sys.executable, SDK, "stdio"], {}, SERVERS[name], hub.folder)


class Through:
    """The hub as a client of one era sees it."""

    def __init__(self, client: Client, session: Session | None) -> None:
        self._client = client
        self._session = session
        self._ids = itertools.count(1000)

    async def ask(self, method: str, params: dict[str, Any]) -> Answer:
        ident = next(self._ids)
        if self._session is not None:
            return of_response(await self._session.request(method, params, ident=ident), ident)
        arguments = params.get("arguments", {})
        headers = [(f"mcp-param-{k}", str(arguments[k])) for k in ("region", "size") if params.get("name") == "routed" and k in arguments]
        return of_response(await self._client.modern(method, params, *headers, ident=ident), ident)


async def through(hub: Hub, name: str, era: str) -> Through:
    client = Client(hub, "ann", f"{name}-{era}")
    return Through(client, None if era == MODERN else await client.session(era))


def items(answer: Answer, member: str) -> list[bytes]:
    """The raw items of a list."""
    found = msgspec.json.decode(answer.result, type=dict[str, msgspec.Raw])
    assert "nextCursor" not in found
    return [bytes(raw) for raw in msgspec.json.decode(found[member], type=list[msgspec.Raw])]


def essence(answer: Answer) -> Any:
    """A result without what belongs to one era's hop."""
    if answer.error:
        return json.loads(answer.error)
    result = {name: value for name, value in json.loads(answer.result).items() if name not in HOP}
    meta = {name: value for name, value in result.pop("_meta", {}).items() if not name.startswith("io.modelcontextprotocol/")}
    return {**result, "_meta": meta} if meta else result


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(("hub", "name"), PLACES, indirect=["hub"], scope="module")
async def test_every_list_holds_the_servers_own_items_byte_for_byte(hub: Hub, downstream: HttpServer, name: str, era: str) -> None:
    hubs = await through(hub, name, era)
    async with direct(name, downstream, hub, era) as server:
        for method, member in LISTS.items():
            theirs = items(await server.ask(method, {}), member)
            assert items(await hubs.ask(method, {}), member) == theirs
            assert theirs, f"{name} has no {member}: nothing was compared"


async def asks_of(server: Any) -> list[Ask]:
    """One or more requests for everything a server lists."""
    found: list[Ask] = []
    for raw in items(await server.ask("tools/list", {}), "tools"):
        tool = json.loads(raw)
        fitting = [a for a in ARGUMENTS[tool["name"]] if set(tool["inputSchema"].get("required", [])) <= set(a)]
        assert fitting or tool["name"] == "grow", tool["name"]
        found += [("tools/call", {"name": tool["name"], "arguments": arguments}) for arguments in fitting]
    for raw in items(await server.ask("prompts/list", {}), "prompts"):
        prompt = json.loads(raw)["name"]
        found += [("prompts/get", {"name": prompt, "arguments": arguments}) for arguments in PROMPTS[prompt]]
    for raw in items(await server.ask("resources/list", {}), "resources"):
        found.append(("resources/read", {"uri": json.loads(raw)["uri"]}))
    for raw in items(await server.ask("resources/templates/list", {}), "resourceTemplates"):
        found += [("resources/read", {"uri": uri}) for uri in TEMPLATED[json.loads(raw)["uriTemplate"]]]
    return found


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(("hub", "name"), PLACES, indirect=["hub"], scope="module")
async def test_every_tool_prompt_and_resource_answers_as_it_does_itself(hub: Hub, downstream: HttpServer, name: str, era: str) -> None:
    hubs = await through(hub, name, era)
    exact = SERVERS[name] == era
    async with direct(name, downstream, hub, era) as server:
        asks = await asks_of(server)
        assert len(asks) > 15
        for method, params in asks:
            await agree(server, hubs, method, params, exact=exact)


async def agree(server: Any, hubs: Through, method: str, params: dict[str, Any], *, exact: bool) -> None:
    """Some answers tell the time to the second, so one that differs is compared anew; what toggles is toggled at both alike."""
    for _ in range(4):
        theirs, ours = await server.ask(method, params), await hubs.ask(method, params)
        if exact and ours == theirs:
            return
        if not exact and essence(ours) == essence(theirs):
            assert ours.error or _hop_is_of_the_clients_era(ours, method)
            return
    raise AssertionError((method, params, theirs, ours))


def _hop_is_of_the_clients_era(answer: Answer, method: str) -> bool:
    result = json.loads(answer.result)
    if "resultType" not in result:  # the older era
        return not any(name in result for name in HOP)
    cacheable = method == "resources/read"
    return result["resultType"] == "complete" and all((name in result) == cacheable for name in HOP[1:])
