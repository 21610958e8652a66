"""Redis, or Valkey, as the hub uses it: commands and scripts over one pipelined connection to each server, and quick refusals without it.

::

    Redis ─ Place ─ Link         one server
    Redis ─ Place ─ Link         the master that Sentinels name; found anew after every loss
    Redis ─ Cluster ─ Place ─ Link
                    └ Place ─ Link …

A command is answered within `patience` seconds or refused with `StoreDown`. What was sent when a connection was lost may have been done or
not, and is never sent again by itself. Keys of one script share a hash tag, as `hub:{acme}:…`, so that a cluster has them in one place.
Why not redis-py: docs/design/redis-client.md.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from hashlib import sha1
from typing import Any, Protocol

from hub.config.redis_url import Address, parse
from hub.refusal import StoreDown
from hub.store.redis_cluster import Cluster
from hub.store.redis_dial import Found, dial, trust
from hub.store.redis_link import Link, down, seen
from hub.store.redis_place import Place
from hub.store.redis_sentinel import Sentinels
from hub.store.resp import ReplyError, pack, strings

logger = logging.getLogger("hub.redis")

PATIENCE = 0.5
"""Seconds a server has for a connection, and for a reply: hundreds of times what it takes, and short enough to be refused quickly."""

Text = bytes | str | int

_AWAY = {"BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOAUTH", "NOPERM", "NOREPLICAS", "OOM", "READONLY", "TRYAGAIN"}
"""Codes of a server that cannot do now what it could do otherwise."""

_ELSEWHERE = {"LOADING", "MASTERDOWN", "READONLY"}
"""Of these, the ones that say to look for the server anew: it is not, or not yet, the one to write to."""

_ASKING = pack("ASKING")


class Script:
    """A Lua script; sent as its hash, and whole where the server does not have it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._short = strings("EVALSHA", sha1(text.encode(), usedforsecurity=False).hexdigest())
        self._whole = strings("EVAL", text)

    def short(self, count: int, rest: bytes) -> bytes:
        """The command with the hash. `rest` are its `count` further arguments, from the number of keys on, as `resp.strings` gives them."""
        return b"*%d\r\n%b%b" % (2 + count, self._short, rest)

    def whole(self, count: int, rest: bytes) -> bytes:
        """The same with the text, which every server can run."""
        return b"*%d\r\n%b%b" % (2 + count, self._whole, rest)


class Ways(Protocol):
    """Which server a key is at."""

    @property
    def places(self) -> tuple[Place, ...]: ...

    @property
    def addresses(self) -> tuple[Address, ...]: ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def of(self, key: bytes) -> Place: ...

    def moved(self, text: str) -> Place: ...

    def reread(self) -> None: ...


class Redis:
    """Made for one event loop. Raises `ValueError` for a URL it cannot use, `OSError` for certificates it cannot read."""

    def __init__(self, url: str, *, patience: float = PATIENCE) -> None:
        self._site = parse(url)
        self._patience = patience
        self._trust = trust(self._site)
        self._sentinels = Sentinels(self._site, self._trust, patience)
        self._ways: Ways = (
            Cluster(self._site, self._trust, patience, self._returned) if self._site.form == "cluster" else _One(self._place())
        )
        self._on_return: list[Callable[[bool], None]] = []

    def __repr__(self) -> str:
        return f"Redis({self._site.form})"

    @property
    def up(self) -> bool:
        """Whether every server that is known has a connection."""
        return all(place.link is not None for place in self._ways.places)

    @property
    def database(self) -> int:
        return self._site.database

    async def open(self) -> None:
        """Connect. Raises `StoreDown`; then nothing is left to close."""
        try:
            await self._ways.open()
        except BaseException:
            await self._ways.close()
            raise
        if not all(place.keeps for place in self._ways.places):
            logger.warning("Redis keeps no append-only file, or does not say: where it starts again without its data, counts begin anew")

    async def close(self) -> None:
        """End the connections; who waits is refused."""
        await self._ways.close()

    def on_return(self, call: Callable[[bool], None]) -> None:
        """Have `call(whole)` called when a server is back, or has just started when it is first met, before anybody else sends it anything.

        `whole`: it is the same run of the same server, and it was away for so short a time that nothing it held can have run out.
        """
        self._on_return.append(call)

    async def command(self, *arguments: Text) -> Any:
        """One command whose first argument is its key or channel, or that has none. Raises `StoreDown`, `ReplyError`."""
        return await self.run(_bytes(arguments[1]) if len(arguments) > 1 else b"", pack(*arguments))

    async def each(self, *arguments: Text) -> list[Any]:
        """One command to every server there is, which concerns no key; their replies. Raises `StoreDown`, `ReplyError`."""
        packed = pack(*arguments)
        return [await (place.link or await place.ready()).send(packed) for place in self._ways.places]

    async def script(self, script: Script, keys: Sequence[Text], *arguments: Text) -> Any:
        """Run a script. Its keys share a hash tag. Raises `StoreDown`, `ReplyError`."""
        rest = strings(len(keys), *keys, *arguments)
        return await self.evaluate(script, _bytes(keys[0]), 1 + len(keys) + len(arguments), rest)

    async def evaluate(self, script: Script, key: bytes, count: int, rest: bytes) -> Any:
        """The same for who has packed it already: `rest` as `Script.short` takes it, `key` any one of its keys."""
        try:
            return await self.run(key, script.short(count, rest))
        except ReplyError as error:
            if error.code != "NOSCRIPT":
                raise
        return await self.run(key, script.whole(count, rest))

    async def run(self, key: bytes, packed: bytes) -> Any:
        """Send one packed command to where `key` is, and wait for its reply. Raises `StoreDown`, `ReplyError`."""
        place = self._ways.of(key)
        link = place.link or await place.ready()
        try:
            return await link.send(packed)
        except ReplyError as error:
            if error.code in ("MOVED", "ASK"):
                return await self._redirected(error, packed)
            raise self._typed(error, link) from None

    def post(self, key: bytes, packed: bytes) -> bool:
        """Send one packed command whose reply nobody needs. False where it could not even be sent."""
        try:
            place = self._ways.of(key)
            if place.link is None:
                return False
            place.link.send(packed).add_done_callback(self._posted)
        except StoreDown:
            return False
        return True

    async def connect(self) -> Link:
        """A connection of the caller's own, for a subscriber; he closes it. Raises `StoreDown`."""
        if not self._ways.addresses:
            return (await self._dial()).link
        error = down("no server of the cluster answers")
        for address in self._ways.addresses:
            try:
                return (await dial(address, self._site, self._trust, self._patience, writable=False)).link
            except StoreDown as one:
                error = one
        raise error

    async def _dial(self) -> Found:
        address = self._site.seeds[0] if self._site.form == "single" else await self._sentinels.master()
        return await dial(address, self._site, self._trust, self._patience)

    def _place(self) -> Place:
        return Place(self._dial, self._returned)

    async def _redirected(self, error: ReplyError, packed: bytes) -> Any:
        link = await self._ways.moved(str(error)).ready()
        try:
            if error.code == "ASK":
                link.send(_ASKING).add_done_callback(seen)
            return await link.send(packed)
        except ReplyError as again:
            if again.code in ("MOVED", "ASK"):
                raise down("the cluster is being rearranged") from None
            raise self._typed(again, link) from None

    def _typed(self, error: ReplyError, link: Link) -> Exception:
        if error.code in _ELSEWHERE:
            link.close(f"it answers {error.code}")
        if error.code == "CLUSTERDOWN":
            self._ways.reread()
        return down(f"it answers {error.code}") if error.code in _AWAY else error

    def _posted(self, future: "asyncio.Future[Any]") -> None:
        error = None if future.cancelled() else future.exception()  # looked at, so that the loop does not complain of it
        if isinstance(error, ReplyError) and error.code == "MOVED":
            with contextlib.suppress(StoreDown):
                self._ways.moved(str(error))

    def _returned(self, whole: bool) -> None:
        for call in self._on_return:
            try:
                call(whole)
            except Exception:
                logger.exception("what was to be done when Redis came back failed")


class _One:
    """The ways where one server holds every key; it is found anew each time it is connected to."""

    addresses: tuple[Address, ...] = ()

    def __init__(self, place: Place) -> None:
        self._only = place

    @property
    def places(self) -> tuple[Place, ...]:
        return (self._only,)

    async def open(self) -> None:
        await self._only.open()

    async def close(self) -> None:
        await self._only.close()

    def of(self, key: bytes) -> Place:
        return self._only

    def moved(self, text: str) -> Place:
        raise down("it is a server of a cluster: write redis+cluster://")

    def reread(self) -> None:
        return


def _bytes(text: Text) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode()
