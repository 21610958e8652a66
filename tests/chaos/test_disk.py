"""A disk that is full, read-only or taken: no evidence, no action. And when it is given back the hub goes on, without a restart."""

import asyncio
import collections
import contextlib
import shutil
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from hub.audit.export import logs
from tests.chaos import faults
from tests.chaos.evidence import examine, journal
from tests.chaos.load import Load
from tests.chaos.world import Victim, marked, no_orphans, pipe, settings, victim, web
from tests.support.hub import START, eventually, wait_for
from tests.support.mcp import Client, dumps, message, modern_headers, modern_params

UNAVAILABLE = {(503, "journal_unavailable"), (503, "outcome_unrecorded"), (503, "store_unavailable")}


def ways() -> list[Any]:
    """The faults that this machine lets us make. The first two need no rights at all, so there are always those."""
    found: list[Any] = [faults.NoWriting(), faults.Taken()]
    with tempfile.TemporaryDirectory() as folder:
        if faults.can_mount(Path(folder)):
            found.append(faults.FullDisk())
        if faults.can_freeze(Path(folder) / "file"):
            found.append(faults.ReadOnly())
    return found


class Elsewhere(Victim):
    """Its state lies in a mount namespace of its own, where SQLite does not find it: it is looked at in a copy, once nothing moves."""

    @property
    def database(self) -> Path:
        return Path(f"/proc/{self.pid}/root{self.folder}/.hub/hub.db")

    async def readable(self) -> Path:
        copy = self.folder / "copy" / "hub.db"
        copy.parent.mkdir()

        def quiet() -> bool:
            for name in ("hub.db", "hub.db-wal"):
                shutil.copyfile(self.database.with_name(name), copy.with_name(name))
            with contextlib.suppress(LookupError, sqlite3.Error):
                return all(log.size == log.signed for log in logs(copy))
            return False

        await eventually(quiet, every=0.2)
        return copy


@pytest.mark.parametrize("fault", ways(), ids=lambda fault: type(fault).__name__)
async def test_without_a_disk_nothing_is_done_or_answered_unrecorded_and_with_it_all_goes_on(tmp_path: Path, fault: faults.Fault):
    notes, state = tmp_path / "notes", tmp_path / ".hub"
    state.mkdir()
    prefix = fault.prefix(state)
    with web(notes) as (url, _), victim(tmp_path, settings(url, notes), prefix, Elsewhere if prefix else Victim) as hub:
        hub.start().settled("web", "pipe", "wrapped")
        load = Load(hub, 16, 3).start()
        await load.busy(200)
        fault.begin(hub)
        enough = 6 if isinstance(fault, faults.Taken) else 60  # there SQLite itself waits two seconds for the lock each time
        try:
            await eventually(lambda: sum(_refused(load)) >= enough, 60)
            down = time.time()
            await eventually(lambda: sum(1 for answer in load.answers if answer.began > down) >= enough // 3, 30)
            answered = [answer for answer in load.answers if answer.began > down and answer.status == 200]
            assert not answered or prefix, answered  # on a full disk a small record may yet find room, and then it is on record
        finally:
            fault.end(hub)
        before = len(load.answers)
        await eventually(lambda: sum(1 for answer in load.answers[before:] if answer.status == 200) >= 100, 30)
        await load.ended(stop=True)
        codes = collections.Counter((answer.status, answer.code) for answer in load.answers if answer.status not in (200, 401, 429))
        assert set(codes) <= UNAVAILABLE, codes
        assert codes[503, "journal_unavailable"], codes
        found = await examine(await hub.readable(), notes, load.answers, may_be_open=True)
        sent = {line.split(" ", 1)[0] for line in notes.read_text().splitlines()}
        undone = {answer.trace for answer in load.answers if answer.code == "journal_unavailable"}
        assert not sent & undone, "a call was sent that was said not to have been"
        assert hub.stop() == 0, hub.tail
        if not prefix:  # the calls whose outcome could not be recorded are closed by the next start
            hub.start()
            found = await examine(hub.database, notes, load.answers)
            assert found["outcomes"].get("unknown", 0) >= codes[503, "outcome_unrecorded"], (found, codes)
            assert hub.stop() == 0, hub.tail
    assert "Traceback" not in hub.log.read_text(), hub.tail


def _refused(load: Load) -> list[bool]:
    return [answer.status == 503 for answer in load.answers]


async def test_a_journal_that_fails_between_intent_and_outcome_says_that_the_call_may_have_taken_effect(tmp_path: Path):
    notes, release, fault = tmp_path / "notes", tmp_path / "release", faults.NoWriting()
    config: dict[str, Any] = settings("", notes)
    config["upstreams"] = {"pipe": pipe(notes)}
    config["virtual_servers"]["main"]["include"] = [{"from": "pipe"}]
    config["limits"], config["policies"] = [], {}
    with victim(tmp_path, config) as hub:
        hub.start().settled("pipe")
        client = Client(hub, "user")
        plain = asyncio.create_task(client.call("pipe_hold", {"text": "x", "until": str(release)}))
        stream, status, headers = await client.stream(*_progress())
        assert (status, headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
        await eventually(lambda: len(notes.read_text().splitlines()) == 2)
        fault.begin(hub)
        release.touch()
        answer = await plain
        assert (answer.status, answer.why) == (503, "outcome_unrecorded")
        assert "retry-after" not in answer.headers
        assert "hub-receipt" not in answer.headers
        events = [event async for event in stream.messages()]
        await stream.close()
        assert events
        assert all("id" not in event for event in events), events  # progress, but no answer
        refused = await client.call("pipe_echo", {"text": "not now"})
        assert (refused.status, refused.why) == (503, "journal_unavailable")
        fault.end(hub)
        assert (await client.call("pipe_echo", {"text": "again"})).status == 200
        assert "not now" not in notes.read_text()
        assert hub.stop() == 0, hub.tail
        hub.start()
        assert hub.stop() == 0, hub.tail
        said = [record.says for record in journal(hub.database).records if record.phase == "outcome"]
        outcomes = {one["intent"]: one for one in said if not one["kind"].startswith("admin.")}  # the first keys have theirs too
        assert [outcomes[at]["outcome"]["status"] for at in sorted(outcomes)] == ["unknown", "unknown", "ok"]
        call = answer.headers["x-request-id"]
        assert call in [says["id"] for says in outcomes.values() if says["outcome"]["status"] == "unknown"]


def _progress() -> tuple[Any, ...]:
    params = modern_params({"name": "pipe_slow", "arguments": {"text": "t", "seconds": 2, "steps": 20}, "_meta": {"progressToken": "t"}})
    return dumps(message("tools/call", params)), *modern_headers("tools/call", params)


def unusable() -> list[str]:
    """What the state folder can be made to be here before a start. As root, permissions say nothing: then it takes a mount."""
    with tempfile.TemporaryDirectory() as folder:
        return ["a read-only mount", "a full disk"] if faults.can_mount(Path(folder)) else ["without permission"]


@pytest.mark.parametrize("what", unusable())
def test_a_hub_that_cannot_write_its_state_says_so_and_does_not_start(tmp_path: Path, what: str):
    state = tmp_path / ".hub"
    with victim(tmp_path, {"keys": [{"name": "root", "roles": ["admin"]}]}) as hub:
        hub.start()
        assert hub.stop() == 0
        before = hub.log.stat().st_size
        if what == "a full disk":
            copy = f"cp -a {state} {state}.kept && mount -t tmpfs -o size=1m tmpfs {state} && cp -a {state}.kept/. {state}"
            full = f"! cat /dev/zero > {state}/filler && ! dd if=/dev/zero of={state}/more bs=1 count=1"
            hub.prefix = faults.mounted(f"{copy} && {full}")
        elif what == "a read-only mount":
            hub.prefix = faults.mounted(f"mount --bind {state} {state} && mount -o remount,bind,ro {state}")
        state.chmod(0o500 if what == "without permission" else 0o700)
        hub.spawn()
        assert hub.process is not None
        try:
            code = hub.process.wait(START)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            state.chmod(0o700)
        said = hub.log.read_text()[before:]
        assert code == 1, said
        assert "the hub cannot start" in said, said
        assert "Traceback" not in said, said
        hub.prefix = ()
        hub.start()
        assert hub.stop() == 0


async def test_a_hub_without_a_disk_still_stops_in_order(tmp_path: Path):
    notes = tmp_path / "notes"
    fault: faults.Fault = faults.ReadOnly() if faults.can_freeze(tmp_path / "file") else faults.Taken()
    with web(notes) as (url, _), victim(tmp_path, settings(url, notes)) as hub:
        boot = hub.start().settled("web", "pipe", "wrapped").status()["boot"]
        load = Load(hub, 16, 4).start()
        await load.busy(200)
        fault.begin(hub)
        try:
            await eventually(lambda: sum(_refused(load)) >= 4, 30)
            assert await asyncio.to_thread(hub.stop) == 0, hub.tail
        finally:
            fault.end(hub)
        await load.ended()
        no_orphans(notes, boot)
        hub.start()
        await examine(hub.database, notes, load.answers)
        assert hub.stop() == 0
    assert "Traceback" not in hub.log.read_text(), hub.tail


def test_a_database_that_is_none_is_said_to_be_none(tmp_path: Path):
    with victim(tmp_path, {"keys": [{"name": "root", "roles": ["admin"]}]}) as hub:
        hub.database.parent.mkdir()
        hub.database.write_bytes(b"no database at all " * 1000)
        with pytest.raises(AssertionError, match="the hub did not start"):
            hub.start()
        assert hub.process is not None
        assert hub.process.returncode == 1
        assert "the hub cannot start" in hub.log.read_text()
        assert "Traceback" not in hub.log.read_text(), hub.tail


def test_a_hub_that_cannot_hand_over_its_first_keys_says_so_and_does_not_start(tmp_path: Path):
    with victim(tmp_path, {"upstreams": {"pipe": pipe(tmp_path / "notes")}}) as hub:
        (hub.database.parent / "first-run").mkdir(parents=True)
        with pytest.raises(AssertionError, match="the hub did not start"):
            hub.start()
        assert hub.process is not None
        assert hub.process.returncode == 1
        assert "the hub cannot start" in hub.log.read_text()
        assert "Traceback" not in hub.log.read_text(), hub.tail
        wait_for(lambda: not marked(f"CHAOS={tmp_path / 'notes'}"))
