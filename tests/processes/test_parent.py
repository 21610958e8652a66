"""The parent among workers that fail, hang, refuse and do not listen: stand-ins, so that nothing else is in the way."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hub.config.load import Loaded, load
from hub.listen import bind
from hub.processes import agreement, census, child, parent, pauses
from hub.processes.parent import Parent
from tests.services.machine import state
from tests.support.hub import ROOT, eventually


class Family:
    """A parent in this process, and what its workers have noted."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder = folder
        self.file = folder / "hub.yaml"
        self.listener = bind("127.0.0.1", 0)
        self.parent = Parent(self.loaded(), self.listener, "http://here", workers)
        self.running: asyncio.Task[int] = asyncio.create_task(self.parent.run())

    def loaded(self, drain: float = 0.1) -> Loaded:
        self.file.write_text(f"server: {{drain: {drain}}}\n")
        return load(self.file, environ={})

    @property
    def notes(self) -> list[str]:
        file = self.folder / "notes"
        return file.read_text().splitlines() if file.exists() else []

    async def noted(self, *lines: str) -> None:
        await eventually(lambda: set(lines) <= set(self.notes))

    async def stop(self) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(30):
            return await self.running


@pytest.fixture
def ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(child, "PROGRAM", "tests.processes.standin")
    monkeypatch.setattr(pauses, "PAUSES", (0.0, 0.01, 0.02))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("STANDIN", str(tmp_path))
    return tmp_path


@pytest.fixture
async def families(ways: Path) -> AsyncIterator[list[Family]]:
    """Put a family here; it is stopped after the test."""
    made: list[Family] = []
    yield made
    for one in made:
        if not one.running.done():
            await one.stop()
        one.listener.close()


def grown(families: list[Family], folder: Path, workers: int = 2) -> Family:
    families.append(Family(folder, workers))
    return families[-1]


async def test_where_a_worker_cannot_start_at_first_the_hub_does_not(ways: Path, families: list[Family], caplog: pytest.LogCaptureFixture):
    (ways / "1").write_text("fails")
    (ways / "2").write_text("fails")
    family = grown(families, ways)
    async with asyncio.timeout(30):
        assert await family.running == 1
    assert "the hub cannot start: a worker could not" in caplog.text


async def test_nobody_is_served_before_the_first_keys_are_shown(ways: Path, families: list[Family]):
    (ways / "1").write_text("late")
    family = grown(families, ways)
    await family.noted("1 begin 1 True", "2 begin 1 False")
    await eventually(lambda: any(one.number == 2 for one in family.parent._waiting))
    assert not [line for line in family.notes if "serve" in line]
    (ways / "go").touch()
    await family.noted("1 serve", "2 serve")


async def test_a_worker_that_dies_again_and_again_is_started_ever_later_and_the_other_is_left_alone(
    ways: Path, families: list[Family], caplog: pytest.LogCaptureFixture
):
    family = grown(families, ways)
    await family.noted("1 serve", "2 serve")
    (ways / "1").write_text("dies")
    (pid,) = [one.pid for one in family.parent._children if one.number == 1]
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: sum(line == "1 serve" for line in family.notes) > 4)
    ended = [record.fields for record in caplog.records if record.getMessage() == "a worker ended; another takes its place"]  # type: ignore[attr-defined]
    assert [one["again_in"] for one in ended[:4]] == [0.0, 0.01, 0.02, 0.02]
    assert [one["how"] for one in ended[:2]] == ["killed by SIGKILL", "exit code 3"]
    assert {one["worker"] for one in ended} == {1}
    assert sum(line.startswith("2 begin") for line in family.notes) == 1


async def test_a_worker_that_was_stopped_by_itself_is_followed_at_once_and_is_no_failure(
    ways: Path, families: list[Family], caplog: pytest.LogCaptureFixture
):
    (ways / "1").write_text("once:leaves")
    with caplog.at_level(logging.INFO):
        family = grown(families, ways)
        await eventually(lambda: sum(line == "1 serve" for line in family.notes) == 2)
    assert "a worker was stopped; another takes its place" in caplog.text
    assert family.parent._census.ends == 0


async def test_a_worker_that_does_not_end_is_killed(ways: Path, families: list[Family], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parent, "REST", 1.5)
    (ways / "1").write_text("deaf")
    family = grown(families, ways)
    await family.noted("1 serve", "2 serve")
    pids = [one.pid for one in family.parent._children]
    assert await family.stop() == 0
    assert all(state(pid) == "X" for pid in pids)
    assert "2 Drain" in family.notes


async def test_a_worker_that_agreed_and_does_not_follow_is_killed_and_the_next_begins_with_what_is_in_force(
    ways: Path, families: list[Family], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(agreement, "DEAD", 1.5)
    (ways / "1").write_text("once:stuck")
    family = grown(families, ways)
    await family.noted("1 serve", "2 serve")
    family.loaded(drain=0.2)
    os.kill(os.getpid(), signal.SIGHUP)
    await family.noted("1 adopt 2", "2 adopt 2", "1 begin 2 False")
    assert "a worker does not answer its parent" in caplog.text
    assert family.parent._agreement.in_force.loaded.config.server.drain == 0.2


async def test_one_that_refuses_an_edit_keeps_it_from_all(ways: Path, families: list[Family], caplog: pytest.LogCaptureFixture):
    (ways / "2").write_text("refuses")
    family = grown(families, ways)
    await family.noted("1 serve", "2 serve")
    family.loaded(drain=0.2)
    await eventually(lambda: "the edited configuration was refused" in caplog.text)
    assert family.parent._agreement.in_force.number == 1
    assert not [line for line in family.notes if "adopt" in line]


async def test_an_edit_waits_for_a_worker_that_says_nothing_until_that_one_is_dead_and_a_later_edit_takes_its_place(
    ways: Path, families: list[Family], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(agreement, "PATIENCE", 0.01)
    (ways / "1").write_text("once:mute")
    family = grown(families, ways)
    await family.noted("1 serve", "2 serve")
    family.loaded(drain=0.2)
    await eventually(lambda: "not every worker has answered" in caplog.text)
    family.loaded(drain=0.3)
    await family.noted("1 check 3", "2 check 3")
    assert family.parent._agreement.in_force.number == 1
    (pid,) = [one.pid for one in family.parent._children if one.number == 1]
    os.kill(pid, signal.SIGKILL)
    await family.noted("2 adopt 3")
    await eventually(lambda: [(one.state, one.generation) for one in family.parent._children] == [("serving", 3)] * 2)
    assert "2 adopt 2" not in family.notes


async def test_a_worker_without_an_opinion_is_killed_however_often_the_file_is_edited_meanwhile(
    ways: Path, families: list[Family], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(agreement, "DEAD", 2.0)
    (ways / "1").write_text("once:mute")
    family = grown(families, ways)
    await family.noted("1 serve", "2 serve")
    propose, edits = family.parent._agreement.propose, [family.loaded(drain=0.2), family.loaded(drain=0.3)]
    await propose(edits[1])
    for _ in range(5):
        await propose(edits[1])  # a storm of SIGHUP: the same is not asked again, so that it can be agreed on
    assert family.parent._agreement._last == 2
    async with asyncio.timeout(30):
        while "a worker does not answer its parent" not in caplog.text:
            edits.reverse()
            await propose(edits[1])
            await asyncio.sleep(0.05)
    await eventually(lambda: family.parent._agreement.in_force.number > 1)
    assert caplog.text.count("does not answer its parent") == 1


async def test_a_worker_that_lets_go_of_its_parent_and_does_not_end_is_killed(
    ways: Path, families: list[Family], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(child, "GONE", 0.1)
    (ways / "1").write_text("once:lingers")
    family = grown(families, ways)
    await eventually(lambda: sum(line == "1 serve" for line in family.notes) == 2)
    assert "speaks with its parent no more" in caplog.text


async def test_the_old_worker_stays_where_the_new_one_cannot_start(ways: Path, families: list[Family], caplog: pytest.LogCaptureFixture):
    family = grown(families, ways)
    await family.noted("1 serve", "2 serve")
    before = {one.pid for one in family.parent._children}
    (ways / "3").write_text("fails")
    os.kill(os.getpid(), signal.SIGUSR2)
    await eventually(lambda: "a new worker could not take the place of an old one" in caplog.text)
    assert {one.pid for one in family.parent._children} == before
    (ways / "3").write_text("")
    os.kill(os.getpid(), signal.SIGUSR2)
    with caplog.at_level(logging.INFO):
        await family.noted("1 Retire", "2 Retire")
    await eventually(lambda: len(family.parent._children) == 2)
    assert not before & {one.pid for one in family.parent._children}


async def test_what_is_counted_never_goes_back_and_who_is_silent_is_left_out(
    ways: Path, families: list[Family], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(census, "PATIENCE", 2.0)
    family = grown(families, ways)
    await family.noted("1 serve", "2 serve")
    await eventually(lambda: all(one.serving.is_set() for one in family.parent._children))

    async def scrape() -> dict[tuple[str, str], float]:
        families = await family.parent._census.take()
        return {(sample.name, dict(sample.labels).get("worker", "")): sample.value for found in families for sample in found.samples}

    assert (await scrape())["calls_total", ""] == 10.0
    (ways / "1").write_text("silent")
    (pid,) = [one.pid for one in family.parent._children if one.number == 1]
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: sum(line == "1 serve" for line in family.notes) == 2)
    await eventually(lambda: all(one.serving.is_set() for one in family.parent._children))
    found = await scrape()
    assert found["calls_total", ""] == 10.0
    assert [found["hub_worker_up", number] for number in "12"] == [0.0, 1.0]
    assert ("open", "1") not in found
    assert found["open", "2"] == 1.0
    assert found["hub_worker_silences_total", ""] == 1.0
    assert found["hub_worker_ends_total", ""] == 1.0
