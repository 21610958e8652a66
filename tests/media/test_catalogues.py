"""Last good catalogues, on every medium."""

from hub.config.mcp import UpstreamSpec
from hub.config.values import Secret
from tests.support.media import Store
from virtual_servers.catalog import Catalogue, Item
from virtual_servers.shelf import Shelf

SPEC = UpstreamSpec(url="http://127.0.0.1:9/mcp", headers={"Authorization": Secret("Bearer hunter2")})
CATALOGUE = Catalogue("s", "2026-07-28", (Item("tool", "t", b'{"name":"t"}'),), b"{}", b"{}", "", "")


async def test_a_catalogue_is_found_after_a_restart_under_the_configuration_it_was_fetched_with(store: Store):
    shelf = Shelf(store.catalogues)
    assert await shelf.take("s", SPEC) is None
    await shelf.put("s", SPEC, CATALOGUE)
    await store.close()
    await store.open()
    shelf = Shelf(store.catalogues)
    assert await shelf.take("s", SPEC) == CATALOGUE
    assert await shelf.take("other", SPEC) is None
    assert await shelf.take("s", UpstreamSpec(url="http://127.0.0.1:10/mcp")) is None
    assert not await store.holds(b"hunter2")


async def test_the_newest_takes_the_place_of_the_one_before(store: Store):
    shelf, newer = Shelf(store.catalogues), Catalogue("s", "2026-07-28", (), b"{}", b"{}", "", "")
    await shelf.put("s", SPEC, CATALOGUE)
    await shelf.put("s", SPEC, newer)
    assert await shelf.take("s", SPEC) == newer
    assert await store.count("catalogue") == 1


async def test_what_another_version_wrote_and_a_store_that_is_away_cost_only_the_head_start(store: Store):
    shelf = Shelf(store.catalogues)
    await shelf.put("s", SPEC, CATALOGUE)
    await store.change(f"UPDATE catalogue SET body = {store.literal(b'?')}")
    assert await shelf.take("s", SPEC) is None
    await store.close()
    assert await shelf.take("s", SPEC) is None
    await shelf.put("s", SPEC, CATALOGUE)
    await store.open()
