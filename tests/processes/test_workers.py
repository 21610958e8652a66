"""Real workers behind one address: each has its share, one that dies takes only its own connections with it, nothing is left over."""

import asyncio
import os
import signal
import time
from collections import Counter
from pathlib import Path

from tests.chaos.world import marked
from tests.processes.conftest import Make
from tests.processes.several import BROKEN, Line, Load, Several, refuses, worker_of
from tests.services.machine import state
from tests.support.hub import eventually, wait_for
from tests.support.late import lateness
from tests.support.mcp import Client


def calls(metrics: dict[str, float]) -> float:
    return metrics.get('hub_calls_total{kind="mcp.tools.call",status="ok"}', 0.0)


async def test_connections_and_counts_are_of_one_hub_whichever_worker_is_asked(several: Make) -> None:
    hub = several()
    async with hub.lines(64) as lines:
        shares = Counter(line.worker for line in lines)
        assert set(shares) == {1, 2}
        assert min(shares.values()) >= 8, shares
        answers = await asyncio.gather(*(line.call() for line in lines))
        assert {answer.status for answer in answers} == {200}
        assert all("result" in a.json for a in answers), [a.json for a in answers if "result" not in a.json]
        scrapes = [await asyncio.to_thread(hub.metrics) for _ in range(4)]
        assert {calls(scrape) for scrape in scrapes} == {float(len(lines))}
        for name in ("hub_inflight_requests", "hub_config", "hub_worker_up", "hub_worker_generation"):
            assert {worker_of(text) for text in scrapes[0] if text.startswith(name)} == {1, 2}, name
        assert scrapes[0]["hub_workers"] == 2.0
        standing = (await hub.ask()).json
        assert standing["generation"] == 1
        assert [one["worker"] for one in standing["workers"]] == [1, 2]
        assert {one["config"] for one in standing["workers"]} == {standing["config"]}
        pids = hub.pids()
        assert hub.stop() == 0
        hub.gone([hub.pid, *pids])
        assert "Traceback" not in hub.log.read_text()
        for secret in hub.keys.values():
            assert secret not in hub.log.read_text()


async def test_a_killed_worker_takes_its_own_connections_with_it_and_nothing_else(several: Make) -> None:
    hub = several()
    async with hub.lines(16) as lines:
        await asyncio.gather(*(line.call() for line in lines))
        before = calls(await asyncio.to_thread(hub.metrics))
        servers, victim = marked(f"CHAOS={hub.notes}"), hub.worker(1)
        assert len(servers) == 1
        os.kill(victim, signal.SIGKILL)
        broken = 0
        for line in lines:
            try:
                assert (await line.call()).status == 200
                assert line.worker == 2
            except BROKEN:
                assert line.worker == 1
                broken += 1
        assert broken == sum(line.worker == 1 for line in lines) > 0
        fresh = await asyncio.gather(*(Client(hub, "user").call("echo", {"text": "y"}) for _ in range(8)))  # whoever is there takes them
        assert {answer.status for answer in fresh} == {200}
        await eventually(lambda: whole(hub))
        assert victim not in hub.pids()
        assert marked(f"CHAOS={hub.notes}") == servers, "the server, which is of all workers, did not stay"
        after = await asyncio.to_thread(hub.metrics)
        assert calls(after) >= before, "a counter went back"
        assert after["hub_worker_ends_total"] == 1.0
        hub.says("killed by SIGKILL")
        assert hub.stop() == 0


async def test_a_worker_that_stands_still_is_left_out_and_delays_nobody(several: Make) -> None:
    hub = several()
    async with hub.lines(8) as lines:
        await asyncio.gather(*(line.call() for line in lines))
        assert calls(await asyncio.to_thread(hub.metrics)) == len(lines)
        stopped = hub.worker(1)
        os.kill(stopped, signal.SIGSTOP)
        wait_for(lambda: state(stopped) == "T")
        fresh = await asyncio.gather(*(Client(hub, "user").call("echo", {"text": "y"}) for _ in range(16)))
        assert {answer.status for answer in fresh} == {200}
        with lateness() as late:
            began = time.monotonic()
            scrape = await asyncio.to_thread(hub.metrics)
            assert time.monotonic() - began < 2.0 + late.allowed
        assert calls(scrape) == len(lines) + 16, "what the silent one had counted is lost"
        assert (scrape['hub_worker_up{worker="1"}'], scrape['hub_worker_up{worker="2"}']) == (0.0, 1.0)
        assert {worker_of(text) for text in scrape if text.startswith("hub_inflight_requests")} == {2}
        assert scrape["hub_worker_silences_total"] == 1.0
        os.kill(stopped, signal.SIGCONT)
        woken = next(line for line in lines if line.worker == 1)
        await eventually(lambda: ready(woken))  # it lets nobody in before it has heard of the keys again
        assert {(await line.call()).status for line in lines} == {200}
        again = await asyncio.to_thread(hub.metrics)
        assert (calls(again), again['hub_worker_up{worker="1"}']) == (2 * len(lines) + 16, 1.0)
        assert hub.stop() == 0


async def test_workers_whose_parent_is_killed_finish_what_runs_and_leave_nothing_behind(several: Make, tmp_path: Path) -> None:
    hub = several()
    until = tmp_path / "until"
    async with hub.lines(8) as lines:
        held = {line.worker: line for line in lines}
        for line in held.values():
            await line.send("hold", {"text": "held", "until": str(until)})
        await eventually(lambda: hub.notes.exists() and hub.notes.read_text().count("held") == 2)
        pids = [*hub.pids(), hub.host()]
        hub.process.kill()
        hub.process.wait()
        await eventually(lambda: refuses(hub))
        until.touch()
        for line in held.values():
            answer = await line.connection.response()
            assert answer.result["content"][0]["text"] == "held"
        await asyncio.to_thread(hub.gone, pids)
        assert hub.log.read_text().count("the parent is gone: this worker") == 2


async def test_workers_are_renewed_one_by_one_without_a_refused_call(several: Make) -> None:
    hub = several()
    before = set(hub.pids())
    async with Load(hub, 4) as load:
        await load.busy(100)
        hub.process.send_signal(signal.SIGUSR2)
        await eventually(lambda: "every worker was renewed" in hub.log.read_text())
        await load.busy(100)
    assert not load.wrong, load.wrong
    after = set(hub.pids())
    assert len(after) == 2
    assert not before & after
    scrape = await asyncio.to_thread(hub.metrics)
    assert calls(scrape) == load.answers
    assert scrape["hub_worker_ends_total"] == 0.0
    assert hub.stop() == 0


async def test_sigterm_finishes_what_runs_refuses_what_comes_and_a_second_one_hurries(several: Make, tmp_path: Path) -> None:
    hub = several({"server": {"drain": 60}})
    until = tmp_path / "until"
    async with hub.lines(8) as lines:
        held = {line.worker: line for line in lines}
        free = [line for line in lines if line not in held.values()]
        for line, file in zip(held.values(), (until, tmp_path / "never"), strict=True):
            await line.send("hold", {"text": "held", "until": str(file)})
        await eventually(lambda: hub.notes.exists() and hub.notes.read_text().count("held") == 2)
        pids = hub.pids()
        hub.process.send_signal(signal.SIGTERM)
        await eventually(lambda: refuses(hub))
        await free[1].send("echo", {"text": "late"})
        late = await free[1].connection.response()
        assert (late.status, late.why, late.headers["connection"]) == (503, "draining", "close")
        ready = await free[2].raw_ready()
        assert (ready.status, ready.json["reasons"]) == (503, ["stopping"])
        until.touch()
        finished, cut = held.values()
        assert (await finished.connection.response()).result["content"][0]["text"] == "held"
        hub.process.send_signal(signal.SIGTERM)
        answer = await cut.connection.response()
        assert (answer.status, answer.why) == (503, "draining")
        assert hub.process.wait(30) == 0
        hub.gone([hub.pid, *pids])
        assert "Traceback" not in hub.log.read_text()


async def test_sigterm_without_end_stops_all_in_order(several: Make) -> None:
    hub = several()
    pids = hub.pids()
    assert hub.process is not None
    while hub.process.poll() is None:
        hub.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.001)
    assert hub.process.returncode == 0
    hub.gone(pids)
    assert "Traceback" not in hub.log.read_text()


async def whole(hub: Several) -> bool:
    """Whether as many workers serve as are wanted."""
    return [one["state"] for one in (await hub.ask()).json["workers"]] == ["serving"] * hub.workers


async def ready(line: Line) -> bool:
    return (await line.raw_ready()).status == 200
