"""Following what an HTTP server announces on a stream of its own: that its lists changed. It does not know what is done about it.

Older era: a GET stream. 2026-07-28: `subscriptions/listen`. A stream that breaks is opened again, with growing pauses; since
announcements may have been missed, everything watched then counts as changed.
"""

import asyncio
import time
from collections.abc import Callable

import msgspec
from msgspec import Raw

from hub import backoff
from hub.refusal import Unavailable
from virtual_servers import rpc
from virtual_servers.catalog import KINDS
from virtual_servers.handshake import Hello
from virtual_servers.http import HttpLink, NotOffered, SessionLost
from virtual_servers.link import Ask

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
STEADY = 60.0
"""Seconds a stream must have stood for the pauses to start anew."""


def watched(hello: Hello) -> tuple[str, ...]:
    """The lists whose changes the server says it announces."""
    return tuple(kind for kind in KINDS if hello.offers(kind, "listChanged"))


def listen_params(kinds: tuple[str, ...]) -> bytes:
    """The parameters of a `subscriptions/listen` for these lists."""
    wanted = msgspec.json.encode({f"{kind}ListChanged": True for kind in kinds})
    members = {"notifications": Raw(wanted), "_meta": Raw(msgspec.json.encode(rpc.modern_members()))}
    return msgspec.json.encode(members)


async def follow(
    link: HttpLink, kinds: tuple[str, ...], number: Callable[[], int], changed: Callable[[tuple[str, ...]], None], lost: Callable[[], None]
) -> None:
    """Follow until cancelled, or until the server has no such stream, or the session is gone (`lost` is called)."""
    failures = stood = 0

    def opened() -> None:
        nonlocal stood
        stood += 1
        if stood > 1:
            changed(kinds)

    while True:
        began = time.monotonic()
        forever = float("inf")
        ask = Ask(number(), "subscriptions/listen", listen_params(kinds), forever, forever) if link.modern else None
        try:
            await link.listen(ask, opened)
        except NotOffered:
            return
        except SessionLost:
            lost()
            return
        except Unavailable:
            pass
        failures = 1 if time.monotonic() - began > STEADY else failures + 1
        await asyncio.sleep(backoff.pause(failures, FIRST_PAUSE, LONGEST_PAUSE))
