"""Stdio servers of another process: the host's side and two workers' sides in one loop, over real sockets, with a real server."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.call import Call, Chunk, Credential
from hub.config.mcp import Breaker, Stdio, UpstreamSpec
from hub.refusal import InvalidParams, UpstreamDown, UpstreamFault, UpstreamTimeout
from tests.support.hub import eventually
from tests.upstreams.conftest import SERVERS
from virtual_servers import hosted, hosted_line
from virtual_servers.guard import Guard
from virtual_servers.hosted import Hosted, StdioHost
from virtual_servers.hosted_line import Line
from virtual_servers.hosted_messages import Answered, Ask, Cancel, ToHost, Use
from virtual_servers.hosting import Hosting

soon = partial(eventually, seconds=30.0)


def raw(*args: object, **options: Any) -> UpstreamSpec:
    return UpstreamSpec(stdio=Stdio(command=sys.executable, args=(str(SERVERS / "raw_stdio.py"), *map(str, args))), **options)


class Worker:
    """One worker's side. `ends` are its lines' numbers that have ended."""

    def __init__(self) -> None:
        self.ends: list[int] = []
        self.host = StdioHost(self.ends.append)
        self.changes: list[str] = []
        self.chunks: list[Chunk] = []

    async def join(self, hosting: Hosting, number: int = 1) -> socket.socket:
        """The worker's end, for mischief."""
        one, other = socket.socketpair()
        await asyncio.gather(hosting.connect(one), self.host.plug(other, number))
        return other

    def use(self, spec: UpstreamSpec, name: str = "raw") -> Hosted:
        return self.host.upstream(name, spec, self.changes.append)

    async def emit(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)

    async def call(self, server: Hosted, name: str, arguments: dict[str, Any] | None = None, token: object = None) -> Any:
        params = {"name": name, "arguments": arguments or {}} | ({} if token is None else {"_meta": {"progressToken": token}})
        reply = await server.send(asked(json.dumps(params).encode()), self.emit)
        text = json.loads(reply.result)["content"][0]["text"] if reply.result else reply.error
        return json.loads(text) if text[:1] == "{" else text


def asked(payload: bytes) -> Call:
    return Call("c", "mcp.tools.call", "tools/call", "d", payload, Credential(), 0.0)


@pytest.fixture
async def made(guard: Guard) -> AsyncIterator[list[Hosting]]:
    """What is put here is closed after the test."""
    found: list[Hosting] = []
    yield found
    for one in found:
        await one.close()


async def two(made: list[Hosting], guard: Guard, **specs: UpstreamSpec) -> tuple[Hosting, Worker, Worker]:
    host, one, other = Hosting(guard), Worker(), Worker()
    made.append(host)
    host.take(specs)
    await one.join(host)
    await other.join(host)
    return host, one, other


async def test_one_process_serves_both_and_everybody_gets_their_own(made, guard, tmp_path):
    notes = tmp_path / "notes"
    spec = raw("older", "good", notes)
    _, one, other = await two(made, guard, raw=spec)
    servers = [(worker, worker.use(spec)) for worker in (one, other)]
    catalogues = await asyncio.gather(*(server.catalogue() for _, server in servers))
    assert catalogues[0] == catalogues[1], "it was fetched twice"
    calls = [worker.call(server, "echo", {"who": [side, n]}) for n in range(50) for side, (worker, server) in enumerate(servers)]
    answers = await asyncio.gather(*calls)
    assert [answer["arguments"]["who"] for answer in answers] == [[side, n] for n in range(50) for side in range(2)]
    await asyncio.gather(*(w.call(s, "slow", {"steps": 3, "pause": 0.02}, token=f"of {n}") for n, (w, s) in enumerate(servers)))
    for number, (worker, _) in enumerate(servers):
        said = [json.loads(chunk.params) for chunk in worker.chunks]
        assert [(one["progressToken"], one["progress"]) for one in said] == [(f"of {number}", step) for step in range(3)]
    await asyncio.gather(one.host.look(), other.host.look())
    statuses = [server.status() for _, server in servers]
    assert statuses[0] == statuses[1]
    assert statuses[0]["starts"] == 1
    assert "raw server started" in statuses[0]["stderr"]
    assert {server.era for _, server in servers} == {"2025-11-25"}
    held = [asyncio.create_task(w.call(s, "slow", {"steps": 1, "pause": 0.5})) for w, s in servers]
    await soon(lambda: look(one, servers[0][1], "running", 2))
    held[0].cancel()
    assert await held[1] == "done"
    assert notes.read_text().count("notifications/cancelled") == 1


async def test_whose_calls_come_to_nothing_is_known_over_the_line(made: list[Hosting], guard: Guard):
    spec = raw("older", timeout=3.0, breaker=Breaker(failures=2, open_for=60.0))
    _, one, other = await two(made, guard, raw=spec)
    mine, theirs = one.use(spec), other.use(spec)
    hangs, answers = asked(b'{"name":"slow","arguments":{"steps":1,"pause":30}}'), asked(b'{"name":"echo","arguments":{"text":"a"}}')
    for server, worker in ((mine, one), (theirs, other)):
        with pytest.raises(UpstreamTimeout):
            await server.send(msgspec.structs.replace(hangs, org="careless"), worker.emit)
    with pytest.raises(UpstreamDown, match="left alone"):
        await mine.send(msgspec.structs.replace(answers, org="careless"), one.emit)
    assert (await mine.send(msgspec.structs.replace(answers, org="careful"), one.emit)).result


async def look(worker: Worker, server: Hosted, member: str, wanted: object) -> bool:
    await worker.host.look()
    return server.status()[member] == wanted


async def test_errors_keep_their_types_and_a_bound_is_of_all_workers(made, guard):
    spec = raw("older", "wrong-id", timeout=0.2, breaker=Breaker(failures=2, open_for=60.0))
    huge = raw("older", "oversized", max_result=5000, concurrency=1)
    newer = raw("modern")
    _, one, other = await two(made, guard, raw=spec, huge=huge, newer=newer)
    mine, theirs = one.use(spec), other.use(spec)
    with pytest.raises(InvalidParams):
        await one.use(newer, "newer").send(asked(b"[]"), one.emit)
    for worker, server in ((one, mine), (other, theirs)):
        with pytest.raises(UpstreamTimeout):
            await worker.call(server, "echo")
    with pytest.raises(UpstreamDown) as caught:
        await one.call(mine, "echo")
    assert 50 < (caught.value.retry_after or 0) <= 60
    with pytest.raises(UpstreamFault, match="too large"):
        await one.call(one.use(huge, "huge"), "any", {"size": 300_000})
    assert len(await other.call(other.use(huge, "huge"), "any", {"size": 10})) == 10


async def test_a_server_that_dies_fails_the_calls_of_all_and_is_started_once(made, guard):
    spec = raw("older")
    _, one, other = await two(made, guard, raw=spec)
    mine, theirs = one.use(spec), other.use(spec)
    await one.call(mine, "echo")
    held = [asyncio.create_task(w.call(s, "slow", {"steps": 1, "pause": 60})) for w, s in ((one, mine), (other, theirs))]
    await soon(lambda: look(one, mine, "running", 2))
    os.kill(mine.status()["pid"], signal.SIGKILL)
    for task in held:
        with pytest.raises(UpstreamDown, match="stopped before it answered"):
            await task
    assert all(await asyncio.gather(one.call(mine, "echo"), other.call(theirs, "echo")))
    assert await look(other, theirs, "starts", 2)
    assert set(one.changes) == set(other.changes) == {"tools", "prompts", "resources"}
    before = len((await mine.catalogue()).items)
    one.changes.clear()
    await theirs.send(asked(b'{"name":"grow","arguments":{}}'), other.emit)
    await soon(lambda: one.changes == ["tools"])
    assert len((await mine.catalogue()).items) == before + 1


async def test_what_is_configured_anew_is_another_server_and_the_old_runs_while_it_is_used(made, guard):
    old, new, kept = raw("older"), raw("modern"), raw("older", "banner")
    host, one, other = await two(made, guard, raw=old, kept=kept)
    mine, theirs = one.use(old), other.use(old)
    stays = one.use(kept, "kept")
    assert await one.call(mine, "echo")
    assert await one.call(stays, "echo")
    early = one.use(new)  # this worker has heard of it before the host has
    waiting = asyncio.create_task(one.call(early, "echo"))
    pids = [(await look(one, s, "state", "ready"), s.status()["pid"])[1] for s in (mine, stays)]
    await mine.stop()
    host.take({"raw": new, "kept": kept})
    assert "_meta" in await waiting
    assert "_meta" not in await other.call(theirs, "echo")
    held = asyncio.create_task(other.call(theirs, "slow", {"steps": 1, "pause": 60}))
    await soon(lambda: look(other, theirs, "running", 1))
    assert theirs.status()["pid"] == pids[0]
    await theirs.stop()
    with pytest.raises(UpstreamDown):
        await held
    await soon(lambda: gone(pids[0]))
    assert await look(one, stays, "pid", pids[1])
    with pytest.raises(UpstreamDown, match="no longer configured"):
        await other.call(other.use(old), "echo")


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_a_worker_that_goes_cancels_its_calls_and_the_server_stays(made, guard, tmp_path):
    notes = tmp_path / "notes"
    spec = raw("older", "good", notes)
    host, one, other = await two(made, guard, raw=spec)
    mine, theirs = one.use(spec), other.use(spec)
    await one.call(mine, "echo")
    lost = asyncio.create_task(one.call(mine, "slow", {"steps": 1, "pause": 60}))
    await soon(lambda: look(other, theirs, "running", 1))
    pid = theirs.status()["pid"]
    one.host.close()
    with pytest.raises(UpstreamDown):
        await lost
    await soon(lambda: "notifications/cancelled" in notes.read_text())
    assert await look(other, theirs, "pid", pid)
    assert not one.ends, "one that closes wants no other line"
    other.host.close()
    await asyncio.wait_for(host.empty.wait(), 30)


async def test_a_worker_that_does_not_read_is_cut_and_delays_nobody(made, guard, monkeypatch):
    monkeypatch.setattr(hosted_line, "STUCK", 0.5)
    monkeypatch.setattr(hosted_line, "FULL", 64 * 1024)
    spec = raw("older", "oversized")
    host, one, other = await two(made, guard, raw=spec)
    mine = one.use(spec)
    assert await one.call(mine, "any", {"size": 3})
    ours, theirs = socket.socketpair()
    await host.connect(ours)
    theirs.setblocking(True)
    use, ask = Use(1, "raw", mine.digest), Ask(1, 1, "tools/call", b'{"name":"any","arguments":{"size":4000000}}', 0.0, "", None)
    for message in (use, ask):
        data = msgspec.msgpack.encode(message)
        theirs.sendall(len(data).to_bytes(4) + data)
    server = other.use(spec)
    for _ in range(20):
        assert len(await other.call(server, "any", {"size": 100})) == 100
    await soon(lambda: len(host._customers) == 2)
    theirs.close()


async def test_a_line_that_is_read_slowly_stays_and_one_that_is_not_read_ends(monkeypatch):
    monkeypatch.setattr(hosted_line, "STUCK", 0.4)
    lost: list[bool] = []
    ours, theirs = socket.socketpair()
    line = Line[ToHost](ToHost, lambda _: None, lambda: lost.append(True))
    for end in (ours, theirs):
        end.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: line, sock=ours)
    line.send(Ask(1, 1, "m", bytes(16_000_000), 0.0, "", None))
    assert line.full
    for _ in range(8):
        await loop.sock_recv(theirs, 100_000)
        await asyncio.sleep(0.1)
    assert line.open
    await soon(lambda: lost == [True])
    assert not line.full
    theirs.close()


async def test_what_is_cancelled_before_it_began_is_not_begun(made, guard):
    spec = raw("older")
    _, one, _ = await two(made, guard, raw=spec)
    server = one.use(spec)
    one.host.tell(Ask(900, 1, "tools/call", b'{"name":"exit"}', 0.0, "", None))
    one.host.tell(Cancel(900))
    one.host.tell(Cancel(901))
    assert await one.call(server, "echo")
    assert await look(one, server, "starts", 1)


async def test_when_the_host_is_gone_calls_fail_as_at_a_dead_server_and_the_next_is_used(made, guard, monkeypatch):
    monkeypatch.setattr(hosted, "WAITED", 0.3)
    spec = raw("older")
    host, one, _ = await two(made, guard, raw=spec)
    mine = one.use(spec)
    held = asyncio.create_task(one.call(mine, "slow", {"steps": 1, "pause": 60}))
    await soon(lambda: look(one, mine, "running", 1))
    await host.close()
    with pytest.raises(UpstreamDown, match="stopped before it answered"):
        await held
    with pytest.raises(UpstreamDown) as caught:
        await one.call(mine, "echo")
    assert caught.value.retry_after
    assert (mine.status()["state"], one.host.pid) == ("failed", None)
    await soon(lambda: one.ends == [1])
    again = Hosting(guard)
    made.append(again)
    again.take({"raw": spec})
    waiting = asyncio.create_task(one.call(mine, "echo"))
    await one.join(again, 2)
    with pytest.raises(UpstreamDown):
        await waiting  # it was away for too long by then
    assert await one.call(mine, "echo")
    assert set(one.changes) == {"tools", "prompts", "resources"}
    assert one.host.pid == os.getpid()


REQUESTS = st.one_of(
    st.builds(Use, st.integers(0, 2**40), st.text(), st.binary(max_size=40)),
    st.builds(Cancel, st.integers(0, 2**63 - 1)),
    st.builds(Ask, st.integers(1, 9), st.integers(1, 9), st.text(), st.binary(), st.floats(0, 1e9), st.text(), st.none()),
)


@given(st.lists(REQUESTS, max_size=8), st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_frames_arrive_whole_and_in_order_however_they_are_cut(messages: list[Any], cuts: list[int]) -> None:
    told: list[Any] = []
    line = Line[ToHost](ToHost, told.append, lambda: None)
    line.open = True
    whole = b"".join(len(data).to_bytes(4) + data for data in map(msgspec.msgpack.encode, messages))
    at = turn = 0
    while at < len(whole):
        size = cuts[turn % len(cuts)]
        line.data_received(whole[at : at + size])
        at, turn = at + size, turn + 1
    assert told == messages


async def test_what_is_no_message_ends_the_line() -> None:
    for garbage in (b"\0\0\0\1\xc1", b"\0\0\0\2\x91\x09", b"\0\0\0\0", msgspec.msgpack.encode(Answered(1, "", b"", b"", False, 0, 0))):
        lost: list[bool] = []
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        line = Line[ToHost](ToHost, lambda _: None, lambda lost=lost: lost.append(True))
        await asyncio.get_running_loop().create_connection(lambda line=line: line, sock=ours)
        theirs.sendall(garbage if garbage[:1] == b"\0" else len(garbage).to_bytes(4) + garbage)
        await soon(lambda lost=lost: lost == [True])
        theirs.close()
