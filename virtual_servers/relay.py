"""What the processes of one hub tell each other: a request to cancel, lists that changed, a catalogue that differs.

Told by signals, so heard at once or never (`hub.store.signals`): a process that missed one acts as if it were alone. Nothing waits for
them. Imported only where Redis is configured.
"""

import asyncio
import secrets
from hashlib import blake2b

import msgspec
from msgspec import Struct

from hub.store.signals import Signals
from virtual_servers.catalog import Catalogue
from virtual_servers.fleet import Fleet
from virtual_servers.streams import Switchboard
from virtual_servers.underway import Underway

CANCELLED, LISTED, FETCHED = "cancelled", "listed", "fetched"
"""Topics, each of one of the messages below. A message with another shape gets a topic with another name."""

GATHER = 0.5
"""Seconds over which changes that others announce are gathered into one notification. Within it most of them have the change themselves."""

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

    sender: bytes
    door: str
    method: str


class _Fetched(Struct, frozen=True, array_like=True):
    """The sender has fetched a catalogue that differs from the one it had. `digest` is over all that clients can see of it."""

    sender: bytes
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

    def _heard(self, data: bytes) -> None:
        message = _cancelled(data)
        super().cancel(message.session, message.request)


class FarSwitchboard(Switchboard):
    """`Switchboard` of several processes: a change here is told to listeners everywhere.

    A client may ask any process for the changed list, also one that lags behind. So each process that comes to show the change says so,
    and listeners hear of it when their own process has it, and once more where another came later.
    """

    def __init__(self, signals: Signals, *, gather: float = GATHER) -> None:
        super().__init__()
        self._signals = signals
        self._sender = secrets.token_bytes(8)
        self._gather = gather
        self._due: dict[tuple[str, str], asyncio.TimerHandle] = {}
        signals.subscribe(LISTED, self._heard)

    def tell(self, door: str, method: str) -> None:
        due = self._due.pop((door, method), None)
        if due is not None:
            due.cancel()
        super().tell(door, method)
        self._signals.publish(LISTED, _encode(_Listed(self._sender, door, method)))

    def close(self) -> None:
        for due in self._due.values():
            due.cancel()
        self._due.clear()
        super().close()

    def _heard(self, data: bytes) -> None:
        message = _listed(data)
        at = (message.door, message.method)
        if message.sender != self._sender and at not in self._due and message.door in self._listeners:
            self._due[at] = asyncio.get_running_loop().call_later(self._gather, self._late, *at)

    def _late(self, door: str, method: str) -> None:
        del self._due[door, method]
        super().tell(door, method)


class News:
    """Tells the others when a catalogue fetched here differs from the one before, and looks anew at a server that differs for another.

    Most servers announce a change to every process by itself. This is for those that tell one of them only.
    """

    def __init__(self, signals: Signals, fleet: Fleet, *, again: float = AGAIN) -> None:
        self._signals = signals
        self._fleet = fleet
        self._sender = secrets.token_bytes(8)
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
                self._signals.publish(FETCHED, _encode(_Fetched(self._sender, name, self._digest(name, catalogue))))
        self._told = dict(catalogues)

    def close(self) -> None:
        """Look no more."""
        for due in self._due.values():
            due.cancel()
        self._due.clear()

    def _heard(self, data: bytes) -> None:
        message = _fetched(data)
        own = self._fleet.catalogues.get(message.upstream)
        if message.sender != self._sender and own is not None and self._digest(message.upstream, own) != message.digest:
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
