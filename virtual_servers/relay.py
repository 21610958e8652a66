"""What the processes of one hub tell each other: a request to cancel, lists that changed, a catalogue that differs.

Told by signals, so heard at once or never (`hub.store.signals`): a process that missed one acts as if it were alone. Nothing waits for
them. Imported only where Redis is configured.
"""

import asyncio
from hashlib import blake2b

import msgspec
from msgspec import Struct

from hub.refusal import StoreDown
from hub.store.signals import Signals
from virtual_servers.catalog import Catalogue
from virtual_servers.fleet import Fleet
from virtual_servers.streams import Switchboard
from virtual_servers.underway import Underway

CANCELLED, LISTED, FETCHED = "cancelled", "listed", "fetched"
"""Topics, each of one of the messages below. A message with another shape gets a topic with another name."""

GATHER = 2.0
"""Seconds that listeners are kept waiting at most for those processes that do not show a change yet."""

AGAIN = 10.0
"""Seconds between looks at one server because others have seen it differ: one whose catalogue differs at every look must not keep two
processes looking for ever."""

LONGEST_ID = 256
"""Bytes of a request's id that others are asked for; none under way is longer."""

_encode = msgspec.msgpack.encode


class _Cancelled(Struct, frozen=True, array_like=True):
    """A client wants this request of its session cancelled; the id is raw JSON."""

    session: str
    request: bytes


class _Listed(Struct, frozen=True, array_like=True):
    """What this virtual server shows at the sender has changed; `method` is the notification that clients are owed."""

    door: str
    method: str


class _Fetched(Struct, frozen=True, array_like=True):
    """The sender has fetched a catalogue that differs from the one it had. `digest` is over all that clients can see of it."""

    upstream: str
    digest: bytes


_cancelled = msgspec.msgpack.Decoder(_Cancelled).decode
_listed = msgspec.msgpack.Decoder(_Listed).decode
_fetched = msgspec.msgpack.Decoder(_Fetched).decode


class FarUnderway(Underway):
    """`Underway` of several processes: what is not under way here is asked for among the others, one of which has it or none."""

    def __init__(self, signals: Signals) -> None:
        super().__init__()
        self._signals = signals
        signals.subscribe(CANCELLED, self._heard)

    def cancel(self, session_id: str, request_id: bytes) -> bool:
        if super().cancel(session_id, request_id):
            return True
        if len(request_id) <= LONGEST_ID:
            self._signals.publish(CANCELLED, _encode(_Cancelled(session_id, request_id)))
        return False

    def _heard(self, sender: bytes, data: bytes) -> None:
        message = _cancelled(data)
        super().cancel(message.session, message.request)


class _Due:
    """A change that listeners here have not been told of. `shown`: the processes that show it, this one among them or not."""

    def __init__(self, timer: asyncio.TimerHandle) -> None:
        self.timer = timer
        self.shown: set[bytes] = set()
        self.all = 0
        """How many processes there are; 0 until that is known."""
        self.asking: asyncio.Task[None] | None = None

    def forget(self) -> None:
        self.timer.cancel()
        if self.asking is not None:
            self.asking.cancel()


class FarSwitchboard(Switchboard):
    """`Switchboard` of several processes: a change here is told to listeners everywhere.

    A client may ask any process for the changed list. So each process that comes to show a change says so to the others, and listeners are
    told once all do; after `gather` seconds they are told all the same, and once more when others have come after.
    """

    def __init__(self, signals: Signals, *, gather: float = GATHER) -> None:
        super().__init__()
        self._signals = signals
        self._gather = gather
        self._due: dict[tuple[str, str], _Due] = {}
        signals.subscribe(LISTED, self._heard)

    def tell(self, door: str, method: str) -> None:
        self._signals.publish(LISTED, _encode(_Listed(door, method)))
        self._shown((door, method), self._signals.name)

    def close(self) -> None:
        for due in self._due.values():
            due.forget()
        self._due.clear()
        super().close()

    def _heard(self, sender: bytes, data: bytes) -> None:
        message = _listed(data)
        self._shown((message.door, message.method), sender)

    def _shown(self, at: tuple[str, str], sender: bytes) -> None:
        due = self._due.get(at)
        if due is None:
            due = self._due[at] = _Due(asyncio.get_running_loop().call_later(self._gather, self._tell, at))
            due.asking = asyncio.create_task(self._ask(at, due), name="listeners")
        due.shown.add(sender)
        self._tell_once_all_show_it(at, due)

    async def _ask(self, at: tuple[str, str], due: _Due) -> None:
        """How many have to show it. While Redis is away this process acts as if it were alone."""
        try:
            due.all = await self._signals.listening(LISTED)
        except StoreDown:
            due.all = 1
        due.asking = None
        self._tell_once_all_show_it(at, due)

    def _tell_once_all_show_it(self, at: tuple[str, str], due: _Due) -> None:
        if due.all and len(due.shown) >= due.all:
            self._tell(at)

    def _tell(self, at: tuple[str, str]) -> None:
        self._due.pop(at).forget()
        super().tell(*at)


class News:
    """Tells the others when a catalogue fetched here differs from the one before, and looks anew at a server that differs for another.

    Most servers announce a change to every process by itself. This is for those that tell one of them only.
    """

    def __init__(self, signals: Signals, fleet: Fleet, *, again: float = AGAIN) -> None:
        self._signals = signals
        self._fleet = fleet
        self._again = again
        self._told: dict[str, Catalogue] = {}
        self._digests: dict[str, tuple[Catalogue, bytes]] = {}
        self._not_before: dict[str, float] = {}
        self._due: dict[str, asyncio.TimerHandle] = {}
        signals.subscribe(FETCHED, self._heard)

    def changed(self) -> None:
        """Some catalogue of the fleet has changed here."""
        catalogues = self._fleet.catalogues
        for name, catalogue in catalogues.items():
            if self._told.get(name) is not catalogue:
                self._signals.publish(FETCHED, _encode(_Fetched(name, self._digest(name, catalogue))))
        self._told = dict(catalogues)

    def close(self) -> None:
        """Look no more."""
        for due in self._due.values():
            due.cancel()
        self._due.clear()

    def _heard(self, sender: bytes, data: bytes) -> None:
        message = _fetched(data)
        own = self._fleet.catalogues.get(message.upstream)
        if own is not None and self._digest(message.upstream, own) != message.digest:
            self._look(message.upstream)

    def _look(self, name: str) -> None:
        if name in self._due:
            return
        loop = asyncio.get_running_loop()
        wait = self._not_before.get(name, 0.0) - loop.time()
        if wait > 0:
            self._due[name] = loop.call_later(wait, self._refresh, name)
        else:
            self._refresh(name)

    def _refresh(self, name: str) -> None:
        self._due.pop(name, None)
        self._not_before[name] = asyncio.get_running_loop().time() + self._again
        if name in self._fleet.catalogues:  # else it left the configuration meanwhile
            self._fleet.refresh(name)

    def _digest(self, name: str, catalogue: Catalogue) -> bytes:
        """Over what `Fleet` calls a change; made once for each catalogue, which may be large."""
        known = self._digests.get(name)
        if known is None or known[0] is not catalogue:
            body = _encode((catalogue.era, catalogue.items))
            known = self._digests[name] = (catalogue, blake2b(body, digest_size=16).digest())
        return known[1]
