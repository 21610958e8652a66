"""Nothing the hub started outlives it, however it ends."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from virtual_servers.guard import BOOT, SERVER, Guard, find

HUB = """
import asyncio, sys
from hub.config.mcp import Stdio, UpstreamSpec
from virtual_servers.guard import Guard
from virtual_servers.upstream import McpUpstream

async def main():
    raw, boot = sys.argv[1:3]
    guard = Guard(boot)
    guard.start()
    python = sys.executable
    shell = f"{python} {raw} older & sleep 600 & wait"
    setsid = f"setsid sleep 601 & (setsid setsid -f sleep 602) & exec {python} {raw} older"
    forgetful = f"env -i sleep 603 & exec {python} {raw} older"
    started = [
        McpUpstream("plain", UpstreamSpec(stdio=Stdio(command=python, args=(raw, "older", "stubborn"))), guard=guard),
        McpUpstream("setsid", UpstreamSpec(stdio=Stdio(command="sh", args=("-c", setsid))), guard=guard),
        McpUpstream("forgetful", UpstreamSpec(stdio=Stdio(command="sh", args=("-c", forgetful))), guard=guard),
    ]
    await asyncio.gather(*(one.start() for one in started))
    lost = McpUpstream("shell", UpstreamSpec(stdio=Stdio(command="sh", args=("-c", shell)), start_timeout=60), guard=guard)
    asyncio.ensure_future(lost.start())
    await asyncio.sleep(0.5)
    print("ready", guard.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""
RAW = Path(__file__).parent.parent / "servers" / "raw_stdio.py"
ROOT = Path(__file__).parent.parent.parent


def living(pids):
    alive = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] not in "ZX":
                alive.add(pid)
    return alive


def gone(pids, seconds=10.0):
    end = time.monotonic() + seconds
    while living(pids) and time.monotonic() < end:
        time.sleep(0.05)
    return not [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in living(pids)]


def start_hub(boot):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    hub = subprocess.Popen([sys.executable, "-c", HUB, str(RAW), boot], stdout=subprocess.PIPE, env=environment, start_new_session=True)
    ready, guard = hub.stdout.readline().split()
    assert ready == b"ready"
    return hub, int(guard)


def test_no_process_survives_a_killed_hub():
    boot = f"test-kill-{os.getpid()}"
    hub, guard = start_hub(boot)
    try:
        started = find(f"{BOOT}={boot}", set())
        commands = b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in started)
        assert all(name in commands for name in (b"600", b"601", b"602", b"603", b"raw_stdio"))
        os.kill(hub.pid, signal.SIGKILL)
        hub.wait()
        assert gone(started)
        assert gone({guard})
    finally:
        hub.kill()
        hub.stdout.close()


def test_signals_to_the_hubs_group_leave_the_guard_alone():
    boot = f"test-group-{os.getpid()}"
    hub, guard = start_hub(boot)
    try:
        assert os.getpgid(guard) != os.getpgid(hub.pid)
        os.kill(guard, signal.SIGINT)
        os.kill(guard, signal.SIGTERM)
        started = find(f"{BOOT}={boot}", set())
        os.killpg(hub.pid, signal.SIGKILL)
        hub.wait()
        assert gone(started)
        assert gone({guard})
    finally:
        hub.kill()
        hub.stdout.close()


def test_what_is_left_of_a_stopped_server_dies_while_the_hub_lives_on():
    guard = Guard(f"test-left-{os.getpid()}")
    guard.start()
    one, two = guard.mark(), guard.mark()
    left = subprocess.Popen(
        ["sh", "-c", "setsid sleep 600 & echo up; exec cat"], env={**os.environ, **one}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    other = subprocess.Popen(["sleep", "600"], env={**os.environ, **two})
    try:
        left.stdout.readline()
        guard.add(left.pid, one[SERVER])
        guard.add(other.pid, two[SERVER])
        marked = find(f"{SERVER}={one[SERVER]}", set())
        assert len(marked) == 2
        guard.remove(left.pid)
        left.wait(5)
        assert gone(marked)
        assert living({other.pid})
    finally:
        guard.close()
        other.wait(5)
        left.stdin.close()
        left.stdout.close()
    assert other.returncode == -signal.SIGTERM


def test_a_guard_that_died_is_replaced_and_knows_what_the_first_knew():
    guard = Guard(f"test-replaced-{os.getpid()}")
    guard.start()
    marks = guard.mark()
    sleeper = subprocess.Popen(["env", "-i", "sleep", "600"], start_new_session=True)
    first = guard.pid
    guard.add(sleeper.pid, marks[SERVER])
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    guard.add(999_999_999, "another")
    guard.remove(999_999_999)
    assert guard.pid != first
    guard.close()
    assert sleeper.wait(5) == -signal.SIGTERM


def test_a_closed_guard_ends_itself():
    guard = Guard("test-closed")
    guard.start()
    pid = guard.pid
    guard.close()
    assert gone({pid})
    assert guard.pid is None
