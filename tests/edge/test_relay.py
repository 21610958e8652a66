"""What processes of one hub tell each other: cancellations reach the one that runs the call, changes reach listeners everywhere."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hub.config.mcp import UpstreamSpec
from hub.config.serving import Egress as EgressSpec
from hub.edge.clients import Running
from hub.egress import Egress
from hub.refusal import InvalidRequest
from hub.store.redis import Redis
from hub.store.signals import Signals
from hub.store.sqlite import Database
from tests.services.redis import RedisServer
from virtual_servers.catalog import Catalogue, Item
from virtual_servers.fleet import Fleet
from virtual_servers.guard import Guard
from virtual_servers.relay import CANCELLED, FETCHED, FarSwitchboard, FarUnderway, News
from virtual_servers.shelf import Shelf
from virtual_servers.shelf_sqlite import SqliteCatalogues
from virtual_servers.underway import Underway

TOOLS, PROMPTS = "notifications/tools/list_changed", "notifications/prompts/list_changed"
SESSION, OTHER = "s" * 32, "t" * 32


async def until(condition: Callable[[], Any], patience: float = 30.0) -> None:
    async with asyncio.timeout(patience):
        while not condition():
            await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def process(url: str, *made: Callable[[Signals], Any]) -> AsyncIterator[Any]:
    """The signals of one process, and what was made of them."""
    redis = Redis(url)
    await redis.open()
    signals = Signals(redis)
    parts = [make(signals) for make in made]
    signals.open()
    await until(lambda: signals.confirmed == len(signals._heard))
    try:
        yield signals, *parts
    finally:
        await signals.close()
        await redis.close()


def listening_to(topic: str, heard: list[bytes], signals: Signals) -> None:
    signals.subscribe(topic, lambda _, data: heard.append(data))


class Request:
    """A request under way, and why it was cut."""

    def __init__(self) -> None:
        self.running: Running
        self.cuts: list[str] = []
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        self.running = Running(SimpleNamespace(finished=False), asyncio.get_running_loop())  # type: ignore[arg-type]
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        self.cuts.append(self.running.reason)


async def under_way(table: Underway, session: str, ident: bytes) -> Request:
    request = Request()
    await asyncio.sleep(0)
    table.enter(session, ident, request.running)
    return request


# Cancelling


async def test_a_cancellation_reaches_the_process_that_runs_the_call_and_no_other_call(redis_url: str) -> None:
    async with process(redis_url, FarUnderway) as (_, one), process(redis_url, FarUnderway) as (_, two):
        wanted = await under_way(one, SESSION, b"7")
        others = [await under_way(one, SESSION, b'"7"'), await under_way(one, OTHER, b"7"), await under_way(two, SESSION, b"8")]
        assert not two.cancel(SESSION, b"7"), "not here"
        await asyncio.wait_for(wanted.task, 30)
        assert wanted.cuts == ["cancelled"]
        one.leave(SESSION, b"7")
        two.cancel(SESSION, b"7")
        assert not one.cancel(SESSION, b"7"), "and it is over"
        with pytest.raises(InvalidRequest):
            one.enter(SESSION, b'"7"', None)
        for request in others:
            assert request.cuts == []
            request.task.cancel()


async def test_a_call_is_cut_once_however_often_it_is_cancelled_anywhere(redis_url: str) -> None:
    heard: list[bytes] = []
    listen = partial(listening_to, CANCELLED, heard)
    async with process(redis_url, FarUnderway, listen) as (_, one, _), process(redis_url, FarUnderway) as (_, two):
        wanted = await under_way(one, SESSION, b"7")
        for _ in range(20):
            two.cancel(SESSION, b"7")
        assert one.cancel(SESSION, b"7")
        await asyncio.wait_for(wanted.task, 30)
        await until(lambda: len(heard) == 20)
        assert wanted.task.cancelling() == 1
        assert wanted.cuts == ["cancelled"]


async def test_what_is_under_way_here_or_cannot_be_anywhere_is_not_asked_for(redis_url: str) -> None:
    heard: list[bytes] = []
    async with process(redis_url, FarUnderway) as (signals, one), process(redis_url, partial(listening_to, CANCELLED, heard)):
        mine = await under_way(one, SESSION, b"7")
        one.enter(SESSION, b"8", None)  # a message of a batch
        assert one.cancel(SESSION, b"7")
        assert one.cancel(SESSION, b"8")
        one.cancel(SESSION, b'"' + b"x" * 1_000_000 + b'"')
        signals.publish(CANCELLED, b"last")
        await until(lambda: heard)
        assert heard == [b"last"]
        await asyncio.wait_for(mine.task, 30)


async def test_without_redis_a_cancellation_from_elsewhere_is_lost_and_nothing_fails(redis_url: str, redis: RedisServer) -> None:
    async with process(redis_url, FarUnderway) as (_, one), process(redis_url, FarUnderway) as (_, two):
        wanted = await under_way(one, SESSION, b"7")
        redis.kill()
        assert not two.cancel(SESSION, b"7")
        assert one.cancel(SESSION, b"7"), "here it needs nobody"
        await asyncio.wait_for(wanted.task, 30)


# Lists that changed


class Heard:
    """A listener and the methods it was told."""

    def __init__(self, switchboard: Any, *wanted: str, door: str = "main") -> None:
        self.methods: list[str] = []
        self._listener = switchboard.join(door, wanted)
        self.task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for method in self._listener.changes():
            self.methods.append(method)


def board(signals: Signals) -> FarSwitchboard:
    return FarSwitchboard(signals, gather=0.1)


async def test_a_change_is_told_once_when_every_process_shows_it(redis_url: str) -> None:
    slow = partial(FarSwitchboard, gather=20.0)
    async with process(redis_url, slow) as (_, one), process(redis_url, slow) as (_, two), process(redis_url, slow) as (_, three):
        listening = [Heard(each, TOOLS) for each in (one, two, three)]
        others = [Heard(two, TOOLS, door="other"), Heard(two, PROMPTS)]
        for _ in range(5):
            one.tell("main", TOOLS)
        two.tell("main", TOOLS)
        await until(lambda: all(("main", TOOLS) in each._due for each in (one, two, three)))
        await until(lambda: [each._due["main", TOOLS].all for each in (one, two, three)] == [3, 3, 3])
        assert all(each.methods == [] for each in listening), "a client that asked the third would see the list as it was"
        three.tell("main", TOOLS)
        await until(lambda: all(each.methods == [TOOLS] for each in listening))
        one.tell("main", TOOLS)
        for each in (two, three):
            each.tell("main", TOOLS)
        await until(lambda: all(each.methods == [TOOLS, TOOLS] for each in listening))
        assert all(each.methods == [] for each in others)
        for each in (one, two, three):
            each.close()
        await asyncio.gather(*(each.task for each in (*listening, *others)))


async def test_a_change_one_process_sees_is_told_everywhere_after_a_while_and_again_when_others_come(redis_url: str) -> None:
    async with process(redis_url, board) as (_, one), process(redis_url, board) as (_, two):
        near, far = Heard(one, TOOLS), Heard(two, TOOLS)
        one.tell("main", TOOLS)
        await until(lambda: near.methods == far.methods == [TOOLS])
        await asyncio.sleep(0.2)
        assert near.methods == far.methods == [TOOLS], "once"
        two.tell("main", TOOLS)  # came later: a client may have asked it meanwhile
        await until(lambda: near.methods == far.methods == [TOOLS, TOOLS])
        one.close()
        two.close()
        await asyncio.gather(near.task, far.task)


async def test_a_process_that_stops_tells_nobody_any_more_and_keeps_nothing(redis_url: str) -> None:
    slow = partial(FarSwitchboard, gather=20.0)
    async with process(redis_url, slow) as (_, one), process(redis_url, slow) as (_, two):
        listening = Heard(two, TOOLS)
        one.tell("main", TOOLS)
        await until(lambda: two._due)
        two.close()
        await listening.task
        assert listening.methods == []
        assert not two._due


async def test_without_redis_a_change_is_told_here_at_once(redis_url: str, redis: RedisServer) -> None:
    async with process(redis_url, partial(FarSwitchboard, gather=20.0)) as (_, one):
        listening = Heard(one, TOOLS)
        redis.kill()
        one.tell("main", TOOLS)
        await until(lambda: listening.methods == [TOOLS])
        one.close()
        await listening.task


# Catalogues


class Looks:
    """A fleet of one server whose catalogue is what the test says, and how often it was looked at."""

    def __init__(self, fleet: Fleet, shown: Callable[[], str]) -> None:
        self.fleet = fleet
        self.count = 0
        self._shown = shown
        fleet.upstream("s").catalogue = self._catalogue  # type: ignore[method-assign]

    @property
    def tool(self) -> str:
        found = self.fleet.catalogues.get("s")
        return found.items[0].name if found is not None else ""

    async def _catalogue(self) -> Catalogue:
        self.count += 1
        return Catalogue("s", "2026-07-28", (Item("tool", self._shown(), b"{}"),), b"", b"", "", "")


@contextlib.asynccontextmanager
async def looking(url: str, folder: Path, shown: Callable[[], str], again: float = 10.0) -> AsyncIterator[Looks]:
    """A process that fetches catalogues and tells the others of them."""
    folder.mkdir()
    database = Database(folder / "hub.db")
    database.open()
    fleet = Fleet(Egress(EgressSpec()), Guard("test-relay"), Shelf(SqliteCatalogues(database)))
    async with process(url, lambda signals: News(signals, fleet, again=again)) as (_, news):
        fleet.on_changed = news.changed
        await fleet.configure({"s": UpstreamSpec(url="http://127.0.0.1:9/mcp")})
        looks = Looks(fleet, shown)
        await until(lambda: looks.tool)
        yield looks
        news.close()
        await fleet.close()
    await database.close()


async def test_a_catalogue_that_changed_for_one_process_is_fetched_by_the_others(redis_url: str, tmp_path: Path) -> None:
    shown = ["old"]
    async with looking(redis_url, tmp_path / "one", lambda: shown[0]) as one, looking(redis_url, tmp_path / "two", lambda: shown[0]) as two:
        assert (one.tool, two.tool) == ("old", "old")
        shown[0] = "new"
        looks = two.count
        one.fleet.refresh("s")  # the server announced it to this one only
        await until(lambda: (one.tool, two.tool) == ("new", "new"))
        await asyncio.sleep(0.5)
        assert (one.count, two.count) == (2, looks + 1), "and what it then told is what the first had"


async def test_a_server_that_differs_at_every_look_does_not_keep_two_processes_looking(redis_url: str, tmp_path: Path) -> None:
    shown = iter(range(1_000_000))
    async with (
        looking(redis_url, tmp_path / "one", lambda: str(next(shown)), again=0.5) as one,
        looking(redis_url, tmp_path / "two", lambda: str(next(shown)), again=0.5) as two,
    ):
        before, began = one.count + two.count, asyncio.get_running_loop().time()
        one.fleet.refresh("s")
        await asyncio.sleep(1.3)
        await until(lambda: one.count + two.count - before >= 2)
        assert one.count + two.count - before <= 8 + 4 * (asyncio.get_running_loop().time() - began - 1.3)


async def test_a_catalogue_of_a_server_that_is_not_here_is_nobodys_business(redis_url: str, tmp_path: Path) -> None:
    async with looking(redis_url, tmp_path / "one", lambda: "same") as one, process(redis_url) as (signals,):
        before = one.count
        for name in ("unknown", "s"):
            signals.publish(FETCHED, b"\x92" + bytes([0xA0 + len(name)]) + name.encode() + b"\xc4\x01y")
        await until(lambda: one.count == before + 1)
        await asyncio.sleep(0.3)
        assert one.count == before + 1
