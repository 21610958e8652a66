"""The parts that workers and their parent are made of, each by itself: parcels, the channel, counts, shares, the end of an orphan."""

import asyncio
import fcntl
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
import uvloop

from hub.config.load import load
from hub.identity.keys import mint
from hub.listen import bind
from hub.processes import scrape
from hub.processes.accept import Acceptor
from hub.processes.board import Board
from hub.processes.census import Census
from hub.processes.channel import LARGEST, Channel, Closed
from hub.processes.handover import Outlet, Plug
from hub.processes.host import gauges
from hub.processes.member import Member
from hub.processes.messages import Adopt, Begin, Check, Count, Family, Retire, Sample, ToParent, ToWorker, Vote
from hub.processes.parcel import pack, unpack
from hub.processes.totals import add, total
from hub.server import leaving
from hub.telemetry.metrics import Metrics
from tests.docs import pages
from tests.support.hub import ROOT, eventually

EVERYTHING = """
server: {host: 0.0.0.0, port: 0, drain: 3, allowed_hosts: [a.example]}
stores: {database: 'postgresql://u:${PASSWORD}@h/d', redis: 'redis://:${PASSWORD}@h'}
secrets: {master: '${MASTER}'}
orgs: {acme: {title: Ä}}
keys:
  - {name: ci, org: acme, secret: '${KEY}', grants: [{virtual_server: 'v*', tools: [], deny: ['x']}], roles: [auditor]}
limits: [{name: l, scope: key, per_minute: 5}, {name: d, scope: org, per_day: 7, concurrency: 2}]
policies: {default: deny, sets: {p: {org: '*', file: p.cedar}, q: {cedar: 'permit (principal, action, resource);'}}}
upstreams:
  web: {org: acme, url: 'https://h/mcp', headers: {Authorization: 'Bearer ${PASSWORD}', X-Plain: yes}, timeout: 1}
  pipe: {shared: true, stdio: {command: cat, args: [-u], env: {A: '${PASSWORD}', B: b}}, breaker: {failures: 2}}
virtual_servers:
  v:
    org: acme
    include: [{from: web, tools: [a, 'b*']}, {from: pipe, exclude: []}]
    naming: {prefix: always, separator: '-'}
    tools: {web/a: {name: n, title: '', annotations: {big: 123456789012345678901234567890, deep: [{x: null}, 1.5, true]}}}
"""


def test_a_configuration_arrives_as_it_was_loaded(tmp_path: Path) -> None:
    (tmp_path / "p.cedar").write_text("forbid (principal, action, resource);")
    (tmp_path / "hub.yaml").write_text(EVERYTHING)
    loaded = load(tmp_path / "hub.yaml", environ={"PASSWORD": "p%40ss", "MASTER": "m" * 44, "KEY": mint().text})
    assert unpack(pack(loaded)) == loaded
    assert unpack(pack(loaded)).config.stores.database.url == "postgresql://u:p%40ss@h/d"
    for one in (load(None, environ={}), load(ROOT / "demo" / "hub.yaml")):
        assert unpack(pack(one)) == one
    with pytest.raises(msgspec.MsgspecError):
        unpack(pack(loaded).replace(b'"acme"', b'"AC ME"'))


@pytest.fixture
async def ends() -> AsyncIterator[tuple[Channel[ToParent], Channel[ToWorker]]]:
    one, other = socket.socketpair()
    parent, worker = await Channel[ToParent].open(one, ToParent), await Channel[ToWorker].open(other, ToWorker)
    yield parent, worker
    await parent.close()
    await worker.close()


async def test_messages_arrive_whole_and_in_order_and_the_end_is_told(ends: tuple[Channel[ToParent], Channel[ToWorker]]) -> None:
    parent, worker = ends
    sent = [Begin("1", 2, os.urandom(3_000_000), "u", True, 3, 4), Check(5, b"c"), Adopt(5), Retire()]
    for message in sent:
        parent.send(message)
    assert [await worker.receive() for _ in sent] == sent
    worker.send(Vote(5, "no"))
    assert await parent.receive() == Vote(5, "no")
    await worker.close()
    with pytest.raises(Closed):
        await parent.receive()
    parent.send(Retire())  # nobody is there: not an error of the sender


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff\xff", (LARGEST + 1).to_bytes(4), b"\0\0\0\1\xc1", b"\0\0\0\2\x91\xa0", b"\0\0"])
async def test_what_is_no_message_ends_the_channel(garbage: bytes) -> None:
    one, other = socket.socketpair()
    channel = await Channel[ToParent].open(one, ToParent)
    other.sendall(garbage)
    other.close()
    with pytest.raises(Closed):
        await channel.receive()
    await channel.close()


def counted(calls: int) -> tuple[Family, ...]:
    metrics = Metrics()
    for _ in range(calls):
        metrics.called("mcp.tools.call", "ok", 2_000_000)
        metrics.refused("limited")
    metrics.inflight(lambda: float(calls))
    metrics.config = lambda: f"hash-{calls}"
    return scrape.read(metrics.registry)


def lines(families: tuple[Family, ...]) -> dict[str, float]:
    text = scrape.text(families).decode()
    found = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    assert len({name for name, _, _ in found}) == len(found), "a sample stands there twice"
    return {name: float(value) for name, _, value in found}


def test_what_is_counted_is_added_up_and_what_is_measured_stands_for_each_worker() -> None:
    found = lines(total({1: counted(2), 3: counted(5)}, [counted(1)]))
    assert found['hub_calls_total{kind="mcp.tools.call",status="ok"}'] == 8.0
    assert found['hub_refusals_total{code="limited"}'] == 8.0
    assert found['hub_call_seconds_bucket{kind="mcp.tools.call",le="0.001"}'] == 0.0
    assert found['hub_call_seconds_bucket{kind="mcp.tools.call",le="+Inf"}'] == 8.0
    assert found['hub_call_seconds_sum{kind="mcp.tools.call"}'] == pytest.approx(0.016)
    assert found['hub_inflight_requests{worker="1"}'] == 2.0
    assert found['hub_inflight_requests{worker="3"}'] == 5.0
    assert found['hub_config{hash="hash-5",worker="3"}'] == 1.0
    assert "hub_inflight_requests" not in found


def test_a_hub_counts_since_its_first_worker_began_and_adding_up_keeps_only_what_was_counted() -> None:
    early = (Family("c", "counter", "", (Sample("c_total", (), 1.0), Sample("c_created", (), 100.0))), Family("g", "gauge", "", ()))
    late = (Family("c", "counter", "", (Sample("c_total", (("k", "v"),), 1.0), Sample("c_created", (), 200.0))),)
    (family,) = add([late, early])
    assert {(sample.name, sample.labels): sample.value for sample in family.samples} == {
        ("c_total", ()): 1.0,
        ("c_total", (("k", "v"),)): 1.0,
        ("c_created", ()): 100.0,
    }


async def test_every_metric_of_a_parent_stands_in_the_page_on_workers_with_its_type_and_labels() -> None:
    found = {}
    own = [family for family in gauges([("name", {"state": "ready", "breaker": "closed", "pid": 1})]) if "_stdio_" in family.name]
    for family in (*await Census(list, 2).take(), *own):
        name = family.name + ("_total" if family.kind == "counter" else "")
        labels = {label for sample in family.samples for label, _ in sample.labels}
        found[name] = (family.kind, {"worker"} if name in ("hub_worker_up", "hub_worker_generation") else labels)
    rows = [row for row in pages.rows("docs/workers.md") if row[0].startswith("hub_")]
    assert {row[0]: (row[1], set(re.findall(r"\w+", row[2]))) for row in rows} == found


def test_what_workers_have_in_common_stands_once_beside_what_each_has() -> None:
    http = (Family("hub_upstream_up", "gauge", "", (Sample("hub_upstream_up", (("upstream", "web"),), 1.0),)),)
    found = lines(total({1: http, 2: http}, shared=gauges([("pipe", {"state": "ready", "breaker": "open", "pid": 7})])))
    assert found == {
        'hub_upstream_up{upstream="web",worker="1"}': 1.0,
        'hub_upstream_up{upstream="web",worker="2"}': 1.0,
        'hub_upstream_up{upstream="pipe"}': 1.0,
        'hub_upstream_breaker_open{upstream="pipe"}': 1.0,
        'hub_stdio_server_pid{upstream="pipe"}': 7.0,
    }


async def test_a_line_reaches_a_child_that_runs_and_one_that_takes_none_holds_nobody_up() -> None:
    taken: asyncio.Queue[tuple[socket.socket, int]] = asyncio.Queue()
    outlet, theirs = Outlet.pair()
    ours, line = socket.socketpair()
    with ours, line:
        assert outlet.hand(line, 5)
        plug = Plug(theirs.detach(), lambda end, number: taken.put_nowait((end, number)))
        plug.open()
        assert outlet.hand(line, 2**40)
        for number in (5, 2**40):
            end, said = await asyncio.wait_for(taken.get(), 30)
            assert (said, end.get_inheritable()) == (number, False)
            end.sendall(b"%d" % number)
            assert ours.recv(100) == b"%d" % number
            end.close()
        plug.close()
        assert not outlet.hand(line, 1), "nobody is there"
        full, kept = Outlet.pair()
        with kept:
            while full.hand(line, 1):
                pass
        full.close()
    outlet.close()


def test_one_worker_is_shown_as_it_shows_itself() -> None:
    metrics = Metrics()
    metrics.called("mcp.tools.call", "ok", 2_000_000)
    assert scrape.text(scrape.read(metrics.registry)) == metrics.render()


def test_the_board_tells_who_has_least_and_forgets_who_is_away() -> None:
    board = Board.make(4)
    same = Board.find(board.file)
    assert same.least(1) is None
    board.write(2, 7)
    board.write(3, 0)
    assert (same.least(1), same.least(3)) == (0, 7)
    same.leave(3)
    assert (board.least(1), board.least(2)) == (7, None)


class Kept(asyncio.Protocol):
    """Does nothing but stay, until its acceptor is told that it has left."""

    def __init__(self, acceptor: Acceptor) -> None:
        self._acceptor = acceptor

    def connection_lost(self, exc: Exception | None) -> None:
        self._acceptor.lost()


def test_connections_that_come_at_once_are_shared_and_who_stands_still_delays_nobody() -> None:
    async def shares(away: bool) -> tuple[int, int]:
        listener, board = bind("127.0.0.1", 0), Board.make(3)
        one, other = Acceptor(listener, board, 1), Acceptor(socket.socket(fileno=os.dup(listener.fileno())), board, 2)
        one.open(lambda: Kept(one))
        if away:
            board.write(2, 0)  # it takes connections, it says, and does not
        else:
            other.open(lambda: Kept(other))
        clients = await asyncio.gather(*(asyncio.open_connection(*listener.getsockname()) for _ in range(64)))
        await eventually(lambda: one.count + other.count == 64)
        found = one.count, other.count
        one.close()
        assert board.least(2) is None
        for _, writer in clients:
            writer.close()
        async with asyncio.timeout(30):
            await one.emptied()
        other.close()
        return found

    assert min(uvloop.run(shares(away=False))) >= 24
    assert uvloop.run(shares(away=True)) == (64, 0)


async def test_each_answer_of_an_application_that_leaves_is_the_last_of_its_connection() -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": ((b"a", b"b"),)})
        await send({"type": "http.response.body", "body": b""})

    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await leaving(app)({}, None, send)
    assert sent[0]["headers"] == [(b"a", b"b"), (b"connection", b"close")]
    assert sent[1] == {"type": "http.response.body", "body": b""}


HUNG = """
import socket, sys
from hub.processes import orphan
channel = socket.socket(fileno=int(sys.argv[1]))
orphan.guard(channel.fileno(), lambda: 0.2)
print("hangs", flush=True)
while True: pass
"""


def test_a_worker_that_hangs_when_its_parent_is_gone_is_ended() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        argv = [sys.executable, "-c", HUNG, str(theirs.fileno())]
        hung = subprocess.Popen(argv, cwd=ROOT, pass_fds=[theirs.fileno()], stdout=subprocess.PIPE)
    assert hung.stdout is not None
    assert hung.stdout.readline() == b"hangs\n"
    assert hung.poll() is None
    ours.close()
    assert hung.wait(30) == -signal.SIGKILL
    hung.stdout.close()


async def test_a_worker_that_cannot_do_what_its_parent_says_ends(ends: tuple[Channel[ToParent], Channel[ToWorker]]) -> None:
    parent, worker = ends
    member = Member(1, 1, worker)
    member.hub = cast("Any", SimpleNamespace(clients=SimpleNamespace(draining=False)))  # it has no metrics
    parent.send(Count(1))
    async with asyncio.timeout(30):
        await member.listen()
    assert member.failed
    assert member.leaving.is_set()


def test_a_worker_of_another_version_says_so_and_does_not_start() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            argv = [sys.executable, "-m", "hub.processes.worker", "1", str(theirs.fileno())]
            worker = subprocess.Popen(argv, cwd=ROOT, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE, text=True)
        data = msgspec.msgpack.encode(Begin("0", 1, pack(load(None, environ={})), "http://h", False, 0, 0))
        ours.sendall(len(data).to_bytes(4) + data)
        _, said = worker.communicate(timeout=60)
    assert worker.returncode == 1
    assert said.strip().endswith("its parent of 0: restart the hub")


ASKED = """
import asyncio, os, signal
from hub.hangup import on_hangup
async def main():
    asked = asyncio.Queue()
    on_hangup(lambda: asked.put_nowait("reload"), lambda: asked.put_nowait("stop"))
    print("there", flush=True)
    os.write(int(os.environ["ANSWER"]), (await asked.get()).encode())
asyncio.run(main())
"""


def _hung_up(*, terminal_goes: bool) -> str:
    """What a program on a terminal of its own takes SIGHUP for."""
    answer, told = os.pipe()
    terminal, theirs = pty.openpty()
    asked = subprocess.Popen(
        [sys.executable, "-c", ASKED],
        cwd=ROOT,
        env={**os.environ, "ANSWER": str(told)},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        pass_fds=[told],
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 (one system call)
    )
    os.close(told)
    os.close(theirs)
    said = b""
    while not said.endswith(b"\n"):
        said += os.read(terminal, 100)
    if terminal_goes:
        os.close(terminal)  # which sends SIGHUP to whoever it controls
    else:
        asked.send_signal(signal.SIGHUP)
    with os.fdopen(answer) as file:
        found = file.read()
    asked.wait(30)
    if not terminal_goes:
        os.close(terminal)
    return found


WOKEN = """
import asyncio, signal, threading, uvloop
from hub.os_signals import on_signal
async def main():
    asked = asyncio.Event()
    on_signal(signal.SIGUSR2, asked.set)
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    print("there", flush=True)
    await asked.wait()
%s.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_signal_wakes_a_loop_that_sleeps_though_another_thread_takes_it(loop: str) -> None:
    """For the loop's thread that is as where the signal comes in the instant before it sleeps."""
    asked = subprocess.Popen([sys.executable, "-c", WOKEN % loop], cwd=ROOT, stdout=subprocess.PIPE)
    assert asked.stdout is not None
    assert asked.stdout.readline() == b"there\n"
    asked.send_signal(signal.SIGUSR2)
    try:
        assert asked.wait(30) == 0
    finally:
        asked.kill()
        asked.wait()
        asked.stdout.close()


def test_sighup_is_a_wish_to_reload_unless_the_terminal_is_gone() -> None:
    assert _hung_up(terminal_goes=False) == "reload"
    assert _hung_up(terminal_goes=True) == "stop"
