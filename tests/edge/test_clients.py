"""Requests under way: what is kept of one ends with it."""

import asyncio
import gc
from typing import Any

from hub.edge.clients import Clients, Running
from hub.edge.exchange import Exchange
from tests.support.hub import eventually


async def never() -> Any:
    await asyncio.Event().wait()


async def nowhere(message: Any) -> None:
    raise AssertionError(message)


async def answered(clients: Clients) -> None:
    """A client is watched, and stays until its answer is complete."""
    running = clients.enter(Exchange({"headers": []}, never, nowhere, "r"))
    running.reading = False
    await eventually(lambda: running.watch is not None)
    clients.leave(running)


async def test_a_client_that_was_watched_leaves_nothing_for_the_collector() -> None:
    clients = Clients()
    clients.start()
    gc.collect()
    gc.disable()
    try:
        await asyncio.gather(*(asyncio.create_task(answered(clients)) for _ in range(3)))
        assert len(clients) == 0
        await eventually(lambda: not [one for one in gc.get_objects() if isinstance(one, (Running, Exchange))], 2)
    finally:
        gc.enable()
        await clients.stop()
