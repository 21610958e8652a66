"""A hub on PostgreSQL: everything that holds on SQLite, the same with one hub dying and the next one coming, and never two without Redis."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import asyncpg
import pytest
from mcp.shared.exceptions import MCPError

from hub.identity.admin import Admin
from hub.identity.rows_postgres import PostgresKeys
from hub.seat import KEY
from hub.store.postgres import Postgres
from tests.cli.test_commands import Shell
from tests.journeys.conftest import ALL, FORBID, connected
from tests.services.postgres import PostgresServer
from tests.support.hub import Hub, eventually
from tests.support.journal import records, verified
from tests.support.late import lateness
from tests.support.mcp import Client, dumps, message, modern_headers, modern_params
from tests.support.servers import HttpServer
from tests.support.wire import Connection
from tests.support.wire_cutter import cutter

CONFIG: dict[str, Any] = {
    "keys": [{"name": "root", "roles": ["admin"]}, {"name": "ann", "subject": "user:ann", "grants": ALL}],
    "limits": [{"name": "day", "scope": "key", "match": "day-*", "per_day": 3}],
    "policies": {"sets": {"words": {"cedar": FORBID}}},
    "server": {"drain": 1},
}


def config(downstream: HttpServer) -> dict[str, Any]:
    return {
        **CONFIG,
        "upstreams": {"http-newer": {"url": downstream.url}},
        "virtual_servers": {"main": {"include": [{"from": "http-newer"}]}},
    }


@pytest.fixture
def hub(tmp_path: Path, downstream: HttpServer, emptied_url: str) -> Generator[Hub]:
    hub = Hub(tmp_path, config(downstream), postgres=emptied_url).start()
    try:
        yield hub.settled("http-newer")
    finally:
        assert not hub.alive or hub.stop() == 0
    assert "Traceback" not in hub.log.read_text()


def command(hub: Hub, *arguments: str, code: int = 0) -> Any:
    """What `hub …` prints about this hub, as JSON."""
    shell = Shell(hub.folder)
    done = shell(*arguments, "--json", HUB_CONFIG=str(hub.file), **hub.environment)
    assert done.returncode == code, done.stderr
    assert hub.stores["database"].split("@")[0] not in done.stdout + done.stderr, "a password is never shown"
    return json.loads(done.stdout)


def readiness(hub: Hub) -> dict[str, Any]:
    try:
        with urlopen(hub.url + "/health/ready", timeout=5) as answer:
            return {"status": answer.status, **json.loads(answer.read()), "http": answer.status}
    except HTTPError as error:
        with closing(error):
            return {**json.loads(error.read()), "http": error.code}


async def echo(hub: Hub, text: str, key: str = "ann", mode: str = "2026-07-28") -> str:
    async with connected(hub, "main", mode, key) as client:
        return (await client.call_tool("echo", {"text": text})).content[0].text


async def status(hub: Hub, key: str) -> int:
    """How a call with this key is answered: 200, 401 unknown or revoked, 429 over a limit, 503 nobody is let in."""
    return (await Client(hub, key).call("echo", {"text": "x"})).status


async def test_lists_calls_policies_keys_revocation_and_verification(
    hub: Hub, tmp_path: Path, postgres: PostgresServer, emptied_name: str
) -> None:
    for mode in ("legacy", "2026-07-28"):
        async with connected(hub, "main", mode) as client:
            assert "echo" in [tool.name for tool in (await client.list_tools()).tools]
            assert (await client.call_tool("echo", {"text": mode})).content[0].text == mode
            with pytest.raises(MCPError) as denied:
                await client.call_tool("echo", {"text": "secret"})
            assert denied.value.error.data == {"code": "denied", "reasons": ["no-secret-words"]}
    body = {"name": "bob", "subject": "user:bob", "grants": ALL}
    made = await asyncio.to_thread(hub.admin, "POST", "/admin/v1/keys", body)
    assert await echo(hub, "hello", made["key"]) == "hello"
    await asyncio.to_thread(hub.admin, "DELETE", "/admin/v1/keys/bob")
    assert await status(hub, made["key"]) == 401, "as soon as the revocation has returned"

    ready = readiness(hub)
    assert ready["http"] == 200
    assert ready["database"] == {"kind": "postgresql", "up": True}
    assert ready["config"] == hub.status()["config"]
    listed = await asyncio.to_thread(command, hub, "keys", "list")
    assert {key["name"]: bool(key["revoked"]) for key in listed["keys"] if key["name"] in ("bob", "ann")} == {"bob": True, "ann": False}
    state = await asyncio.to_thread(command, hub, "db", "status")
    assert (state["pending"], state["in_use"], state["hubs"]) == ([], True, 1)
    beside = await asyncio.to_thread(command, hub, "keys", "create", "carol", "--server", "main")
    await until_answered(hub, beside["key"], 200)
    await asyncio.to_thread(command, hub, "keys", "revoke", "carol")
    await until_answered(hub, beside["key"], 401)

    (call,) = [entry["id"] for entry in records(hub.database) if entry.get("outcome", {}).get("code") == "denied"][:1]
    explained = await asyncio.to_thread(command, hub, "policy", "explain", call)
    assert explained["reasons"] == ["no-secret-words"]
    hub.stop()
    counted = verified(hub.database)
    assert counted["default"] > 10
    assert postgres.password not in hub.log.read_text()
    await asyncio.to_thread(command, hub, "audit", "export", "--out", str(tmp_path / "export"))
    key = (await asyncio.to_thread(command, hub, "audit", "key"))["vkey"]
    report = await asyncio.to_thread(command, hub, "audit", "verify", str(tmp_path / "export"), "--key", key, code=3)
    assert report
    hub.start().settled("http-newer")
    assert await echo(hub, "again") == "again"
    assert await status(hub, made["key"]) == 401


async def until_answered(hub: Hub, key: str, code: int) -> None:
    async def so() -> bool:
        return await status(hub, key) == code

    await eventually(so)


async def test_daily_counts_outlive_the_hub(hub: Hub) -> None:
    made = await asyncio.to_thread(hub.admin, "POST", "/admin/v1/keys", {"name": "day-one", "grants": ALL})
    assert [await status(hub, made["key"]) for _ in range(2)] == [200, 200]
    hub.stop()
    hub.start().settled("http-newer")
    assert [await status(hub, made["key"]) for _ in range(2)] == [200, 429]


async def test_without_redis_a_second_hub_is_refused_and_takes_over_when_the_first_is_killed(
    hub: Hub, tmp_path_factory: pytest.TempPathFactory, downstream: HttpServer, emptied_url: str, postgres: PostgresServer
) -> None:
    second = Hub(tmp_path_factory.mktemp("second"), config(downstream), postgres=emptied_url)
    second.keys.update(hub.keys)
    (second.folder / ".hub").symlink_to(hub.folder / ".hub")  # the same secrets, as every hub of a database has
    said = await asyncio.to_thread(second.refused)
    assert "another hub serves from this database" in said
    assert len(said.strip().splitlines()) == 1
    assert await echo(hub, "undisturbed") == "undisturbed"
    assert hub.process is not None
    hub.process.kill()
    hub.process.wait()
    for name, secret in hub.keys.items():
        (second.folder / "keys" / name).write_text(secret)
    await asyncio.to_thread(second.start)
    try:
        second.settled("http-newer")
        assert await echo(second, "taken over") == "taken over"
    finally:
        assert second.stop() == 0
    assert verified(second.database)["default"] > 0


async def test_a_hub_with_other_secrets_is_refused(
    hub: Hub, tmp_path_factory: pytest.TempPathFactory, downstream: HttpServer, emptied_url: str
) -> None:
    hub.stop()
    other = Hub(tmp_path_factory.mktemp("other"), config(downstream), postgres=emptied_url)
    said = await asyncio.to_thread(other.refused)
    assert "secrets.master and secrets.log" in said
    assert "give every hub the same" in said


async def revoked_elsewhere(emptied_url: str, name: str) -> None:
    """As by another hub or a command, of which this hub hears from the database or not at all."""
    other = Postgres(emptied_url)
    await other.open()
    await Admin(PostgresKeys(other), b"").revoke(None, name)
    await other.close()


async def listening(hub: Hub, key: str) -> Connection:
    """A stream of change notices that has begun."""
    params = modern_params({"notifications": {"toolsListChanged": True}})
    body = dumps(message("subscriptions/listen", params))
    stream, code, _ = await Client(hub, key).stream(body, *modern_headers("subscriptions/listen", params))
    assert code == 200
    await anext(stream.messages())
    return stream


async def counting(hub: Hub, key: str) -> Connection:
    """A call that tells its progress twenty times a second, and has begun to."""
    params = modern_params({"name": "count", "arguments": {"steps": 1200, "pause": 0.05}, "_meta": {"progressToken": 1}})
    stream, code, _ = await Client(hub, key).stream(dumps(message("tools/call", params)), *modern_headers("tools/call", params))
    assert code == 200
    return stream


async def ended(stream: Connection) -> None:
    async for heard in stream.messages():
        assert "result" not in heard or heard["result"].get("resultType") == "complete"
    await stream.close()


async def test_without_its_lock_a_hub_refuses_calls_until_it_has_it_again(
    hub: Hub, emptied_url: str, emptied_name: str, postgres: PostgresServer
) -> None:
    bob = (await asyncio.to_thread(hub.admin, "POST", "/admin/v1/keys", {"name": "bob", "grants": ALL}))["key"]
    running, going = await counting(hub, "ann"), await counting(hub, bob)
    thief = await asyncpg.connect(emptied_url)
    try:
        holder = f"SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = {KEY}"
        assert await echo(hub, "before") == "before"
        # whoever cuts the connection has the lock before the hub is back: the thief waits for it
        waiting = asyncio.ensure_future(thief.execute(f"SELECT pg_advisory_lock({KEY})"))
        await eventually(lambda: postgres.sql(f"SELECT 1 FROM pg_locks WHERE objid = {KEY} AND NOT granted", emptied_name))
        postgres.sql(f"SELECT pg_terminate_backend(({holder} AND granted))", emptied_name)
        await waiting
        with lateness() as late:
            started = time.monotonic()
            await eventually(lambda: readiness(hub)["http"] == 503)
            assert time.monotonic() - started < 2.0 + late.allowed
        assert readiness(hub)["reasons"] == ["another hub may have this one's place on the database"]
        assert await status(hub, "ann") == 503
        await revoked_elsewhere(emptied_url, "bob")
        with lateness() as late:
            started = time.monotonic()
            await ended(going)
            assert time.monotonic() - started < 1.0 + late.allowed, "what runs is cut when its key is revoked, whoever has the lock"
        assert (await anext(running.messages()))["method"] == "notifications/progress", "and goes on where it is not"
        await running.close()
    finally:
        await thief.close()
    await eventually(lambda: readiness(hub)["http"] == 200)
    assert await echo(hub, "after") == "after"


async def test_a_hub_cut_off_from_its_database_ends_what_it_streams_since_keys_may_be_revoked_without_its_hearing(
    tmp_path: Path, downstream: HttpServer, emptied_url: str
) -> None:
    async with cutter(emptied_url) as (proxy, url):
        hub = Hub(tmp_path, config(downstream), postgres=url)
        await asyncio.to_thread(lambda: hub.start().settled("http-newer"))
        try:
            bob = (await asyncio.to_thread(hub.admin, "POST", "/admin/v1/keys", {"name": "bob", "grants": ALL}))["key"]
            streams = [await listening(hub, bob), await counting(hub, bob), await counting(hub, "ann")]
            plain = asyncio.create_task(Client(hub, bob).call("wait", {"mark": "cut off"}))
            await eventually(lambda: "began cut off" in downstream.noted())
            proxy.passing.clear()
            with lateness() as late:
                started = time.monotonic()
                await revoked_elsewhere(emptied_url, "bob")
                await asyncio.gather(*(ended(stream) for stream in streams))
                assert time.monotonic() - started < 1.5 + late.allowed  # a second since it last heard, and a little
            assert not plain.done()
            proxy.passing.set()
            answer = await plain
            assert (answer.status, "result" in answer.json) == (401, False)
            await eventually(lambda: answers(hub, "ann", 200), 30)
            assert await status(hub, bob) == 401
        finally:
            proxy.passing.set()
            code = await asyncio.to_thread(hub.stop)
    assert code == 0
    assert "Traceback" not in hub.log.read_text()
    assert verified(emptied_url)["default"] > 0
    ends = Counter(entry["outcome"].get("code", "") for entry in records(emptied_url) if entry["kind"].endswith(".outcome"))
    assert ends["key_revoked"] == 1
    assert ends.total() == sum(entry["kind"].endswith(".intent") for entry in records(emptied_url)), "each call has its end on record"


async def answers(hub: Hub, key: str, code: int) -> bool:
    return await status(hub, key) == code


async def test_a_database_that_dies_is_refused_quickly_and_calls_go_on_when_it_is_back(hub: Hub, postgres: PostgresServer) -> None:
    assert await echo(hub, "before") == "before"
    postgres.kill()
    with lateness() as late:
        started = time.monotonic()
        await eventually(lambda: readiness(hub)["reasons"] == ["the database is away"])
        assert time.monotonic() - started < 3 + late.allowed
        assert readiness(hub)["http"] == 503
        started = time.monotonic()
        assert await status(hub, "ann") == 503
        assert time.monotonic() - started < 3 + late.allowed
    postgres.restart()
    await eventually(lambda: readiness(hub)["http"] == 200)
    assert await echo(hub, "after") == "after"
    hub.stop()
    assert verified(hub.database)["default"] > 0
