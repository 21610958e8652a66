"""A change that is announced while a catalogue is being fetched is not lost."""

import asyncio
from pathlib import Path

from hub.config.mcp import UpstreamSpec
from hub.config.serving import Egress as EgressSpec
from hub.egress import Egress
from hub.store.sqlite import Database
from virtual_servers.catalog import Catalogue, Item
from virtual_servers.fleet import Fleet
from virtual_servers.guard import Guard
from virtual_servers.shelf import Shelf
from virtual_servers.shelf_sqlite import SqliteCatalogues


async def test_a_change_announced_while_the_catalogue_is_being_fetched_is_fetched_too(tmp_path: Path) -> None:
    database = Database(tmp_path / "hub.db")
    database.open()
    fleet = Fleet(Egress(EgressSpec()), Guard("test-fleet"), Shelf(SqliteCatalogues(database)))
    await fleet.configure({"s": UpstreamSpec(url="http://127.0.0.1:9/mcp")})
    fetching, goes_on, fetches = asyncio.Event(), asyncio.Event(), []

    async def catalogue() -> Catalogue:
        fetches.append(len(fetches))
        if len(fetches) == 1:
            fetching.set()
            await goes_on.wait()
        item = Item("tool", f"t{len(fetches)}", b"{}")
        return Catalogue("s", "2026-07-28", (item,), b"", b"", "", "")

    fleet.upstream("s").catalogue = catalogue  # type: ignore[method-assign]  # one that can be held in the middle of a fetch
    async with asyncio.timeout(30):
        await fetching.wait()
        fleet.refresh("s")  # the server announces a change: what is being fetched may be older than it
        goes_on.set()
        while fleet.catalogues.get("s") is None or fleet.catalogues["s"].items[0].name != "t2":
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    assert len(fetches) == 2, "and nothing is fetched without an announcement"
    await fleet.close()
    await database.close()
