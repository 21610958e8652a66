"""The last good catalogue of each upstream, kept across restarts so that lists are served before any server has started.

Each medium has a file of its own beside this one.
"""

import hashlib
from typing import Protocol

import msgspec

from hub.config.mcp import UpstreamSpec
from hub.refusal import StoreDown
from virtual_servers.catalog import Catalogue

_decoder = msgspec.msgpack.Decoder(Catalogue)


class Catalogues(Protocol):
    """A store of catalogues as bytes, one for each upstream. `spec` names the configuration one was fetched with. Raises `StoreDown`."""

    async def take(self, upstream: str, spec: str) -> bytes | None: ...

    async def put(self, upstream: str, spec: str, body: bytes) -> None: ...


class Shelf:
    """A catalogue is found only under the configuration it was fetched with."""

    def __init__(self, catalogues: Catalogues) -> None:
        self._catalogues = catalogues

    async def take(self, name: str, spec: UpstreamSpec) -> Catalogue | None:
        try:
            body = await self._catalogues.take(name, _digest(spec))
        except StoreDown:  # costs only the head start, as in `put`; the edit that asks must not be left half taken up
            return None
        try:
            return _decoder.decode(body) if body else None
        except msgspec.MsgspecError:  # written by another version of the hub
            return None

    async def put(self, name: str, spec: UpstreamSpec, catalogue: Catalogue) -> None:
        """Keep it. A store that is down costs only the head start of the next run."""
        try:
            await self._catalogues.put(name, _digest(spec), msgspec.msgpack.encode(catalogue))
        except StoreDown:
            return


def _digest(spec: UpstreamSpec) -> str:
    """Names what the catalogue depends on. A secret's repr shows only that it is there, so the value of none is hashed."""
    return hashlib.sha256(repr(spec).encode()).hexdigest()
