"""Keys that are made for a moment and revoked while something else happens: nobody is let in with one ever again."""

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.error import HTTPError

from tests.chaos.several import DOORS, PATIENCE, WORKERS, Brief, Replica, World
from tests.processes.several import BROKEN, READY
from tests.support.mcp import Client, dumps, message, modern_headers, modern_params
from tests.support.wire import Connection

_NUMBERS = itertools.count(1)
T = TypeVar("T")


async def brief_key(world: World) -> Brief:
    """A new key that every process has heard of."""

    def make(replica: Replica) -> Brief:
        name = f"brief-{next(_NUMBERS)}"
        made: dict[str, Any] = replica.admin("POST", "/admin/v1/keys", {"name": name, "grants": [{"virtual_server": DOORS["default"]}]})
        return Brief(name, made["key"])

    key = await _by_any(world, make)
    await _answered(world, key, 200)
    return key


async def revoke(world: World, key: Brief) -> None:
    """The operator is told that it holds everywhere by then."""

    def end(replica: Replica) -> None:
        try:
            replica.admin("DELETE", f"/admin/v1/keys/{key.name}")
        except HTTPError as error:
            if error.code != 404:  # an attempt before this one, of which nobody heard, has done it
                raise

    await _by_any(world, end)
    world.revoked.append(key)


async def stay_revoked(world: World) -> int:
    """Every process of every replica refuses every key that was revoked. How many these are."""
    for key in world.revoked:
        await _answered(world, key, 401)
    return len(world.revoked)


async def _by_any(world: World, ask: Callable[[Replica], T]) -> T:
    """Have whichever replica can do it: others may be ended, or their stores away, at this moment."""
    end = time.monotonic() + PATIENCE
    while True:
        for replica in world.replicas:
            try:
                return await asyncio.to_thread(ask, replica)
            except OSError:
                if time.monotonic() > end:
                    raise
        await asyncio.sleep(0.05)


async def _answered(world: World, key: Brief, status: int) -> None:
    """Wait until every process answers a request with this key so. Once one was revoked, no answer may be any other but for want of a store."""
    end = time.monotonic() + PATIENCE
    for replica in world.replicas:
        while True:
            found: dict[int, int] = {}
            try:
                found = await _statuses(replica, key)
            except BROKEN:
                if time.monotonic() > end:
                    raise
            assert key not in world.revoked or 200 not in found.values(), f"a revoked key is let in: {found}"
            if len(found) == WORKERS and set(found.values()) == {status}:
                break
            assert time.monotonic() < end, f"{found} in place of {status}"
            await asyncio.sleep(0.05)


async def _statuses(replica: Replica, key: Brief) -> dict[int, int]:
    """What its workers answer, by their number, as far as one comes to them. Raises `OSError`, `IncompleteReadError`."""
    params = modern_params()
    request = Client(replica, key.secret).wire(dumps(message("tools/list", params)), *modern_headers("tools/list", params))
    found: dict[int, int] = {}
    connections: list[Connection] = []
    try:
        async with asyncio.timeout(5):
            while len(found) < WORKERS and len(connections) < 4 * WORKERS:  # kept open, so that the next goes to another
                connections.append(await Connection.open(replica.address))
                await connections[-1].send(READY)
                worker = (await connections[-1].response()).json["worker"]
                await connections[-1].send(request)
                found[worker] = (await connections[-1].response()).status
    finally:
        for connection in connections:
            await connection.close()
    return found
