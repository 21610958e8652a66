"""Servers that are killed, stopped, flood or die in mid-answer, under concurrency: typed errors, no hang, and no answer of another call."""

import collections
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from tests.chaos.evidence import examine
from tests.chaos.load import Load, Step
from tests.chaos.world import Victim, settings, victim, web
from tests.support.hub import PATIENCE, eventually

DOWN = {"upstream_unavailable", "upstream_fault", "upstream_timeout"}
BRISK = 3.0
"""Seconds after which a call to one of the servers named so times out; others have half a minute, as much as a busy machine could need."""
PIPE: list[Step] = [
    lambda line: line.call("pipe_echo"),
    lambda line: line.call("pipe_jitter", old=True),
    lambda line: line.call("pipe_slow", progress=True),
]
WEB: list[Step] = [
    lambda line: line.call("web_echo"),
    lambda line: line.call("web_jitter", old=True),
    lambda line: line.call("web_slow", progress=True),
]


async def disturbed(
    folder: Path, mix: list[Step], disturb: Callable[[Victim, Load, int], Awaitable[None]], *, calm: str, brisk: Sequence[str] = ()
) -> collections.Counter[tuple[str, str]]:
    """Put `mix` on the hub while `disturb(hub, load, pid of the HTTP server)` goes on; what was answered, by tool and code.

    Whatever comes, each answer is one the hub documents, has its records, and the tools of the upstream `calm` notice nothing.
    """
    notes = folder / "notes"
    config = settings("", notes)
    config["limits"] = [limit for limit in config["limits"] if limit["name"] == "day"]
    for name, upstream in config["upstreams"].items():
        upstream.update(timeout=BRISK if name in brisk else PATIENCE, breaker={"failures": 20, "open_for": 0.3})
    with web(notes) as (url, server):
        config["upstreams"]["web"]["url"] = url
        with victim(folder, config) as hub:
            hub.start().settled("web", "pipe", "wrapped")
            load = Load(hub, 32, 5, mix=mix).start()
            await load.busy(200)
            await disturb(hub, load, server.pid)
            await load.ended(stop=True)
            assert load.unfinished == 0
            found = await examine(hub.database, notes, load.answers)
            assert hub.stop() == 0, hub.tail
    assert "Traceback" not in hub.log.read_text(), hub.tail
    statuses = collections.Counter(answer.status for answer in load.answers)
    assert set(statuses) <= {200, 401}, statuses
    assert set(found["outcomes"]) <= {"ok", "error", "aborted"}, found  # aborted: the streams that the clients left
    assert {answer.code for answer in load.answers if answer.what.startswith(f"call {calm}_")} == {""}
    slowest = max(answer.took for answer in load.answers if answer.what.startswith("call"))
    assert slowest < 20, slowest  # nobody waits for a server that is gone until the time for an answer is over
    return collections.Counter((answer.what, answer.code) for answer in load.answers if answer.what.startswith("call"))


async def test_a_stdio_server_killed_in_mid_call_fails_its_calls_only_and_comes_back(tmp_path: Path):
    async def kill_three_times(hub: Victim, load: Load, _: int) -> None:
        killed: set[int] = set()
        for _ in range(3):
            pid = await eventually(lambda: _another(hub, killed))
            killed.add(pid)
            failed = _failed(load)
            os.kill(pid, signal.SIGKILL)
            await eventually(partial(_more_failed, load, failed))
        before = len(load.answers)
        await eventually(lambda: any(a.what == "call pipe_echo" and not a.code for a in load.answers[before:]))

    codes = await disturbed(tmp_path, [*PIPE, *WEB], kill_three_times, calm="web")
    assert {code for _, code in codes} == {"", "upstream_unavailable"}, codes


async def test_an_http_server_that_stands_still_times_out_and_delays_no_other(tmp_path: Path):
    async def stop_and_go(hub: Victim, load: Load, server: int) -> None:
        os.kill(server, signal.SIGSTOP)
        try:
            await eventually(lambda: sum(1 for answer in load.answers if answer.code == "upstream_timeout") > 16)
            before = len(load.answers)
            await eventually(lambda: sum(1 for a in load.answers[before:] if a.what == "call pipe_echo") > 50)
            assert max(answer.took for answer in load.answers[before:] if answer.what == "call pipe_echo") < BRISK
        finally:
            os.kill(server, signal.SIGCONT)
        before = len(load.answers)
        await eventually(lambda: sum(1 for a in load.answers[before:] if a.what == "call web_echo" and not a.code) > 50)

    codes = await disturbed(tmp_path, [*PIPE, WEB[0]], stop_and_go, calm="pipe", brisk=["web"])
    assert {code for _, code in codes} <= {"", "upstream_timeout", "upstream_unavailable"}, codes


async def test_servers_that_die_in_mid_answer_or_flood_never_mix_up_answers(tmp_path: Path):
    rude: list[Step] = [
        lambda line: line.call("web_half"),
        lambda line: line.call("web_flood", times=50),
        lambda line: line.call("wrapped_half") if line.random.random() < 0.2 else line.call("wrapped_echo"),
        lambda line: line.call("wrapped_exit", old=True) if line.random.random() < 0.2 else line.call("wrapped_echo"),
        lambda line: line.call("wrapped_flood", times=30_000) if line.random.random() < 0.1 else line.call("wrapped_jitter"),
    ]

    async def wait(hub: Victim, load: Load, _: int) -> None:
        await load.busy(2500, 60)

    codes = await disturbed(tmp_path, [*PIPE, *WEB, *rude], wait, calm="pipe", brisk=["web", "wrapped"])
    assert {code for _, code in codes} <= {"", *DOWN}, codes
    assert codes["call web_half", ""] == 0, codes
    assert codes["call wrapped_half", ""] == 0, codes
    assert codes["call web_flood", ""], codes
    assert codes["call wrapped_echo", ""], codes


def _failed(load: Load) -> int:
    return sum(1 for answer in load.answers if answer.code in DOWN)


def _more_failed(load: Load, before: int) -> bool:
    return _failed(load) > before


def _another(hub: Victim, killed: set[int]) -> int:
    """The process of the server `pipe`, when it is one that was not killed yet and is ready."""
    status = hub.status()["upstreams"]["pipe"]
    return status["pid"] if status["state"] == "ready" and status["pid"] not in killed else 0
