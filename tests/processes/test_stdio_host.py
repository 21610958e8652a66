"""Stdio servers of a hub of several workers: each is there once, serves all of them, and outlives or takes with it what it must."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hub.config.load import load
from hub.processes import keeper as keepers
from hub.processes.agreement import Generation
from hub.processes.census import Census
from hub.processes.keeper import Keeper
from hub.processes.parcel import pack_stdio, unpack
from tests.chaos.world import marked, pipe
from tests.processes.conftest import Make
from tests.processes.several import Line, Several, refuses
from tests.services.machine import state
from tests.support.hub import ROOT, eventually

soon = partial(eventually, seconds=30.0)


def beside(hub_notes: Path, **more: Any) -> dict[str, Any]:
    """A second stdio server behind a virtual server of its own."""
    return {
        "upstreams": {"pipe": pipe(hub_notes), "other": pipe(hub_notes.with_name("others"), **more)},
        "virtual_servers": {"main": {"include": [{"from": "pipe"}]}, "beside": {"include": [{"from": "other"}]}},
    }


def servers(hub: Several) -> dict[str, int]:
    """The process of each stdio server, as the worker that answers shows it."""
    return {name: shown["pid"] for name, shown in hub.status()["upstreams"].items()}


def of_each(lines: list[Line]) -> list[Line]:
    """One line to each worker."""
    return list({line.worker: line for line in lines}.values())


async def refused(line: Line) -> tuple[int, str]:
    answer = await line.connection.response()
    return answer.status, answer.why


async def test_one_server_serves_every_worker_through_edits_and_renewal(several: Make, tmp_path: Path) -> None:
    hub = several(beside(tmp_path / "notes"))
    hub.settled("pipe", "other")
    async with hub.lines(12) as lines:
        before = servers(hub)
        assert marked(f"CHAOS={hub.notes}") == [before["pipe"]]
        for number, line in enumerate(lines):
            await line.send("jitter", {"text": f"{number}"}, ident=7)
        answers = [await line.connection.response() for line in lines]
        assert [(answer.json["id"], answer.result["content"][0]["text"]) for answer in answers] == [(7, f"{n}") for n in range(len(lines))]
        for line in of_each(lines):
            await line.send("slow", {"text": f"of {line.worker}", "seconds": 0.3}, ident=7, progressToken="same")
        for line in of_each(lines):
            *progress, last = (await line.connection.response()).events
            assert [(one["params"]["progressToken"], one["params"]["message"]) for one in progress] == [("same", f"of {line.worker}")] * 4
            assert last["result"]["content"][0]["text"] == f"of {line.worker}"
        await one_leaves_and_the_other_stays(hub, lines, tmp_path)
    shown = [await asyncio.to_thread(hub.status) for _ in range(6)]  # over connections of their own, whoever answers
    assert [{name: one["pid"] for name, one in status["upstreams"].items()} for status in shown] == [before] * 6
    assert {status["stdio_host"]["pid"] for status in shown} == {hub.host()}
    environment = Path(f"/proc/{hub.host()}/environ").read_bytes()
    assert b"PATH=" in environment
    assert b"TEST_REDIS" not in environment
    scrape = await asyncio.to_thread(hub.metrics)
    up = {text: value for text, value in scrape.items() if text.startswith(("hub_upstream_up", "hub_stdio"))}
    assert up == {
        **{f'hub_upstream_up{{upstream="{name}"}}': 1.0 for name in before},
        **{f'hub_stdio_server_pid{{upstream="{name}"}}': float(pid) for name, pid in before.items()},
        "hub_stdio_host_up": 1.0,
        "hub_stdio_host_ends_total": 0.0,
    }
    hub.configure(beside(tmp_path / "notes", timeout=7))
    await soon(lambda: servers(hub)["other"] not in (None, before["other"]))
    await soon(lambda: state(before["other"]) in "XZ")
    hub.process.send_signal(signal.SIGUSR2)
    await soon(lambda: "every worker was renewed" in hub.log.read_text())
    assert servers(hub)["pipe"] == before["pipe"]
    assert (await asyncio.to_thread(hub.metrics))["hub_stdio_host_ends_total"] == 0.0
    processes = [hub.host(), *servers(hub).values()]
    async with hub.lines(2) as lines:
        await lines[0].send("hold", {"text": "last", "until": str(tmp_path / "over")})
        await soon(lambda: "last" in hub.notes.read_text())
        for pid in (hub.host(), hub.pid):  # as who signals every process of a service
            os.kill(pid, signal.SIGTERM)
        await soon(lambda: refuses(hub))
        (tmp_path / "over").touch()
        assert (await lines[0].connection.response()).result["content"][0]["text"] == "last"
    assert hub.stop() == 0
    hub.gone(processes, 30.0)
    assert "Traceback" not in hub.log.read_text(), hub.log.read_text()[-8000:]


async def one_leaves_and_the_other_stays(hub: Several, lines: list[Line], folder: Path) -> None:
    """Both have a call under way at the same server; the one whose client leaves is cancelled, and only that one."""
    leaves, stays = of_each(lines)
    for line in (leaves, stays):
        await line.send("hold", {"text": "held", "until": str(folder / "until")}, ident=7)

    async def running(count: int) -> bool:
        return (await asyncio.to_thread(hub.status))["upstreams"]["pipe"]["running"] == count

    await soon(lambda: running(2))
    await leaves.close()
    await soon(lambda: running(1))
    (folder / "until").touch()
    assert (await stays.connection.response()).result["content"][0]["text"] == "held"


async def test_what_runs_on_a_killed_server_host_or_worker_is_told_so_and_all_comes_back(several: Make, tmp_path: Path) -> None:
    hub = several()
    hub.settled("pipe")
    never = {"text": "held", "until": str(tmp_path / "never")}
    async with hub.lines(6) as lines:
        for round_, victim in enumerate((lambda: servers(hub)["pipe"], hub.host), 1):
            held, before = of_each(lines), servers(hub)["pipe"]
            for line in held:
                await line.send("hold", never)
            await soon(lambda wanted=2 * round_: held_calls(hub) == wanted)
            os.kill(victim(), signal.SIGKILL)
            assert [await refused(line) for line in held] == [(200, "upstream_unavailable")] * 2
            for line in lines:
                await soon(lambda line=line: served(line))
            after = await asyncio.to_thread(servers, hub)
            assert after["pipe"] != before
            await soon(lambda after=after: marked(f"CHAOS={hub.notes}") == [after["pipe"]])
        assert (await asyncio.to_thread(hub.metrics))["hub_stdio_host_ends_total"] == 1.0
        await soon(lambda: up(hub))
        lost, stays = of_each(lines)
        for line in (lost, stays):
            await line.send("hold", {**never, "until": str(tmp_path / "until")})
        await soon(lambda: held_calls(hub) == 6)
        os.kill(hub.worker(lost.worker), signal.SIGKILL)
        await soon(lambda: "killed by SIGKILL" in hub.log.read_text().partition("a worker ended")[2])
        (tmp_path / "until").touch()
        assert (await stays.connection.response()).result["content"][0]["text"] == "held"
        assert marked(f"CHAOS={hub.notes}") == [after["pipe"]]
    processes = [hub.host(), *hub.pids()]
    assert hub.stop() == 0
    hub.gone(processes, 30.0)
    assert "Traceback" not in hub.log.read_text(), hub.log.read_text()[-8000:]


def held_calls(hub: Several) -> int:
    return hub.notes.read_text().count("held") if hub.notes.exists() else 0


async def served(line: Line) -> bool:
    return "result" in (await line.call()).json


async def up(hub: Several) -> bool:
    return (await asyncio.to_thread(hub.metrics))["hub_stdio_host_up"] == 1.0


SECRETS = "stores: {redis: 'redis://:${S}@h', database: 'postgresql://u:${S}@h/d'}\nsecrets: {master: '${S}'}\n"


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generation:
    """A configuration with a stdio server and one without, and a parent that looks after its host quickly."""
    monkeypatch.setattr(keepers, "LOOK", 0.5)
    monkeypatch.setattr(keepers, "STARTING", 60)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    file = tmp_path / "hub.yaml"
    file.write_text(f"{SECRETS}upstreams: {{pipe: {{stdio: {{command: cat, env: {{A: '${{S}}'}}}}}}, web: {{url: 'https://h'}}}}\n")
    return Generation(1, load(file, environ={"S": "s" * 44}), b"")


@pytest.fixture
async def keeping(kept: Generation) -> AsyncIterator[tuple[Census, Keeper]]:
    """A parent's part that has not begun; what it has started is stopped after the test."""
    census = Census(list, 0)
    one = Keeper(census, list)
    yield census, one
    await one.stop()


async def test_a_host_that_stands_still_is_killed_and_followed_by_another(
    kept: Generation, keeping: tuple[Census, Keeper], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    census, keeper = keeping
    await keeper.begin(kept)
    first = census.host
    assert first is not None
    await asyncio.wait_for(first.serving.wait(), 30)
    os.kill(first.pid, signal.SIGSTOP)
    await soon(lambda: census.host not in (None, first) and census.host.serving.is_set())
    assert first.how_it_ended() == "killed by SIGKILL"
    before = census.host_ends
    assert before >= 1
    await keeper.stop()
    assert census.host is None
    assert census.host_ends == before, "one that was told to end is no failure"
    assert "the stdio host does not answer its parent: it is killed" in caplog.text


async def test_without_stdio_servers_there_is_no_host_until_there_is_one(
    kept: Generation, keeping: tuple[Census, Keeper], tmp_path: Path
) -> None:
    census, keeper = keeping
    (tmp_path / "none.yaml").write_text("upstreams: {}\n")
    await keeper.begin(Generation(1, load(tmp_path / "none.yaml", environ={}), b""))
    assert census.host is None
    assert not census.host_wanted
    keeper.take(kept)
    await soon(lambda: census.host is not None)


def test_the_host_is_told_of_no_secret_but_those_of_its_servers(kept: Generation) -> None:
    found = unpack(pack_stdio(kept.loaded)).config
    assert list(found.upstreams) == ["pipe"]
    assert pack_stdio(kept.loaded).count(b"s" * 44) == 1
    assert found.server == kept.loaded.config.server
