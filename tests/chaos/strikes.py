"""What can befall several replicas and their stores. Each strike does its harm, waits where that is part of it, and heals what does not heal
by itself; whoever strikes waits afterwards until all is well again.

`STRIKES` is the one list of them. One that names modules of the hub of which there is none (`of`) joins by itself once there is one.
"""

import asyncio
import contextlib
import math
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib.util import find_spec
from typing import Literal, NamedTuple

from tests.chaos.revoked import brief_key, revoke
from tests.chaos.several import STDIO_HOST, Replica, World, stdio_hosts
from tests.services.machine import state
from tests.support.hub import eventually

HOUR = 3600.0
LONGEST = 3.0
"""Seconds for which a process of the hub stands still at most: less than the four after which its places among calls in flight may be given to
others (`hub/budget/leases.py`)."""

LONGEST_STORE = 7.0
"""The same of PostgreSQL and Redis: longer than a lease, and than anybody's patience."""

AFTER = 5.0
"""Seconds after Redis is back in which every process has noticed."""

CUTS = 3


class Strike(NamedTuple):
    """`do` returns what it did, for people. `ends` says whose processes it ends: two that end the hub's own are not to meet.

    `of`: modules without one of which there is nothing to strike.
    """

    name: str
    do: Callable[[World, random.Random], Awaitable[str]]
    ends: Literal["hub", "store", "nobody"] = "nobody"
    of: Sequence[str] = ()


def running(world: World, draw: random.Random) -> Replica:
    """One of the replicas that run."""
    return draw.choice([replica for replica in world.replicas if replica.alive])


async def kill_worker(world: World, draw: random.Random) -> str:
    """Its parent puts another in its place."""
    replica = running(world, draw)
    victim = draw.choice(replica.pids() or [0])
    if victim:
        os.kill(victim, signal.SIGKILL)
        await eventually(lambda: state(victim) in "XZ")
    return f"worker {victim} of {world.replicas.index(replica)}"


async def kill_replica(world: World, draw: random.Random) -> str:
    """Parent and workers at once; it is started again a moment later, at another address."""
    replica = running(world, draw)
    await asyncio.to_thread(replica.kill)
    await asyncio.sleep(draw.uniform(0.0, 1.0))  # a moment, whichever it is: nothing is waited for
    await _start(replica)
    return f"replica {world.replicas.index(replica)}"


async def kill_parent(world: World, draw: random.Random) -> str:
    """Its workers drain and end by themselves; then it is started again."""
    replica = running(world, draw)
    left = replica.family() - {replica.pid}
    os.kill(replica.pid, signal.SIGKILL)
    assert replica.process is not None
    await asyncio.to_thread(replica.process.wait)
    await eventually(lambda: all(state(pid) in "XZ" for pid in left), 30)
    await _start(replica)
    return f"parent of {world.replicas.index(replica)}"


async def kill_stdio_host(world: World, draw: random.Random) -> str:
    """The process that owns the pipes of a replica's stdio servers."""
    replica = running(world, draw)
    victims = await eventually(lambda: stdio_hosts(replica))
    os.kill(victims[0], signal.SIGKILL)
    await eventually(lambda: state(victims[0]) in "XZ")
    await eventually(lambda: bool(stdio_hosts(replica)))
    return f"stdio host {victims[0]} of {world.replicas.index(replica)}"


async def kill_postgres(world: World, draw: random.Random) -> str:
    """With all its processes, as a machine that loses power; it replays its log when it starts again."""
    await asyncio.to_thread(world.postgres.kill)
    await asyncio.sleep(draw.uniform(0.5, 2.0))
    await asyncio.to_thread(world.postgres.restart)
    return "PostgreSQL"


async def kill_redis(world: World, draw: random.Random) -> str:
    """It keeps an append-only file."""
    began = time.time()
    world.redis.kill()
    await asyncio.sleep(draw.uniform(0.5, 2.0))
    world.redis.restart()  # not in a thread: the server dies with the thread that started it
    world.outages.append((began, time.time() + AFTER))
    return "Redis"


async def lose_redis(world: World, draw: random.Random) -> str:
    """It is killed and its files removed: it comes back empty. A key that was revoked meanwhile is to stay revoked."""
    key = await brief_key(world)
    began = time.time()
    world.losses.append((began, math.inf))
    world.redis.kill()
    await revoke(world, key)
    await asyncio.sleep(draw.uniform(0.0, 0.5))
    world.redis.restart(forget=True)  # not in a thread: the server dies with the thread that started it
    world.losses[-1] = (began, time.time())
    world.outages.append((began, time.time() + AFTER))
    return f"Redis for {world.losses[-1][1] - began:.1f} s"


async def stop_processes(world: World, draw: random.Random) -> str:
    """SIGSTOP, and SIGCONT later: a worker, a parent, or a whole replica."""
    replica, what, seconds = running(world, draw), draw.choice(["worker", "parent", "replica"]), draw.uniform(0.5, LONGEST)
    workers = replica.pids() or [replica.pid]
    pids = {"worker": [draw.choice(workers)], "parent": [replica.pid], "replica": [replica.pid, *workers]}[what]
    _signal(pids, signal.SIGSTOP)
    await asyncio.sleep(seconds)
    _signal(pids, signal.SIGCONT)
    return f"{what} {world.replicas.index(replica)} for {seconds:.1f} s"


async def stop_store(world: World, draw: random.Random) -> str:
    """The same of PostgreSQL, with all its processes, or of Redis."""
    store, began = draw.choice([world.postgres, world.redis]), time.time()
    seconds = draw.uniform(0.5, LONGEST_STORE)
    await asyncio.to_thread(store.stop_answering)
    await asyncio.sleep(seconds)
    store.resume()
    if store is world.redis:
        world.outages.append((began, time.time() + AFTER))
    return f"{type(store).__name__} for {seconds:.1f} s"


async def cut_commits(world: World, draw: random.Random) -> str:
    """The connection to PostgreSQL is cut where records of calls are committed: before the server hears of it, after, or it hears late."""
    proxy, done = world.proxy, list[str]()
    proxy.at = b'"kind":"mcp.'
    for _ in range(CUTS):
        cut = draw.choice(["after", "before", "late"])
        wanted = proxy.cuts + 1
        proxy.let_go.clear()
        proxy.cut = cut  # type: ignore[assignment]  # one of its ways
        await eventually(lambda wanted=wanted: proxy.cuts >= wanted)
        if cut == "late":
            await asyncio.sleep(draw.uniform(0.0, 2.5))
            proxy.loop.call_soon_threadsafe(proxy.let_go.set)
            await eventually(proxy.let_go.is_set)
        done.append(cut)
        await asyncio.sleep(draw.uniform(0.0, 0.5))
    return ", ".join(done)


async def jump_clock(world: World, draw: random.Random) -> str:
    """The wall clock of one replica is set ahead or back by an hour, and right again later."""
    replica, ahead = running(world, draw), draw.choice([HOUR, -HOUR])
    replica.set_clock(ahead)
    await asyncio.sleep(draw.uniform(0.5, 1.5))
    await eventually(lambda: asyncio.to_thread(world.shows_a_jump, HOUR / 2), 30, 0.2)
    replica.set_clock(0.0)
    return f"{ahead:+.0f} s at {world.replicas.index(replica)}"


STRIKES: Sequence[Strike] = (
    Strike("kill a worker", kill_worker, "hub"),
    Strike("kill a replica", kill_replica, "hub"),
    Strike("kill a parent", kill_parent, "hub"),
    Strike("kill the stdio host", kill_stdio_host, "hub", of=STDIO_HOST),
    Strike("kill PostgreSQL", kill_postgres, "store"),
    Strike("kill Redis", kill_redis, "store"),
    Strike("kill Redis and remove its data", lose_redis, "store"),
    Strike("stop and resume processes", stop_processes),
    Strike("stop and resume a store", stop_store, "store"),
    Strike("cut commits", cut_commits),
    Strike("jump a clock", jump_clock),
)


def strikes() -> list[Strike]:
    """Those that there is something to strike for."""
    return [strike for strike in STRIKES if not strike.of or any(find_spec(module) for module in strike.of)]


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # another strike ended it
            os.kill(pid, number)


async def _start(replica: Replica) -> None:
    """As a supervisor does: a hub that cannot reach its stores ends with 1, and is started again."""
    end = time.monotonic() + 60.0
    while True:
        at = replica.launch()
        try:
            await asyncio.to_thread(replica.await_ready, at)
        except AssertionError:
            assert replica.process is not None
            if replica.process.poll() != 1 or time.monotonic() > end:
                raise
        else:
            return
