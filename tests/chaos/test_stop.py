"""SIGTERM under load: what is under way is finished or cut, and recorded either way; what comes after is told so; nothing is left over."""

import asyncio
import collections
import signal
import socket
import time
from pathlib import Path
from typing import Any

from tests.chaos.evidence import examine, journal, repeated
from tests.chaos.load import Load
from tests.chaos.world import Victim, no_orphans, pipe, settings, victim, web
from tests.support.hub import ROOT, eventually
from tests.support.mcp import Client
from tests.support.wire import request_bytes

STUBBORN = {"stdio": {"command": "python3", "args": [str(ROOT / "tests" / "servers" / "raw_stdio.py"), "older", "stubborn"]}}


async def ended(hub: Victim, seconds: float) -> float:
    """Wait for the hub to end in order; the seconds it took."""
    assert hub.process is not None
    began = time.monotonic()
    await eventually(lambda: hub.process is not None and hub.process.poll() is not None, seconds)
    assert hub.process.returncode == 0, hub.tail
    assert "Traceback" not in hub.log.read_text(), hub.tail
    return time.monotonic() - began


async def test_sigterm_under_load_finishes_what_is_under_way_and_refuses_what_comes(tmp_path: Path):
    notes = tmp_path / "notes"
    config = settings("", notes, server={"drain": 60})
    with web(notes) as (url, _):
        config["upstreams"]["web"]["url"] = url
        with victim(tmp_path, config) as hub:
            boot = hub.start().settled("web", "pipe", "wrapped").status()["boot"]
            load = Load(hub, 32, 7).start()
            await load.busy(500)
            hub.process.send_signal(signal.SIGTERM)
            took = await ended(hub, 60)
            await load.ended()
            no_orphans(notes, boot)
            found = await examine(hub.database, notes, load.answers)
            assert repeated(journal(hub.database, "-"), load.answers) > 0
    assert took < 30, took  # far less than the drain time: nothing that was under way lasts as long
    codes = collections.Counter((answer.status, answer.code) for answer in load.answers if answer.status not in (200, 401, 429))
    assert set(codes) <= {(503, "draining")}, codes
    assert codes, "nobody was told that the hub is stopping"
    assert set(found["outcomes"]) == {"ok"}, found
    streams = [answer for answer in load.answers if answer.what in ("listen", "stream")]
    assert len(streams) == 4
    assert all(len(answer.receipts) == 2 for answer in streams), streams  # its intent in the head, its outcome at the end


async def test_a_call_longer_than_the_drain_time_is_cut_recorded_as_aborted_and_its_server_ended(tmp_path: Path):
    notes = tmp_path / "notes"
    config: dict[str, Any] = settings("", notes, server={"drain": 0.5})
    config["upstreams"] = {"pipe": pipe(notes), "stubborn": STUBBORN}
    config["virtual_servers"]["main"]["include"] = [{"from": "pipe"}, {"from": "stubborn"}]
    config["limits"], config["policies"] = [], {}
    with victim(tmp_path, config) as hub:
        boot = hub.start().settled("pipe", "stubborn").status()["boot"]
        client = Client(hub, "user")
        until = {"text": "x", "until": str(tmp_path / "never")}
        plain = asyncio.create_task(client.call("pipe_hold", until))
        token = {"progressToken": "t"}
        streamed = asyncio.create_task(
            client.modern("tools/call", {"name": "pipe_slow", "arguments": {"text": "t", "seconds": 60, "steps": 600}, "_meta": token})
        )
        await eventually(lambda: notes.exists() and len(notes.read_text().splitlines()) == 2)
        hub.process.send_signal(signal.SIGTERM)
        took = await ended(hub, 60)
        cut, stream = await plain, await streamed
        no_orphans(notes, boot)
        found = journal(hub.database)
    assert took < 20, took  # not for as long as the calls or the stubborn server would go on
    assert (cut.status, cut.why) == (503, "draining")
    assert stream.status == 200
    assert all("result" not in event for event in stream.events), stream  # it ends, but not as if it had been answered
    ends = [record.says for record in found.records if record.phase == "outcome" and not record.says["kind"].startswith("admin.")]
    assert [one["outcome"]["status"] for one in ends] == ["aborted", "aborted"], found.records


async def test_a_new_request_on_a_kept_connection_is_told_that_the_hub_is_stopping(tmp_path: Path):
    notes, release = tmp_path / "notes", tmp_path / "release"
    config: dict[str, Any] = settings("", notes, server={"drain": 30})
    config["upstreams"] = {"pipe": pipe(notes)}
    config["virtual_servers"]["main"]["include"] = [{"from": "pipe"}]
    config["limits"], config["policies"] = [], {}
    with victim(tmp_path, config) as hub:
        hub.start().settled("pipe")
        client = Client(hub, "user")
        held = asyncio.create_task(client.call("pipe_hold", {"text": "x", "until": str(release)}))
        await eventually(lambda: notes.exists() and notes.read_text())
        connection, status, headers = await client.stream(b"{}", ("accept", "application/json"))
        assert status == 400
        await connection.reader.readexactly(int(headers["content-length"]))
        hub.process.send_signal(signal.SIGTERM)
        await eventually(lambda: not _accepts(hub))
        await connection.send(request_bytes("POST", client.path, client.headers(), b"{}"))
        refused = await connection.response()
        assert (refused.status, refused.why) == (503, "draining")
        assert refused.headers["retry-after"] == "1"
        async with asyncio.timeout(20):  # less than the drain time: it does not wait for the call that is held
            assert await connection.reader.read() == b""  # and is left no connection to try again on
        await connection.close()
        release.touch()
        answer = await held
        assert answer.result["content"][0]["text"] == "x"
        await ended(hub, 30)


def _accepts(hub: Victim) -> bool:
    try:
        socket.create_connection(hub.address, 1).close()
    except OSError:
        return False
    return True
