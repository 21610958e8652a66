"""The last good catalogue of each upstream, kept across restarts so that lists are served before any server has started."""

import hashlib
import sqlite3

import msgspec

from hub.call import timestamp
from hub.config.model import UpstreamSpec
from hub.refusal import StoreDown
from hub.store.sqlite import Database
from virtual_servers.catalog import Catalogue

_decoder = msgspec.msgpack.Decoder(Catalogue)


class Shelf:
    """A catalogue is found only under the configuration it was fetched with."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, name: str, spec: UpstreamSpec) -> Catalogue | None:
        def read(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute("SELECT body FROM catalogue WHERE upstream = ? AND spec = ?", (name, _digest(spec))).fetchone()
            return row[0] if row else None

        try:
            body = await self._database.read(read)
        except StoreDown:  # costs only the head start, as in `put`; the edit that asks must not be left half taken up
            return None
        try:
            return _decoder.decode(body) if body else None
        except msgspec.MsgspecError:  # written by another version of the hub
            return None

    async def put(self, name: str, spec: UpstreamSpec, catalogue: Catalogue) -> None:
        """Keep it. A store that is down costs only the head start of the next run."""
        row = (name, _digest(spec), msgspec.msgpack.encode(catalogue), timestamp())
        try:
            await self._database.write(lambda connection: connection.execute("INSERT OR REPLACE INTO catalogue VALUES (?, ?, ?, ?)", row))
        except StoreDown:
            return


def _digest(spec: UpstreamSpec) -> str:
    """Names what the catalogue depends on. A secret's repr shows only that it is there, so the value of none is hashed."""
    return hashlib.sha256(repr(spec).encode()).hexdigest()
