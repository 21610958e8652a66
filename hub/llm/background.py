"""Answers that providers make in the background: looked after until they are there, so that each is paid as it was used, once.

What a call set aside stays so until its answer is seen to be complete: by its client, who asks for it here, or by this room, which asks
the provider from time to time. One that is never seen complete is spent at what was set aside; one whose process stops, at what it cost
at least.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import orjson

from hub.call import Caller, Target, Tokens
from hub.llm.announced import RUNNING, announced
from hub.llm.due import Due
from hub.llm.needs import BYTES_A_TOKEN
from hub.llm.providers import Place
from hub.llm.relay import usage_of
from hub.refusal import Refusal
from hub.routing.provider import Attempt
from hub.telemetry.logs import fields

log = logging.getLogger("hub.llm")

FIRST, SLOWER, LAST = 2.0, 1.5, 30.0
"""Seconds until the provider is asked first; by how much longer each time; and at most."""

LONGEST = 24 * 3600.0
"""Seconds until an answer is given up."""

PATIENCE = 60.0
"""Seconds for one look."""

_At = tuple[str, str, str]


class Background:
    """Of one process: of the calls it took itself."""

    def __init__(self, places: Callable[[], Mapping[str, Place]]) -> None:
        self._places = places
        self._due: dict[_At, tuple[Due, Target]] = {}
        self._tasks: dict[_At, asyncio.Task[None]] = {}

    def tend(self, caller: Caller, response: str, target: Target, due: Due) -> None:
        """The call has ended, and its answer is still being made."""
        at = _at(caller, response)
        self._end(at, None, "unknown", None)  # a provider that gives an id twice: nobody can see any more what the first one used
        self._due[at] = (due, target)
        self._tasks[at] = asyncio.create_task(self._tend(at), name="background-response")

    def seen(self, caller: Caller, response: str, body: bytes) -> dict[str, Any] | None:
        """The provider answered with the response. Where that is what its call waits for, it is settled: what is on record of it."""
        return self._seen(_at(caller, response), body)

    def told(self, caller: Caller, response: str, tokens: Tokens | None) -> dict[str, Any] | None:
        """The same of a stream that came to its end."""
        return None if tokens is None else self._end(_at(caller, response), tokens, "ok", None)

    async def look(self, caller: Caller, response: str) -> None:
        """Ask the provider now, if anybody waits for it: it is about to be deleted."""
        at = _at(caller, response)
        if at in self._due:
            await self._look(at)

    def gone(self, caller: Caller, response: str) -> dict[str, Any] | None:
        """It was deleted, and nobody can see any more what it used."""
        return self._end(_at(caller, response), None, "unknown", None)

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for due, _ in self._due.values():
            due.close()
        self._due.clear()

    async def _tend(self, at: _At) -> None:
        pause, until = FIRST, time.monotonic() + LONGEST
        while at in self._due and time.monotonic() < until:
            await asyncio.sleep(pause)
            pause = min(pause * SLOWER, LAST)
            await self._look(at)
        self._end(at, None, "unknown", None)

    async def _look(self, at: _At) -> None:
        """What cannot be seen now is looked for again."""
        target = self._due[at][1]
        place = self._places().get(target.upstream)
        if place is None:
            return
        until = time.monotonic() + PATIENCE
        try:
            async with Attempt(place.provider, f"/responses/{at[2]}", b"", b"", bearer=True, deadline=until, method="GET") as attempt:
                status, body = attempt.response.status, attempt.body
        except Refusal:
            return
        except Exception:
            log.exception("a background response could not be looked for", extra=fields(response=at[2]))
            return
        if status == 200:
            self._seen(at, body)
        elif status == 404:
            self._end(at, None, "unknown", None)

    def _seen(self, at: _At, body: bytes) -> dict[str, Any] | None:
        if at not in self._due:
            return None
        said = announced(body)
        if said is None or said.status in RUNNING:
            return None
        tokens = usage_of(body, "responses")
        return self._end(at, tokens, "ok" if said.status in ("completed", "incomplete") else "error", _said(body))

    def _end(self, at: _At, tokens: Tokens | None, status: str, said: int | None) -> dict[str, Any] | None:
        found = self._due.pop(at, None)
        task = self._tasks.pop(at, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        return None if found is None else found[0].settle(tokens, status, said)


def _at(caller: Caller, response: str) -> _At:
    return caller.org, caller.subject, response


def _said(body: bytes) -> int | None:
    """Tokens that the output of a response is taken for: its texts and arguments. None where it cannot be read."""
    size = 0
    try:
        items: list[Any] = list(cast("dict[str, Any]", orjson.loads(body)).get("output") or [])
    except orjson.JSONDecodeError:  # what `announced` skips unread need not be JSON, or UTF-8
        return None
    while items:
        item = items.pop()
        if not isinstance(item, dict):
            continue
        members = cast("dict[str, Any]", item)
        size += sum(len(value.encode()) for name in ("text", "arguments", "refusal") if isinstance(value := members.get(name), str))
        for name in ("content", "summary"):
            if isinstance(more := members.get(name), list):
                items += cast("list[Any]", more)
    return -(-size // BYTES_A_TOKEN)
