"""Who listens for changes of which virtual server. Changes are kept as a set, so a slow listener costs no memory and misses nothing."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable

KEEP_ALIVE = 15.0
"""Seconds of silence after which a stream gets a comment, so that what stands between keeps it open."""


class Listener:
    """One stream. `wanted` are the notification methods its client asked for."""

    def __init__(self, wanted: frozenset[str]) -> None:
        self.wanted = wanted
        self._pending: set[str] = set()
        self._wake = asyncio.Event()
        self._closed = False

    def tell(self, method: str) -> None:
        if method in self.wanted:
            self._pending.add(method)
            self._wake.set()

    def close(self) -> None:
        """End the stream gracefully: the hub is stopping or the virtual server is gone."""
        self._closed = True
        self._wake.set()

    async def changes(self) -> AsyncIterator[str]:
        """Yield methods to notify, the empty string when it is time for a keep-alive; end when closed."""
        while True:
            try:
                async with asyncio.timeout(KEEP_ALIVE):
                    await self._wake.wait()
            except TimeoutError:
                yield ""
                continue
            self._wake.clear()
            for method in sorted(self._pending):
                self._pending.discard(method)
                yield method
            if self._closed:
                return


class Switchboard:
    """All listeners, by virtual server."""

    def __init__(self) -> None:
        self._listeners: defaultdict[str, set[Listener]] = defaultdict(set)
        self._closed = False

    def __len__(self) -> int:
        return sum(map(len, self._listeners.values()))

    def join(self, door: str, wanted: Iterable[str]) -> Listener:
        listener = Listener(frozenset(wanted))
        self._listeners[door].add(listener)
        if self._closed:
            listener.close()
        return listener

    def leave(self, door: str, listener: Listener) -> None:
        listeners = self._listeners[door]
        listeners.discard(listener)
        if not listeners:
            del self._listeners[door]

    def tell(self, door: str, method: str) -> None:
        for listener in self._listeners.get(door, ()):
            listener.tell(method)

    def close_door(self, door: str) -> None:
        for listener in self._listeners.get(door, ()):
            listener.close()

    def close(self) -> None:
        """End every stream, and every one that is still to come."""
        self._closed = True
        for door in list(self._listeners):
            self.close_door(door)
