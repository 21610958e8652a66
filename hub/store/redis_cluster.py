"""Which server of a Redis Cluster holds a key. It asks the servers it knows for the map, and learns from those who redirect.

Source: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/. Keys that must be together share a hash tag: the text
between the first `{` and the next `}`.
"""

import asyncio
import contextlib
import logging
import random
import ssl
from binascii import crc_hqx
from collections.abc import Callable
from typing import Any

from hub.config.redis_url import Address, Site
from hub.refusal import StoreDown
from hub.store.redis_dial import Found, ask, dial
from hub.store.redis_link import down
from hub.store.redis_place import Place

logger = logging.getLogger("hub.redis")

SLOTS = 16384
REST = 0.1
"""Seconds between two readings of the map at least."""


def slot(key: bytes) -> int:
    """The slot of a key: CRC16 (XMODEM) of its hash tag where it has one, else of the whole key."""
    start = key.find(b"{") + 1
    end = key.find(b"}", start) if start else -1
    return crc_hqx(key[start:end] if end > start else key, 0) % SLOTS


class Cluster:
    """The map, and a `Place` for each server that stands in it."""

    def __init__(self, site: Site, trust: ssl.SSLContext | None, patience: float, returned: Callable[[bool], None]) -> None:
        self._site, self._trust, self._patience, self._returned = site, trust, patience, returned
        self._map: list[Address | None] = [None] * SLOTS
        self._places: dict[Address, Place] = {}
        self._reading: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def places(self) -> tuple[Place, ...]:
        return tuple(self._places.values())

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Every server known, those of the map first."""
        return tuple(dict.fromkeys((*self._places, *self._site.seeds)))

    async def open(self) -> None:
        """Read the map and connect to every server in it. Raises `StoreDown`."""
        await self._read()
        async with asyncio.TaskGroup() as group:
            for address in {found for found in self._map if found is not None}:
                group.create_task(self._join(address))

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
        await asyncio.gather(*(place.close() for place in self._places.values()), *self._ending)

    def of(self, key: bytes) -> Place:
        """Where this key is. Raises `StoreDown` where nobody serves its slot."""
        address = self._map[slot(key)]
        if address is None:
            self.reread()
            raise down("no server of the cluster serves this slot")
        return self.at(address)

    def at(self, address: Address) -> Place:
        """The server at an address; one not known yet is connected to."""
        place = self._places.get(address)
        if place is None:
            place = self._places[address] = self._place(address)
            place.begin()
        return place

    def moved(self, text: str) -> Place:
        """Where a redirection points: `MOVED <slot> <host>:<port>`, which changes the map, or `ASK …`, which does not."""
        code, number, where = (*text.split(" "), "", "")[:3]
        host, _, port = where.rpartition(":")
        if not (number.isdigit() and int(number) < SLOTS and host and port.isdigit()):
            self.reread()  # which says more: a server that does not know its own name leaves it out here
            raise down("a redirection of the cluster cannot be read")
        address = (host.strip("[]"), int(port))
        if code == "MOVED":
            self._map[int(number)] = address
            self.reread()
        return self.at(address)

    def reread(self) -> None:
        """Have the map read again, once for all who ask for it at the time."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._again())

    async def _again(self) -> None:
        await asyncio.sleep(REST * random.uniform(0.5, 1.0))  # noqa: S311 (spread, not secrecy)
        try:
            await self._read()
        except StoreDown as error:
            logger.warning("the map of the Redis Cluster cannot be read (%s)", error.detail)
            return
        mapped = {address for address in self._map if address is not None}
        for address in [address for address in self._places if address not in mapped]:
            task = asyncio.create_task(self._places.pop(address).close())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _read(self) -> None:
        error = down("no server of the cluster answers")
        for address in self.addresses:
            try:
                reply = await ask(address, self._site.login, self._trust, self._patience, "CLUSTER", "SLOTS")
                self._map = slots(reply, address[0])
                return
            except StoreDown as down_one:
                error = down_one
        raise error

    def _place(self, address: Address) -> Place:
        async def connect() -> Found:
            try:
                return await dial(address, self._site, self._trust, self._patience, writable=False)
            except StoreDown:
                self.reread()
                raise

        return Place(connect, self._returned)

    async def _join(self, address: Address) -> None:
        place = self._places[address] = self._place(address)
        try:
            await place.open()
        except StoreDown:
            place.begin()  # one server that is away keeps nobody from the others


def slots(reply: Any, asked: str) -> list[Address | None]:
    """The map of a reply to CLUSTER SLOTS; a server without a host of its own is the one that was asked. Raises `StoreDown`."""
    found: list[Address | None] = [None] * SLOTS
    try:
        for first, last, master, *_ in reply:
            if not 0 <= first <= last < SLOTS:
                raise ValueError
            host = bytes(master[0] or b"").decode()
            address = (asked if host in ("", "?") else host, int(master[1]))
            found[first : last + 1] = [address] * (last - first + 1)
    except (TypeError, ValueError, IndexError):
        raise down("the map of the cluster cannot be read") from None
    return found
