"""Messages between the processes of one hub, over Redis publish/subscribe: heard by whoever listens at the time, at most once.

Nothing waits for a signal and nothing may depend on one: what it announces is found by other means as well, a little later. It never
stands on the path of a request. It does not know what the messages mean; before each stands the name of the process that sent it.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable
from typing import Any

from hub.refusal import StoreDown
from hub.store.redis import Redis
from hub.store.redis_link import Link
from hub.store.redis_place import STEADY, pause
from hub.store.resp import pack

logger = logging.getLogger("hub.redis")

Heard = Callable[[bytes, bytes], None]
"""Takes the name of the sender, and what it said."""

_NAME = 8


class Signals:
    """Publishes on the connection of `redis`, listens on one of its own, which it makes again whenever it is lost."""

    def __init__(self, redis: Redis) -> None:
        self.name = secrets.token_bytes(_NAME)
        """Of this process, for as long as it lives."""
        self._redis = redis
        self._heard: dict[bytes, list[Heard]] = {}
        self._link: Link | None = None
        self._task: asyncio.Task[None] | None = None
        self.confirmed = 0
        """Topics that the server has said it will tell us of, on the present connection."""

    def open(self) -> None:
        """Begin to listen. Does not wait, and does not fail: while Redis is away nothing is heard."""
        self._task = asyncio.create_task(self._listening())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def publish(self, topic: str, data: bytes) -> None:
        """Tell every other process that listens. Lost where Redis is away."""
        channel = _channel(self._redis, topic)
        self._redis.post(channel, pack("PUBLISH", channel, self.name + data))

    def subscribe(self, topic: str, heard: Heard) -> None:
        """Have `heard` called on the loop for each message of others from now on, or from when the connection is made."""
        channel = _channel(self._redis, topic)
        known = self._heard.setdefault(channel, [])
        known.append(heard)
        if len(known) == 1 and self._link is not None:
            self._link.tell(pack("SUBSCRIBE", channel))

    async def listening(self, topic: str) -> int:
        """How many processes listen, this one included, as far as the servers know. Raises `StoreDown`."""
        channel = _channel(self._redis, topic)
        return sum(int(found[1]) for found in await self._redis.each("PUBSUB", "NUMSUB", channel))

    async def _listening(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            try:
                link = await self._redis.connect()
            except StoreDown:
                failures += 1
                await asyncio.sleep(pause(failures))
                continue
            since = loop.time()
            try:
                await self._listen(link)
            finally:
                self._link, self.confirmed = None, 0
                link.close()
            failures = 0 if loop.time() - since > STEADY else failures + 1
            if failures:
                await asyncio.sleep(pause(failures))

    async def _listen(self, link: Link) -> None:
        self._link = link
        link.listen(self._pushed, b"".join(pack("SUBSCRIBE", channel) for channel in self._heard))
        await asyncio.shield(link.lost)

    def _pushed(self, message: list[Any]) -> None:
        if len(message) == 3 and message[0] == b"subscribe":
            self.confirmed = int(message[2])
        elif len(message) == 3 and message[0] == b"message":
            self._said(message[1], message[2][:_NAME], message[2][_NAME:])

    def _said(self, channel: bytes, sender: bytes, data: bytes) -> None:
        if sender == self.name:
            return
        for heard in tuple(self._heard.get(channel, ())):
            try:
                heard(sender, data)
            except Exception:
                logger.exception("what was to be done on a signal failed")


async def publish_once(redis: Redis, topic: str, data: bytes) -> None:
    """Tell every process that listens, as one that is none of them: `redis` need not be open. Raises `StoreDown`, `ReplyError`."""
    link = await redis.connect()
    try:
        await link.send(pack("PUBLISH", _channel(redis, topic), secrets.token_bytes(_NAME) + data))
    finally:
        link.close()


def _channel(redis: Redis, topic: str) -> bytes:
    """Channels, unlike keys, are not kept apart by database."""
    return f"hub:{redis.database}:{topic}".encode()
