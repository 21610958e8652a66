"""Waiting for the first of several events."""

import asyncio


async def either(*events: asyncio.Event, timeout: float | None = None) -> None:
    """Return when one of them is set, or after `timeout` seconds."""
    if any(event.is_set() for event in events):
        return
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
