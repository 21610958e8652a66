"""The file watcher: good edits arrive once, bad ones and vanishing files change nothing."""

import asyncio
from pathlib import Path

import pytest

from hub import watch
from hub.config.load import Loaded, load
from hub.watch import Watch

POLICY = '@id("p") forbid (principal, action, resource) when { context.door == "x" };'


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(watch, "EVERY", 0.01)
    (tmp_path / "p.cedar").write_text(POLICY)
    path = tmp_path / "hub.yaml"
    path.write_text("policies: {sets: {a: {file: p.cedar}}}\n")
    return path


class Edits:
    def __init__(self) -> None:
        self.seen: asyncio.Queue[Loaded] = asyncio.Queue()

    async def take(self, loaded: Loaded) -> None:
        self.seen.put_nowait(loaded)

    async def next(self) -> Loaded:
        async with asyncio.timeout(30):
            return await self.seen.get()


async def test_an_edit_arrives_as_a_loaded_configuration(file: Path) -> None:
    edits = Edits()
    watching = Watch(load(file), edits.take)
    watching.start()
    file.write_text("server: {port: 1}\n")
    assert (await edits.next()).config.server.port == 1
    await watching.stop()


async def test_an_edit_of_a_policy_file_arrives_too(file: Path) -> None:
    edits = Edits()
    watching = Watch(load(file), edits.take)
    watching.start()
    (file.parent / "p.cedar").write_text(POLICY + "\n// changed\n")
    assert (await edits.next()).config.policies.sets
    await watching.stop()


async def test_a_bad_edit_is_not_handed_on_and_the_next_good_one_is(file: Path) -> None:
    edits = Edits()
    watching = Watch(load(file), edits.take)
    watching.start()
    file.write_text("server: {prot: 1}\n")
    file.unlink()
    file.write_text("server: {port: 2}\n")
    while (await edits.next()).config.server.port != 2:
        pass
    assert edits.seen.empty()
    await watching.stop()


async def test_a_failure_to_take_an_edit_up_does_not_end_the_watch(file: Path) -> None:
    edits = Edits()

    async def fail_once(loaded: Loaded) -> None:
        await edits.take(loaded)
        if loaded.config.server.port == 3:
            raise RuntimeError("the hub could not")

    watching = Watch(load(file), fail_once)
    watching.start()
    file.write_text("server: {port: 3}\n")
    await edits.next()
    file.write_text("server: {port: 4}\n")
    assert (await edits.next()).config.server.port == 4
    await watching.stop()


async def test_a_look_that_is_asked_for_hands_on_what_did_not_change_in_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "EVERY", 60.0)
    edits = Edits()
    watching = Watch(load(file), edits.take)
    watching.start()
    watching.now()
    await edits.next()
    file.write_text("server: {prot: 1}\n")
    watching.now()
    file.write_text("server: {port: 5}\n")
    watching.now()
    while (await edits.next()).config.server.port != 5:
        pass
    await watching.stop()


async def test_an_edit_while_the_hub_starts_is_seen_and_a_start_without_one_hands_nothing_on(file: Path) -> None:
    edits = Edits()
    loaded = load(file)
    watching = Watch(loaded, edits.take)
    watching.start()
    await asyncio.sleep(0.1)
    assert edits.seen.empty()
    await watching.stop()
    file.write_text("server: {port: 6}\n")
    late = Watch(loaded, edits.take)
    late.start()
    assert (await edits.next()).config.server.port == 6
    await late.stop()


async def test_an_edit_that_falls_between_reading_and_looking_is_seen(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = file.parent / "q.cedar"
    policy.write_text(POLICY)
    then = iter([lambda: file.write_text("policies: {sets: {b: {file: q.cedar}}}\n"), lambda: policy.write_text(f"{POLICY} // new")])

    def slow(path: Path) -> Loaded:
        loaded = load(path)
        next(then, lambda: None)()
        return loaded

    edits = Edits()
    watching = Watch(load(file), edits.take)
    monkeypatch.setattr(watch, "load", slow)
    watching.start()
    file.write_text("server: {port: 7}\n")
    while not (found := (await edits.next()).config.policies.sets) or "// new" not in found["b"].cedar:
        pass
    await watching.stop()
